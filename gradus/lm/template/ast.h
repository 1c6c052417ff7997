// A parsed template: statements and expressions of Jinja.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradus/lm/template/value.h"

namespace gradus::lm::jinja {

struct Expression {
  enum class Kind {
    constant,   // value
    name,       // name
    list,       // operands
    tuple,      // operands
    dict,       // key, value, key, value, ...
    attribute,  // operands[0].name
    item,       // operands[0][operands[1]]
    slice,      // operands[0][operands[1] : operands[2] : operands[3]]; those left out are null
    call,       // operands[0](operands[1...]), then named
    filter,     // operands[0] | name(operands[1...])
    test,       // operands[0] is name(operands[1...])
    unary,      // name: "-", "+", "not"
    binary,     // name: "+", "and", "in", "not in", ...
    compare,    // operands[0] names[0] operands[1] names[1] ...
    choice,     // operands[0] if operands[1] else operands[2], which may be null
  };
  Kind kind = Kind::constant;
  int line = 0;
  Value value{};
  std::string name{};
  std::vector<std::unique_ptr<Expression>> operands{};
  std::vector<std::string> names{};  // of operators of compare; of the last operands of call, filter and test
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Statement {
  enum class Kind {
    data,        // text
    print,       // expression
    choose,      // branches: if, elif, else (whose expression is null)
    loop,        // for targets in expression if condition: body, else other
    set,         // targets = expression; a target "ns.x" sets an attribute
    capture,     // set targets[0] to what body prints, passed through the filters of expression if there is one
    macro,       // name(targets = defaults): body
    generation,  // body, which the assistant writes
    leave,       // break
    next,        // continue
  };
  Kind kind = Kind::data;
  int line = 0;
  std::string text{};
  ExpressionPtr expression{}, condition{};
  std::vector<std::string> targets{};
  std::vector<ExpressionPtr> defaults{};
  std::vector<std::unique_ptr<Statement>> body{}, other{};
  std::vector<std::pair<ExpressionPtr, std::vector<std::unique_ptr<Statement>>>> branches{};
};
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

// Reads a template as `transformers` sets Jinja up: trim_blocks and lstrip_blocks on, loop controls and {% generation
// %} known. Throws corrupt, naming the line, where it is no template, and unsupported for what of Jinja is not read
// (inheritance, inclusion, recursive loops, unknown filters and tests, ...).
Block parse_template(std::string_view source);

}  // namespace gradus::lm::jinja
