#include "gradus/rl/deep/value_network.h"

#include <algorithm>

namespace gradus::rl {

namespace {

nn::MlpConfig shape_of(int64_t n_inputs, int64_t n_values, const NetworkConfig& c) {
  c.check();
  return c.action_as_input ? mlp_of(c, n_inputs + 1, 1) : mlp_of(c, n_inputs, n_values);
}

}  // namespace

ValueNetwork::ValueNetwork(int64_t n_inputs, int64_t n_values, const NetworkConfig& c, uint64_t seed)
    : n_values_(n_values),
      action_as_input_(c.action_as_input),
      online_(shape_of(n_inputs, n_values, c), precision_of(c), seed),
      target_(online_.mlp().config(), precision_of(c), seed),
      descent_(online_.parameters(), c, {.beta2 = 0.999, .seed = seed}) {}

Tensor ValueNetwork::with_actions(const Tensor& x, std::span<const int32_t> actions, int64_t per_row) const {
  const int64_t n = x.dim(1);
  Tensor rows = Tensor::empty({x.dim(0) * per_row, n + 1});
  const auto last = static_cast<float>(std::max<int64_t>(1, n_values_ - 1));
  float* to = rows.data<float>();
  for (size_t k = 0; k < actions.size(); ++k) {
    to = std::copy_n(x.data<float>() + static_cast<int64_t>(k) / per_row * n, n, to);
    *to++ = static_cast<float>(actions[k]) / last;
  }
  return rows;
}

Tensor ValueNetwork::rows_of(const Tensor& x) {
  if (!action_as_input_) return x;
  all_actions_.resize(static_cast<size_t>(x.dim(0) * n_values_));
  for (size_t k = 0; k < all_actions_.size(); ++k) {
    all_actions_[k] = static_cast<int32_t>(k % static_cast<size_t>(n_values_));
  }
  return with_actions(x, all_actions_, n_values_);
}

void ValueNetwork::update(const Tensor& x, std::span<const int32_t> which, std::span<const double> targets,
                          double learning_rate, EpisodeStats& stats) {
  const auto n = static_cast<double>(targets.size());
  const auto n_outputs = static_cast<size_t>(online_.outputs());
  descent_.run(std::ssize(targets), learning_rate, [&](const Rows&, const auto& backward) {
    const std::span<const double> v = online_.record(action_as_input_ ? with_actions(x, which, 1) : x);
    d_values_.assign(v.size(), 0.0);
    for (size_t i = 0; i < targets.size(); ++i) {
      const size_t k = i * n_outputs + (action_as_input_ ? 0 : static_cast<size_t>(which[i]));
      const double delta = targets[i] - v[k];
      stats.add_error(delta);
      d_values_[k] = -delta / n;
    }
    backward(online_.loss(d_values_));
  });
}

NamedTensors ValueNetwork::state() {
  NamedTensors state;
  online_.add_state("network.", state);
  target_.add_state("target.", state);
  descent_.add_state("adam.", state);
  return state;
}

void ValueNetwork::restore(const NamedTensors& state) {
  online_.restore("network.", state);
  target_.restore("target.", state);
  descent_.restore("adam.", state);
}

}  // namespace gradus::rl
