// Which transitions to learn from again: those whose errors were large. Schaul et al. 2016, "Prioritized Experience
// Replay", section 3.3 (proportional) and Algorithm 1.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/rng.h"
#include "gradus/core/safetensors.h"
#include "gradus/rl/deep/sum_tree.h"

namespace gradus::rl {

//   P(i) = p_i^a / sum_k p_k^a,  p_i = |delta_i| + a little, so that each can come again: eq. 1
class Priorities {
 public:
  //   exponent  a; 0 = all alike
  Priorities(int64_t capacity, double exponent);

  // Transition i is new: the greatest priority so far, so that each is seen.
  void add(int64_t i) { tree_.set(i, greatest_); }
  void set(int64_t i, double delta);
  double operator[](int64_t i) const { return tree_[i] / tree_.sum(); }  // P(i)

  // One from each of B equal ranges of the sum, and w_i = (N P(i))^-beta / max_j w_j, the largest of these B.
  //   n  transitions that there are;  chosen, weights [B]
  // Differs: the paper does not say over which j; so only ever B are looked at.
  void draw(int64_t n, double beta, Rng& rng, std::span<int64_t> chosen, std::span<double> weights) const;

  // For checkpoints: of the first n, and the greatest so far.   f64 [n + 1]
  Tensor state(int64_t n) const;
  void restore(const Tensor& state);  // throws corrupt

 private:
  double exponent_, greatest_ = 1;
  SumTree tree_;  // p_i^a
};

}  // namespace gradus::rl
