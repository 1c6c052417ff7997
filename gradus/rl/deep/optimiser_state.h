// Adam's moments in an agent's state.
#pragma once

#include <string>

#include "gradus/optim/adamw.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

// By the parameters' positions, behind `prefix`; the moments are shared with the optimiser.
inline void add_state(optim::AdamW& optimiser, const std::string& prefix, NamedTensors& state) {
  const int64_t steps[] = {optimiser.steps()};
  state.emplace_back(prefix + "steps", Tensor::from<int64_t>(steps, {1}));
  for (size_t i = 0; i < optimiser.first_moments().size(); ++i) {
    state.emplace_back(fmt::format("{}m.{}", prefix, i), optimiser.first_moments()[i]);
    state.emplace_back(fmt::format("{}v.{}", prefix, i), optimiser.second_moments()[i]);
  }
}

// Throws corrupt.
inline void restore(optim::AdamW& optimiser, const std::string& prefix, const NamedTensors& state) {
  const auto take = [&](const std::string& name, Tensor& to) {
    to.copy_from(find_in(state, name, to.shape(), to.dtype()));
  };
  for (size_t i = 0; i < optimiser.first_moments().size(); ++i) {
    take(fmt::format("{}m.{}", prefix, i), optimiser.first_moments()[i]);
    take(fmt::format("{}v.{}", prefix, i), optimiser.second_moments()[i]);
  }
  optimiser.set_steps(find_in(state, prefix + "steps", {1}, DType::i64).data<int64_t>()[0]);
}

}  // namespace gradus::rl
