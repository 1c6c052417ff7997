// Values as text: Python's str, repr and json.dumps; and from JSON.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/value.h"
#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm::jinja {

namespace {

// Python's repr of a float: the shortest digits that give it back, an exponent below 1e-4 and from 1e16 on.
std::string float_text(double x, bool json) {
  if (std::isnan(x)) return json ? "NaN" : "nan";
  if (std::isinf(x)) return std::string(x < 0 ? "-" : "") + (json ? "Infinity" : "inf");
  std::array<char, 64> buffer{};
  const auto scientific = std::to_chars(buffer.data(), buffer.data() + buffer.size(), x, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(scientific.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (x != 0 && (exponent < -4 || exponent >= 16)) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  std::array<char, 64> fixed{};
  const auto plain = std::to_chars(fixed.data(), fixed.data() + fixed.size(), x, std::chars_format::fixed);
  std::string out(fixed.data(), static_cast<std::size_t>(plain.ptr - fixed.data()));
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

bool is_printable(char32_t c) {
  const int category = characters()[c] & kCategoryMask;
  return c == ' ' || (category < kZs);
}

// Calls f(bytes of a character, code point, place); bytes that are no UTF-8 come one by one as U+FFFD.
template <class F>
void for_each_character(const std::string& bytes, const F& f) {
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = decode_utf8(std::string_view(bytes).substr(at));
    const auto n = static_cast<std::size_t>(std::max(c.n_bytes, 1));
    f(std::string_view(bytes).substr(at, n), c.n_bytes > 0 ? c.value : U'\uFFFD', at);
    at += n;
  }
}

void append_quoted(Text& out, const Text& text) {
  const std::string& s = text.bytes();
  const char quote = s.find('\'') != std::string::npos && s.find('"') == std::string::npos ? '"' : '\'';
  out.append(std::string(1, quote));
  for_each_character(s, [&](std::string_view bytes, char32_t c, std::size_t at) {
    const Origin origin = text.origin_at(at);
    const auto code = static_cast<uint32_t>(c);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out.append("\\", origin);
      out.append(bytes, origin);
    } else if (c == '\n' || c == '\t' || c == '\r') {
      out.append(c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", origin);
    } else if (is_printable(c)) {
      out.append(bytes, origin);
    } else {
      out.append(code < 0x100     ? fmt::format("\\x{:02x}", code)
                 : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                  : fmt::format("\\U{:08x}", code),
                 origin);
    }
  });
  out.append(std::string(1, quote));
}

void append_json_text(Text& out, const Text& text, bool ensure_ascii) {
  out.append("\"");
  for_each_character(text.bytes(), [&](std::string_view bytes, char32_t c, std::size_t at) {
    const Origin origin = text.origin_at(at);
    const auto escaped = [](uint32_t unit) { return fmt::format("\\u{:04x}", unit); };
    const auto code = static_cast<uint32_t>(c);
    if (c == '"' || c == '\\') {
      out.append("\\", origin);
      out.append(bytes, origin);
    } else if (c < 0x20) {
      const char* known = c == '\n'   ? "\\n"
                          : c == '\r' ? "\\r"
                          : c == '\t' ? "\\t"
                          : c == '\b' ? "\\b"
                          : c == '\f' ? "\\f"
                                      : nullptr;
      out.append(known != nullptr ? known : escaped(code), origin);
    } else if (ensure_ascii && code >= 0x10000) {
      out.append(escaped(0xD800 + ((code - 0x10000) >> 10)) + escaped(0xDC00 + ((code - 0x10000) & 0x3FF)), origin);
    } else if (ensure_ascii && code >= 0x80) {
      out.append(escaped(code), origin);
    } else {
      out.append(bytes, origin);
    }
  });
  out.append("\"");
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {
    if (style_.between_items.empty()) style_.between_items = style.indent >= 0 ? "," : ", ";
    if (style_.behind_key.empty()) style_.behind_key = ": ";
  }

  void write(Text& out, const Value& v, int level) {
    if (v.is_none()) {
      out.append("null");
    } else if (v.boolean() != nullptr) {
      out.append(*v.boolean() ? "true" : "false");
    } else if (v.integer() != nullptr) {
      out.append(std::to_string(*v.integer()));
    } else if (v.number() != nullptr) {
      out.append(float_text(*v.number(), true));
    } else if (v.text() != nullptr) {
      append_json_text(out, *v.text(), style_.ensure_ascii);
    } else if (v.list() != nullptr) {
      write_all(out, "[", "]", v.list()->size(), level, [&](std::size_t i) { write(out, (*v.list())[i], level + 1); });
    } else if (v.dict() != nullptr) {
      std::vector<const std::pair<Text, Value>*> items;
      for (const auto& item : v.dict()->items()) items.push_back(&item);
      if (style_.sort_keys) {
        std::sort(items.begin(), items.end(), [](auto* a, auto* b) { return a->first.bytes() < b->first.bytes(); });
      }
      write_all(out, "{", "}", items.size(), level, [&](std::size_t i) {
        append_json_text(out, items[i]->first, style_.ensure_ascii);
        out.append(style_.behind_key);
        write(out, items[i]->second, level + 1);
      });
    } else {
      fail(ErrorCode::invalid_argument, "chat template: tojson of a value of type {}", v.type_name());
    }
  }

 private:
  template <class WriteItem>
  void write_all(Text& out, const char* open, const char* close, std::size_t n, int level, const WriteItem& item) {
    out.append(open);
    const auto new_line = [&](int depth) {
      if (style_.indent >= 0) out.append("\n" + std::string(static_cast<std::size_t>(style_.indent * depth), ' '));
    };
    for (std::size_t i = 0; i < n; ++i) {
      if (i > 0) out.append(style_.between_items);
      new_line(level + 1);
      item(i);
    }
    if (n > 0) new_line(level);
    out.append(close);
  }

  JsonStyle style_;
};

// Builds a value from the parser's events, keys in their order.
class ValueBuilder final : public nlohmann::json::json_sax_t {
 public:
  ValueBuilder(Origin origin, std::string_view what) : origin_(origin), what_(what) {}

  Value take() { return std::move(root_); }

  bool null() override { return put(None{}); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(int64_t value) override { return put(value); }
  bool number_unsigned(uint64_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return put(static_cast<double>(value));
    return put(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(Text(value, origin_)); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool key(std::string& value) override {
    if (open_.back().dict.find(value) != nullptr) {
      fail(ErrorCode::corrupt, "{}: the key {} is there twice in one object", what_, quote_text(value));
    }
    open_.back().key = Text(value, origin_);
    return true;
  }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(ErrorCode::corrupt, "{}: not valid JSON at byte {}", what_, position);
  }

 private:
  struct Level {
    bool is_dict = false;
    List list{};
    Dict dict{};
    Text key{};
  };

  bool put(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_dict) {
      open_.back().dict.set(open_.back().key, std::move(value));
    } else {
      open_.back().list.push_back(std::move(value));
    }
    return true;
  }
  bool open(bool is_dict) {
    if (open_.size() >= 64) fail(ErrorCode::corrupt, "{}: JSON is nested deeper than 64 levels", what_);
    open_.push_back({.is_dict = is_dict});
    return true;
  }
  bool close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    return put(level.is_dict ? Value(std::move(level.dict)) : Value(std::move(level.list)));
  }

  Origin origin_;
  std::string_view what_;
  std::vector<Level> open_;
  Value root_;
};

}  // namespace

Text to_repr(const Value& v) {
  Text out;
  if (v.text() != nullptr) {
    append_quoted(out, *v.text());
  } else if (v.list() != nullptr) {
    const bool tuple = v.sequence()->is_tuple;
    out.append(tuple ? "(" : "[");
    for (std::size_t i = 0; i < v.list()->size(); ++i) {
      if (i > 0) out.append(", ");
      out.append(to_repr((*v.list())[i]));
    }
    out.append(!tuple ? "]" : v.list()->size() == 1 ? ",)" : ")");
  } else if (v.dict() != nullptr) {
    out.append("{");
    for (std::size_t i = 0; i < v.dict()->items().size(); ++i) {
      const auto& [key, value] = v.dict()->items()[i];
      if (i > 0) out.append(", ");
      append_quoted(out, key);
      out.append(": ");
      out.append(to_repr(value));
    }
    out.append("}");
  } else {
    out = to_text(v);
  }
  return out;
}

Text to_text(const Value& v) {
  if (v.text() != nullptr) return *v.text();
  if (v.is_undefined()) return {};
  if (v.is_none()) return Text("None");
  if (v.boolean() != nullptr) return Text(*v.boolean() ? "True" : "False");
  if (v.integer() != nullptr) return Text(std::to_string(*v.integer()));
  if (v.number() != nullptr) return Text(float_text(*v.number(), false));
  if (v.list() != nullptr || v.dict() != nullptr) return to_repr(v);
  fail(ErrorCode::invalid_argument, "chat template: a {} is printed", v.type_name());
}

Text to_json(const Value& value, const JsonStyle& style) {
  Text out;
  JsonWriter(style).write(out, value, 0);
  return out;
}

Value from_json(std::string_view text, Origin origin, std::string_view what) {
  ValueBuilder builder(origin, what);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace gradus::lm::jinja
