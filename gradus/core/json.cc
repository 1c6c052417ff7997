#include "gradus/core/json.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "gradus/core/error.h"

namespace gradus {

namespace {

using nlohmann::json;

// Builds the document from the parser's events. nlohmann's own callback interface is not used: it scans the parent for
// each finished child, which is quadratic in a long list.
class DocumentBuilder final : public json::json_sax_t {
 public:
  DocumentBuilder(std::string_view text, std::string_view origin, int max_depth)
      : text_(text), origin_(origin), max_depth_(max_depth) {}

  json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(int64_t value) override { return put(value); }
  bool number_unsigned(uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }  // not in JSON text

  bool key(std::string& value) override {
    key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    const std::string_view before = text_.substr(0, position == 0 ? 0 : position - 1);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 = 0
    fail(ErrorCode::corrupt, "{}: not valid JSON at line {}, column {}", origin_, line, column);
  }

 private:
  bool put(json value) {
    place(std::move(value));
    return true;
  }

  json* place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    const auto [it, inserted] = parent.emplace(key_, std::move(value));
    if (!inserted) fail(ErrorCode::corrupt, "{}: the key {} is there twice in one object", origin_, quote_text(key_));
    return &*it;
  }

  bool open(json empty) {
    if (static_cast<int>(open_.size()) >= max_depth_) {
      fail(ErrorCode::corrupt, "{}: JSON is nested deeper than {} levels", origin_, max_depth_);
    }
    open_.push_back(place(std::move(empty)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_, origin_;
  int max_depth_;
  json root_;
  std::vector<json*> open_;  // from the root to the innermost; each is the last child of the one before, so none moves
  std::string key_;
};

}  // namespace

json parse_json(std::string_view text, std::string_view origin, int max_depth) {
  DocumentBuilder builder(text, origin, max_depth);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

json try_parse_json(std::string_view text) {
  try {
    return parse_json(text, "");
  } catch (const Error&) {
    return json::value_t::discarded;
  }
}

std::string write_json(const json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

std::string write_json(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

std::string quote_text(std::string_view text) {
  constexpr std::size_t kLongest = 64;
  const bool cut = text.size() > kLongest;
  const json shown = std::string(text.substr(0, kLongest)) + (cut ? "..." : "");
  return shown.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
}

}  // namespace gradus
