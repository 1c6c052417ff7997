// Action values and policies: a number for each state and action. And how actions are chosen by them.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
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

// One of 0 .. n - 1. The bias of n / 2^32 is far below any Monte Carlo error.
inline int64_t pick(int64_t n, Rng& rng) {
  return static_cast<int64_t>((uint64_t{rng.bits32()} * static_cast<uint64_t>(n)) >> 32);
}

// The greatest of a row and who has it.
struct Greatest {
  double value;
  int64_t first = 0, n = 0;  // the first of the actions with that value, and how many they are
};

namespace detail {
// Of a number of actions that the compiler knows: without loops or branches, which chance would make hard to foresee.
template <size_t N>
Greatest greatest_of(const double* q) {
  double value = q[0];
#pragma GCC unroll 16
  for (size_t a = 1; a < N; ++a) value = std::max(value, q[a]);
  uint32_t mask = 0;
#pragma GCC unroll 16
  for (size_t a = 0; a < N; ++a) mask |= uint32_t{q[a] >= value} << a;
  return {.value = value, .first = std::countr_zero(mask), .n = std::popcount(mask)};
}
Greatest greatest_of_many(std::span<const double> q);
}  // namespace detail

inline Greatest greatest(std::span<const double> q) {
  switch (q.size()) {
    case 2:
      return detail::greatest_of<2>(q.data());
    case 3:
      return detail::greatest_of<3>(q.data());
    case 4:
      return detail::greatest_of<4>(q.data());
    case 5:
      return detail::greatest_of<5>(q.data());
    case 6:
      return detail::greatest_of<6>(q.data());
    default:
      return detail::greatest_of_many(q);
  }
}

// max_a Q(s, a).
inline double max_of(std::span<const double> q) {
  return greatest(q).value;
}

// argmax_a Q(s, a), ties broken at random: the first of equals would bias early exploration.
//   g  greatest(q)
inline int64_t greedy(std::span<const double> q, const Greatest& g, Rng& rng) {
  if (g.n == 1) return g.first;
  int64_t skip = pick(g.n, rng);
  for (size_t a = static_cast<size_t>(g.first);; ++a) {
    if (q[a] == g.value && skip-- == 0) return static_cast<int64_t>(a);
  }
}
inline int64_t greedy(std::span<const double> q, Rng& rng) {
  return greedy(q, greatest(q), rng);
}

// The eps-greedy policy during an episode: with probability eps any action, else a greedy one, which so has
// 1 - eps + eps / n_actions. Sutton & Barto, 2nd ed., section 2.2; Zhao, eq. (5.4). Whether to explore is not asked at
// every step: the number of greedy steps until the next random one is geometric, and drawn at once.
class EpsilonGreedy {
 public:
  EpsilonGreedy(double eps, Rng& rng) : rng_(rng), per_log_(eps < 1 ? 1 / std::log(1 - eps) : 0), never_(eps <= 0) {
    draw_gap();
  }

  int64_t operator()(std::span<const double> q) { return (*this)(q, greatest(q)); }
  //   g  greatest(q)
  int64_t operator()(std::span<const double> q, const Greatest& g) {
    if (greedy_left_-- > 0) return greedy(q, g, rng_);
    draw_gap();
    return pick(static_cast<int64_t>(q.size()), rng_);
  }

 private:
  // P(gap >= k) = (1 - eps)^k.
  void draw_gap() {
    constexpr double kLongest = 1e18;
    greedy_left_ =
        static_cast<int64_t>(never_ ? kLongest : std::min(kLongest, std::log(1 - rng_.uniform_f32()) * per_log_));
  }

  Rng& rng_;
  double per_log_;
  bool never_;
  int64_t greedy_left_ = 0;
};

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
// The same, but its greedy share goes to the first of them.
Table first_greedy_policy(const Table& Q, double eps, double tie = 0);
Table uniform_policy(int64_t n_states, int64_t n_actions);

// [n_states] sum_a pi(a|s) Q(s, a); max_a Q(s, a).
std::vector<double> values_of(const Table& pi, const Table& Q);
std::vector<double> greatest_values(const Table& Q);

}  // namespace gradus::rl
