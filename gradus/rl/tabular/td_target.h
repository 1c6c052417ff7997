// The unified view of temporal differences (Zhao, section 7.5, Table 7.2): every algorithm here moves Q(s, a) by
//   Q(s, a) <- Q(s, a) + alpha (target - Q(s, a)),
// and they differ in the target alone, that is, in the Bellman equation that they solve:
//   Sarsa            r + gamma Q(s2, a2)                              (7.12)
//   expected Sarsa   r + gamma sum_a pi(a|s2) Q(s2, a)                section 7.3
//   n-step Sarsa     r_1 + gamma r_2 + ... + gamma^n Q(s_n, a_n)      (7.17)
//   Q-learning       r + gamma max_a Q(s2, a)                         (7.18)
//   Monte Carlo      r_1 + gamma r_2 + gamma^2 r_3 + ...
// After a termination nothing follows, and the target is r. A time limit is no end: the target bootstraps there.
#pragma once

#include "gradus/env/finite_env.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

inline double bootstrapped(const env::FiniteEnv::Move& m, double gamma, double value) {
  return m.terminated ? m.reward : m.reward + gamma * value;
}

inline double sarsa_target(const env::FiniteEnv::Move& m, double gamma, const Table& Q, int64_t a2) {
  return bootstrapped(m, gamma, Q(m.next, a2));
}

// Under the eps-greedy policy: (1 - eps) max_a Q + eps mean_a Q; how ties are broken does not matter.
inline double expected_sarsa_target(const env::FiniteEnv::Move& m, double gamma, const Table& Q, double eps) {
  double sum = 0;
  for (const double q : Q[m.next]) sum += q;
  return bootstrapped(m, gamma, (1 - eps) * max_of(Q[m.next]) + eps * sum / static_cast<double>(Q.n_actions()));
}

//   best  greatest(Q[s2])
inline double q_learning_target(const env::FiniteEnv::Move& m, double gamma, const Greatest& best) {
  return bootstrapped(m, gamma, best.value);
}

}  // namespace gradus::rl
