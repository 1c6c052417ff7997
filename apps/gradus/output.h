// What a command writes: text or JSON lines on stdout, one line for an error on stderr.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::app {

// Nobody reads stdout any more (`gradus ... --json | head`). No failure: main() ends quietly with exit code 0. Not a
// std::exception, so that no handler of errors takes it for one.
struct OutputClosed {};

// Standard output, unbuffered: a reader sees each line when it is written. One thread at a time.
// Both functions throw OutputClosed, or Error{io} when the output cannot take it (disk full). SIGPIPE must be ignored.
class Output {
 public:
  explicit Output(int descriptor) : descriptor_(descriptor) {}

  // As it is; the line ends are the caller's.
  void text(std::string_view text);

  // One object on one line. Bytes that are not UTF-8 are replaced, numbers that are not finite become null.
  void json_line(const nlohmann::ordered_json& object);

  // True on a terminal, where a line may rewrite itself.
  bool terminal() const;

  // Characters in a line and lines: of the terminal, or 80 and 24 where there is none.
  int columns() const;
  int lines() const;

 private:
  int descriptor_;
};

// "gradus: MESSAGE" as one line on stderr.
void print_error(std::string_view message);

struct Column {
  std::string title;
  bool right = false;  // numbers stand right
};

// `text` broken between words into lines of at most `columns` characters, all but the first behind `indent` blanks; the
// first has `used` characters before it already. Ends with a line end.
std::string wrap_words(std::string_view text, size_t used, size_t indent, size_t columns);

// A table for people: titles, then the rows, columns padded to the same width and two spaces apart.
//   rows  each with one text per column
std::string format_table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

}  // namespace gradus::app
