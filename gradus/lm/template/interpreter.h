// Runs a parsed template. Templates come from files of others, so their work, their depth and what they make are
// bounded; passing a bound is an Error.
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradus/lm/template/ast.h"

namespace gradus::lm::jinja {

struct Limits {
  int64_t steps = 2'000'000;        // expressions and statements, and each 64 bytes or 8 items that are made
  int64_t output_bytes = 16 << 20;  // of the result
  int64_t made_bytes = 256 << 20;   // of all texts and lists on the way
};

class Interpreter {
 public:
  explicit Interpreter(const Limits& limits) : limits_(limits) {}

  void define(const std::string& name, Value value);
  void set_now(const std::tm& now) { now_ = now; }

  Text run(const Block& block);

  // Stretches of the result within {% generation %}.
  struct Stretch {
    std::size_t begin = 0, end = 0;
  };
  const std::vector<Stretch>& generated() const { return generated_; }

  // Accounts for bytes or items that an expression makes, before it makes them. Throws exhausted.
  void charge_bytes(std::size_t n);
  void charge_items(std::size_t n) { charge_bytes(n * 8 * sizeof(Value)); }
  void step(int64_t n = 1);

  const std::optional<std::tm>& now() const { return now_; }
  Value call(const Value& function, const Arguments& arguments);

 private:
  struct Scope {
    std::map<std::string, Value> names;
    std::shared_ptr<Scope> outer;
  };
  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow { on, leave, next };
  class Deeper;

  Flow run_block(const Block& block);
  Flow run_statement(const Statement& s);
  Flow run_loop(const Statement& s);
  Text run_captured(const Block& block);
  void assign(const std::vector<std::string>& targets, const Value& value);
  void define_macro(const Statement& s);
  void print(const Text& text);

  Value evaluate(const Expression& e);
  Value look_up(const std::string& name) const;
  Value attribute(const Value& of, const std::string& name, bool item_first);
  Value item(const Value& of, const Value& key);
  Value slice(const Expression& e);
  Value unary(const Expression& e);
  Value binary(const Expression& e);
  Value arithmetic(const std::string& name, const Value& a, const Value& b);
  Value add(const Value& a, const Value& b);
  Value repeat(const Value& a, int64_t n);
  Value format_percent(const Text& format, const Value& values);
  bool compare(const std::string& name, const Value& a, const Value& b);
  bool contains(const Value& in, const Value& what);
  Arguments arguments(const Expression& e, std::size_t first);

  Limits limits_;
  int64_t n_steps_ = 0, n_bytes_ = 0;
  int depth_ = 0;
  ScopePtr scope_ = std::make_shared<Scope>();
  std::optional<std::tm> now_;
  Text output_;
  int n_captures_ = 0;
  std::vector<Stretch> generated_;
};

// a < b of Python, for numbers, texts and lists.
bool less(const Value& a, const Value& b);

}  // namespace gradus::lm::jinja
