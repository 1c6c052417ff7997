#include "gradus/posttrain/tasks/jsonl.h"

#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/posttrain/reward.h"

namespace gradus::posttrain {
namespace {

DatasetConfig dataset_config(const JsonlConfig& config) {
  DatasetConfig data = config.data;
  if (config.judged_by_program) data.answer_required = false;
  return data;
}

// Makes a row fit the answer mark, or says why it cannot.
void fit_to_mark(Problem& p, const std::string& mark, const std::string& place) {
  if (mark.empty()) {
    if (p.demonstration.empty() || answers_match(p.demonstration, p.answer)) return;
    fail(ErrorCode::corrupt, "{}: the response is not the answer \"{}\", and answer_mark is empty; set answer_mark",
         place, p.answer);
  }
  if (p.answer.find(mark) != std::string::npos) {
    fail(ErrorCode::corrupt,
         "{}: the answer \"{}\" contains the answer mark \"{}\"; set answer_mark to a text that answers do not contain",
         place, p.answer, mark);
  }
  if (p.demonstration.empty()) return;
  const auto said = text_after_mark(p.demonstration, mark);
  if (!said) {
    p.demonstration += mark + p.answer;
  } else if (!answers_match(*said, p.answer)) {
    fail(ErrorCode::corrupt,
         "{}: the response ends in \"{}{}\" but the answer is \"{}\"; correct the row, or set answer_mark to a text "
         "that "
         "only comes before the final answer",
         place, mark, *said, p.answer);
  }
}

}  // namespace

Jsonl::Jsonl(JsonlConfig config) : config_(std::move(config)), data_(read_dataset(dataset_config(config_))) {
  for (size_t i = 0; i < data_.problems.size(); ++i) {
    Problem& p = data_.problems[i];
    if (!p.messages.empty() && !config_.chat) {
      fail(ErrorCode::invalid_argument,
           "{}: rows of `messages` need a chat template; set jsonl.chat=true, and model=DIR with one",
           config_.data.path.string());
    }
    if (!config_.judged_by_program && p.messages.empty()) {
      fit_to_mark(p, config_.answer_mark, fmt::format("{}:{}", config_.data.path.string(), data_.lines[i]));
    }
    if (data_.held_out[i]) held_out_.insert(p.hash());
    if (!data_.held_out[i] && !p.demonstration.empty()) demonstrated_.push_back(i);
  }
}

std::string Jsonl::alphabet() const {
  CharacterSet characters;
  add_characters(config_.prompt_end, characters);
  add_characters(config_.answer_mark, characters);
  for (const Problem& p : data_.problems) {
    add_characters(p.text, characters);
    add_characters(p.answer, characters);
    add_characters(p.demonstration, characters);
  }
  return to_alphabet(characters);
}

Problem Jsonl::make(Rng& rng, int) const {
  return data_.problems[static_cast<size_t>(rng.below(static_cast<int64_t>(data_.problems.size())))];
}

Problem Jsonl::make_for_warm_up(Rng& rng, int) const {
  require(has_demonstrations(), "{}: no row for training has a `response`; add responses or start from a model",
          config_.data.path.string());
  return data_.problems[demonstrated_[static_cast<size_t>(rng.below(static_cast<int64_t>(demonstrated_.size())))]];
}

bool Jsonl::is_held_out(const Problem& p) const {
  return held_out_.contains(p.hash());
}

std::vector<int32_t> Jsonl::encode_prompt(const Problem& p, const lm::Tokenizer& tokenizer) const {
  if (!config_.chat) return Task::encode_prompt(p, tokenizer);
  const auto token = [&](std::optional<int32_t> id) { return id ? tokenizer.token(*id) : std::string(); };
  // The day that published templates take where they are not told one: a run does not depend on when it runs.
  std::tm day{};
  day.tm_year = 2024 - 1900, day.tm_mon = 6, day.tm_mday = 26, day.tm_wday = 5, day.tm_yday = 207;
  const nlohmann::json said = {{{"role", "user"}, {"content", p.text}}};
  const lm::Rendered rendered = config_.chat->render({.messages = p.messages.empty() ? write_json(said) : p.messages,
                                                      .add_generation_prompt = true,
                                                      .bos_token = token(tokenizer.bos_id()),
                                                      .eos_token = token(tokenizer.eos_id()),
                                                      .now = day});
  return lm::encode_chat(tokenizer, rendered);
}

std::vector<int32_t> Jsonl::encode_response(std::string_view response, const lm::Tokenizer& tokenizer) const {
  return tokenizer.encode(response, {.special_as_text = config_.chat.has_value()});
}

std::string Jsonl::prompt(const Problem& p) const {
  if (!p.messages.empty()) {  // to be read by people; what the model reads is encode_prompt
    std::string shown;
    for (const nlohmann::json& m : nlohmann::json::parse(p.messages)) {
      if (!shown.empty()) shown += '\n';
      shown += fmt::format("{}: {}", m["role"].get<std::string>(), m["content"].get<std::string>());
    }
    return shown;
  }
  if (config_.chat) return p.text;
  return p.text.ends_with(config_.prompt_end) ? p.text : p.text + config_.prompt_end;
}

std::string Jsonl::demonstration(const Problem& p, Rng&) const {
  return p.demonstration.empty() ? config_.answer_mark + p.answer : p.demonstration;
}

Reward Jsonl::judge(const Problem& p, std::string_view answer) const {
  if (!p.messages.empty()) {
    const bool same = answers_match(answer, p.answer);
    return {.value = same ? 1.0 : 0.0, .correct = same, .components = {}};
  }
  const auto said = text_after_mark(answer, config_.answer_mark);
  const bool correct = said && answers_match(*said, p.answer);
  return {.value = correct ? 1.0 : 0.0, .correct = correct, .components = {}};
}

}  // namespace gradus::posttrain
