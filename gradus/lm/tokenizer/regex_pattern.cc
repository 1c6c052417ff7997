// Oniguruma's syntax for Ruby, rewritten for PCRE2. What differs and matters here: \h is a hexadecimal digit, {n,m}+ is
// no possessive quantifier, {,n} has a least of 0, (?m) lets the point match line ends, (?s) is not known, and classes
// may stand in classes.
#include <cctype>
#include <map>
#include <optional>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/regex.h"
#include "gradus/lm/tokenizer/unicode.h"

namespace gradus::lm {

namespace {

constexpr std::size_t kLongestResult = 1 << 20;  // many times what PCRE2 can compile

class Rewriter {
 public:
  Rewriter(std::string_view pattern, std::string_view origin) : in_(pattern), origin_(origin) {}

  std::string rewrite() {
    while (at_ < in_.size()) {
      step();
      if (out_.size() > kLongestResult) unsupported("too many properties");
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorCode::unsupported, "unsupported: {} has the regular expression {} with {}", origin_, quote_text(in_),
         what);
  }

  char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool rest_starts_with(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void copy(std::size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }

  void begin_atom() { atom_ = out_.size(); }

  void step() {
    switch (peek()) {
      case '\\':
        begin_atom();
        escape(/*in_class=*/false);
        return;
      case '[':
        begin_atom();
        character_class();
        return;
      case '(':
        open_group();
        return;
      case ')':
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        copy(1);
        return;
      case '{':
        interval();
        return;
      case '*':
      case '+':
      case '?':
      case '|':
        copy(1);
        return;
      default:
        begin_atom();
        copy(1);
        while ((static_cast<unsigned char>(peek()) & 0xC0) == 0x80) copy(1);
    }
  }

  void open_group() {
    groups_.push_back(out_.size());
    if (rest_starts_with("(*")) unsupported("a verb (*");
    for (const char* what : {"(?C", "(?R", "(?&", "(?P", "(?|", "(?~", "(?@", "(?{", "(?^"}) {
      if (rest_starts_with(what)) unsupported(fmt::format("a group {}", what));
    }
    if (!rest_starts_with("(?")) {
      copy(1);
      return;
    }
    copy(2);
    while (peek() == 'i' || peek() == 'm' || peek() == 'x' || peek() == '-') {
      out_ += peek() == 'm' ? 's' : peek();
      ++at_;
    }
    if (peek() != '\0' && std::string_view(":)=!<>").find(peek()) == std::string_view::npos) {
      unsupported(fmt::format("a group (?{}", peek()));
    }
    if (peek() == ')') groups_.pop_back();  // (?i) is no group
  }

  void interval() {
    std::size_t end = 1;
    while (peek(end) == ',' || (peek(end) >= '0' && peek(end) <= '9')) ++end;
    const std::string_view inside = in_.substr(at_ + 1, end - 1);
    if (peek(end) != '}' || inside.empty() || inside == ",") {  // a brace that stands for itself
      begin_atom();
      out_ += "\\{";
      ++at_;
      return;
    }
    out_ += inside.front() == ',' ? fmt::format("{{0{}}}", inside) : fmt::format("{{{}}}", inside);
    at_ += end + 1;
    if (peek() == '+') {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  void escape(bool in_class) {
    const char letter = peek(1);
    switch (letter) {
      case 's':
      case 'S':
        return property(
            letter == 'S', "", [](uint16_t p) { return (p & kSpace) != 0; }, in_class, 2);
      case 'd':
      case 'D':
        return property(
            letter == 'D', "\\p{Nd}", [](uint16_t p) { return (p & kCategoryMask) == kNd; }, in_class, 2);
      case 'w':
      case 'W':
        return property(
            letter == 'W', "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}", [](uint16_t p) { return (p & kWordCharacter) != 0; },
            in_class, 2);
      case 'h':
      case 'H':
        out_ += in_class ? (letter == 'h' ? "0-9a-fA-F" : "\\x{0}-/:-@G-`g-\\x{10ffff}")
                         : (letter == 'h' ? "[0-9a-fA-F]" : "[^0-9a-fA-F]");
        at_ += 2;
        return;
      case 'p':
      case 'P':
        return named_property(letter == 'P', in_class);
      case 'u':
        code_point();
        return;
      case 'b':
      case 'B':
        if (!in_class) unsupported(fmt::format("the escape \\{}", letter));  // PCRE2's words have no marks
        copy(2);
        return;
      case 'X':
      case 'R':
      case 'C':
      case 'M':
      case 'c':
      case 'g':
      case 'k':
      case 'y':
      case 'Y':
      case 'N':
      case 'O':
      case 'Q':
      case 'E':
      case '\0':
        unsupported(fmt::format("the escape \\{}", letter == '\0' ? ' ' : letter));
      default:
        copy(2);
        while ((static_cast<unsigned char>(peek()) & 0xC0) == 0x80) copy(1);
    }
  }

  void code_point() {
    std::size_t n = 0;
    while (n < 4 && std::isxdigit(static_cast<unsigned char>(peek(2 + n))) != 0) ++n;
    if (n != 4) unsupported("the escape \\u without four digits");
    out_ += fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4));
    at_ += 6;
  }

  void named_property(bool negated, bool in_class) {
    const std::size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) unsupported("a property without braces");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::size_t width = close + 1 - at_;
    const uint32_t categories = categories_named(name);
    if (categories == 0) {  // a script: PCRE2's own
      for (const char c : name) {
        if (std::isalpha(static_cast<unsigned char>(c)) == 0 && c != '_')
          unsupported(fmt::format("the property {}", quote_text(name)));
      }
      out_ += fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name);
      at_ += width;
      return;
    }
    property(
        negated, fmt::format("\\p{{{}}}", name),
        [categories](uint16_t p) { return (categories >> (p & kCategoryMask) & 1) != 0; }, in_class, width);
  }

