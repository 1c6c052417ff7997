#include "gradus/lm/template/lexer.h"

#include <algorithm>
#include <array>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm::jinja {

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) {
    for (std::size_t i = 0; i < source.size(); ++i) {  // \r\n and \r are line ends, too
      if (source[i] != '\r') {
        source_ += source[i];
      } else if (i + 1 == source.size() || source[i + 1] != '\n') {
        source_ += '\n';
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();  // keep_trailing_newline is off
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = find_tag(at_);
      add_data(tag);
      if (tag == std::string::npos) break;
      at_ = tag;
      const char kind = source_[at_ + 1];
      at_ += 2 + (sign() == ' ' ? 0 : 1);
      if (kind == '#') {
        comment();
      } else if (kind == '%' && is_raw()) {
        raw();
      } else {
        inside(kind == '{');
      }
    }
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char c = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (c == '{' || c == '%' || c == '#') return i;
    }
    return std::string::npos;
  }

  // '-' or '+' behind the opening of a tag, else ' '.
  char sign() const {
    const char c = at_ + 2 < source_.size() ? source_[at_ + 2] : ' ';
    return c == '-' || c == '+' ? c : ' ';
  }

  void count_lines(std::size_t begin, std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(begin),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
  }

  // The text from at_ up to `tag`, without what the tag strips before it (lstrip_blocks, or a sign).
  void add_data(std::size_t tag) {
    const std::size_t end = std::min(tag, source_.size());
    std::size_t kept = end;
    if (tag != std::string::npos) {
      const char c = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
      if (c == '-') {
        while (kept > at_ && is_blank(source_[kept - 1])) --kept;
      } else if (c != '+' && source_[tag + 1] != '{') {
        std::size_t begin = end;
        while (begin > at_ && source_[begin - 1] != '\n' && is_blank(source_[begin - 1])) --begin;
        const bool begins_line = begin > at_ ? source_[begin - 1] == '\n' : at_begins_line();
        if (begins_line) kept = begin;
      }
    }
    if (kept > at_) add(Token::Kind::data, source_.substr(at_, kept - at_));
    count_lines(at_, end);
  }

  bool at_begins_line() const { return at_ == 0 || source_[at_ - 1] == '\n'; }

  // What the end of a tag strips behind it: all white space by a sign, one line end of a block (trim_blocks).
  void strip_behind(char sign, bool is_block) {
    const std::size_t begin = at_;
    if (sign == '-') {
      while (at_ < source_.size() && is_blank(source_[at_])) ++at_;
    } else if (is_block && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
    count_lines(begin, at_);
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail_at(line_, "a comment {# has no end");
    count_lines(at_, end);
    const char before = end > at_ ? source_[end - 1] : ' ';
    at_ = end + 2;
    strip_behind(before == '-' || before == '+' ? before : ' ', true);
  }

  // The end of {% WORD %} at `from`, and the signs in it; npos when something else is there.
  struct Tag {
    std::size_t begin = std::string::npos, end = 0;
    char left = ' ', right = ' ';
  };
  Tag match_word(std::size_t from, std::string_view word) const {
    std::size_t i = from;
    while (i < source_.size() && is_blank(source_[i])) ++i;
    if (!std::string_view(source_).substr(i).starts_with(word)) return {};
    i += word.size();
    while (i < source_.size() && is_blank(source_[i])) ++i;
    Tag tag{.begin = from};
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) tag.right = source_[i++];
    if (!std::string_view(source_).substr(i).starts_with("%}")) return {};
    tag.end = i + 2;
    return tag;
  }

  bool is_raw() const { return match_word(at_, "raw").begin != std::string::npos; }

  void raw() {
    const Tag open = match_word(at_, "raw");
    count_lines(at_, open.end);
    at_ = open.end;
    strip_behind(open.right, true);
    for (std::size_t i = source_.find("{%", at_); i != std::string::npos; i = source_.find("{%", i + 2)) {
      const char c = i + 2 < source_.size() ? source_[i + 2] : ' ';
      const Tag close = match_word(i + 2 + (c == '-' || c == '+' ? 1 : 0), "endraw");
      if (close.begin == std::string::npos) continue;
      add_data(i);
      count_lines(i, close.end);
      at_ = close.end;
      strip_behind(close.right, true);
      return;
    }
    fail_at(line_, "{% raw %} has no end");
  }

  void inside(bool is_print) {
    const std::string_view close = is_print ? "}}" : "%}";
    add(is_print ? Token::Kind::print_begin : Token::Kind::block_begin, "");
    int open = 0;  // brackets
    while (true) {
      while (at_ < source_.size() && is_blank(source_[at_])) {
        if (source_[at_] == '\n') ++line_;
        ++at_;
      }
      if (at_ >= source_.size()) fail_at(line_, is_print ? "{{ has no end" : "{% has no end");
      const std::string_view rest = std::string_view(source_).substr(at_);
      const char first = rest[0];
      const bool has_sign = first == '-' || first == '+';
      if (open == 0 && (rest.starts_with(close) || (has_sign && rest.substr(1).starts_with(close)))) {
        add(is_print ? Token::Kind::print_end : Token::Kind::block_end, "");
        at_ += close.size() + (has_sign ? 1 : 0);
        strip_behind(has_sign ? first : ' ', !is_print);
        return;
      }
      if (is_name_start(first)) {
        name();
      } else if (is_digit(first)) {
        number();
      } else if (first == '"' || first == '\'') {
        text();
      } else {
        symbol(open);
      }
    }
  }

  void name() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_]))) ++at_;
    add(Token::Kind::name, source_.substr(begin, at_ - begin));
  }

  void number() {
    std::string digits;
    bool is_float = false;
    const auto take = [&] {
      while (at_ < source_.size() && (is_digit(source_[at_]) || source_[at_] == '_')) {
        if (source_[at_] != '_') digits += source_[at_];
        ++at_;
      }
    };
    take();
    if (at_ + 1 < source_.size() && source_[at_] == '.' && is_digit(source_[at_ + 1])) {
      is_float = true;
      digits += source_[at_++];
      take();
    }
    if (at_ + 1 < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E') &&
        (is_digit(source_[at_ + 1]) || (at_ + 2 < source_.size() && is_digit(source_[at_ + 2])))) {
      is_float = true;
      digits += source_[at_++];
      if (source_[at_] == '-' || source_[at_] == '+') digits += source_[at_++];
      take();
    }
    add(is_float ? Token::Kind::number : Token::Kind::integer, digits);
  }

  void text() {
    const char quote = source_[at_++];
    const int line = line_;
    std::string out;
    while (true) {
      if (at_ >= source_.size()) fail_at(line, "a text has no end");
      const char c = source_[at_++];
      if (c == quote) break;
      if (c == '\n') ++line_;
      if (c != '\\') {
        out += c;
        continue;
      }
      escape(out);
    }
    add(Token::Kind::text, out);
  }

  void escape(std::string& out) {
    static constexpr std::array<std::pair<char, char>, 10> kSimple = {{{'n', '\n'},
                                                                       {'t', '\t'},
                                                                       {'r', '\r'},
                                                                       {'\\', '\\'},
                                                                       {'\'', '\''},
                                                                       {'"', '"'},
                                                                       {'b', '\b'},
                                                                       {'f', '\f'},
                                                                       {'v', '\v'},
                                                                       {'a', '\a'}}};
    if (at_ >= source_.size()) fail_at(line_, "a text has no end");
    const char c = source_[at_++];
    for (const auto& [letter, meaning] : kSimple) {
      if (c == letter) {
        out += meaning;
        return;
      }
    }
    if (c == '\n') {
      ++line_;
      return;
    }
    const std::size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_digits == 0) {
      out += '\\';
      out += c;
      return;
    }
    uint32_t code = 0;
    for (std::size_t i = 0; i < n_digits; ++i, ++at_) {
      const char d = at_ < source_.size() ? source_[at_] : ' ';
      const int digit = is_digit(d)            ? d - '0'
                        : d >= 'a' && d <= 'f' ? d - 'a' + 10
                        : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                               : -1;
      if (digit < 0) fail_at(line_, fmt::format("\\{} without {} digits", c, n_digits));
      code = code << 4 | static_cast<uint32_t>(digit);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail_at(line_, fmt::format("\\{} of no character", c));
    append_utf8(out, code);
  }

  void symbol(int& open) {
    static constexpr std::array<std::string_view, 27> kSymbols = {"==", "!=", "<=", ">=", "**", "//", "+", "-", "*",
                                                                  "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                                                  "]",  "{",  "}",  ",",  ".",  ":",  "|", ";", "@"};
    const std::string_view rest = std::string_view(source_).substr(at_);
    for (const std::string_view s : kSymbols) {
      if (!rest.starts_with(s)) continue;
      if (s == "(" || s == "[" || s == "{") ++open;
      if (s == ")" || s == "]" || s == "}") --open;
      if (open < 0) fail_at(line_, fmt::format("a {} closes nothing", s));
      add(Token::Kind::symbol, std::string(s));
      at_ += s.size();
      return;
    }
    fail_at(line_, fmt::format("a character {} is out of place", quote_text(rest.substr(0, 1))));
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

void fail_at(int line, std::string_view fact) {
  fail(ErrorCode::corrupt, "chat template: line {}: {}", line, fact);
}

std::vector<Token> tokenize(std::string_view source) {
  constexpr std::size_t kLongest = 1 << 20;
  if (source.size() > kLongest) {
    fail(ErrorCode::unsupported, "unsupported: a chat template of {} bytes; at most {} are possible", source.size(),
         kLongest);
  }
  return Lexer(source).run();
}

}  // namespace gradus::lm::jinja
