// Action values as a value and advantages over it. Wang et al. 2016, "Dueling network architectures for deep
// reinforcement learning", eq. 9:
//   q(s, a) = v(s) + A(s, a) - mean_a' A(s, a')
// Differs: the paper's two streams have hidden layers of their own; here they share all.
//   out  [rows * (1 + n)]  v, then the n advantages, of each row
//   q    [rows * n]
#pragma once

#include <cstddef>
#include <span>

namespace gradus::rl {

inline void duel(std::span<const double> out, size_t n, std::span<double> q) {
  for (size_t i = 0; i < q.size() / n; ++i) {
    const std::span<const double> A = out.subspan(i * (1 + n) + 1, n);
    double mean = 0;
    for (const double x : A) mean += x / static_cast<double>(n);
    for (size_t a = 0; a < n; ++a) q[i * n + a] = out[i * (1 + n)] + A[a] - mean;
  }
}

// dL/dv = sum_a dL/dq_a,  dL/dA_a = dL/dq_a - mean_a' dL/dq_a'.
inline void duel_backward(std::span<const double> d_q, size_t n, std::span<double> d_out) {
  for (size_t i = 0; i < d_q.size() / n; ++i) {
    const std::span<const double> d = d_q.subspan(i * n, n);
    double sum = 0;
    for (const double x : d) sum += x;
    d_out[i * (1 + n)] = sum;
    for (size_t a = 0; a < n; ++a) d_out[i * (1 + n) + 1 + a] = d[a] - sum / static_cast<double>(n);
  }
}

}  // namespace gradus::rl
