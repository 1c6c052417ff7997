#include "gradus/rl/linear/feature_table.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/rl/coordinates.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/oracles.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::rl {

namespace {

struct Candidate {
  std::string name;
  FeaturesConfig config;
};

std::vector<Candidate> candidates() {
  std::vector<Candidate> list;
  for (int64_t k = 1; k <= 4; ++k) {
    list.push_back({fmt::format("fourier, order {}", k), {.kind = "fourier", .order = k}});
    list.push_back({fmt::format("polynomial, order {}", k), {.kind = "polynomial", .order = k}});
    if (k > 1) list.push_back({fmt::format("aggregation, {} cells a side", k), {.kind = "aggregation", .cells = k}});
  }
  return list;
}

}  // namespace

std::vector<FeatureTableRow> from_table_to_function(const env::FiniteMdp& mdp, const Table& pi, double gamma) {
  const Coordinates at = coordinates_of(mdp);
  const std::vector<double> d = stationary_distribution(mdp, pi);
  std::vector<FeatureTableRow> rows = {{.features = "table", .n_numbers = mdp.n_states()}};
  for (const auto& [name, config] : candidates()) {
    const auto features = make_features(at.box, config);
    if (features->n() >= mdp.n_states()) continue;
    const LinearOracle oracle(mdp, pi, feature_matrix(*features, at.points), d, gamma);
    try {
      rows.push_back({.features = name,
                      .n_numbers = features->n(),
                      .td_rmse = oracle.rmse(oracle.td_fixed_point()),
                      .best_fit_rmse = oracle.rmse(oracle.least_value_error())});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_argument) throw;  // else: linearly dependent
    }
  }
  std::ranges::stable_sort(rows, std::ranges::greater(), &FeatureTableRow::n_numbers);
  return rows;
}

}  // namespace gradus::rl
