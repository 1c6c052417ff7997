// What a finite environment's values and policy look like: as text for a terminal, and as a picture.
#pragma once

#include <string>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

// The values and, of an environment on a plane, beside them the best actions as arrows (# forbidden or wall, T target);
// of another one, a line per state, the first and last ones of many.
//   V  [n_states];  Q  [n_states, n_actions], or empty: no policy is shown
std::string values_text(const env::FiniteMdp& mdp, const std::vector<double>& V, const Table& Q);

// The same of an environment on a plane as an SVG document: cells coloured by value, the greedy path from the first
// start drawn in. "" for other environments.
std::string values_svg(const env::FiniteMdp& mdp, const std::vector<double>& V, const Table& Q,
                       const std::string& title);

// The states of the greedy path from the likeliest start: until an episode ends, a state comes back, or `most` states.
// Of what chance decides, the likeliest happens.
std::vector<int32_t> greedy_path(const env::FiniteMdp& mdp, const Table& Q, int64_t most = 1000);

}  // namespace gradus::rl
