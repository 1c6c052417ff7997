// A small dense system of linear equations, for exact solutions. Sizes are those of state spaces and feature sets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gradus::rl {

// A x = b with A [n, n] f64. Begins as zeros.
class LinearSystem {
 public:
  explicit LinearSystem(int64_t n) : n_(n), rows_(static_cast<size_t>(n * (n + 1)), 0.0) {}

  std::span<double> row(int64_t i) { return {at(i), static_cast<size_t>(n_)}; }
  double& right(int64_t i) { return at(i)[n_]; }

  // x by Gaussian elimination with partial pivoting. The system is used up. Throws invalid_argument when A is singular:
  // a pivot below 1e-13 of the largest element.
  std::vector<double> solve();

 private:
  double* at(int64_t i) { return rows_.data() + i * (n_ + 1); }
  int64_t n_;
  std::vector<double> rows_;  // [n, n + 1]: A, then b
};

}  // namespace gradus::rl
