// gradus generate RUN|MODEL --prompt TEXT [--chat] [--temperature T] [--seed N] [--max-tokens N] [--samples K]
//     [--top-k K] [--top-p P] [--min-p P] [--repetition-penalty R] [--stop TEXT ...] [--no-drafts] [--tree TREE]
//     [--typical] [--precision NAME] [--json]
#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/gradus/command.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/memory.h"
#include "gradus/lm/chat_template.h"
#include "gradus/lm/medusa/model_drafter.h"
#include "gradus/lm/memory_plan.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/train.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

struct GenerateOptions {
  std::string model;
  std::string prompt;
  std::optional<double> temperature;
  uint64_t seed = 0;
  int64_t max_tokens = 128;
  int64_t samples = 1;
  bool chat = false;
  std::optional<int64_t> top_k;
  std::optional<double> top_p, min_p, repetition_penalty;
  std::vector<std::string> stop;
  std::string medusa;
  bool no_drafts = false, typical = false;
  std::string tree = "dynamic";
  std::string precision;
  bool verbose = false;
  bool json = false;
};

void declare(CLI::App& command, GenerateOptions& o) {
  command.add_option("RUN|MODEL", o.model, "model folder, or run folder (its latest checkpoint)")->required();
  command.add_option("--prompt", o.prompt, "the text to continue, as the model was trained to see it")->required();
  command.add_flag("--chat", o.chat, "the prompt is what a user says, put into the model's chat template");
  command.add_option("--temperature", o.temperature, "0 = greedy [what the model's generation_config.json says, or 1]")
      ->check(at_least(0));
  command.add_option("--seed", o.seed, "key of the random numbers")->capture_default_str();
  command.add_option("--max-tokens", o.max_tokens, "longest answer")->check(at_least(1))->capture_default_str();
  command.add_option("--samples", o.samples, "answers to draw")->check(at_least(1))->capture_default_str();
  command.add_option("--top-k", o.top_k, "draw among the K likeliest tokens only; 0 = all")->check(at_least(0));
  command.add_option("--top-p", o.top_p, "draw among the likeliest that reach P together")->check(CLI::Range(0.0, 1.0));
  command.add_option("--min-p", o.min_p, "draw among those at least P times as likely as the likeliest")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--repetition-penalty", o.repetition_penalty, "above 1: the text's own tokens less often");
  command.add_option("--stop", o.stop, "end the answer where it comes to contain this text; may be repeated");
  command.add_option("--medusa", o.medusa,
                     "Medusa heads that draft, in any published layout [the model's own, if any]");
  command.add_flag("--no-drafts", o.no_drafts, "one token at a time, even if the model has heads");
  command.add_option("--tree", o.tree, "of drafts: dynamic, chain, or a file of medusa_choices")->capture_default_str();
  command.add_flag("--typical", o.typical, "keep drafts that are likely enough: faster, but another text");
  command.add_option("--precision", o.precision,
                     "fp64, fp32, bf16, fp16 [the run's own; that of the weights of a model folder]");
  command.add_flag("--verbose", o.verbose, "say on stderr what it takes in memory");
  command.add_flag("--json", o.json, "one JSON object per answer, with ids and log-probabilities");
}

// Before anything large is there. What does not fit is an error; the rest is worth a line from a gibibyte on.
void tell_memory(const GenerateOptions& o) {
  constexpr int64_t kWorthALine = int64_t{1} << 30;
  const nn::TransformerConfig shape = lm::read_config(posttrain::model_folder_of(o.model)).model;
  const lm::SamplerConfig sampler;
  const int64_t prompt = std::min(static_cast<int64_t>(o.prompt.size()), shape.max_positions);  // a token has a byte
  const lm::InferencePlan plan = lm::plan_inference(
      shape, posttrain::precision_of_model(o.model, o.precision),
      {.sequences = std::min(o.samples, sampler.max_batch),
       .positions = std::min(prompt + std::min(o.max_tokens, shape.max_positions), shape.max_positions),
       .rows = std::max(prompt, std::min(o.samples, sampler.max_batch))});
  const int64_t available = available_memory();
  lm::require_memory(o.model, plan, available);
  if (o.verbose || plan.total() >= kWorthALine) print_error(fmt::format("{} {}", o.model, to_text(plan, available)));
}

