#include "apps/gradus/output.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::app {

namespace {

// Writes all bytes, waiting where the descriptor is non-blocking. Returns 0, or the errno that stopped it.
int write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd ready = {descriptor, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// All zero where there is none.
winsize window_of(int descriptor) {
  winsize size = {};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size : winsize{};
}

}  // namespace

void Output::text(std::string_view text) {
  const int error = write_all(descriptor_, text);
  if (error == EPIPE || error == ECONNRESET) throw OutputClosed{};
  if (error != 0) fail(ErrorCode::io, "stdout: {}; write to another place", std::strerror(error));
}

void Output::json_line(const nlohmann::ordered_json& object) {
  text(write_json(object) + '\n');
}

bool Output::terminal() const {
  return ::isatty(descriptor_) == 1;
}

int Output::columns() const {
  const int columns = window_of(descriptor_).ws_col;
  return columns > 0 ? columns : 80;
}

int Output::lines() const {
  const int lines = window_of(descriptor_).ws_row;
  return lines > 0 ? lines : 24;
}

void print_error(std::string_view message) {
  std::string line = fmt::format("gradus: {}", message);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  line += '\n';
  write_all(STDERR_FILENO, line);  // there is nowhere left to tell of a failure here
}

std::string wrap_words(std::string_view text, std::size_t used, std::size_t indent, std::size_t columns) {
  std::string out;
  bool first = true;  // of its line
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!first && used + 1 + word.size() > columns) {
      out += '\n' + std::string(indent, ' ');
      used = indent;
      first = true;
    }
    if (!first) out += ' ', ++used;
    out += word;
    used += word.size();
    first = false;
  }
  return out + '\n';
}

std::string format_table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const Column& column : columns) widths.push_back(column.title.size());
  for (const auto& row : rows) {
    GRADUS_CHECK(row.size() == columns.size());
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string table;
  const auto append_cell = [&](std::size_t c, std::string_view cell) {
    const bool last = c + 1 == columns.size();
    if (columns[c].right) {
      table += fmt::format("{:>{}}", cell, widths[c]);
    } else {
      table += last ? std::string(cell) : fmt::format("{:<{}}", cell, widths[c]);
    }
    table += last ? "\n" : "  ";
  };
  for (std::size_t c = 0; c < columns.size(); ++c) append_cell(c, columns[c].title);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) append_cell(c, row[c]);
  }
  return table;
}

}  // namespace gradus::app
