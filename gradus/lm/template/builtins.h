// Jinja's filters and tests, and the methods of Python's values, as far as templates use them.
#pragma once

#include <string_view>

#include "gradus/lm/template/value.h"

namespace gradus::lm::jinja {

bool is_filter(std::string_view name);
bool is_test(std::string_view name);

// Throw invalid_argument when the value or arguments are not what the filter or test takes.
Value apply_filter(Interpreter& interpreter, const std::string& name, const Value& value, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);

// value.name: a method of the value's type; undefined when it has none of this name.
Value method_of(const Value& value, const std::string& name);

// The items that a loop, or a list made of it, has. Throws invalid_argument for what has none.
List items_of(const Value& value, Interpreter& interpreter);

// Where the characters of a text begin, and its end.
std::vector<std::size_t> character_starts(const std::string& bytes);

// "chat template: FACT".
[[noreturn]] void fail_value(std::string_view fact);

// An argument by its place or name; undefined when it is not given.
Value argument(const Arguments& arguments, std::size_t place, std::string_view name);

}  // namespace gradus::lm::jinja
