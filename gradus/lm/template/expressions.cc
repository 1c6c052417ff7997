// The expressions of a template: what Python makes of them.
#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/builtins.h"
#include "gradus/lm/template/interpreter.h"

namespace gradus::lm::jinja {

namespace {

// f(a, b, &result), which tells whether the result leaves 64 bits.
template <class F>
int64_t checked(const F& f, int64_t a, int64_t b) {
  int64_t result = 0;
  if (f(a, b, &result)) fail_value("a whole number leaves 64 bits");
  return result;
}
constexpr auto kAdd = [](int64_t a, int64_t b, int64_t* c) { return __builtin_add_overflow(a, b, c); };
constexpr auto kSubtract = [](int64_t a, int64_t b, int64_t* c) { return __builtin_sub_overflow(a, b, c); };
constexpr auto kMultiply = [](int64_t a, int64_t b, int64_t* c) { return __builtin_mul_overflow(a, b, c); };

// Whole numbers: bool counts, as in Python.
const int64_t* whole(const Value& v, int64_t& place) {
  if (v.integer() != nullptr) return v.integer();
  if (v.boolean() == nullptr) return nullptr;
  place = *v.boolean() ? 1 : 0;
  return &place;
}

void require_defined(const Value& v) {
  if (v.is_undefined()) fail_value(fmt::format("{} is undefined", quote_text(v.undefined()->name)));
}

}  // namespace

bool less(const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (a.integer() != nullptr && b.integer() != nullptr) return *a.integer() < *b.integer();
    return a.as_double() < b.as_double();
  }
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes() < b.text()->bytes();
  if (a.list() != nullptr && b.list() != nullptr)
    return std::lexicographical_compare(a.list()->begin(), a.list()->end(), b.list()->begin(), b.list()->end(), less);
  fail_value(fmt::format("a {} and a {} have no order", a.type_name(), b.type_name()));
}

Value Interpreter::evaluate(const Expression& e) {
  using Kind = Expression::Kind;
  step();
  if (++depth_ > 500)
    fail(ErrorCode::exhausted, "chat template: expressions or macros are nested deeper than 500 levels");
  struct Leave {
    int& depth;
    ~Leave() { --depth; }
  } leave{depth_};
  switch (e.kind) {
    case Kind::constant:
      return e.value;
    case Kind::name:
      return look_up(e.name);
    case Kind::list:
    case Kind::tuple: {
      List list;
      charge_items(e.operands.size());
      for (const auto& operand : e.operands) list.push_back(evaluate(*operand));
      return Value(std::move(list), e.kind == Kind::tuple);
    }
    case Kind::dict: {
      Dict dict;
      charge_items(e.operands.size());
      for (std::size_t i = 0; i < e.operands.size(); i += 2) {
        const Value key = evaluate(*e.operands[i]);
        if (key.text() == nullptr)
          fail_value(fmt::format("a {} is a key of a dict; texts alone can be", key.type_name()));
        dict.set(*key.text(), evaluate(*e.operands[i + 1]));
      }
      return dict;
    }
    case Kind::attribute:
      return attribute(evaluate(*e.operands[0]), e.name, false);
    case Kind::item:
      return item(evaluate(*e.operands[0]), evaluate(*e.operands[1]));
    case Kind::slice:
      return slice(e);
    case Kind::call: {
      const Value function = evaluate(*e.operands[0]);
      return call(function, arguments(e, 1));
    }
    case Kind::filter: {
      const Value value = evaluate(*e.operands[0]);
      return apply_filter(*this, e.name, value, arguments(e, 1));
    }
    case Kind::test: {
      const Value value = evaluate(*e.operands[0]);
      return apply_test(e.name, value, arguments(e, 1));
    }
    case Kind::unary:
      return unary(e);
    case Kind::binary:
      return binary(e);
    case Kind::compare: {
      Value left = evaluate(*e.operands[0]);
      for (std::size_t i = 0; i < e.names.size(); ++i) {
        Value right = evaluate(*e.operands[i + 1]);
        if (!compare(e.names[i], left, right)) return false;
        left = std::move(right);
      }
      return true;
    }
    case Kind::choice:
      if (evaluate(*e.operands[1]).is_true()) return evaluate(*e.operands[0]);
      return e.operands[2] != nullptr ? evaluate(*e.operands[2]) : Value();
  }
  return {};
}

