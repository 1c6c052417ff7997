#include "gradus/lm/tree_planner.h"

#include <algorithm>
#include <queue>

#include "gradus/kernels/attention.h"

namespace gradus::lm {

namespace {

// A node that could come next: guess number `rank` of the depth below `parent`, or the path's next.
struct Next {
  double chance;  // that all of its path is right
  size_t text;
  int32_t parent;
  int64_t depth;  // of the node itself, from 1
  int64_t rank;   // kOfPath: the path's
  double before;  // the parent's chance

  bool operator<(const Next& other) const { return chance < other.chance; }
};
constexpr int64_t kOfPath = -1;

class Growth {
 public:
  Growth(std::span<const TextGuesses> texts, std::span<const int32_t> lasts) : texts_(texts) {
    for (size_t i = 0; i < texts.size(); ++i) {
      PlannedTree& t = trees_.emplace_back();
      t.tree.add(lasts[i], -1);
      t.guesses.emplace_back();
      offer(i, 0, 1, 0, 1.0);
      offer(i, 0, 1, kOfPath, 1.0);
    }
  }

  // Adds the likeliest node; its chance, or 0 when there is none left.
  double grow() {
    while (!next_.empty()) {
      const Next n = next_.top();
      next_.pop();
      PlannedTree& t = trees_[n.text];
      const Guess& guess = guess_of(n);
      if (n.rank != kOfPath) offer(n.text, n.parent, n.depth, n.rank + 1, n.before);
      if (const int32_t known = t.tree.child(n.parent, guess.token); known >= 0) {
        if (n.rank == kOfPath) offer(n.text, known, n.depth + 1, kOfPath, n.chance);  // two sources agree
        continue;
      }
      if (t.tree.size() == kernels::kMaxTreeNodes) continue;
      const int32_t node = t.tree.add(guess.token, n.parent);
      t.guesses.push_back(guess);
      order_.push_back(n.text);
      offer(n.text, node, n.depth + 1, 0, n.chance);
      if (n.rank == kOfPath) offer(n.text, node, n.depth + 1, kOfPath, n.chance);
      return n.chance;
    }
    return 0;
  }

  // Takes back all but the first n nodes.
  void shrink(size_t n) {
    for (; order_.size() > n; order_.pop_back()) {
      PlannedTree& t = trees_[order_.back()];
      t.tree.tokens.pop_back(), t.tree.parents.pop_back(), t.guesses.pop_back();
    }
  }

  std::vector<PlannedTree> take() { return std::move(trees_); }

 private:
  const Guess& guess_of(const Next& n) const {
    const TextGuesses& text = texts_[n.text];
    const auto d = static_cast<size_t>(n.depth - 1);
    return n.rank == kOfPath ? text.path[d] : text.at_depth[d][static_cast<size_t>(n.rank)];
  }

  void offer(size_t i, int32_t parent, int64_t depth, int64_t rank, double before) {
    const TextGuesses& text = texts_[i];
    const auto d = static_cast<size_t>(depth - 1);
    if (depth > text.deepest) return;
    const bool exists =
        rank == kOfPath ? d < text.path.size() : d < text.at_depth.size() && rank < std::ssize(text.at_depth[d]);
    if (!exists) return;
    Next n{.chance = 0, .text = i, .parent = parent, .depth = depth, .rank = rank, .before = before};
    n.chance = before * guess_of(n).chance;
    next_.push(n);
  }

  std::span<const TextGuesses> texts_;
  std::vector<PlannedTree> trees_;
  std::priority_queue<Next> next_;
  std::vector<size_t> order_;  // the text of each node, as they were added
};

}  // namespace

namespace {

// Whether nodes of the largest chance there is could pay at all: what most steps of a large batch find out.
bool could_pay(std::span<const TextGuesses> texts, int64_t rows, int64_t most_nodes, const StepCost& cost) {
  double largest = 0;
  for (const TextGuesses& t : texts) {
    if (t.deepest < 1) continue;
    if (!t.at_depth.empty() && !t.at_depth[0].empty()) largest = std::max(largest, t.at_depth[0][0].chance);
    if (!t.path.empty()) largest = std::max(largest, t.path[0].chance);
  }
  return most_gain(std::ssize(texts), rows, most_nodes, largest, cost) > 1;
}

}  // namespace

double most_gain(int64_t texts, int64_t rows, int64_t most_nodes, double chance, const StepCost& cost) {
  const auto n = static_cast<double>(texts);
  const double plain = cost(rows + texts);
  double best = 1;
  for (int64_t nodes = 1; nodes <= most_nodes; ++nodes) {
    const double tokens = 1 + chance * static_cast<double>(nodes) / n;  // to those of plain decoding
    best = std::max(best, tokens * plain / cost(rows + texts + nodes));
  }
  return best;
}

TreePlan plan_trees(std::span<const TextGuesses> texts, std::span<const int32_t> lasts, int64_t rows,
                    int64_t most_nodes, const StepCost& cost) {
  Growth growth(texts, lasts);
  const auto n = static_cast<int64_t>(texts.size());
  TreePlan best{.tokens = static_cast<double>(n), .milliseconds = cost(rows + n)};
  size_t best_nodes = 0;
  double tokens = best.tokens;
  if (!could_pay(texts, rows, most_nodes, cost)) most_nodes = 0;
  for (int64_t nodes = 1; nodes <= most_nodes; ++nodes) {
    const double chance = growth.grow();
    if (chance == 0) break;
    tokens += chance;
    const double ms = cost(rows + n + nodes);
    if (tokens * best.milliseconds > best.tokens * ms) {
      best.tokens = tokens, best.milliseconds = ms;
      best_nodes = static_cast<size_t>(nodes);
    }
  }
  growth.shrink(best_nodes);
  best.trees = growth.take();
  return best;
}

}  // namespace gradus::lm
