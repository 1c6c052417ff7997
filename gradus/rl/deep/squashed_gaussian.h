// A Gaussian whose draws are squashed into (-1, 1), with a deviation of its own in every state: the policy of soft
// actor-critic. Haarnoja et al. 2018b, "Soft actor-critic algorithms and applications", appendix C.
//   u = m + sigma e,  e ~ N(0, I);   a = tanh(u);   log pi(a|s) = sum_i log N(u_i; m_i, sigma_i) - log(1 - a_i^2)
// All functions are of one row, in double:
//   out  [2 n]  m, then log sigma, which counts as at least -20 and at most 2
//   e    [n]    what was drawn
//   a    [n]
#pragma once

#include <cstdint>
#include <span>

namespace gradus::rl {

// a of e. Returns log pi(a|s).
double squash(std::span<const double> out, std::span<const double> e, std::span<double> a);
// tanh(m).
void squash_mean(std::span<const double> out, std::span<double> a);

// d_out = by_log_prob d log pi(a|s) / d out + sum_i d_a[i] d a_i / d out, where e stays and a goes along: the gradient
// of eq. 9.
//   a  of squash(out, e)
void squash_backward(std::span<const double> out, std::span<const double> e, std::span<const double> a,
                     double by_log_prob, std::span<const double> d_a, std::span<double> d_out);

}  // namespace gradus::rl
