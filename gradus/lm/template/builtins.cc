// Filters and tests.
#include "gradus/lm/template/builtins.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/interpreter.h"
#include "gradus/lm/template/text_methods.h"

namespace gradus::lm::jinja {

namespace {

using Filter = std::function<Value(Interpreter&, const Value&, const Arguments&)>;
using Test = std::function<bool(const Value&, const Arguments&)>;

int64_t whole_argument(const Arguments& a, std::size_t place, std::string_view name, int64_t other) {
  const Value v = argument(a, place, name);
  if (v.is_undefined() || v.is_none()) return other;
  if (v.boolean() != nullptr) return *v.boolean() ? 1 : 0;
  if (v.integer() == nullptr) fail_value(fmt::format("{} is a {} and no whole number", name, v.type_name()));
  return *v.integer();
}

std::string text_argument(const Arguments& a, std::size_t place, std::string_view name, std::string_view other) {
  const Value v = argument(a, place, name);
  if (v.is_undefined() || v.is_none()) return std::string(other);
  if (v.text() == nullptr) fail_value(fmt::format("{} is a {} and no text", name, v.type_name()));
  return v.text()->bytes();
}

// value.a.b of the text "a.b", undefined where there is none; what selectattr, map and sort go by.
Value attribute_path(const Value& value, const Value& path) {
  if (path.integer() != nullptr && value.list() != nullptr) {
    const auto i = static_cast<std::size_t>(*path.integer());
    return i < value.list()->size() ? (*value.list())[i] : Value();
  }
  if (path.text() == nullptr) fail_value("an attribute is named by no text");
  Value now = value;
  std::string_view rest = path.text()->bytes();
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string name(rest.substr(0, dot));
    const Dict* dict = now.name_space() != nullptr ? now.name_space()->dict.get() : now.dict();
    const Value* found = dict != nullptr ? dict->find(name) : nullptr;
    Value next = found != nullptr ? *found : method_of(now, name);
    now = std::move(next);
    if (dot == std::string_view::npos) return now;
    rest.remove_prefix(dot + 1);
  }
}

Arguments rest_of(const Arguments& a, std::size_t from) {
  Arguments out{.given = {}, .named = a.named};
  for (std::size_t i = from; i < a.given.size(); ++i) out.given.push_back(a.given[i]);
  return out;
}

// select, reject, selectattr, rejectattr.
Value choose(Interpreter& in, const Value& value, const Arguments& a, bool by_attribute, bool keeps) {
  if (by_attribute && a.given.empty()) fail_value("selectattr without an attribute");
  const std::size_t at = by_attribute ? 1 : 0;
  const bool has_test = a.given.size() > at;
  std::string test;
  if (has_test) {
    test = text_argument(a, at, "test", "");
    if (!is_test(test)) fail_value(fmt::format("there is no test {}", quote_text(test)));
  }
  const Arguments rest = rest_of(a, at + 1);
  List out;
  for (const Value& item : items_of(value, in)) {
    in.step();
    const Value looked_at = by_attribute ? attribute_path(item, a.given[0]) : item;
    if ((has_test ? apply_test(test, looked_at, rest) : looked_at.is_true()) == keeps) out.push_back(item);
  }
  return out;
}

Value map_items(Interpreter& in, const Value& value, const Arguments& a) {
  const Value path = argument(a, SIZE_MAX, "attribute"), other = argument(a, SIZE_MAX, "default");
  std::string filter;
  if (path.is_undefined()) {
    filter = text_argument(a, 0, "filter", "");
    if (!is_filter(filter)) fail_value(fmt::format("map by {}, which is no filter", quote_text(filter)));
  }
  List out;
  for (const Value& item : items_of(value, in)) {
    in.step();
    if (path.is_undefined()) {
      out.push_back(apply_filter(in, filter, item, rest_of(a, 1)));
    } else {
      Value found = attribute_path(item, path);
      out.push_back(found.is_undefined() && !other.is_undefined() ? other : found);
    }
  }
  return out;
}

Value sorted(Interpreter& in, const Value& value, const Arguments& a) {
  List items = items_of(value, in);
  const Value path = argument(a, 2, "attribute");
  const bool any_case = !argument(a, 1, "case_sensitive").is_true();
  std::vector<std::pair<Value, std::size_t>> keys;
  for (std::size_t i = 0; i < items.size(); ++i) {
    in.step(16);
    Value key = path.is_undefined() ? items[i] : attribute_path(items[i], path);
    if (any_case && key.text() != nullptr) key = lower(*key.text());
    keys.emplace_back(std::move(key), i);
  }
  std::stable_sort(keys.begin(), keys.end(), [](const auto& x, const auto& y) { return less(x.first, y.first); });
  if (argument(a, 0, "reverse").is_true()) {
    std::stable_sort(keys.begin(), keys.end(), [](const auto& x, const auto& y) { return less(y.first, x.first); });
  }
  List out;
  for (const auto& [key, i] : keys) out.push_back(items[i]);
  return out;
}

Value dict_sorted(Interpreter& in, const Value& value, const Arguments& a) {
  if (value.dict() == nullptr) fail_value(fmt::format("dictsort of a {}", value.type_name()));
  const bool any_case = !argument(a, 0, "case_sensitive").is_true();
  const bool by_value = text_argument(a, 1, "by", "key") == "value";
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, item] : value.dict()->items()) {
    in.step(16);
    Value by = by_value ? item : Value(key);
    if (any_case && by.text() != nullptr) by = lower(*by.text());
    items.emplace_back(std::move(by), Value(List{Value(key), item}, true));
  }
  std::stable_sort(items.begin(), items.end(), [](const auto& x, const auto& y) { return less(x.first, y.first); });
  if (argument(a, 2, "reverse").is_true()) std::reverse(items.begin(), items.end());
  List out;
  for (auto& [by, item] : items) out.push_back(std::move(item));
  return out;
}

