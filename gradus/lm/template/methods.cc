// The methods and attributes of values: str, dict, list and the variable `loop`.
#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/builtins.h"
#include "gradus/lm/template/interpreter.h"
#include "gradus/lm/template/text_methods.h"
#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm::jinja {

namespace {

const Text& text_of(const Value& v, std::string_view what) {
  if (v.text() == nullptr) fail_value(fmt::format("{} is a {} and no text", what, v.type_name()));
  return *v.text();
}

int64_t whole_or(const Value& v, int64_t other) {
  if (v.is_undefined() || v.is_none()) return other;
  if (v.integer() == nullptr) fail_value(fmt::format("a {} where a whole number should be", v.type_name()));
  return *v.integer();
}

// Whether the text starts, or ends, with the argument or one of it.
bool matches(const Text& text, const Value& argument, bool at_start) {
  const auto one = [&](const Value& v) {
    const std::string& part = text_of(v, at_start ? "a prefix" : "a suffix").bytes();
    return at_start ? text.bytes().starts_with(part) : text.bytes().ends_with(part);
  };
  if (argument.list() != nullptr) return std::any_of(argument.list()->begin(), argument.list()->end(), one);
  return one(argument);
}

// All characters have the property, and there is one.
template <class Is>
bool all_are(const Text& text, const Is& is) {
  const std::vector<std::size_t> starts = character_starts(text.bytes());
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const CodePoint c = decode_utf8(std::string_view(text.bytes()).substr(starts[i]));
    if (c.n_bytes == 0 || !is(characters()[c.value])) return false;
  }
  return !text.empty();
}

// Characters before the byte, as an index; -1 for npos.
int64_t character_index(const std::string& bytes, std::size_t at) {
  if (at == std::string::npos) return -1;
  return std::count_if(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                       [](char c) { return (c & 0xC0) != 0x80; });
}

Value split(Interpreter& in, const Text& text, const Arguments& a, bool from_right) {
  const Value separator = argument(a, 0, "sep");
  const int64_t most = whole_or(argument(a, 1, "maxsplit"), -1);
  if (!separator.is_undefined() && !separator.is_none())
    return split_at(in, text, text_of(separator, "a separator").bytes(), most, from_right);
  if (from_right && most >= 0) fail_value("rsplit at white space with a limit is not known");
  return split_words(in, text, most);
}

using Method = Value (*)(Interpreter&, const Text&, const Arguments&);

template <bool left, bool right>
Value strip_method(Interpreter& in, const Text& text, const Arguments& a) {
  in.charge_bytes(text.size());
  const Value set = argument(a, 0, "chars");
  return strip(text, set.is_undefined() || set.is_none() ? "" : text_of(set, "chars").bytes(), left, right);
}

template <Text (*f)(const Text&)>
Value rewrite_method(Interpreter& in, const Text& text, const Arguments&) {
  in.charge_bytes(text.size());
  return f(text);
}

template <uint16_t flags>
Value is_method(Interpreter& in, const Text& text, const Arguments&) {
  in.charge_bytes(text.size());
  return all_are(text, [](uint16_t p) { return (p & flags) != 0; });
}

const std::map<std::string_view, Method>& text_methods() {
  using In = Interpreter;
  using A = Arguments;
  static const std::map<std::string_view, Method> all = {
      {"strip", strip_method<true, true>},
      {"lstrip", strip_method<true, false>},
      {"rstrip", strip_method<false, true>},
      {"upper", rewrite_method<upper>},
      {"lower", rewrite_method<lower>},
      {"title", rewrite_method<title>},
      {"capitalize", rewrite_method<capitalize>},
      {"isspace", is_method<kSpace>},
      {"isalpha", is_method<kLetter>},
      {"isalnum", is_method<kLetter | kNumber>},
      {"isdigit",
       [](In&, const Text& t, const A&) -> Value {
         return all_are(t, [](uint16_t p) { return (p & kCategoryMask) == kNd; });
       }},
      {"split", [](In& in, const Text& t, const A& a) { return split(in, t, a, false); }},
      {"rsplit", [](In& in, const Text& t, const A& a) { return split(in, t, a, true); }},
      {"splitlines",
       [](In& in, const Text& t, const A&) -> Value {
         in.charge_bytes(t.size());
         List out;
         for (const Text& line : lines_of(t)) {
           in.charge_items(1);
           out.emplace_back(line);
         }
         return out;
       }},
      {"startswith",
       [](In&, const Text& t, const A& a) -> Value { return matches(t, argument(a, 0, "prefix"), true); }},
      {"endswith", [](In&, const Text& t, const A& a) -> Value { return matches(t, argument(a, 0, "suffix"), false); }},
      {"removeprefix",
       [](In&, const Text& t, const A& a) -> Value {
         const Value part = argument(a, 0, "prefix");
         return matches(t, part, true) ? t.substr(part.text()->size(), t.size()) : t;
       }},
      {"removesuffix",
       [](In&, const Text& t, const A& a) -> Value {
         const Value part = argument(a, 0, "suffix");
         return matches(t, part, false) ? t.substr(0, t.size() - part.text()->size()) : t;
       }},
      {"replace",
       [](In& in, const Text& t, const A& a) -> Value {
         return replace(in, t, text_of(argument(a, 0, "old"), "old"), text_of(argument(a, 1, "new"), "new"),
                        whole_or(argument(a, 2, "count"), -1));
       }},
      {"join",
       [](In& in, const Text& t, const A& a) -> Value {
         return apply_filter(in, "join", argument(a, 0, "iterable"), {.given = {Value(t)}, .named = {}});
       }},
      {"find",
       [](In& in, const Text& t, const A& a) -> Value {
         in.charge_bytes(t.size());
         return character_index(t.bytes(), t.bytes().find(text_of(argument(a, 0, "sub"), "sub").bytes()));
       }},
      {"rfind",
       [](In& in, const Text& t, const A& a) -> Value {
         in.charge_bytes(t.size());
         return character_index(t.bytes(), t.bytes().rfind(text_of(argument(a, 0, "sub"), "sub").bytes()));
       }},
      {"count",
       [](In& in, const Text& t, const A& a) -> Value {
         const std::string& part = text_of(argument(a, 0, "sub"), "sub").bytes();
         if (part.empty()) fail_value("a count of an empty text");
         return static_cast<int64_t>(split_at(in, t, part, -1, false).size()) - 1;
       }},
  };
  return all;
}

