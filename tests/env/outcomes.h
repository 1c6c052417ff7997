// What an action leads to, to compare a table of transitions with a rule that is written apart from it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <tuple>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

// Probabilities by (next state, terminated, reward); equal outcomes are one.
using Outcomes = std::map<std::tuple<int64_t, bool, double>, double>;

inline Outcomes outcomes_of(const FiniteMdp& mdp, int64_t s, int64_t a) {
  Outcomes all;
  for (const Outcome& o : mdp.outcomes(s, a)) all[{o.next, o.terminated, o.reward}] += o.probability;
  std::erase_if(all, [](const auto& o) { return o.second == 0; });
  return all;
}

// Every state and action of the table does what the rule says; the rule is not asked about terminal states.
inline void expect_outcomes(const FiniteMdp& mdp, const std::function<Outcomes(int64_t s, int64_t a)>& rule) {
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    if (mdp.is_terminal(s)) continue;
    for (int64_t a = 0; a < mdp.n_actions(); ++a) {
      const Outcomes is = outcomes_of(mdp, s, a), should = rule(s, a);
      ASSERT_EQ(is.size(), should.size()) << mdp.state_name(s) << ", " << mdp.action_name(a);
      for (const auto& [outcome, probability] : should) {
        const auto found = is.find(outcome);
        ASSERT_NE(found, is.end()) << mdp.state_name(s) << ", " << mdp.action_name(a) << ": not to "
                                   << std::get<0>(outcome) << " for " << std::get<2>(outcome);
        EXPECT_NEAR(found->second, probability, 1e-12) << mdp.state_name(s) << ", " << mdp.action_name(a);
      }
    }
  }
}

// How many states are terminal.
inline int64_t n_terminal(const FiniteMdp& mdp) {
  int64_t n = 0;
  for (int64_t s = 0; s < mdp.n_states(); ++s) n += mdp.is_terminal(s) ? 1 : 0;
  return n;
}

}  // namespace gradus::env
