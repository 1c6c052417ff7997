// Numbers that change one at a time, and are drawn in proportion to their size.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus::rl {

// A binary tree whose leaves are the numbers and whose nodes are the sums of the two below. Schaul et al. 2016,
// "Prioritized Experience Replay", appendix B.2.1. A node is always that sum, never a running one, so that the tree
// depends on its leaves alone. All costs are log2(size).
class SumTree {
 public:
  // Leaves are 0 at first.
  explicit SumTree(int64_t size);

  void set(int64_t i, double value);  // value >= 0
  double operator[](int64_t i) const { return nodes_[static_cast<size_t>(first_leaf_ + i)]; }
  double sum() const { return nodes_[1]; }
  // The leaf i with x in [l_0 + ... + l_{i-1}, l_0 + ... + l_i): one that is not 0.   0 <= x < sum()
  int64_t find(double x) const;

 private:
  int64_t first_leaf_;         // a power of two, at least the size
  std::vector<double> nodes_;  // of node k below are 2 k and 2 k + 1; the root is 1
};

}  // namespace gradus::rl
