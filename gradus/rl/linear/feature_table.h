// From table to function: what features save in memory and cost in accuracy. Zhao, section 8.1 and figures 8.7, 8.8.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

struct FeatureTableRow {
  std::string features;      // "table", "fourier, order 2"
  int64_t n_numbers = 0;     // that the values take
  double td_rmse = 0;        // of the TD fixed point: where TD learning ends; over all states that are not terminal
  double best_fit_rmse = 0;  // of the w with the least value error
};

// The values of a policy by a table, Fourier bases, polynomials and aggregation, from most to fewest numbers; states
// count as often as the policy visits them. Sets that are no smaller than the table, or that are linearly dependent on
// these states, are left out. Throws what stationary_distribution and evaluate_policy throw.
std::vector<FeatureTableRow> from_table_to_function(const env::FiniteMdp& mdp, const Table& pi, double gamma);

}  // namespace gradus::rl
