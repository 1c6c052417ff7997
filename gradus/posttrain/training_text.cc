// The phase of Training that learns from plain text; the others are in training.cc.
#include <algorithm>
#include <chrono>
#include <optional>

#include "gradus/posttrain/training.h"

namespace gradus::posttrain {

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

void Training::pretrain(const Text& text, const PretrainConfig& config) {
  Pretrain learner(model_, text, config, run_.seed(), &scaler_, options_.ranks);
  TextState& state = state_.text;
  learner.state() = state.pretrain;
  follow_moments(learner);
  while (!learner.done()) {
    stop_if_asked();
    const auto begin = std::chrono::steady_clock::now();
    Metrics metrics = learner.step();
    state.training_s += seconds_since(begin);
    ++state_.step;
    state.pretrain = learner.state();
    metrics.emplace_back("tokens_per_s", static_cast<double>(state.pretrain.tokens) / state.training_s);
    const bool last = learner.done(), measured = last || state.pretrain.step % config.every == 0;
    std::optional<HeldOutLoss> held_out;
    if (measured) {
      // Not to be interrupted: it belongs to the step's row.
      held_out = held_out_loss(model_, text, config.held_out(), {}, options_.ranks);
      metrics.emplace_back("held_out_loss", held_out->per_token());
      metrics.emplace_back("held_out_bits_per_byte", held_out->bits_per_byte());
    }
    metrics.emplace_back("elapsed_s", elapsed_s());
    if (measured || state.pretrain.step % options_.log_every == 0) log("pretrain", metrics);
    if (hooks_.on_step) {
      hooks_.on_step({.phase = "pretrain",
                      .iteration = state.pretrain.step,
                      .done = std::min(state.pretrain.tokens, config.tokens),
                      .total = config.tokens,
                      .metrics = metrics});
    }
    if (last) state.after = held_out;
    if (measured && !last) checkpoint(-held_out->bits_per_byte());
  }
  moments_ = nullptr;
  state_.phase = "done";
  checkpoint(-state.after->bits_per_byte());
}

HeldOutLoss Training::evaluate(const Text& text, const PretrainConfig& config) {
  try {
    return held_out_loss(model_, text, config.held_out(), hooks_.should_stop, options_.ranks);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::interrupted) stop_if_asked();
    throw;
  }
}

}  // namespace gradus::posttrain
