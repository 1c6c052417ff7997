// gradus generate RUN|MODEL --prompt TEXT [--temperature T] [--seed N] [--max-tokens N] [--samples K]
//     [--precision NAME] [--json]
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/gradus/command.h"
#include "gradus/core/memory.h"
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
  std::string precision;
  bool verbose = false;
  bool json = false;
};

void declare(CLI::App& command, GenerateOptions& o) {
  command.add_option("RUN|MODEL", o.model, "model folder, or run folder (its latest checkpoint)")->required();
  command.add_option("--prompt", o.prompt, "the text to continue, as the model was trained to see it")->required();
  command.add_option("--temperature", o.temperature, "0 = greedy [what the model's generation_config.json says, or 1]")
      ->check(at_least(0));
  command.add_option("--seed", o.seed, "key of the random numbers")->capture_default_str();
  command.add_option("--max-tokens", o.max_tokens, "longest answer")->check(at_least(1))->capture_default_str();
  command.add_option("--samples", o.samples, "answers to draw")->check(at_least(1))->capture_default_str();
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

int generate(const GenerateOptions& o, Output& out) {
  runtime::install_interrupt_handlers();
  if (!o.precision.empty()) or_usage_error([&] { return nn::precision_from_name(o.precision); });
  tell_memory(o);
  lm::Model model = posttrain::load_model(o.model, o.precision);
  const std::vector<int32_t> prompt = model.tokenizer().encode(o.prompt);
  const int64_t room = model.config().max_positions - static_cast<int64_t>(prompt.size());
  std::vector<lm::SampleRequest> requests;
  for (int64_t i = 0; i < o.samples; ++i) requests.push_back({prompt, static_cast<uint64_t>(i)});
  lm::Sampler sampler(model,
                      {.max_tokens = std::max<int64_t>(1, std::min(o.max_tokens, room)),
                       .temperature = o.temperature.value_or(model.generation().sampling_temperature().value_or(1.0)),
                       .seed = o.seed});
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
  return kDone;
}

}  // namespace

void add_generate_command(CLI::App& app, Work& work) {
  add_command(app, work, "generate", "Continue a prompt with a trained model", declare, generate);
}

}  // namespace gradus::app
