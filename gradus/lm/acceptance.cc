#include "gradus/lm/acceptance.h"

#include <algorithm>
#include <cmath>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/softmax.h"

namespace gradus::lm {

namespace {

// softmax(logits / temperature) of one row.
std::vector<double> probabilities(const Tensor& logits, int64_t row, double temperature) {
  Tensor p = Tensor::empty({1, logits.dim(1)}, DType::f64);
  kernels::convert(logits.rows(row, row + 1), p);
  for (double& z : p.span<double>()) z /= temperature == 0 ? 1 : temperature;
  kernels::softmax(p, p);
  return {p.span<double>().begin(), p.span<double>().end()};
}

double entropy(std::span<const double> p) {
  double h = 0;
  for (const double x : p) h -= x > 0 ? x * std::log(x) : 0;
  return h;
}

}  // namespace

std::vector<int32_t> typical_path(const Tensor& logits, int64_t first_row, const DraftTree& tree, double temperature,
                                  const TypicalAcceptance& typical) {
  // Of each node that is kept: the length of its path, and the sum of its tokens' log-probabilities.
  struct Path {
    int32_t length = 0;
    double log_p = 0;
  };
  std::vector<Path> paths(tree.tokens.size());
  paths[0].length = 1;
  int32_t best = 0;
  std::vector<double> p;
  double threshold = 0;
  int32_t computed = -1;  // the node that p is of
  std::vector<int32_t> by_parent(tree.tokens.size());
  for (size_t i = 0; i < by_parent.size(); ++i) by_parent[i] = static_cast<int32_t>(i);
  std::ranges::stable_sort(by_parent, {}, [&](int32_t i) { return tree.parents[static_cast<size_t>(i)]; });
  for (const int32_t node : by_parent) {  // a parent's own parent is a smaller number, so parents come first
    const auto i = static_cast<size_t>(node);
    const int32_t parent = tree.parents[i];
    if (parent < 0 || paths[static_cast<size_t>(parent)].length == 0) continue;
    if (computed != parent) {
      p = probabilities(logits, first_row + parent, temperature);
      threshold = std::min(typical.epsilon, typical.delta * std::exp(-entropy(p)));
      computed = parent;
    }
    const double chance = p[static_cast<size_t>(tree.tokens[i])];
    if (chance <= threshold) continue;
    const Path& before = paths[static_cast<size_t>(parent)];
    paths[i] = {before.length + 1, before.log_p + std::log(chance)};
    const Path& record = paths[static_cast<size_t>(best)];
    const bool longer = paths[i].length > record.length;
    if (longer || (paths[i].length == record.length && paths[i].log_p > record.log_p)) best = node;
  }
  std::vector<int32_t> path;
  for (int32_t node = best; node >= 0; node = tree.parents[static_cast<size_t>(node)]) path.push_back(node);
  std::ranges::reverse(path);
  return path;
}

}  // namespace gradus::lm