Value unique(Interpreter& in, const Value& value) {
  List out;
  for (const Value& item : items_of(value, in)) {
    in.step(static_cast<int64_t>(out.size()) + 1);
    const auto key = [](const Value& v) { return v.text() != nullptr ? Value(lower(*v.text())) : v; };
    const auto known = [&](const Value& v) { return equal(key(v), key(item)); };
    if (std::none_of(out.begin(), out.end(), known)) out.push_back(item);
  }
  return out;
}

Value join(Interpreter& in, const Value& value, const Arguments& a) {
  const Value between = argument(a, 0, "d"), path = argument(a, 1, "attribute");
  const Text gap = between.is_undefined() ? Text() : to_text(between);
  Text out;
  bool first = true;
  for (const Value& item : items_of(value, in)) {
    const Text part = to_text(path.is_undefined() ? item : attribute_path(item, path));
    in.charge_bytes(part.size() + gap.size());
    if (!first) out.append(gap);
    out.append(part);
    first = false;
  }
  return out;
}

Value length(const Value& v) {
  if (v.is_undefined()) return int64_t{0};
  if (v.text() != nullptr) return static_cast<int64_t>(character_starts(v.text()->bytes()).size() - 1);
  if (v.list() != nullptr) return static_cast<int64_t>(v.list()->size());
  if (v.dict() != nullptr) return static_cast<int64_t>(v.dict()->items().size());
  fail_value(fmt::format("a {} has no length", v.type_name()));
}

Value to_json_filter(Interpreter& in, const Value& value, const Arguments& a) {
  JsonStyle style;
  style.ensure_ascii = argument(a, 0, "ensure_ascii").is_true();
  style.indent = static_cast<int>(std::clamp<int64_t>(whole_argument(a, 1, "indent", -1), -1, 64));
  const Value separators = argument(a, 2, "separators");
  if (separators.list() != nullptr && separators.list()->size() == 2) {
    style.between_items = to_text((*separators.list())[0]).bytes();
    style.behind_key = to_text((*separators.list())[1]).bytes();
  }
  style.sort_keys = argument(a, 3, "sort_keys").is_true();
  Text text = to_json(value, style);
  in.charge_bytes(text.size());
  return text;
}

