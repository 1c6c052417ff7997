// gradus generate RUN|MODEL --prompt TEXT [--temperature T] [--seed N] [--max-tokens N] [--samples K]
//     [--precision NAME] [--json]
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/train.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

struct GenerateOptions {
  std::string model;
  std::string prompt;
  double temperature = 1.0;
  uint64_t seed = 0;
  int64_t max_tokens = 128;
  int64_t samples = 1;
  std::string precision;
  bool json = false;
};

void declare(CLI::App& command, GenerateOptions& o) {
  command.add_option("RUN|MODEL", o.model, "model folder, or run folder (its latest checkpoint)")->required();
  command.add_option("--prompt", o.prompt, "the text to continue, as the model was trained to see it")->required();
  command.add_option("--temperature", o.temperature, "0 = greedy")->check(at_least(0))->capture_default_str();
  command.add_option("--seed", o.seed, "key of the random numbers")->capture_default_str();
  command.add_option("--max-tokens", o.max_tokens, "longest answer")->check(at_least(1))->capture_default_str();
  command.add_option("--samples", o.samples, "answers to draw")->check(at_least(1))->capture_default_str();
  command.add_option("--precision", o.precision, "fp64, fp32, bf16, fp16 [the run's own; fp32 for a model folder]");
  command.add_flag("--json", o.json, "one JSON object per answer, with ids and log-probabilities");
}

int generate(const GenerateOptions& o, Output& out) {
  runtime::install_interrupt_handlers();
  if (!o.precision.empty()) or_usage_error([&] { return nn::precision_from_name(o.precision); });
  lm::Model model = posttrain::load_model(o.model, o.precision);
  const std::vector<int32_t> prompt = model.tokenizer().encode(o.prompt);
  const int64_t room = model.config().max_positions - static_cast<int64_t>(prompt.size());
  std::vector<lm::SampleRequest> requests;
  for (int64_t i = 0; i < o.samples; ++i) requests.push_back({prompt, static_cast<uint64_t>(i)});
  lm::Sampler sampler(
      model,
      {.max_tokens = std::max<int64_t>(1, std::min(o.max_tokens, room)), .temperature = o.temperature, .seed = o.seed});
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
