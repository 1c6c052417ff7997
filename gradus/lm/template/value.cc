#include "gradus/lm/template/value.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::lm::jinja {

namespace {

constexpr int kDeepest = 100;

int depth_around(const Value& inner) {
  const int depth = inner.depth() + 1;
  if (depth > kDeepest) {
    fail(ErrorCode::exhausted, "chat template: values are nested deeper than {} levels, or a {} is within one",
         kDeepest, inner.type_name());
  }
  return depth;
}

}  // namespace

const Value* Dict::find(const std::string& key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &items_[found->second].second;
}

void Dict::set(const Text& key, Value value) {
  depth_ = std::max(depth_, depth_around(value));
  const auto [place, is_new] = places_.emplace(key.bytes(), items_.size());
  if (is_new) {
    items_.emplace_back(key, std::move(value));
  } else {
    items_[place->second].second = std::move(value);
  }
}

Value::Value(List list, bool is_tuple) {
  int depth = 1;
  for (const Value& v : list) depth = std::max(depth, depth_around(v));
  v_ = Sequence{std::make_shared<const List>(std::move(list)), is_tuple, depth};
}

int Value::depth() const {
  if (sequence() != nullptr) return sequence()->depth;
  if (dict() != nullptr) return dict()->depth();
  return name_space() != nullptr || loop() != nullptr || function() != nullptr ? kDeepest : 0;
}

double Value::as_double() const {
  if (boolean() != nullptr) return *boolean() ? 1 : 0;
  return integer() != nullptr ? static_cast<double>(*integer()) : *number();
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (text() != nullptr) return !text()->empty();
  if (list() != nullptr) return !list()->empty();
  if (dict() != nullptr) return !dict()->items().empty();
  return true;
}

std::string Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "None", "bool",      "int",      "float", "str",
                                           "list",      "dict", "namespace", "function", "loop"};
  return kNames[v_.index()];
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.integer() != nullptr && b.integer() != nullptr) return *a.integer() == *b.integer();
    return a.as_double() == b.as_double();
  }
  if (a.text() != nullptr && b.text() != nullptr) return *a.text() == *b.text();
  if (a.list() != nullptr && b.list() != nullptr) {
    if (a.sequence()->is_tuple != b.sequence()->is_tuple || a.list()->size() != b.list()->size()) return false;
    for (std::size_t i = 0; i < a.list()->size(); ++i) {
      if (!equal((*a.list())[i], (*b.list())[i])) return false;
    }
    return true;
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    if (a.dict()->items().size() != b.dict()->items().size()) return false;
    for (const auto& [key, value] : a.dict()->items()) {
      const Value* other = b.dict()->find(key.bytes());
      if (other == nullptr || !equal(value, *other)) return false;
    }
    return true;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined()) ||
         (a.function() != nullptr && a.function() == b.function());
}

}  // namespace gradus::lm::jinja