Arguments Interpreter::arguments(const Expression& e, std::size_t first) {
  Arguments out;
  const std::size_t n_given = e.operands.size() - e.names.size();
  for (std::size_t i = first; i < e.operands.size(); ++i) {
    if (i < n_given) {
      out.given.push_back(evaluate(*e.operands[i]));
    } else {
      out.named.emplace_back(e.names[i - n_given], evaluate(*e.operands[i]));
    }
  }
  return out;
}

// value.name looks for a method, then for an item; value["name"] the other way round.
Value Interpreter::attribute(const Value& of, const std::string& name, bool item_first) {
  if (of.is_undefined()) {
    fail_value(fmt::format("{} is undefined and has no {}", quote_text(of.undefined()->name), quote_text(name)));
  }
  const Dict* dict = of.name_space() != nullptr ? of.name_space()->dict.get() : of.dict();
  const Value* found = dict != nullptr ? dict->find(name) : nullptr;
  if (found != nullptr && (item_first || of.name_space() != nullptr)) return *found;
  Value method = method_of(of, name);
  if (!method.is_undefined()) return method;
  return found != nullptr ? *found : Value(Undefined{name});
}

Value Interpreter::item(const Value& of, const Value& key) {
  require_defined(of);
  if (key.text() != nullptr) return attribute(of, key.text()->bytes(), true);
  int64_t place = 0;
  const int64_t* index = whole(key, place);
  if (index == nullptr) return Undefined{to_text(key).bytes()};
  const auto at = [&](std::size_t n) {
    const int64_t i = *index < 0 ? *index + static_cast<int64_t>(n) : *index;
    return i >= 0 && i < static_cast<int64_t>(n) ? static_cast<std::size_t>(i) : n;
  };
  if (of.list() != nullptr) {
    const std::size_t i = at(of.list()->size());
    if (i < of.list()->size()) return (*of.list())[i];
  } else if (of.text() != nullptr) {
    charge_bytes(of.text()->size());
    const std::vector<std::size_t> starts = character_starts(of.text()->bytes());
    const std::size_t i = at(starts.size() - 1);
    if (i + 1 < starts.size()) return of.text()->substr(starts[i], starts[i + 1]);
  }
  return Undefined{fmt::format("item {}", *index)};
}

Value Interpreter::slice(const Expression& e) {
  const Value of = evaluate(*e.operands[0]);
  const auto part = [&](std::size_t i) -> std::optional<int64_t> {
    if (e.operands[i] == nullptr) return std::nullopt;
    const Value v = evaluate(*e.operands[i]);
    if (v.is_none()) return std::nullopt;
    int64_t place = 0;
    const int64_t* n = whole(v, place);
    if (n == nullptr) fail_value(fmt::format("a slice by a {}", v.type_name()));
    return *n;
  };
  const auto first = part(1), last = part(2);
  const int64_t by = part(3).value_or(1);
  if (by == 0) fail_value("a slice by steps of 0");
  std::vector<std::size_t> starts;
  if (of.text() != nullptr) {
    charge_bytes(of.text()->size() * 8);
    starts = character_starts(of.text()->bytes());
  } else if (of.list() == nullptr) {
    require_defined(of);
    fail_value(fmt::format("a slice of a {}", of.type_name()));
  }
  const auto n = static_cast<int64_t>(of.text() != nullptr ? starts.size() - 1 : of.list()->size());
  // Python's slice.indices.
  const int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? n : n - 1;
  const auto bound = [&](std::optional<int64_t> given, int64_t missing) {
    if (!given) return missing;
    const int64_t at = *given < 0 ? std::max(*given, -n - 1) + n : *given;
    return std::clamp(at, lowest, highest);
  };
  const int64_t begin = bound(first, by > 0 ? lowest : highest), end = bound(last, by > 0 ? highest : lowest);
  Text text;
  List list;
  for (int64_t i = begin; by > 0 ? i < end : i > end;) {
    const auto at = static_cast<std::size_t>(i);
    if (of.text() == nullptr) {
      charge_items(1);
      list.push_back((*of.list())[at]);
    } else if (by == 1) {
      text = of.text()->substr(starts[at], starts[static_cast<std::size_t>(end)]);
      break;
    } else {
      step();
      text.append(of.text()->substr(starts[at], starts[at + 1]));
    }
    if (by > 0 ? by >= end - i : by <= end - i) break;
    i += by;
  }
  if (of.text() != nullptr) return text;
  return Value(std::move(list), of.sequence()->is_tuple);
}

