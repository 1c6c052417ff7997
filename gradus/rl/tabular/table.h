// Action values and policies: a number for each state and action. And how actions are chosen by them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/rng.h"

namespace gradus::rl {

// [n_states, n_actions] f64.
class Table {
 public:
  Table() = default;
  Table(int64_t n_states, int64_t n_actions, double value = 0)
      : n_states_(n_states), n_actions_(n_actions), values_(static_cast<size_t>(n_states * n_actions), value) {}

  int64_t n_states() const { return n_states_; }
  int64_t n_actions() const { return n_actions_; }
  double& operator()(int64_t s, int64_t a) { return values_[static_cast<size_t>(s * n_actions_ + a)]; }
  double operator()(int64_t s, int64_t a) const { return values_[static_cast<size_t>(s * n_actions_ + a)]; }
  std::span<double> operator[](int64_t s) { return {&values_[static_cast<size_t>(s * n_actions_)], size()}; }
  std::span<const double> operator[](int64_t s) const {
    return {&values_[static_cast<size_t>(s * n_actions_)], size()};
  }
  std::span<double> values() { return values_; }
  std::span<const double> values() const { return values_; }
  bool operator==(const Table&) const = default;

 private:
  size_t size() const { return static_cast<size_t>(n_actions_); }
  int64_t n_states_ = 0, n_actions_ = 0;
  std::vector<double> values_;
};

// The greatest of a row; max_a Q(s, a).
inline double max_of(std::span<const double> q) {
  double best = q[0];
  for (const double x : q.subspan(1)) best = x > best ? x : best;
  return best;
}

// One of 0 .. n - 1. The bias of n / 2^32 is far below any Monte Carlo error.
inline int64_t pick(int64_t n, Rng& rng) {
  return static_cast<int64_t>((uint64_t{rng.bits32()} * static_cast<uint64_t>(n)) >> 32);
}

// argmax_a Q(s, a), ties broken at random: the first of equals would bias early exploration.
inline int64_t greedy(std::span<const double> q, Rng& rng) {
  double best = q[0];
  int64_t at = 0, n_best = 1;
  for (size_t a = 1; a < q.size(); ++a) {
    const bool better = q[a] > best;
    n_best = better ? 1 : n_best + (q[a] == best);
    at = better ? static_cast<int64_t>(a) : at;
    best = better ? q[a] : best;
  }
  if (n_best == 1) return at;
  int64_t skip = pick(n_best, rng);
  for (size_t a = static_cast<size_t>(at);; ++a) {
    if (q[a] == best && skip-- == 0) return static_cast<int64_t>(a);
  }
}

// With probability eps any action, else a greedy one. Sutton & Barto, 2nd ed., section 2.2: a greedy action has
// 1 - eps + eps / n_actions. Zhao, eq. (5.4).
inline int64_t epsilon_greedy(std::span<const double> q, double eps, Rng& rng) {
  if (eps > 0 && rng.uniform_f32() < eps) return pick(static_cast<int64_t>(q.size()), rng);
  return greedy(q, rng);
}

// An action by its probability in a row of a policy.
inline int64_t draw(std::span<const double> pi, Rng& rng) {
  double u = rng.uniform_f32();
  int64_t last = 0;
  for (size_t a = 0; a < pi.size(); ++a) {
    if (pi[a] <= 0) continue;
    last = static_cast<int64_t>(a);
    if (u < pi[a]) break;
    u -= pi[a];
  }
  return last;
}

// pi(a|s) of the eps-greedy policy of Q, its greedy share spread evenly over actions within `tie` of the best.
Table epsilon_greedy_policy(const Table& Q, double eps, double tie = 0);
Table uniform_policy(int64_t n_states, int64_t n_actions);

// [n_states] sum_a pi(a|s) Q(s, a); max_a Q(s, a).
std::vector<double> values_of(const Table& pi, const Table& Q);
std::vector<double> greatest_values(const Table& Q);

}  // namespace gradus::rl