// What the options say, and else the model's own generation_config.json.
lm::DrawFilters filters_of(const GenerateOptions& o, const lm::GenerationDefaults& model) {
  const lm::DrawFilters off;
  const auto chosen = [](const auto& option, const auto& of_model, auto otherwise) {
    return option ? *option : of_model.value_or(otherwise);
  };
  return {.top_k = chosen(o.top_k, model.top_k, off.top_k),
          .top_p = chosen(o.top_p, model.top_p, off.top_p),
          .min_p = chosen(o.min_p, model.min_p, off.min_p),
          .repetition_penalty = chosen(o.repetition_penalty, model.repetition_penalty, off.repetition_penalty)};
}

std::vector<int32_t> prompt_ids(const GenerateOptions& o, const lm::Tokenizer& tokenizer) {
  if (!o.chat) return tokenizer.encode(o.prompt, {.add_special = true});
  const std::filesystem::path folder = posttrain::model_folder_of(o.model);
  const std::optional<std::string> source = lm::read_chat_template(folder);
  if (!source) {
    fail(ErrorCode::not_found, "generate: {} has no chat template; leave --chat out and write the prompt as a whole",
         folder.string());
  }
  const auto token = [&](std::optional<int32_t> id) { return id ? tokenizer.token(*id) : std::string(); };
  const std::time_t now = std::time(nullptr);
  std::tm here{};
  localtime_r(&now, &here);
  const nlohmann::json messages = {{{"role", "user"}, {"content", o.prompt}}};
  const lm::Rendered chat = lm::ChatTemplate(*source).render({.messages = write_json(messages),
                                                              .add_generation_prompt = true,
                                                              .bos_token = token(tokenizer.bos_id()),
                                                              .eos_token = token(tokenizer.eos_id()),
                                                              .now = here});
  return lm::encode_chat(tokenizer, chat);
}

lm::DraftingConfig drafting_of(const GenerateOptions& o, int64_t heads) {
  using Shape = lm::DraftingConfig::Shape;
  if (o.tree == "dynamic") return {};
  if (o.tree == "chain") return {.shape = Shape::fixed, .choices = lm::chain_choices(heads)};
  return {.shape = Shape::fixed, .choices = lm::parse_choices(read_file(o.tree), o.tree)};
}

int generate(const GenerateOptions& o, Output& out) {
  runtime::install_interrupt_handlers();
  if (!o.precision.empty()) or_usage_error([&] { return nn::precision_from_name(o.precision); });
  tell_memory(o);
  lm::Model model = posttrain::load_model(o.model, o.precision);
  const std::vector<int32_t> prompt = prompt_ids(o, model.tokenizer());
  const int64_t room = model.config().max_positions - static_cast<int64_t>(prompt.size());
  std::vector<lm::SampleRequest> requests;
  for (int64_t i = 0; i < o.samples; ++i) requests.push_back({prompt, static_cast<uint64_t>(i)});
  if (!o.medusa.empty()) model.load_heads(o.medusa, true);
  std::optional<lm::ModelDrafter> drafter;
  if (model.heads() != nullptr && !o.no_drafts) drafter.emplace(model, drafting_of(o, model.heads()->config().heads));
  lm::Sampler sampler(model,
                      {.max_tokens = std::max<int64_t>(1, std::min(o.max_tokens, room)),
                       .temperature = o.temperature.value_or(model.generation().sampling_temperature().value_or(1.0)),
                       .seed = o.seed,
                       .filters = filters_of(o, model.generation()),
                       .stop = o.stop,
                       .acceptance = o.typical ? lm::Acceptance::typical : lm::Acceptance::lossless},
                      drafter ? &drafter->drafter() : nullptr);
  for (const lm::Sample& s : sampler.generate(requests, [] { return runtime::interrupt_requested(); })) {
    const std::string text = model.tokenizer().decode(s.tokens, {.skip_special = true});
    if (!o.json) {
      out.text(o.prompt + text + (s.ended ? "\n" : " (cut)\n"));
      continue;
    }
    double log_prob = 0;
    for (const float lp : s.log_probs) log_prob += static_cast<double>(lp);
    out.json_line({{"prompt", o.prompt},
                   {"text", text},
                   {"ended", s.ended},
                   {"tokens", s.tokens},
                   {"log_probs", s.log_probs},
                   {"log_prob", log_prob}});
  }
  if (o.verbose && drafter) {
    const lm::SamplerStats& s = sampler.stats();
    print_error(fmt::format("{} tokens in {} steps; {} drafted, {} of {} trees had a first token right",
                            s.response_tokens, s.steps, s.drafted_tokens, s.accepted_at.empty() ? 0 : s.accepted_at[0],
                            s.draft_steps));
  }
  return kDone;
}

}  // namespace

void add_generate_command(CLI::App& app, Work& work) {
  add_command(app, work, "generate", "Continue a prompt with a trained model", declare, generate);
}

}  // namespace gradus::app