  template <class HasProperty>
  void property(bool negated, const std::string& base, const HasProperty& has, bool in_class, std::size_t width) {
    const CharacterTable& table = characters();
    const std::string key = base + (negated && in_class ? "-" : "+") + std::string(in_.substr(at_ + 1, 1));
    auto [it, is_new] = items_.try_emplace(key);
    if (is_new) {
      const bool complement = negated && in_class;  // within a class nothing can be taken away
      std::vector<bool> is_member(0x110000);
      for (char32_t c = 0; c < 0x110000; ++c) is_member[c] = (c < 0xD800 || c >= 0xE000) && has(table[c]) != complement;
      if (!class_items_) class_items_.emplace();
      it->second = (*class_items_)(complement ? "" : base, is_member);
    }
    out_ += in_class ? it->second : fmt::format("[{}{}]", negated ? "^" : "", it->second);
    at_ += width;
  }

  void character_class() {
    copy(1);
    if (peek() == '^') copy(1);
    if (peek() == ']') copy(1);  // the first one stands for itself
    while (at_ < in_.size() && peek() != ']') {
      if (peek() == '[') unsupported("a class within a class");
      if (rest_starts_with("&&")) unsupported("an intersection of classes");
      if (peek() == '\\') {
        escape(/*in_class=*/true);
      } else {
        copy(1);
      }
    }
    if (at_ < in_.size()) copy(1);
  }

  std::string_view in_, origin_;
  std::string out_;
  std::size_t at_ = 0;
  std::size_t atom_ = 0;             // in out_, where what a quantifier repeats begins
  std::vector<std::size_t> groups_;  // in out_, of the open ones
  std::map<std::string, std::string> items_;
  std::optional<ClassItems> class_items_;  // made when first needed
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern, std::string_view origin) {
  return Rewriter(pattern, origin).rewrite();
}

}  // namespace gradus::lm
