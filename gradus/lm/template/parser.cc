#include <algorithm>
#include <array>
#include <charconv>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/ast.h"
#include "gradus/lm/template/builtins.h"
#include "gradus/lm/template/lexer.h"

namespace gradus::lm::jinja {

namespace {

using Kind = Expression::Kind;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Block run() {
    Block block = block_until({});
    if (now().kind != Token::Kind::end) fail_at(now().line, fmt::format("{{% {} %}} ends nothing", peek(1).text));
    return block;
  }

 private:
  // Recursion is as deep as the template nests, so nesting is bounded.
  class Deeper {
   public:
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kDeepest)
        fail_at(parser_.now().line, fmt::format("nested deeper than {} levels", kDeepest));
    }
    ~Deeper() { --parser_.depth_; }

   private:
    static constexpr int kDeepest = 100;
    Parser& parser_;
  };

  // What is written as a chain, such as a + b + c, is a tree as deep as the chain is long.
  void count_link(int& n_links) const {
    constexpr int kLongest = 200;
    if (++n_links > kLongest) fail_at(now().line, fmt::format("a chain of more than {} operators", kLongest));
  }

  const Token& now() const { return tokens_[at_]; }
  const Token& peek(std::size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool is_symbol(std::string_view s) const { return now().kind == Token::Kind::symbol && now().text == s; }
  bool is_name(std::string_view s) const { return now().kind == Token::Kind::name && now().text == s; }
  bool take_symbol(std::string_view s) {
    if (!is_symbol(s)) return false;
    take();
    return true;
  }
  bool take_name(std::string_view s) {
    if (!is_name(s)) return false;
    take();
    return true;
  }
  void expect_symbol(std::string_view s) {
    if (!take_symbol(s)) fail_at(now().line, fmt::format("{} is missing", s));
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::name) fail_at(now().line, "a name is missing");
    return take().text;
  }
  void expect_name(std::string_view s) {
    if (!take_name(s)) fail_at(now().line, fmt::format("'{}' is missing", s));
  }
  void expect_block_end() {
    if (now().kind != Token::Kind::block_end) fail_at(now().line, fmt::format("{} is out of place", shown()));
    take();
  }
  std::string shown() const { return now().text.empty() ? "the end of the tag" : quote_text(now().text); }

  ExpressionPtr make(Kind kind, std::string name = "") const {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->line = now().line;
    e->name = std::move(name);
    return e;
  }
  StatementPtr make(Statement::Kind kind) const {
    auto s = std::make_unique<Statement>();
    s->kind = kind;
    s->line = now().line;
    return s;
  }

  // Statements up to {% one of ends, of which the opening is not taken.
  Block block_until(std::initializer_list<std::string_view> ends) {
    const Deeper deeper(*this);
    Block block;
    while (now().kind != Token::Kind::end) {
      if (now().kind == Token::Kind::data) {
        auto s = make(Statement::Kind::data);
        s->text = take().text;
        block.push_back(std::move(s));
      } else if (now().kind == Token::Kind::print_begin) {
        auto s = make(Statement::Kind::print);
        take();
        s->expression = expression_or_tuple();
        if (now().kind != Token::Kind::print_end) fail_at(now().line, fmt::format("{} is out of place", shown()));
        take();
        block.push_back(std::move(s));
      } else {
        const std::string_view word = peek(1).text;
        if (std::find(ends.begin(), ends.end(), word) != ends.end()) return block;
        if (word.starts_with("end") || word == "else" || word == "elif")
          return block;  // the caller says what is missing
        take();
        block.push_back(statement());
      }
    }
    return block;
  }

  // Takes {% WORD.
  void close(std::string_view word) {
    if (now().kind != Token::Kind::block_begin || peek(1).text != word)
      fail_at(now().line, fmt::format("{{% {} %}} is missing", word));
    take();
    take();
  }

  StatementPtr statement() {
    const int line = now().line;
    const std::string word = expect_name();
    if (word == "if") return choose();
    if (word == "for") return loop();
    if (word == "set") return set();
    if (word == "macro") return macro();
    if (word == "generation") {
      auto s = make(Statement::Kind::generation);
      expect_block_end();
      s->body = block_until({"endgeneration"});
      close("endgeneration");
      expect_block_end();
      return s;
    }
    if (word == "break" || word == "continue") {
      if (n_loops_ == 0) fail_at(line, fmt::format("{{% {} %}} outside of a loop", word));
      auto s = make(word == "break" ? Statement::Kind::leave : Statement::Kind::next);
      expect_block_end();
      return s;
    }
    fail(ErrorCode::unsupported, "unsupported: chat template: line {}: the statement {{% {} %}}", line, word);
  }

  StatementPtr choose() {
    auto s = make(Statement::Kind::choose);
    ExpressionPtr condition = expression_or_tuple();
    expect_block_end();
    while (true) {
      s->branches.emplace_back(std::move(condition), block_until({"elif", "else", "endif"}));
      if (now().kind != Token::Kind::block_begin) fail_at(s->line, "{% if %} has no {% endif %}");
      if (peek(1).text == "endif") {
        close("endif");
        expect_block_end();
        return s;
      }
      if (s->branches.back().first == nullptr || (peek(1).text != "elif" && peek(1).text != "else"))
        fail_at(now().line, fmt::format("{{% {} %}} within an {{% if %}} that is not closed", peek(1).text));
      const bool is_else = peek(1).text == "else";
      close(is_else ? "else" : "elif");
      condition = is_else ? nullptr : expression_or_tuple();
      expect_block_end();
    }
  }

  StatementPtr loop() {
    auto s = make(Statement::Kind::loop);
    s->targets = targets(false);
    expect_name("in");
    s->expression = or_expression_or_tuple();
    if (take_name("if")) s->condition = expression();
    if (is_name("recursive")) {
      fail(ErrorCode::unsupported, "unsupported: chat template: line {}: a recursive loop", now().line);
    }
    expect_block_end();
    ++n_loops_;
    s->body = block_until({"else", "endfor"});
    --n_loops_;
    if (now().kind == Token::Kind::block_begin && peek(1).text == "else") {
      close("else");
      expect_block_end();
      s->other = block_until({"endfor"});
    }
    close("endfor");
    expect_block_end();
    return s;
  }

  // Names with commas between, as of a loop or set; in parentheses or not.
  std::vector<std::string> targets(bool with_attributes) {
    std::vector<std::string> out;
    const bool in_parentheses = take_symbol("(");
    do {
      if (in_parentheses && is_symbol(")")) break;
      std::string name = expect_name();
      if (with_attributes && take_symbol(".")) name.append(1, '.').append(expect_name());
      out.push_back(std::move(name));
    } while (take_symbol(","));
    if (in_parentheses) expect_symbol(")");
    return out;
  }

  StatementPtr set() {
    auto s = make(Statement::Kind::set);
    s->targets = targets(true);
    if (take_symbol("=")) {
      s->expression = expression_or_tuple();
      expect_block_end();
      return s;
    }
    if (s->targets.size() != 1) fail_at(s->line, "= is missing");
    s->kind = Statement::Kind::capture;
    if (is_symbol("|")) {
      auto captured = make(Kind::name, "caller's output");
      s->expression = filters(std::move(captured));
    }
    expect_block_end();
    s->body = block_until({"endset"});
    close("endset");
    expect_block_end();
    return s;
  }

  StatementPtr macro() {
    auto s = make(Statement::Kind::macro);
    s->text = expect_name();
    expect_symbol("(");
    while (!take_symbol(")")) {
      s->targets.push_back(expect_name());
      s->defaults.push_back(take_symbol("=") ? expression() : nullptr);
      if (!is_symbol(")")) expect_symbol(",");
    }
    expect_block_end();
    const int n_loops = std::exchange(n_loops_, 0);
    s->body = block_until({"endmacro"});
    n_loops_ = n_loops;
    close("endmacro");
    expect_block_end();
    return s;
  }

  // Expressions, from the loosest binding to the tightest, as in jinja2's parser.

  ExpressionPtr tuple_of(ExpressionPtr first, ExpressionPtr (Parser::*next)()) {
    if (!is_symbol(",")) return first;
    auto tuple = make(Kind::tuple);
    tuple->operands.push_back(std::move(first));
    while (take_symbol(",")) {
      if (now().kind == Token::Kind::block_end || now().kind == Token::Kind::print_end || is_symbol(")")) break;
      tuple->operands.push_back((this->*next)());
    }
    return tuple;
  }
  ExpressionPtr expression_or_tuple() { return tuple_of(expression(), &Parser::expression); }
  ExpressionPtr or_expression_or_tuple() { return tuple_of(or_expression(), &Parser::or_expression); }

  ExpressionPtr expression() {
    const Deeper deeper(*this);
    ExpressionPtr e = or_expression();
    for (int n_links = 0; take_name("if"); count_link(n_links)) {
      auto choice = make(Kind::choice);
      choice->operands.push_back(std::move(e));
      choice->operands.push_back(or_expression());
      choice->operands.push_back(take_name("else") ? expression() : nullptr);
      e = std::move(choice);
    }
    return e;
  }

  ExpressionPtr binary(std::string name, ExpressionPtr left, ExpressionPtr right) {
    auto e = make(Kind::binary, std::move(name));
    e->operands.push_back(std::move(left));
    e->operands.push_back(std::move(right));
    return e;
  }

  ExpressionPtr or_expression() {
    ExpressionPtr e = and_expression();
    for (int n_links = 0; take_name("or"); count_link(n_links)) e = binary("or", std::move(e), and_expression());
    return e;
  }
  ExpressionPtr and_expression() {
    ExpressionPtr e = not_expression();
    for (int n_links = 0; take_name("and"); count_link(n_links)) e = binary("and", std::move(e), not_expression());
    return e;
  }
  ExpressionPtr not_expression() {
    if (!is_name("not")) return compare();
    const Deeper deeper(*this);
    auto e = make(Kind::unary, "not");
    take();
    e->operands.push_back(not_expression());
    return e;
  }

  ExpressionPtr compare() {
    ExpressionPtr first = sum();
    auto e = make(Kind::compare);
    while (true) {
      if (now().kind == Token::Kind::symbol && (now().text == "==" || now().text == "!=" || now().text == "<" ||
                                                now().text == "<=" || now().text == ">" || now().text == ">=")) {
        e->names.push_back(take().text);
      } else if (take_name("in")) {
        e->names.emplace_back("in");
      } else if (is_name("not") && peek(1).kind == Token::Kind::name && peek(1).text == "in") {
        take();
        take();
        e->names.emplace_back("not in");
      } else {
        break;
      }
      if (first != nullptr) e->operands.push_back(std::move(first));
      e->operands.push_back(sum());
    }
    return first != nullptr ? std::move(first) : std::move(e);
  }

  template <class Next>
  ExpressionPtr left_to_right(std::initializer_list<std::string_view> symbols, const Next& next) {
    ExpressionPtr e = next();
    int n_links = 0;
    while (true) {
      const auto found = std::find_if(symbols.begin(), symbols.end(), [&](auto s) { return is_symbol(s); });
      if (found == symbols.end()) return e;
      take();
      count_link(n_links);
      e = binary(std::string(*found), std::move(e), next());
    }
  }
  ExpressionPtr sum() {
    return left_to_right({"+", "-"}, [&] { return concatenation(); });
  }
  ExpressionPtr concatenation() {
    return left_to_right({"~"}, [&] { return product(); });
  }
  ExpressionPtr product() {
    return left_to_right({"*", "/", "//", "%"}, [&] { return power(); });
  }
  ExpressionPtr power() {
    return left_to_right({"**"}, [&] { return unary(true); });
  }

  ExpressionPtr unary(bool with_filters) {
    const Deeper deeper(*this);
    ExpressionPtr e;
    if (is_symbol("-") || is_symbol("+")) {
      e = make(Kind::unary, now().text);
      take();
      e->operands.push_back(unary(false));
    } else {
      e = postfix(primary());
    }
    return with_filters ? filters(std::move(e)) : std::move(e);
  }

  ExpressionPtr constant(Value value) {
    auto e = make(Kind::constant);
    e->value = std::move(value);
    return e;
  }

  ExpressionPtr primary() {
    if (now().kind == Token::Kind::name) {
      const std::string name = take().text;
      if (name == "true" || name == "True") return constant(true);
      if (name == "false" || name == "False") return constant(false);
      if (name == "none" || name == "None") return constant(None{});
      return make(Kind::name, name);
    }
    if (now().kind == Token::Kind::text) {
      std::string text;
      while (now().kind == Token::Kind::text) text += take().text;
      return constant(Text(text));
    }
    if (now().kind == Token::Kind::integer) {
      const Token t = take();
      int64_t value = 0;
      const auto [end, error] = std::from_chars(t.text.data(), t.text.data() + t.text.size(), value);
      if (error != std::errc()) fail_at(t.line, fmt::format("the number {} does not fit 64 bits", quote_text(t.text)));
      return constant(value);
    }
    if (now().kind == Token::Kind::number) return constant(std::strtod(take().text.c_str(), nullptr));
    if (take_symbol("(")) {
      if (take_symbol(")")) return make(Kind::tuple);
      ExpressionPtr e = expression_or_tuple();
      expect_symbol(")");
      return e;
    }
    if (take_symbol("[")) {
      auto e = make(Kind::list);
      while (!take_symbol("]")) {
        e->operands.push_back(expression());
        if (!is_symbol("]")) expect_symbol(",");
      }
      return e;
    }
    if (take_symbol("{")) {
      auto e = make(Kind::dict);
      while (!take_symbol("}")) {
        e->operands.push_back(expression());
        expect_symbol(":");
        e->operands.push_back(expression());
        if (!is_symbol("}")) expect_symbol(",");
      }
      return e;
    }
    fail_at(now().line, fmt::format("{} where an expression should be", shown()));
  }

  ExpressionPtr postfix(ExpressionPtr e) {
    for (int n_links = 0;; count_link(n_links)) {
      if (take_symbol(".")) {
        auto attribute = now().kind == Token::Kind::integer ? make(Kind::item) : make(Kind::attribute, now().text);
        attribute->operands.push_back(std::move(e));
        if (attribute->kind == Kind::item) {
          attribute->operands.push_back(primary());
        } else {
          expect_name();
        }
        e = std::move(attribute);
      } else if (take_symbol("[")) {
        e = subscript(std::move(e));
      } else if (is_symbol("(")) {
        auto call = make(Kind::call);
        call->operands.push_back(std::move(e));
        arguments(*call);
        e = std::move(call);
      } else {
        return e;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr of) {
    std::array<ExpressionPtr, 3> parts;
    std::size_t n_colons = 0;
    while (!take_symbol("]")) {
      if (take_symbol(":")) {
        if (++n_colons > 2) fail_at(now().line, "a slice with more than two colons");
      } else if (parts[n_colons] == nullptr) {
        parts[n_colons] = n_colons == 0 ? expression_or_tuple() : expression();
      } else {
        fail_at(now().line, "] is missing");
      }
    }
    if (n_colons == 0 && parts[0] == nullptr) fail_at(now().line, "[] is empty");
    auto e = make(n_colons == 0 ? Kind::item : Kind::slice);
    e->operands.push_back(std::move(of));
    for (std::size_t i = 0; i < (n_colons == 0 ? 1u : 3u); ++i) e->operands.push_back(std::move(parts[i]));
    return e;
  }

  // (a, b, name=c), behind what is called already.
  void arguments(Expression& call) {
    expect_symbol("(");
    while (!take_symbol(")")) {
      if (is_symbol("*") || is_symbol("**")) {
        fail(ErrorCode::unsupported, "unsupported: chat template: line {}: arguments of a list (*)", now().line);
      }
      const bool is_named =
          now().kind == Token::Kind::name && peek(1).kind == Token::Kind::symbol && peek(1).text == "=";
      if (is_named) {
        call.names.push_back(take().text);
        take();
      } else if (!call.names.empty()) {
        fail_at(now().line, "an argument without a name behind one with a name");
      }
      call.operands.push_back(expression());
      if (!is_symbol(")")) expect_symbol(",");
    }
  }

  ExpressionPtr filters(ExpressionPtr e) {
    for (int n_links = 0;; count_link(n_links)) {
      if (take_symbol("|")) {
        auto filter = make(Kind::filter, now().text);
        expect_name();
        if (!is_filter(filter->name)) {
          fail(ErrorCode::unsupported, "unsupported: chat template: line {}: the filter {}", filter->line,
               filter->name);
        }
        filter->operands.push_back(std::move(e));
        if (is_symbol("(")) arguments(*filter);
        e = std::move(filter);
      } else if (take_name("is")) {
        e = test(std::move(e));
      } else if (is_symbol("(")) {
        auto call = make(Kind::call);
        call->operands.push_back(std::move(e));
        arguments(*call);
        e = std::move(call);
      } else {
        return e;
      }
    }
  }

  ExpressionPtr test(ExpressionPtr e) {
    const bool negated = take_name("not");
    auto test = make(Kind::test, now().text);
    if (test->name != "in") {
      expect_name();
    } else {
      take();
    }
    if (!is_test(test->name)) {
      fail(ErrorCode::unsupported, "unsupported: chat template: line {}: the test {}", test->line, test->name);
    }
    test->operands.push_back(std::move(e));
    if (is_symbol("(")) {
      arguments(*test);
    } else if ((now().kind == Token::Kind::name && !is_name("else") && !is_name("or") && !is_name("and") &&
                !is_name("is") && !is_name("if")) ||
               now().kind == Token::Kind::text || now().kind == Token::Kind::integer ||
               now().kind == Token::Kind::number || is_symbol("[") || is_symbol("{")) {
      test->operands.push_back(postfix(primary()));
    }
    if (!negated) return test;
    auto inverse = make(Kind::unary, "not");
    inverse->operands.push_back(std::move(test));
    return inverse;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int n_loops_ = 0;
};

}  // namespace

Block parse_template(std::string_view source) {
  return Parser(source).run();
}

}  // namespace gradus::lm::jinja
