// Chats as the text that a model was trained to see: the chat templates of Hugging Face folders, which are programs in
// Jinja. Rendered as `transformers` does it (apply_chat_template); templates come from files of others, so their work
// is bounded, and what a user wrote never becomes a special token.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/lm/template/interpreter.h"
#include "gradus/lm/tokenizer/tokenizer.h"

namespace gradus::lm {

// What a template is given, as JSON texts, whose order of keys counts.
struct ChatInputs {
  std::string messages = "[]";         // a list of objects with "role" and "content", and what else the template knows
  bool add_generation_prompt = false;  // ends where the assistant begins
  std::string bos_token{}, eos_token{};
  std::string tools{}, documents{};  // lists; empty: none
  std::string extra{};               // an object of further variables, such as {"enable_thinking": false}; empty: none
  std::optional<std::tm> now{};      // for strftime_now; a template that asks for the time without it is an Error
  jinja::Limits limits{};
};

struct Rendered {
  std::string text;
  std::vector<Span> content;        // what came from the inputs: no special token may begin, end or lie there
  std::vector<Span> generated;      // what stands in {% generation %}, where the template has it
  std::vector<int32_t> message_of;  // of each part of `content`: the message it is from, -1 for other inputs
};

class ChatTemplate {
 public:
  // Throws corrupt where the source is no template, unsupported for what of Jinja is not read.
  explicit ChatTemplate(std::string source);

  // Throws corrupt when an input is no JSON of its kind, invalid_argument when the template refuses them
  // (raise_exception) or computes what has no value, exhausted when it passes a limit.
  Rendered render(const ChatInputs& inputs) const;

  const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::shared_ptr<const jinja::Block> block_;
};

// The source of a folder's template: chat_template.jinja, or the chat_template of tokenizer_config.json (where it is a
// list of named ones, the one called `name`). Nothing when there is none.
std::optional<std::string> read_chat_template(const std::filesystem::path& folder, std::string_view name = "default");
std::optional<std::string> chat_template_of(std::string_view tokenizer_config, std::string_view name = "default");

// The ids of a rendered chat. Special tokens of the template are tokens; spelled out by a user they are text.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const Rendered& rendered);

// What the assistant writes in a chat, from behind the generation prompt to the token that ends its turn: the
// template's own {% generation %} parts; else found by rendering the chat up to each message of the role "assistant".
// Throws unsupported when the template writes a chat so that its beginnings do not tell them.
std::vector<Span> assistant_parts(const ChatTemplate& chat_template, const ChatInputs& inputs,
                                  const Tokenizer& tokenizer);

// For each of the ids that encode_chat gives: whether it lies in one of the parts. A token across the beginning of a
// part counts to it, one across its end does not.
std::vector<bool> tokens_within(const Tokenizer& tokenizer, const Rendered& rendered, const std::vector<int32_t>& ids,
                                const std::vector<Span>& parts);

}  // namespace gradus::lm
