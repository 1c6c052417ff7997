#include "gradus/rl/deep/sum_tree.h"

#include <bit>

namespace gradus::rl {

SumTree::SumTree(int64_t size)
    : first_leaf_(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(size)))),
      nodes_(static_cast<size_t>(2 * first_leaf_), 0.0) {}

void SumTree::set(int64_t i, double value) {
  auto k = static_cast<size_t>(first_leaf_ + i);
  nodes_[k] = value;
  for (k /= 2; k >= 1; k /= 2) nodes_[k] = nodes_[2 * k] + nodes_[2 * k + 1];
}

int64_t SumTree::find(double x) const {
  size_t k = 1;
  while (k < static_cast<size_t>(first_leaf_)) {
    const double left = nodes_[2 * k];
    // Sums are rounded, so x may end up beyond what is there: never go where there is nothing.
    const bool right = x >= left && nodes_[2 * k + 1] > 0;
    if (right) x -= left;
    k = 2 * k + (right ? 1 : 0);
  }
  return static_cast<int64_t>(k) - first_leaf_;
}

}  // namespace gradus::rl
