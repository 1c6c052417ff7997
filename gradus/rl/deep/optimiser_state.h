// Adam's moments in an agent's state.
#pragma once

#include <string>
#include <vector>

#include "gradus/optim/adamw.h"
#include "gradus/rl/agent_state.h"
#include "gradus/run/gradient_exchange.h"

namespace gradus::rl {

// By the parameters' positions, behind `prefix`; the moments are shared with the optimiser. Where ZeRO cuts them, they
// are made whole.
//   exchange  of the ranks that share the optimiser's work, or null; then collective
inline void add_state(optim::AdamW& optimiser, const std::string& prefix, NamedTensors& state,
                      run::GradientExchange* exchange = nullptr) {
  const int64_t steps[] = {optimiser.steps()};
  state.emplace_back(prefix + "steps", Tensor::from<int64_t>(steps, {1}));
  const auto whole = [&](const std::vector<Tensor>& moments) {
    return exchange == nullptr ? moments : exchange->whole(moments);
  };
  const std::vector<Tensor> first = whole(optimiser.first_moments()), second = whole(optimiser.second_moments());
  for (size_t i = 0; i < first.size(); ++i) {
    state.emplace_back(fmt::format("{}m.{}", prefix, i), first[i]);
    state.emplace_back(fmt::format("{}v.{}", prefix, i), second[i]);
  }
}

// Throws corrupt.
inline void restore(optim::AdamW& optimiser, const std::string& prefix, const NamedTensors& state,
                    run::GradientExchange* exchange = nullptr) {
  std::vector<Tensor> first, second;
  for (size_t i = 0; i < optimiser.parameters().size(); ++i) {
    const autograd::Parameter& p = *optimiser.parameters()[i];
    const DType dtype = kernels::computed_in(p.weights_dtype());
    first.push_back(find_in(state, fmt::format("{}m.{}", prefix, i), p.value.shape(), dtype));
    second.push_back(find_in(state, fmt::format("{}v.{}", prefix, i), p.value.shape(), dtype));
  }
  if (exchange != nullptr) {
    exchange->take_moments(first, second);
  } else {
    for (size_t i = 0; i < first.size(); ++i) {
      optimiser.first_moments()[i].copy_from(first[i]);
      optimiser.second_moments()[i].copy_from(second[i]);
    }
  }
  optimiser.set_steps(find_in(state, prefix + "steps", {1}, DType::i64).data<int64_t>()[0]);
}

}  // namespace gradus::rl