Value dict_method(const Value& value, const std::string& name) {
  if (name == "get") {
    return Function{name, [value](Interpreter&, const Arguments& a) -> Value {
                      const Value key = argument(a, 0, "key"), other = argument(a, 1, "default");
                      const Value* found = key.text() != nullptr ? value.dict()->find(key.text()->bytes()) : nullptr;
                      if (found != nullptr) return *found;
                      return other.is_undefined() ? Value(None{}) : other;
                    }};
  }
  if (name != "items" && name != "keys" && name != "values") return {};
  return Function{
      name, [value, name](Interpreter& in, const Arguments&) -> Value {
        List out;
        in.charge_items(value.dict()->items().size());
        for (const auto& [key, item] : value.dict()->items()) {
          out.push_back(name == "items" ? Value(List{Value(key), item}, true) : name == "keys" ? Value(key) : item);
        }
        return out;
      }};
}

Value list_method(const Value& value, const std::string& name) {
  if (name != "index" && name != "count") return {};
  return Function{name, [value, name](Interpreter& in, const Arguments& a) -> Value {
                    const Value what = argument(a, 0, "value");
                    const List& list = *value.list();
                    in.step(static_cast<int64_t>(list.size()));
                    const auto is_it = [&](const Value& v) { return equal(v, what); };
                    if (name == "count") return static_cast<int64_t>(std::count_if(list.begin(), list.end(), is_it));
                    const auto found = std::find_if(list.begin(), list.end(), is_it);
                    if (found == list.end()) fail_value("index of a value that is not in the list");
                    return static_cast<int64_t>(found - list.begin());
                  }};
}

Value loop_attribute(const Value& value, const std::string& name) {
  const Loop& loop = *value.loop();
  const auto i = static_cast<int64_t>(loop.index), n = static_cast<int64_t>(loop.items->size());
  if (name == "index") return i + 1;
  if (name == "index0") return i;
  if (name == "revindex") return n - i;
  if (name == "revindex0") return n - i - 1;
  if (name == "first") return i == 0;
  if (name == "last") return i + 1 == n;
  if (name == "length") return n;
  if (name == "depth") return int64_t{1};
  if (name == "depth0") return int64_t{0};
  if (name == "previtem") return i > 0 ? (*loop.items)[loop.index - 1] : Value(Undefined{name});
  if (name == "nextitem") return i + 1 < n ? (*loop.items)[loop.index + 1] : Value(Undefined{name});
  if (name == "cycle") {
    return Function{name, [i](Interpreter&, const Arguments& a) -> Value {
                      if (a.given.empty()) fail_value("loop.cycle of nothing");
                      return a.given[static_cast<std::size_t>(i) % a.given.size()];
                    }};
  }
  return Undefined{name};
}

}  // namespace

Value method_of(const Value& value, const std::string& name) {
  if (value.text() != nullptr) {
    const auto found = text_methods().find(name);
    if (found == text_methods().end()) return Undefined{name};
    return Function{name, [value, method = found->second](Interpreter& in, const Arguments& a) {
                      return method(in, *value.text(), a);
                    }};
  }
  Value method;
  if (value.dict() != nullptr) method = dict_method(value, name);
  if (value.list() != nullptr) method = list_method(value, name);
  if (value.loop() != nullptr) method = loop_attribute(value, name);
  return method.is_undefined() ? Value(Undefined{name}) : method;
}

List items_of(const Value& value, Interpreter& interpreter) {
  if (value.is_undefined()) return {};
  List out;
  if (value.list() != nullptr) {
    interpreter.charge_items(value.list()->size());
    return *value.list();
  }
  if (value.dict() != nullptr) {
    interpreter.charge_items(value.dict()->items().size());
    for (const auto& [key, item] : value.dict()->items()) out.emplace_back(key);
    return out;
  }
  if (value.text() == nullptr) fail_value(fmt::format("a {} has no items", value.type_name()));
  const std::vector<std::size_t> starts = character_starts(value.text()->bytes());
  interpreter.charge_items(starts.size());
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) out.emplace_back(value.text()->substr(starts[i], starts[i + 1]));
  return out;
}

}  // namespace gradus::lm::jinja
