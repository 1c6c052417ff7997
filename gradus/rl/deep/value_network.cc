#include "gradus/rl/deep/value_network.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

namespace {

nn::MlpConfig shape_of(int64_t n_inputs, int64_t n_values, const NetworkConfig& c) {
  c.check();
  return {.inputs = c.action_as_input ? n_inputs + 1 : n_inputs,
          .outputs = c.action_as_input ? 1 : n_values,
          .hidden = c.hidden,
          .activation = c.activation};
}

}  // namespace

ValueNetwork::ValueNetwork(int64_t n_inputs, int64_t n_values, const NetworkConfig& c, uint64_t seed)
    : n_values_(n_values),
      action_as_input_(c.action_as_input),
      learning_rate_(c.learning_rate),
      online_(shape_of(n_inputs, n_values, c)),
      target_(online_.config()),
      optimiser_(online_.parameters(), {.beta2 = 0.999}),
      train_step_(optimiser_, {.clip_norm = c.clip_norm}) {
  online_.initialise(seed);
  update_target();
}

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

std::span<const float> ValueNetwork::forward(nn::Mlp& network, const Tensor& x) {
  inference_.reset();
  if (!action_as_input_) return network(inference_.constant(x)).value().span<float>();
  all_actions_.resize(static_cast<size_t>(x.dim(0) * n_values_));
  for (size_t k = 0; k < all_actions_.size(); ++k)
    all_actions_[k] = static_cast<int32_t>(static_cast<int64_t>(k) % n_values_);
  return network(inference_.constant(with_actions(x, all_actions_, n_values_))).value().span<float>();
}

void ValueNetwork::update(const Tensor& x, std::span<const int32_t> which, std::span<const double> targets,
                          EpisodeStats& stats) {
  const auto n = static_cast<double>(targets.size());
  const auto n_outputs = static_cast<size_t>(online_.config().outputs);
  weights_.assign(targets.size() * n_outputs, 0.0);
  train_step_.run(updates(), learning_rate_, [&](int64_t, const auto& backward) {
    tape_.reset();
    const autograd::Var v = online_(tape_.constant(action_as_input_ ? with_actions(x, which, 1) : x));
    for (size_t i = 0; i < targets.size(); ++i) {
      const size_t k = i * n_outputs + (action_as_input_ ? 0 : static_cast<size_t>(which[i]));
      const double delta = targets[i] - static_cast<double>(v.value().span<float>()[k]);
      stats.add_error(delta);
      weights_[k] = -delta / n;
    }
    backward(autograd::weighted_sum(v, weights_));
  });
}

template <class F>
void ValueNetwork::each_tensor(F f) {
  for (size_t i = 0; i < online_.parameters().size(); ++i) {
    const std::string& name = online_.parameters()[i]->name;
    f("network." + name, online_.parameters()[i]->value);
    f("target." + name, target_.parameters()[i]->value);
    f("adam.m." + name, optimiser_.first_moments()[i]);
    f("adam.v." + name, optimiser_.second_moments()[i]);
  }
}

NamedTensors ValueNetwork::state() {
  const int64_t steps[] = {updates()};
  NamedTensors state = {{"adam.steps", Tensor::from<int64_t>(steps, {1})}};
  each_tensor([&](const std::string& name, const Tensor& t) { state.emplace_back(name, t); });
  return state;
}

void ValueNetwork::restore(const NamedTensors& state) {
  optimiser_.set_steps(find_in(state, "adam.steps", {1}, DType::i64).data<int64_t>()[0]);
  each_tensor([&](const std::string& name, Tensor& t) { t.copy_from(find_in(state, name, t.shape(), t.dtype())); });
  for (nn::Mlp* network : {&online_, &target_}) {
    for (autograd::Parameter* p : network->parameters()) p->changed();
  }
}

}  // namespace gradus::rl
