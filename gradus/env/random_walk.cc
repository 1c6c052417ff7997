#include "gradus/env/random_walk.h"

#include <fmt/format.h>

#include "gradus/core/error.h"

namespace gradus::env {

std::shared_ptr<const FiniteMdp> random_walk(const RandomWalkConfig& c) {
  require(c.states >= 1 && c.states <= 1'000'000, "random walk: {} states, but there must be 1 to a million", c.states);
  const auto n = static_cast<int32_t>(c.states);
  const int32_t left = n, right = n + 1;
  FiniteMdp::Definition d{.n_states = n + 2, .n_actions = 1};
  d.outcomes.resize(static_cast<size_t>(d.n_states));  // the ends have no action
  for (int32_t s = 0; s < n; ++s) {
    const bool first = s == 0, last = s == n - 1;
    d.outcomes[static_cast<size_t>(s)] = {
        {.probability = 0.5, .next = first ? left : s - 1, .reward = first ? c.reward_left : 0},
        {.probability = 0.5, .next = last ? right : s + 1, .reward = last ? c.reward_right : 0}};
    d.state_names.push_back(n <= 26 ? std::string(1, static_cast<char>('A' + s)) : fmt::format("{}", s + 1));
  }
  d.state_names.insert(d.state_names.end(), {"left end", "right end"});
  d.action_names = {"walk"};
  d.start.resize(static_cast<size_t>(d.n_states));
  d.start[static_cast<size_t>((n - 1) / 2)] = 1;
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
