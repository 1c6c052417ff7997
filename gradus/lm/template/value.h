// What the expressions of a template are about: Python's values, as far as templates meet them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "gradus/lm/template/text.h"

namespace gradus::lm::jinja {

class Value;
class Interpreter;

using List = std::vector<Value>;

// In the order of insertion, as Python's.
class Dict {
 public:
  const std::vector<std::pair<Text, Value>>& items() const { return items_; }
  const Value* find(const std::string& key) const;
  void set(const Text& key, Value value);
  int depth() const { return depth_; }  // of values within values

 private:
  std::vector<std::pair<Text, Value>> items_;
  std::unordered_map<std::string, std::size_t> places_;
  int depth_ = 1;
};

struct Arguments {
  std::vector<Value> given;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Interpreter&, const Arguments&)> call;
};

// The variable `loop` of a for.
struct Loop {
  std::shared_ptr<const List> items;
  std::size_t index = 0;
};

struct Undefined {
  std::string name;  // what was looked for
};
struct None {};
struct Sequence {
  std::shared_ptr<const List> items;
  bool is_tuple = false;
  int depth = 1;
};
struct Namespace {
  std::shared_ptr<Dict> dict;
};

class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>, Sequence,
                               std::shared_ptr<const Dict>, Namespace, std::shared_ptr<const Function>,
                               std::shared_ptr<const Loop>>;

  Value() : v_(Undefined{}) {}
  Value(None none) : v_(none) {}
  Value(Undefined undefined) : v_(std::move(undefined)) {}
  Value(bool b) : v_(b) {}
  Value(int64_t i) : v_(i) {}
  Value(double d) : v_(d) {}
  Value(Text text) : v_(std::make_shared<const Text>(std::move(text))) {}
  Value(const char*) = delete;
  Value(List list, bool is_tuple = false);  // throws exhausted, as Dict::set, when values are nested too deeply
  Value(Dict dict) : v_(std::make_shared<const Dict>(std::move(dict))) {}
  Value(Namespace n) : v_(std::move(n)) {}
  Value(Function f) : v_(std::make_shared<const Function>(std::move(f))) {}
  Value(std::shared_ptr<const Loop> loop) : v_(std::move(loop)) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(v_); }
  bool is_none() const { return std::holds_alternative<None>(v_); }
  const bool* boolean() const { return std::get_if<bool>(&v_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&v_); }
  const double* number() const { return std::get_if<double>(&v_); }
  const Text* text() const { return pointee(std::get_if<std::shared_ptr<const Text>>(&v_)); }
  const Sequence* sequence() const { return std::get_if<Sequence>(&v_); }
  const List* list() const { return sequence() != nullptr ? sequence()->items.get() : nullptr; }
  const Dict* dict() const { return pointee(std::get_if<std::shared_ptr<const Dict>>(&v_)); }
  const Namespace* name_space() const { return std::get_if<Namespace>(&v_); }
  const Function* function() const { return pointee(std::get_if<std::shared_ptr<const Function>>(&v_)); }
  const Loop* loop() const { return pointee(std::get_if<std::shared_ptr<const Loop>>(&v_)); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&v_); }

  // True and False count as 1 and 0.
  bool is_number() const { return boolean() != nullptr || integer() != nullptr || number() != nullptr; }
  double as_double() const;
  bool is_true() const;           // as Python's bool()
  std::string type_name() const;  // for errors: "str", "list"

  // How deeply values are nested in it. What changes or is no data may not be put into others: it could hold itself.
  int depth() const;

 private:
  template <class T>
  static const T* pointee(const std::shared_ptr<const T>* p) {
    return p != nullptr ? p->get() : nullptr;
  }
  Variant v_;
};

bool equal(const Value& a, const Value& b);

// str(), repr() and json.dumps(..., ensure_ascii=False) of Python. Parts that stand for texts keep their origins.
//   indent   blanks per level, or -1 for one line
Text to_text(const Value& value);
Text to_repr(const Value& value);
struct JsonStyle {
  int indent = -1;
  bool sort_keys = false;
  bool ensure_ascii = false;
  std::string between_items{}, behind_key{};  // empty: Python's own
};
Text to_json(const Value& value, const JsonStyle& style = {});

// The value of a JSON text, its texts from `origin`. Throws corrupt, naming `what`, when it is none, a key is there
// twice, or it is nested too deeply.
Value from_json(std::string_view text, Origin origin, std::string_view what);

}  // namespace gradus::lm::jinja