Value Interpreter::unary(const Expression& e) {
  const Value v = evaluate(*e.operands[0]);
  if (e.name == "not") return !v.is_true();
  require_defined(v);
  int64_t place = 0;
  if (const int64_t* n = whole(v, place)) {
    if (e.name == "+") return *n;
    return checked(kSubtract, 0, *n);
  }
  if (v.number() == nullptr) fail_value(fmt::format("{} of a {}", e.name, v.type_name()));
  return e.name == "+" ? *v.number() : -*v.number();
}

Value Interpreter::binary(const Expression& e) {
  const Value a = evaluate(*e.operands[0]);
  if (e.name == "and") return a.is_true() ? evaluate(*e.operands[1]) : a;
  if (e.name == "or") return a.is_true() ? a : evaluate(*e.operands[1]);
  const Value b = evaluate(*e.operands[1]);
  if (e.name == "~") {
    Text text = to_text(a);
    const Text right = to_text(b);
    charge_bytes(text.size() + right.size());
    text.append(right);
    return text;
  }
  require_defined(a);
  require_defined(b);
  if (e.name == "+") return add(a, b);
  if (e.name == "*" && (a.text() != nullptr || a.list() != nullptr || b.text() != nullptr || b.list() != nullptr)) {
    const bool a_is_count = a.text() == nullptr && a.list() == nullptr;
    int64_t place = 0;
    const int64_t* n = whole(a_is_count ? a : b, place);
    if (n != nullptr) return repeat(a_is_count ? b : a, *n);
  }
  if (e.name == "%" && a.text() != nullptr) return format_percent(*a.text(), b);
  return arithmetic(e.name, a, b);
}

Value Interpreter::add(const Value& a, const Value& b) {
  if (a.text() != nullptr && b.text() != nullptr) {
    charge_bytes(a.text()->size() + b.text()->size());
    Text text = *a.text();
    text.append(*b.text());
    return text;
  }
  if (a.list() != nullptr && b.list() != nullptr && a.sequence()->is_tuple == b.sequence()->is_tuple) {
    charge_items(a.list()->size() + b.list()->size());
    List list = *a.list();
    list.insert(list.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(list), a.sequence()->is_tuple);
  }
  return arithmetic("+", a, b);
}

Value Interpreter::repeat(const Value& a, int64_t n) {
  n = std::max<int64_t>(n, 0);
  const std::size_t size = a.text() != nullptr ? a.text()->size() : a.list()->size() * 8 * sizeof(Value);
  if (size == 0) n = 0;
  if (size > 0 && static_cast<std::size_t>(n) > static_cast<std::size_t>(limits_.made_bytes) / size)
    n = limits_.made_bytes;
  charge_bytes(size > 0 && n == limits_.made_bytes ? static_cast<std::size_t>(limits_.made_bytes) + 1
                                                   : size * static_cast<std::size_t>(n));
  Text text;
  List list;
  for (int64_t i = 0; i < n; ++i) {
    if (a.text() != nullptr) {
      text.append(*a.text());
    } else {
      list.insert(list.end(), a.list()->begin(), a.list()->end());
    }
  }
  if (a.text() != nullptr) return text;
  return Value(std::move(list), a.sequence()->is_tuple);
}

