// Conjugate gradient for A x = b with a symmetric positive definite A that is known by its products alone. Hestenes &
// Stiefel 1952; Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithm 5.2.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace gradus::rl {

inline double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

class ConjugateGradient {
 public:
  // x after at most `steps` steps from 0, or when the residual's norm has fallen to `tolerance` of b's; valid until the
  // next call. Also ends where A shows itself not to be positive, as rounding can make it.
  //   times(v, out)  out = A v
  template <class Times>
  std::span<const double> operator()(std::span<const double> b, int64_t steps, double tolerance, Times&& times);

 private:
  std::vector<double> x_, r_, p_, Ap_;
};

template <class Times>
std::span<const double> ConjugateGradient::operator()(std::span<const double> b, int64_t steps, double tolerance,
                                                      Times&& times) {
  x_.assign(b.size(), 0.0);
  r_.assign(b.begin(), b.end());
  p_ = r_;
  Ap_.resize(b.size());
  const std::span<double> x(x_), r(r_), p(p_), Ap(Ap_);
  double rr = dot(r, r);
  const double enough = tolerance * tolerance * rr;
  for (int64_t k = 0; k < steps && rr > enough; ++k) {
    times(std::span<const double>(p), Ap);
    const double pAp = dot(p, Ap);
    if (!(pAp > 0)) break;
    const double alpha = rr / pAp;
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] += alpha * p[i];
      r[i] -= alpha * Ap[i];
    }
    const double rr_before = rr;
    rr = dot(r, r);
    for (size_t i = 0; i < p.size(); ++i) p[i] = r[i] + rr / rr_before * p[i];
  }
  return x;
}

}  // namespace gradus::rl
