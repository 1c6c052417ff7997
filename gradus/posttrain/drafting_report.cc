#include "gradus/posttrain/drafting_report.h"

#include <algorithm>
#include <chrono>

#include "gradus/lm/medusa/model_drafter.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/held_out_text.h"

namespace gradus::posttrain {

namespace {

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

DraftingReport report_drafting(lm::Model& model, const Text& text, const DraftingReportConfig& config,
                               const std::function<bool()>& should_stop) {
  GRADUS_CHECK(model.heads() != nullptr);
  const int64_t room = model.config().max_positions;
  const int64_t prompt_tokens = std::clamp<int64_t>(config.prompt_tokens, 1, std::max<int64_t>(1, room / 2));
  const int64_t max_tokens = std::min(config.max_tokens, room - prompt_tokens);
  std::vector<std::vector<int32_t>> prompts;
  for (std::vector<int32_t>& window : held_out_windows(text, model.tokenizer(), prompt_tokens, config.prompts)) {
    window.resize(std::min(window.size(), static_cast<size_t>(prompt_tokens)));
    prompts.push_back(std::move(window));
  }

  DraftingReport report;
  for (const double temperature : config.temperatures) {
    lm::ModelDrafter drafter(model);
    const lm::SamplerConfig sampling{.max_tokens = max_tokens, .temperature = temperature, .seed = config.seed};
    lm::Sampler plain(model, sampling), drafting(model, sampling, &drafter.drafter());
    DraftingReport::Row row{.temperature = temperature, .same_text = true};
    double plain_s = 0, drafted_s = 0;
    int64_t steps = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const lm::SampleRequest request{prompts[i], i};
      std::vector<lm::Sample> want, got;
      if (i == 0) plain.generate({&request, 1}, should_stop);  // warms up
      plain_s += seconds_of([&] { want = plain.generate({&request, 1}, should_stop); });
      drafted_s += seconds_of([&] { got = drafting.generate({&request, 1}, should_stop); });
      row.same_text = row.same_text && want[0].tokens == got[0].tokens && want[0].log_probs == got[0].log_probs;
      row.tokens += static_cast<int64_t>(got[0].tokens.size());
      steps += drafting.stats().steps;
    }
    row.plain_tokens_per_s = static_cast<double>(row.tokens) / plain_s;
    row.drafted_tokens_per_s = static_cast<double>(row.tokens) / drafted_s;
    row.tokens_per_step = static_cast<double>(row.tokens) / static_cast<double>(std::max<int64_t>(1, steps));
    report.rows.push_back(row);
  }
  return report;
}

}  // namespace gradus::posttrain
