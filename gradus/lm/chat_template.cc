#include "gradus/lm/chat_template.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/lm/template/builtins.h"

namespace gradus::lm {

namespace {

using jinja::Arguments;
using jinja::Interpreter;
using jinja::Value;

Value text_or_none(const std::string& text) {
  if (text.empty()) return jinja::None{};
  return jinja::Text(text);
}

// Each message's texts are its own, so that parts of the result tell which message they came from.
Value messages_value(const std::string& json) {
  const nlohmann::json whole = parse_json(json, "chat messages");  // checks it as a whole
  if (!whole.is_array()) fail(ErrorCode::corrupt, "chat messages: not a list");
  const nlohmann::ordered_json ordered = nlohmann::ordered_json::parse(json);
  jinja::List messages;
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    if (!ordered[i].is_object()) fail(ErrorCode::corrupt, "chat messages: message {} is not an object", i);
    messages.push_back(jinja::from_json(write_json(ordered[i]), static_cast<jinja::Origin>(i), "chat messages"));
  }
  return messages;
}

Value json_value(const std::string& json, std::string_view what) {
  if (json.empty()) return jinja::None{};
  return jinja::from_json(json, jinja::kOtherInput, what);
}

int64_t whole(const Value& v) {
  if (v.integer() == nullptr) jinja::fail_value(fmt::format("range of a {}", v.type_name()));
  return *v.integer();
}

Value range(Interpreter& in, const Arguments& a) {
  if (a.given.empty() || a.given.size() > 3) jinja::fail_value("range takes one to three numbers");
  const int64_t begin = a.given.size() > 1 ? whole(a.given[0]) : 0;
  const int64_t end = whole(a.given[a.given.size() > 1 ? 1 : 0]);
  const int64_t by = a.given.size() > 2 ? whole(a.given[2]) : 1;
  if (by == 0) jinja::fail_value("range by steps of 0");
  jinja::List out;
  for (int64_t i = begin; by > 0 ? i < end : i > end;) {
    in.charge_items(1);
    out.emplace_back(i);
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return out;
}

Value make_namespace(Interpreter& in, const Arguments& a) {
  jinja::Namespace space{std::make_shared<jinja::Dict>()};
  for (const Value& v : a.given) {
    if (v.dict() == nullptr) jinja::fail_value("a namespace is made of names and dicts");
    for (const auto& [key, value] : v.dict()->items()) space.dict->set(key, value);
  }
  in.charge_items(a.named.size());
  for (const auto& [name, value] : a.named) space.dict->set(jinja::Text(name), value);
  return space;
}

Value make_dict(Interpreter& in, const Arguments& a) {
  jinja::Dict dict;
  in.charge_items(a.named.size());
  for (const auto& [name, value] : a.named) dict.set(jinja::Text(name), value);
  return dict;
}

Value raise(Interpreter&, const Arguments& a) {
  const std::string message = a.given.empty() ? "" : jinja::to_text(a.given[0]).bytes();
  fail(ErrorCode::invalid_argument, "chat template: it refuses the chat: {}", quote_text(message));
}

Value strftime_now(Interpreter& in, const Arguments& a) {
  if (!in.now()) jinja::fail_value("it asks for the time, which is not given");
  const Value format = jinja::argument(a, 0, "format");
  if (format.text() == nullptr || format.text()->size() > 256) jinja::fail_value("strftime_now without a short format");
  if (format.text()->empty()) return jinja::Text();
  std::array<char, 4096> buffer{};
  const std::size_t n = std::strftime(buffer.data(), buffer.size(), format.text()->bytes().c_str(), &*in.now());
  return jinja::Text(std::string_view(buffer.data(), n));
}

Value function(const char* name, Value (*f)(Interpreter&, const Arguments&)) {
  return jinja::Function{name, f};
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source) : source_(std::move(source)) {
  block_ = std::make_shared<const jinja::Block>(jinja::parse_template(source_));
}

Rendered ChatTemplate::render(const ChatInputs& inputs) const {
  Interpreter interpreter(inputs.limits);
  interpreter.define("range", function("range", range));
  interpreter.define("namespace", function("namespace", make_namespace));
  interpreter.define("dict", function("dict", make_dict));
  interpreter.define("raise_exception", function("raise_exception", raise));
  interpreter.define("strftime_now", function("strftime_now", strftime_now));
  if (inputs.now) interpreter.set_now(*inputs.now);
  interpreter.define("tools", json_value(inputs.tools, "chat tools"));
  interpreter.define("documents", json_value(inputs.documents, "chat documents"));
  if (!inputs.bos_token.empty()) interpreter.define("bos_token", text_or_none(inputs.bos_token));
  if (!inputs.eos_token.empty()) interpreter.define("eos_token", text_or_none(inputs.eos_token));
  if (!inputs.extra.empty()) {
    const Value extra = json_value(inputs.extra, "chat template variables");
    if (extra.dict() == nullptr) fail(ErrorCode::corrupt, "chat template variables: not an object");
    for (const auto& [name, value] : extra.dict()->items()) interpreter.define(name.bytes(), value);
  }
  interpreter.define("messages", messages_value(inputs.messages));
  interpreter.define("add_generation_prompt", inputs.add_generation_prompt);

  const jinja::Text text = interpreter.run(*block_);
  Rendered out{.text = text.bytes(), .content = {}, .generated = {}, .message_of = {}};
  std::size_t begin = 0;
  for (const auto& run : text.runs()) {
    if (run.origin != jinja::kTemplate) {
      out.content.push_back({begin, run.end});
      out.message_of.push_back(run.origin >= 0 ? run.origin : -1);
    }
    begin = run.end;
  }
  for (const auto& g : interpreter.generated()) out.generated.push_back({g.begin, g.end});
  return out;
}

std::optional<std::string> chat_template_of(std::string_view tokenizer_config, std::string_view name) {
  const nlohmann::json config = parse_json(tokenizer_config, "tokenizer_config.json");
  const auto found = config.is_object() ? config.find("chat_template") : config.end();
  if (!config.is_object() || found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const auto& named : *found) {
    if (named.is_object() && named.value("name", "") == name && named.contains("template") &&
        named["template"].is_string())
      return named["template"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<std::string> read_chat_template(const std::filesystem::path& folder, std::string_view name) {
  if (std::filesystem::exists(folder / "chat_template.jinja")) return read_file(folder / "chat_template.jinja");
  const auto config = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(config)) return std::nullopt;
  return chat_template_of(read_file(config), name);
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const Rendered& rendered) {
  return tokenizer.encode(rendered.text, {.text_only = rendered.content});
}

}  // namespace gradus::lm
