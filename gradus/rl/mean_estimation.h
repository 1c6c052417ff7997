// Estimating a mean from samples, one after the other: the step from expectation to stochastic approximation. Zhao,
// chapters 5.1 and 6; Sutton & Barto, 2nd ed., sections 2.4 and 2.5.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gradus::rl {

// E[X] = sum_x p(x) x: with the model at hand nothing has to be sampled. Zhao, eq. (5.1). Throws invalid_argument
// unless the probabilities sum to one and are as many as the values.
double expectation(std::span<const double> values, std::span<const double> probabilities);

// a_k = scale / k^power, k = 1, 2, ... Robbins and Monro's conditions, sum a_k infinite and sum a_k^2 finite, hold for
// powers in (1/2, 1]; power 0 is a constant step, which follows a mean that moves and never settles.
struct StepSchedule {
  double scale = 1;
  double power = 1;
  double operator()(int64_t k) const;
  bool converges() const { return power > 0.5 && power <= 1; }
};

// Stochastic gradient descent on J(w) = E ||w - X||^2 / 2, whose minimum is E[X]: w <- w - a_k (w - x_k). Zhao, eq.
// (6.13); in one dimension the Robbins-Monro algorithm for g(w) = w - E[X], eq. (6.4) to (6.6); with a_k = 1 / k the
// sample mean itself, computed incrementally, eq. (6.2).
class MeanEstimate {
 public:
  MeanEstimate(std::vector<double> start, StepSchedule schedule) : w_(std::move(start)), schedule_(schedule) {}

  // x [as many as start]
  void add(std::span<const double> x);
  std::span<const double> value() const { return w_; }
  int64_t n_samples() const { return k_; }

 private:
  std::vector<double> w_;
  StepSchedule schedule_;
  int64_t k_ = 0;
};

}  // namespace gradus::rl