Value Interpreter::arithmetic(const std::string& name, const Value& a, const Value& b) {
  if (!a.is_number() || !b.is_number())
    fail_value(fmt::format("{} of a {} and a {}", name, a.type_name(), b.type_name()));
  int64_t place_a = 0, place_b = 0;
  const int64_t *x = whole(a, place_a), *y = whole(b, place_b);
  const bool divides = name == "/" || name == "//" || name == "%";
  if (divides && b.as_double() == 0) fail_value("a division by zero");
  if (x != nullptr && y != nullptr) {
    if (name == "+") return checked(kAdd, *x, *y);
    if (name == "-") return checked(kSubtract, *x, *y);
    if (name == "*") return checked(kMultiply, *x, *y);
    if (name == "//" || name == "%") {
      if (*y == -1) return name == "%" ? int64_t{0} : checked(kSubtract, 0, *x);
      const bool rounds_down = *x % *y != 0 && (*x < 0) != (*y < 0);
      if (name == "//") return *x / *y - (rounds_down ? 1 : 0);
      return *x % *y + (rounds_down ? *y : 0);
    }
    if (name == "**" && *y >= 0) {
      int64_t result = 1;
      for (int64_t i = 0; i < *y && *x != 0 && *x != 1; ++i) {
        step();
        result = checked(kMultiply, result, *x);
      }
      return *x == 0 && *y > 0 ? int64_t{0} : result;
    }
  }
  const double u = a.as_double(), v = b.as_double();
  if (name == "+") return u + v;
  if (name == "-") return u - v;
  if (name == "*") return u * v;
  if (name == "/") return u / v;
  if (name == "//") return std::floor(u / v);
  if (name == "%") return u - v * std::floor(u / v);
  return std::pow(u, v);
}

// "%s" and "%d" alone, which is what templates use.
Value Interpreter::format_percent(const Text& format, const Value& values) {
  const List list = values.sequence() != nullptr && values.sequence()->is_tuple ? *values.list() : List{values};
  const std::string& f = format.bytes();
  Text out;
  std::size_t used = 0, from = 0;
  for (std::size_t at = f.find('%'); at != std::string::npos; at = f.find('%', from)) {
    out.append(format.substr(from, at));
    const char kind = at + 1 < f.size() ? f[at + 1] : ' ';
    from = at + 2;
    if (kind == '%') {
      out.append("%");
      continue;
    }
    if ((kind != 's' && kind != 'd') || used >= list.size()) {
      fail_value(fmt::format("the format {} is not of %s and %d, or has too few values", quote_text(f)));
    }
    const Text part = to_text(list[used++]);
    charge_bytes(part.size());
    out.append(part);
  }
  out.append(format.substr(from, f.size()));
  return out;
}

bool Interpreter::contains(const Value& in, const Value& what) {
  if (in.is_undefined()) return false;
  if (in.text() != nullptr) {
    if (what.text() == nullptr) fail_value(fmt::format("'in' of a text for a {}", what.type_name()));
    charge_bytes(in.text()->size());
    return in.text()->bytes().find(what.text()->bytes()) != std::string::npos;
  }
  if (in.dict() != nullptr) return what.text() != nullptr && in.dict()->find(what.text()->bytes()) != nullptr;
  if (in.list() == nullptr) fail_value(fmt::format("'in' of a {}", in.type_name()));
  step(static_cast<int64_t>(in.list()->size()));
  return std::any_of(in.list()->begin(), in.list()->end(), [&](const Value& v) { return equal(v, what); });
}

bool Interpreter::compare(const std::string& name, const Value& a, const Value& b) {
  if (name == "==") return equal(a, b);
  if (name == "!=") return !equal(a, b);
  if (name == "in") return contains(b, a);
  if (name == "not in") return !contains(b, a);
  if (name == "<") return less(a, b);
  if (name == ">") return less(b, a);
  const bool comparable_nan =
      (a.number() != nullptr && std::isnan(*a.number())) || (b.number() != nullptr && std::isnan(*b.number()));
  if (comparable_nan) return false;
  return name == "<=" ? !less(b, a) : !less(a, b);
}

}  // namespace gradus::lm::jinja
