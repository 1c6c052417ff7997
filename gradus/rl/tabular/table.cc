#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

Greatest detail::greatest_of_many(std::span<const double> q) {
  Greatest g{.value = q[0], .first = 0, .n = 1};
  for (size_t a = 1; a < q.size(); ++a) {
    if (q[a] > g.value) g = {.value = q[a], .first = static_cast<int64_t>(a), .n = 0};
    g.n += q[a] == g.value;
  }
  return g;
}

Table epsilon_greedy_policy(const Table& Q, double eps, double tie) {
  Table pi(Q.n_states(), Q.n_actions(), eps / static_cast<double>(Q.n_actions()));
  for (int64_t s = 0; s < Q.n_states(); ++s) {
    const double best = max_of(Q[s]);
    int64_t n_best = 0;
    for (const double q : Q[s]) n_best += q >= best - tie;
    for (int64_t a = 0; a < Q.n_actions(); ++a) {
      if (Q(s, a) >= best - tie) pi(s, a) += (1 - eps) / static_cast<double>(n_best);
    }
  }
  return pi;
}

Table first_greedy_policy(const Table& Q, double eps, double tie) {
  Table pi(Q.n_states(), Q.n_actions(), eps / static_cast<double>(Q.n_actions()));
  for (int64_t s = 0; s < Q.n_states(); ++s) {
    const double best = max_of(Q[s]);
    const auto first = std::ranges::find_if(Q[s], [&](double q) { return q >= best - tie; });
    pi(s, first - Q[s].begin()) += 1 - eps;
  }
  return pi;
}

Table uniform_policy(int64_t n_states, int64_t n_actions) {
  return Table(n_states, n_actions, 1 / static_cast<double>(n_actions));
}

std::vector<double> values_of(const Table& pi, const Table& Q) {
  std::vector<double> V;
  for (int64_t s = 0; s < Q.n_states(); ++s) {
    double v = 0;
    for (int64_t a = 0; a < Q.n_actions(); ++a) v += pi(s, a) * Q(s, a);
    V.push_back(v);
  }
  return V;
}

std::vector<double> greatest_values(const Table& Q) {
  std::vector<double> V;
  for (int64_t s = 0; s < Q.n_states(); ++s) V.push_back(max_of(Q[s]));
  return V;
}

}  // namespace gradus::rl
