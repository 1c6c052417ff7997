// Which parts of a rendered chat the assistant wrote.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/chat_template.h"

namespace gradus::lm {

namespace {

using nlohmann::ordered_json;

// The chat of the first n messages.
Rendered render_first(const ChatTemplate& chat_template, ChatInputs inputs, const ordered_json& messages, std::size_t n,
                      bool generation_prompt) {
  ordered_json first = ordered_json::array();
  for (std::size_t i = 0; i < n; ++i) first.push_back(messages[i]);
  inputs.messages = write_json(first);
  inputs.add_generation_prompt = generation_prompt;
  return chat_template.render(inputs);
}

std::size_t common_beginning(std::string_view a, std::string_view b) {
  const auto n = std::min(a.size(), b.size());
  return static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin());
}

// From the first to the last byte of a message's own; nothing when it left none.
std::optional<Span> hull(const Rendered& r, std::size_t message) {
  std::optional<Span> out;
  for (std::size_t i = 0; i < r.content.size(); ++i) {
    if (r.message_of[i] != static_cast<int32_t>(message)) continue;
    if (!out) out = r.content[i];
    out->end = r.content[i].end;
  }
  return out;
}

// The end of the first special token from `from` on; `to` when there is none before it.
std::size_t end_of_turn(const Tokenizer& tokenizer, const Rendered& r, std::size_t from, std::size_t to) {
  const std::string_view rest = std::string_view(r.text).substr(from, to - from);
  std::size_t at = 0;
  for (const int32_t id : tokenizer.encode(rest)) {
    const std::string& token = tokenizer.token(id);
    if (!tokenizer.is_special(id)) continue;
    const std::size_t found = rest.find(token, at);
    return found == std::string_view::npos ? to : from + found + token.size();
  }
  return to;
}

}  // namespace

std::vector<Span> assistant_parts(const ChatTemplate& chat_template, const ChatInputs& inputs,
                                  const Tokenizer& tokenizer) {
  const Rendered whole = chat_template.render(inputs);
  if (!whole.generated.empty()) return whole.generated;
  const ordered_json messages = ordered_json::parse(inputs.messages);  // render has read it
  std::vector<Span> parts;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].value("role", "") != "assistant") continue;
    const auto own = hull(whole, i);
    if (!own) continue;  // the template drops it
    const auto unknown = [&] {
      fail(ErrorCode::unsupported,
           "unsupported: the chat template does not tell where the answer of message {} begins; add {{% generation %}} "
           "to it",
           i);
    };
    // Where the answer begins: behind what is asked with, if the whole chat begins in the same way; else behind the
    // last generation prompt before the message's text.
    const Rendered asked = render_first(chat_template, inputs, messages, i, true);
    std::size_t begin = 0;
    if (whole.text.starts_with(asked.text) && asked.text.size() <= own->begin + 1) {
      begin = asked.text.size();
    } else {
      const Rendered before = render_first(chat_template, inputs, messages, i, false);
      const std::string prompt = asked.text.substr(common_beginning(asked.text, before.text));
      if (prompt.empty()) unknown();
      const std::size_t found = whole.text.rfind(prompt, own->begin);
      const std::size_t previous = parts.empty() ? 0 : parts.back().end;
      if (found == std::string::npos || found < previous) unknown();
      begin = found + prompt.size();
    }
    // Its end: the token behind the message's text that ends the turn, which must come before the next message's.
    std::size_t limit = whole.text.size();
    for (std::size_t j = i + 1; j < messages.size(); ++j) {
      if (const auto next = hull(whole, j)) {
        limit = std::max(next->begin, own->end);
        break;
      }
    }
    const std::size_t end = end_of_turn(tokenizer, whole, std::max(own->end, begin), std::max(limit, begin));
    if (begin > own->end) unknown();
    parts.push_back({begin, end});
  }
  return parts;
}

std::vector<bool> tokens_within(const Tokenizer& tokenizer, const Rendered& rendered, const std::vector<int32_t>& ids,
                                const std::vector<Span>& parts) {
  // How many of the ids are those of the text up to a place.
  const auto n_before = [&](std::size_t place) {
    std::vector<Span> content;
    for (const Span& s : rendered.content) {
      if (s.begin < place) content.push_back({s.begin, std::min(s.end, place)});
    }
    const auto first = tokenizer.encode(std::string_view(rendered.text).substr(0, place), {.text_only = content});
    const auto n = static_cast<std::ptrdiff_t>(std::min(first.size(), ids.size()));
    return static_cast<std::size_t>(std::mismatch(ids.begin(), ids.begin() + n, first.begin()).first - ids.begin());
  };
  std::vector<bool> within(ids.size());
  for (const Span& part : parts) {
    const std::size_t begin = n_before(part.begin), end = n_before(part.end);
    for (std::size_t i = begin; i < end; ++i) within[i] = true;
  }
  return within;
}

}  // namespace gradus::lm