// Every line but the first, or that too, after `width` blanks; blank lines are left alone unless told otherwise.
Value indent(Interpreter& in, const Value& value, const Arguments& a) {
  const Value width = argument(a, 0, "width");
  const Text blanks =
      width.text() != nullptr
          ? *width.text()
          : Text(std::string(static_cast<std::size_t>(std::clamp<int64_t>(whole_argument(a, 0, "width", 4), 0, 1000)),
                             ' '));
  const bool first = argument(a, 1, "first").is_true(), blank = argument(a, 2, "blank").is_true();
  Text out;
  bool is_first = true;
  const Text text = to_text(value);
  for (const Text& line : lines_of(text)) {
    in.charge_bytes(line.size() + blanks.size());
    if (!is_first) out.append("\n");
    if (is_first ? first : (blank || !line.empty())) out.append(blanks);
    out.append(line);
    is_first = false;
  }
  return out;
}

Value to_int(const Value& v, const Arguments& a) {
  if (v.integer() != nullptr) return v;
  if (v.is_number() && std::abs(v.as_double()) < 9e18) return static_cast<int64_t>(v.as_double());
  if (v.text() != nullptr) {
    const std::string text = strip(*v.text(), {}, true, true).bytes();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
    char* stop = nullptr;
    const double d = std::strtod(text.c_str(), &stop);
    if (!text.empty() && *stop == '\0' && std::abs(d) < 9e18) return static_cast<int64_t>(d);
  }
  return whole_argument(a, 0, "default", 0);
}

Value to_float(const Value& v, const Arguments& a) {
  if (v.is_number()) return v.as_double();
  if (v.text() != nullptr) {
    const std::string text = strip(*v.text(), {}, true, true).bytes();
    char* stop = nullptr;
    const double d = std::strtod(text.c_str(), &stop);
    if (!text.empty() && *stop == '\0') return d;
  }
  const Value other = argument(a, 0, "default");
  return other.is_number() ? other.as_double() : 0.0;
}

Value rounded(const Value& v, const Arguments& a) {
  if (!v.is_number()) fail_value(fmt::format("round of a {}", v.type_name()));
  const double scale = std::pow(10.0, static_cast<double>(whole_argument(a, 0, "precision", 0)));
  const std::string method = text_argument(a, 1, "method", "common");
  const double x = v.as_double() * scale;
  return (method == "ceil" ? std::ceil(x) : method == "floor" ? std::floor(x) : std::nearbyint(x)) / scale;
}

Value extreme(Interpreter& in, const Value& value, bool largest) {
  const List items = items_of(value, in);
  if (items.empty()) return {};
  const auto it =
      largest ? std::max_element(items.begin(), items.end(), less) : std::min_element(items.begin(), items.end(), less);
  return *it;
}

Value sum(Interpreter& in, const Value& value, const Arguments& a) {
  const Value path = argument(a, 0, "attribute");
  int64_t whole = whole_argument(a, 1, "start", 0);
  double real = 0;
  bool is_whole = true;
  for (const Value& item : items_of(value, in)) {
    const Value v = path.is_undefined() ? item : attribute_path(item, path);
    if (!v.is_number()) fail_value(fmt::format("sum of a {}", v.type_name()));
    is_whole = is_whole && v.number() == nullptr;
    if (v.number() != nullptr) {
      real += *v.number();
    } else if (__builtin_add_overflow(whole, static_cast<int64_t>(v.as_double()), &whole)) {
      fail_value("a sum leaves 64 bits");
    }
  }
  if (is_whole) return whole;
  return real + static_cast<double>(whole);
}

template <class F>
Filter on_text(F f) {
  return [f](Interpreter& in, const Value& v, const Arguments&) -> Value {
    Text text = to_text(v);
    in.charge_bytes(text.size());
    return f(text);
  };
}

Text escape_html(const Text& text) {
  Text out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&#34;"
                         : c == '\'' ? "&#39;"
                                     : nullptr;
    if (entity != nullptr) {
      out.append(entity, text.origin_at(i));
    } else {
      out.append(text.substr(i, i + 1));
    }
  }
  return out;
}

