#include "gradus/lm/template/interpreter.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/builtins.h"

namespace gradus::lm::jinja {

// As deep as calls of ours nest, whether by expressions, blocks or macros that call themselves.
class Interpreter::Deeper {
 public:
  explicit Deeper(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter_.depth_ > kDeepest) {
      fail(ErrorCode::exhausted, "chat template: expressions or macros are nested deeper than {} levels", kDeepest);
    }
    interpreter_.step();
  }
  ~Deeper() { --interpreter_.depth_; }

 private:
  static constexpr int kDeepest = 500;
  Interpreter& interpreter_;
};

void Interpreter::step(int64_t n) {
  n_steps_ += n;
  if (n_steps_ > limits_.steps) fail(ErrorCode::exhausted, "chat template: more than {} steps", limits_.steps);
}

void Interpreter::charge_bytes(std::size_t n) {
  if (n > static_cast<std::size_t>(limits_.made_bytes - n_bytes_)) {
    fail(ErrorCode::exhausted, "chat template: it makes more than {} bytes of text and lists", limits_.made_bytes);
  }
  n_bytes_ += static_cast<int64_t>(n);
  step(static_cast<int64_t>(n / 64));
}

void Interpreter::define(const std::string& name, Value value) {
  scope_->names[name] = std::move(value);
}

Text Interpreter::run(const Block& block) {
  run_block(block);
  return std::move(output_);
}

void Interpreter::print(const Text& text) {
  if (output_.size() + text.size() > static_cast<std::size_t>(limits_.output_bytes)) {
    fail(ErrorCode::exhausted, "chat template: the result is longer than {} bytes", limits_.output_bytes);
  }
  charge_bytes(text.size());
  output_.append(text);
}

