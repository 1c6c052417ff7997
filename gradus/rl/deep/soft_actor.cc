#include "gradus/rl/deep/soft_actor.h"

#include "gradus/rl/deep/squashed_gaussian.h"

namespace gradus::rl {

SoftActor::SoftActor(const NetworkConfig& c, int64_t n_inputs, int64_t action_size, uint64_t seed, run::Ranks* ranks)
    : n_(static_cast<size_t>(action_size)),
      network_(mlp_of(c, n_inputs, 2 * action_size), precision_of(c), seed),
      descent_(network_.parameters(), c, {.beta2 = 0.999, .seed = seed}, "actor_", ranks) {}

void SoftActor::draw_noise(int64_t B, Rng& rng) {
  e_.resize(static_cast<size_t>(B) * n_);
  for (double& e : e_) e = rng.normal();
}

SoftActor::Drawn SoftActor::act(std::span<const double> outputs, const Rows& rows) {
  const auto n = static_cast<size_t>(rows.size());
  const std::span<const double> e = rows.of(e_, static_cast<int64_t>(n_));
  a_.resize(n * n_);
  log_prob_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    log_prob_[i] =
        squash(outputs.subspan(2 * i * n_, 2 * n_), e.subspan(i * n_, n_), std::span(a_).subspan(i * n_, n_));
  }
  return {.a = a_, .log_prob = log_prob_};
}

std::span<const double> SoftActor::mean(const Tensor& s) {
  const std::span<const double> outputs = network_.forward(s);
  a_.resize(outputs.size() / 2);
  for (size_t k = 0; k < a_.size(); k += n_) {
    squash_mean(outputs.subspan(2 * k, 2 * n_), std::span(a_).subspan(k, n_));
  }
  return a_;
}

double SoftActor::descend(const Tensor& s, ActionCritics& q, const Descent& c, Rng& rng, TrainingStats& stats) {
  const auto B = static_cast<double>(s.dim(0));
  draw_noise(s.dim(0), rng);
  numbers_.begin(s.dim(0), 1);
  const auto accumulate = [&](const Rows& rows, const auto& backward) {
    const Tensor part = s.rows(rows.begin, rows.end);
    const std::span<const double> outputs = network_.record(part), e = rows.of(e_, static_cast<int64_t>(n_));
    const auto [a, log_prob] = act(outputs, rows);
    const std::span<const double> d_a = q.d_least(part, a, {.B = s.dim(0), .loss_scale = descent_.loss_scale()});
    d_outputs_.resize(outputs.size());
    for (size_t k = 0; k < a.size(); k += n_) {
      squash_backward(outputs.subspan(2 * k, 2 * n_), e.subspan(k, n_), a.subspan(k, n_), c.alpha / B,
                      d_a.subspan(k, n_), std::span(d_outputs_).subspan(2 * k, 2 * n_));
    }
    for (int64_t i = 0; i < rows.size(); ++i) numbers_(0, rows.begin + i) = log_prob[static_cast<size_t>(i)];
    backward(network_.loss(d_outputs_));
  };
  const run::TrainStepResult result = descent_.run(s.dim(0), c.learning_rate, accumulate, &numbers_);
  descent_.add_metrics(result, stats);
  double entropy = 0;
  for (const double x : numbers_.column(0)) entropy -= x / B;
  return entropy;
}

void SoftActor::add_state(NamedTensors& state) {
  network_.add_state("actor.", state);
  descent_.add_state("actor.adam.", state);
}

void SoftActor::restore(const NamedTensors& state) {
  network_.restore("actor.", state);
  descent_.restore("actor.adam.", state);
}

}  // namespace gradus::rl