const std::map<std::string_view, Filter>& filters() {
  using In = Interpreter;
  using A = Arguments;
  static const std::map<std::string_view, Filter> all = {
      {"tojson", to_json_filter},
      {"trim",
       [](In& in, const Value& v, const A& a) -> Value {
         const Text text = to_text(v);
         in.charge_bytes(text.size());
         return strip(text, text_argument(a, 0, "chars", ""), true, true);
       }},
      {"length", [](In&, const Value& v, const A&) { return length(v); }},
      {"count", [](In&, const Value& v, const A&) { return length(v); }},
      {"join", join},
      {"default",
       [](In&, const Value& v, const A& a) -> Value {
         const bool replaces = v.is_undefined() || (argument(a, 1, "boolean").is_true() && !v.is_true());
         if (!replaces) return v;
         const Value other = argument(a, 0, "default_value");
         return other.is_undefined() ? Value(Text()) : other;
       }},
      {"map", map_items},
      {"select", [](In& in, const Value& v, const A& a) { return choose(in, v, a, false, true); }},
      {"reject", [](In& in, const Value& v, const A& a) { return choose(in, v, a, false, false); }},
      {"selectattr", [](In& in, const Value& v, const A& a) { return choose(in, v, a, true, true); }},
      {"rejectattr", [](In& in, const Value& v, const A& a) { return choose(in, v, a, true, false); }},
      {"items",
       [](In& in, const Value& v, const A&) -> Value {
         if (v.is_undefined()) return List{};
         if (v.dict() == nullptr) fail_value(fmt::format("items of a {}", v.type_name()));
         return in.call(method_of(v, "items"), {});
       }},
      {"upper", on_text(upper)},
      {"lower", on_text(lower)},
      {"title", on_text(title)},
      {"capitalize", on_text(capitalize)},
      {"string", on_text([](const Text& t) { return t; })},
      {"safe", on_text([](const Text& t) { return t; })},
      {"escape", on_text(escape_html)},
      {"e", on_text(escape_html)},
      {"replace",
       [](In& in, const Value& v, const A& a) -> Value {
         return replace(in, to_text(v), to_text(argument(a, 0, "old")), to_text(argument(a, 1, "new")),
                        whole_argument(a, 2, "count", -1));
       }},
      {"indent", indent},
      {"first",
       [](In& in, const Value& v, const A&) -> Value {
         const List items = items_of(v, in);
         return items.empty() ? Value(Undefined{"first"}) : items.front();
       }},
      {"last",
       [](In& in, const Value& v, const A&) -> Value {
         const List items = items_of(v, in);
         return items.empty() ? Value(Undefined{"last"}) : items.back();
       }},
      {"list", [](In& in, const Value& v, const A&) -> Value { return items_of(v, in); }},
      {"int", [](In&, const Value& v, const A& a) { return to_int(v, a); }},
      {"float", [](In&, const Value& v, const A& a) { return to_float(v, a); }},
      {"abs",
       [](In&, const Value& v, const A&) -> Value {
         if (!v.is_number()) fail_value(fmt::format("abs of a {}", v.type_name()));
         if (v.number() != nullptr) return std::abs(*v.number());
         if (v.integer() != nullptr && *v.integer() == INT64_MIN) fail_value("a whole number leaves 64 bits");
         return std::abs(static_cast<int64_t>(v.integer() != nullptr ? *v.integer() : *v.boolean()));
       }},
      {"round", [](In&, const Value& v, const A& a) { return rounded(v, a); }},
      {"reverse",
       [](In& in, const Value& v, const A&) -> Value {
         List items = items_of(v, in);
         std::reverse(items.begin(), items.end());
         if (v.text() == nullptr) return items;
         Text out;
         for (const Value& c : items) out.append(*c.text());
         return out;
       }},
      {"sort", sorted},
      {"dictsort", dict_sorted},
      {"unique", [](In& in, const Value& v, const A&) { return unique(in, v); }},
      {"min", [](In& in, const Value& v, const A&) { return extreme(in, v, false); }},
      {"max", [](In& in, const Value& v, const A&) { return extreme(in, v, true); }},
      {"sum", sum},
      {"attr", [](In&, const Value& v, const A& a) { return method_of(v, text_argument(a, 0, "name", "")); }},
      {"wordcount",
       [](In& in, const Value& v, const A&) -> Value {
         return static_cast<int64_t>(split_words(in, to_text(v)).size());
       }},
  };
  return all;
}

bool less_or_equal(const Value& a, const Value& b) {
  return !less(b, a);
}

Test against(bool (*f)(const Value&, const Value&)) {
  return [f](const Value& v, const Arguments& a) { return f(v, argument(a, 0, "other")); };
}

int64_t whole_of(const Value& v) {
  if (v.integer() == nullptr) fail_value(fmt::format("a {} where a whole number should be", v.type_name()));
  return *v.integer();
}