Interpreter::Flow Interpreter::run_block(const Block& block) {
  const Deeper deeper(*this);
  for (const StatementPtr& s : block) {
    if (const Flow flow = run_statement(*s); flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_statement(const Statement& s) {
  step();
  switch (s.kind) {
    case Statement::Kind::data:
      print(Text(s.text));
      break;
    case Statement::Kind::print:
      print(to_text(evaluate(*s.expression)));
      break;
    case Statement::Kind::choose:
      for (const auto& [condition, body] : s.branches) {
        if (condition == nullptr || evaluate(*condition).is_true()) return run_block(body);
      }
      break;
    case Statement::Kind::loop:
      return run_loop(s);
    case Statement::Kind::set:
      assign(s.targets, evaluate(*s.expression));
      break;
    case Statement::Kind::capture: {
      Value captured = run_captured(s.body);
      if (s.expression != nullptr) {
        const ScopePtr outer = scope_;
        scope_ = std::make_shared<Scope>(Scope{{{"caller's output", std::move(captured)}}, outer});
        captured = evaluate(*s.expression);
        scope_ = outer;
      }
      assign(s.targets, captured);
      break;
    }
    case Statement::Kind::macro:
      define_macro(s);
      break;
    case Statement::Kind::generation: {
      const std::size_t begin = output_.size();
      const Flow flow = run_block(s.body);
      if (n_captures_ == 0) generated_.push_back({begin, output_.size()});
      return flow;
    }
    case Statement::Kind::leave:
      return Flow::leave;
    case Statement::Kind::next:
      return Flow::next;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_loop(const Statement& s) {
  const ScopePtr outer = scope_;
  List items = items_of(evaluate(*s.expression), *this);
  if (s.condition != nullptr) {
    List chosen;
    for (Value& item : items) {
      scope_ = std::make_shared<Scope>(Scope{{}, outer});
      assign(s.targets, item);
      if (evaluate(*s.condition).is_true()) chosen.push_back(std::move(item));
    }
    scope_ = outer;
    items = std::move(chosen);
  }
  const auto all = std::make_shared<const List>(std::move(items));
  for (std::size_t i = 0; i < all->size(); ++i) {
    scope_ = std::make_shared<Scope>(Scope{{}, outer});
    auto loop = std::make_shared<Loop>();
    loop->items = all;
    loop->index = i;
    define("loop", Value(std::shared_ptr<const Loop>(std::move(loop))));
    assign(s.targets, (*all)[i]);
    if (run_block(s.body) == Flow::leave) break;
  }
  scope_ = outer;
  return all->empty() && !s.other.empty() ? run_block(s.other) : Flow::on;
}

// What a block prints, as a value.
Text Interpreter::run_captured(const Block& block) {
  Text outer = std::exchange(output_, Text());
  ++n_captures_;
  const ScopePtr scope = scope_;
  scope_ = std::make_shared<Scope>(Scope{{}, scope});
  run_block(block);
  scope_ = scope;
  --n_captures_;
  return std::exchange(output_, std::move(outer));
}

void Interpreter::assign(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() > 1) {
    const List parts = items_of(value, *this);
    if (parts.size() != targets.size()) {
      fail_value(fmt::format("{} values are unpacked into {} names", parts.size(), targets.size()));
    }
    for (std::size_t i = 0; i < targets.size(); ++i) assign({targets[i]}, parts[i]);
    return;
  }
  const std::string& target = targets.front();
  const std::size_t dot = target.find('.');
  if (dot == std::string::npos) {
    define(target, value);
    return;
  }
  const Value owner = look_up(target.substr(0, dot));
  if (owner.name_space() == nullptr) fail_value(fmt::format("{} is set, but is no attribute of a namespace", target));
  owner.name_space()->dict->set(Text(target.substr(dot + 1)), value);
}

// A macro sees the names of where it stands. It does not own them, or the two would own each other.
void Interpreter::define_macro(const Statement& s) {
  const std::weak_ptr<Scope> place = scope_;
  const Statement* macro = &s;  // of the template, which outlives the run
  define(s.text,
         Function{s.text, [place, macro](Interpreter& self, const Arguments& given) -> Value {
                    const ScopePtr outer = place.lock();
                    if (outer == nullptr)
                      fail_value(fmt::format("the macro {} is called where it is not known", macro->text));
                    if (given.given.size() > macro->targets.size()) {
                      fail_value(fmt::format("the macro {} takes {} arguments, not {}", macro->text,
                                             macro->targets.size(), given.given.size()));
                    }
                    for (const auto& [name, value] : given.named) {
                      if (std::find(macro->targets.begin(), macro->targets.end(), name) == macro->targets.end()) {
                        fail_value(fmt::format("the macro {} has no argument {}", macro->text, quote_text(name)));
                      }
                    }
                    const ScopePtr caller = self.scope_;
                    self.scope_ = std::make_shared<Scope>(Scope{{}, outer});
                    for (std::size_t i = 0; i < macro->targets.size(); ++i) {
                      Value value = argument(given, i, macro->targets[i]);
                      if (value.is_undefined() && macro->defaults[i] != nullptr)
                        value = self.evaluate(*macro->defaults[i]);
                      self.define(macro->targets[i], std::move(value));
                    }
                    Text text = self.run_captured(macro->body);
                    self.scope_ = caller;
                    return text;
                  }});
}

Value Interpreter::look_up(const std::string& name) const {
  for (const Scope* s = scope_.get(); s != nullptr; s = s->outer.get()) {
    const auto found = s->names.find(name);
    if (found != s->names.end()) return found->second;
  }
  return Undefined{name};
}

Value Interpreter::call(const Value& function, const Arguments& given) {
  const Deeper deeper(*this);
  if (function.is_undefined())
    fail_value(fmt::format("{} is not defined, but called", quote_text(function.undefined()->name)));
  if (function.function() == nullptr) fail_value(fmt::format("a {} is called", function.type_name()));
  return function.function()->call(*this, given);
}

}  // namespace gradus::lm::jinja
