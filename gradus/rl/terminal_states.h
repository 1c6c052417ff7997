// Terminal states, where nothing is learned, show 0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

//   V [n_states];  Q [n_states, n_actions], or empty
inline void zero_terminal(const env::FiniteMdp& mdp, std::vector<double>& V) {
  for (size_t s = 0; s < V.size(); ++s) {
    if (mdp.is_terminal(static_cast<int64_t>(s))) V[s] = 0;
  }
}
inline void zero_terminal(const env::FiniteMdp& mdp, Table& Q) {
  for (int64_t s = 0; s < Q.n_states(); ++s) {
    if (mdp.is_terminal(s)) std::ranges::fill(Q[s], 0.0);
  }
}

}  // namespace gradus::rl