const std::map<std::string_view, Test>& tests() {
  using A = Arguments;
  static const Test is_equal = against(equal);
  static const std::map<std::string_view, Test> all = {
      {"defined", [](const Value& v, const A&) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v, const A&) { return v.is_undefined(); }},
      {"none", [](const Value& v, const A&) { return v.is_none(); }},
      {"string", [](const Value& v, const A&) { return v.text() != nullptr; }},
      {"mapping", [](const Value& v, const A&) { return v.dict() != nullptr; }},
      {"iterable",
       [](const Value& v, const A&) {
         return v.text() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined() ||
                v.loop() != nullptr;
       }},
      {"sequence",
       [](const Value& v, const A&) {
         return v.text() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined();
       }},
      {"number", [](const Value& v, const A&) { return v.is_number(); }},
      {"integer", [](const Value& v, const A&) { return v.integer() != nullptr; }},
      {"float", [](const Value& v, const A&) { return v.number() != nullptr; }},
      {"boolean", [](const Value& v, const A&) { return v.boolean() != nullptr; }},
      {"true", [](const Value& v, const A&) { return v.boolean() != nullptr && *v.boolean(); }},
      {"false", [](const Value& v, const A&) { return v.boolean() != nullptr && !*v.boolean(); }},
      {"callable", [](const Value& v, const A&) { return v.function() != nullptr; }},
      {"odd", [](const Value& v, const A&) { return whole_of(v) % 2 != 0; }},
      {"even", [](const Value& v, const A&) { return whole_of(v) % 2 == 0; }},
      {"divisibleby",
       [](const Value& v, const A& a) {
         const int64_t by = whole_of(argument(a, 0, "num"));
         if (by == 0) fail_value("a division by zero");
         return by == -1 || whole_of(v) % by == 0;
       }},
      {"equalto", is_equal},
      {"eq", is_equal},
      {"==", is_equal},
      {"sameas", is_equal},
      {"ne", [](const Value& v, const A& a) { return !equal(v, argument(a, 0, "other")); }},
      {"lt", against(less)},
      {"lessthan", against(less)},
      {"le", against(less_or_equal)},
      {"gt", [](const Value& v, const A& a) { return less(argument(a, 0, "other"), v); }},
      {"greaterthan", [](const Value& v, const A& a) { return less(argument(a, 0, "other"), v); }},
      {"ge", [](const Value& v, const A& a) { return less_or_equal(argument(a, 0, "other"), v); }},
      {"in",
       [](const Value& v, const A& a) {
         const Value in = argument(a, 0, "seq");
         if (in.text() != nullptr && v.text() != nullptr)
           return in.text()->bytes().find(v.text()->bytes()) != std::string::npos;
         if (in.dict() != nullptr) return v.text() != nullptr && in.dict()->find(v.text()->bytes()) != nullptr;
         return in.list() != nullptr &&
                std::any_of(in.list()->begin(), in.list()->end(), [&](const Value& x) { return equal(x, v); });
       }},
      {"upper",
       [](const Value& v, const A&) {
         return v.text() != nullptr && *v.text() == upper(*v.text()) && !(*v.text() == lower(*v.text()));
       }},
      {"lower",
       [](const Value& v, const A&) {
         return v.text() != nullptr && *v.text() == lower(*v.text()) && !(*v.text() == upper(*v.text()));
       }},
  };
  return all;
}

std::string_view full_name(std::string_view filter) {
  return filter == "d" ? "default" : filter;
}

}  // namespace

void fail_value(std::string_view fact) {
  fail(ErrorCode::invalid_argument, "chat template: {}", fact);
}

Value argument(const Arguments& arguments, std::size_t place, std::string_view name) {
  if (place < arguments.given.size()) return arguments.given[place];
  for (const auto& [known, value] : arguments.named) {
    if (known == name) return value;
  }
  return {};
}

bool is_filter(std::string_view name) {
  return filters().contains(full_name(name));
}
bool is_test(std::string_view name) {
  return tests().contains(name);
}

Value apply_filter(Interpreter& interpreter, const std::string& name, const Value& value, const Arguments& arguments) {
  return filters().at(full_name(name))(interpreter, value, arguments);
}

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  return tests().at(name)(value, arguments);
}

}  // namespace gradus::lm::jinja
