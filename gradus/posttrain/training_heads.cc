// The phase of Training that trains Medusa heads; the others are in training.cc and training_text.cc.
#include <algorithm>
#include <chrono>
#include <optional>

#include "gradus/posttrain/training.h"

namespace gradus::posttrain {

void Training::medusa(const Text& text, const MedusaTrainConfig& config, lm::Model* teacher) {
  GRADUS_CHECK(model_.heads() != nullptr);
  MedusaLearner learner(model_, *model_.heads(), text, config, run_.seed(),
                        {.teacher = teacher, .scaler = &scaler_, .ranks = options_.ranks});
  HeadsState& state = state_.heads;
  learner.state() = state.medusa;
  follow_moments(learner);
  while (!learner.done()) {
    stop_if_asked();
    const auto begin = std::chrono::steady_clock::now();
    Metrics metrics = learner.step();
    state_.text.training_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ++state_.step;
    state.medusa = learner.state();
    metrics.emplace_back("tokens_per_s", static_cast<double>(state.medusa.tokens) / state_.text.training_s);
    const bool last = learner.done(), measured = last || state.medusa.step % config.every == 0;
    std::optional<HeadsQuality> quality;
    if (measured) {
      quality = heads_quality(model_, *model_.heads(), text, config.held_out());
      for (size_t k = 0; k < quality->at_rank.size(); ++k)
        metrics.emplace_back(fmt::format("head_{}_accuracy", k + 1), quality->top(k, 1));
      metrics.emplace_back("chain_tokens", quality->chain_tokens());
    }
    metrics.emplace_back("elapsed_s", elapsed_s());
    if (measured || state.medusa.step % options_.log_every == 0) log("medusa", metrics);
    if (hooks_.on_step) {
      hooks_.on_step({.phase = "medusa",
                      .iteration = state.medusa.step,
                      .done = std::min(state.medusa.tokens, config.tokens),
                      .total = config.tokens,
                      .metrics = metrics});
    }
    if (last) state.after = quality;
    if (measured && !last) checkpoint(quality->chain_tokens());
  }
  moments_ = nullptr;
  state_.phase = "done";
  checkpoint(state.after->chain_tokens());
}

}  // namespace gradus::posttrain
