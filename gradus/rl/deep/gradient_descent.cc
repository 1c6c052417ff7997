#include "gradus/rl/deep/gradient_descent.h"

#include "gradus/rl/deep/optimiser_state.h"

namespace gradus::rl {

namespace {

optim::LossScalerConfig scaling_of(const NetworkConfig& config) {
  return precision_of(config) == nn::Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                     : optim::LossScalerConfig::none();
}

}  // namespace

GradientDescent::GradientDescent(std::vector<autograd::Parameter*> parameters, const NetworkConfig& config,
                                 const optim::AdamWConfig& adam, const std::string& name, run::Ranks* ranks)
    : optimiser_(std::move(parameters), adam),
      scaler_(scaling_of(config)),
      train_step_(optimiser_, {.clip_norm = config.clip_norm}, &scaler_, ranks),
      grad_norm_(name + "grad_norm"),
      loss_scale_(name + "loss_scale"),
      skipped_steps_(name + "skipped_steps"),
      small_gradients_(name + "small_gradients") {}

void GradientDescent::add_metrics(const run::TrainStepResult& result, TrainingStats& stats) const {
  if (!result.skipped) stats.add_mean(grad_norm_, result.grad_norm);
  add_scaling_metrics(result, stats);
}

void GradientDescent::add_scaling_metrics(const run::TrainStepResult& result, TrainingStats& stats) const {
  if (!scaler_.active()) return;
  stats.add_mean(loss_scale_, scaler_.scale());
  stats.add_max(skipped_steps_, static_cast<double>(scaler_.state().skipped));
  if (!result.skipped) stats.add_mean(small_gradients_, result.small_gradients);
}

void GradientDescent::add_state(const std::string& prefix, NamedTensors& state) {
  rl::add_state(optimiser_, prefix, state, train_step_.exchange());
  if (!scaler_.active()) return;
  const optim::LossScalerState& s = scaler_.state();
  const int64_t counts[] = {s.clean_steps, s.skipped, s.skipped_in_a_row};
  state.emplace_back(prefix + "loss_scale", Tensor::from<double>({&s.scale, 1}, {1}));
  state.emplace_back(prefix + "loss_scale.counts", Tensor::from<int64_t>(counts, {3}));
}

void GradientDescent::restore(const std::string& prefix, const NamedTensors& state) {
  rl::restore(optimiser_, prefix, state, train_step_.exchange());
  if (!scaler_.active()) return;
  const auto counts = find_in(state, prefix + "loss_scale.counts", {3}, DType::i64).span<int64_t>();
  scaler_.restore({.scale = find_in(state, prefix + "loss_scale", {1}, DType::f64).data<double>()[0],
                   .clean_steps = counts[0],
                   .skipped = counts[1],
                   .skipped_in_a_row = counts[2]});
}

}  // namespace gradus::rl
