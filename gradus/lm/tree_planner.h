// Which drafts are worth a row: trees grown node by node, the likeliest next one first, over all sequences of a batch,
// as far as the tokens that they may save outweigh the time that their rows take.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gradus/lm/draft.h"

namespace gradus::lm {

// A guess at the token at some depth below a text's last one.
struct Guess {
  int32_t token = 0;
  double chance = 0;      // that it is right, given that all before it is
  int32_t source = 0;     // whose guess, for whoever learns from what became of it
  double confidence = 0;  // what the source says
};

// What is guessed of one text.
struct TextGuesses {
  // [depth - 1]: for any node of the depth before, since heads do not see each other's tokens; the best first.
  std::vector<std::vector<Guess>> at_depth = {};
  // [depth - 1]: of one path, each token given those before it.
  std::vector<Guess> path = {};
  int64_t deepest = 0;  // that a node may be
};

// A tree and, of each of its nodes, the guess that it is.
struct PlannedTree {
  DraftTree tree = {};
  std::vector<Guess> guesses = {};  // [nodes]; node 0's says nothing
};

struct TreePlan {
  std::vector<PlannedTree> trees = {};
  double tokens = 0;        // that the step is expected to give: one a text, and the chance of each node
  double milliseconds = 0;  // that it is expected to take
};

// Seconds do not matter, only how much longer more rows take.
using StepCost = std::function<double(int64_t rows)>;

// How many times faster than plain decoding a step could be whose nodes, at most `most_nodes`, are each right with
// `chance`; at least 1, for it need not have any. `rows` as below.
double most_gain(int64_t texts, int64_t rows, int64_t most_nodes, double chance, const StepCost& cost);

// The trees of at most `most_nodes` nodes beside the texts' last tokens that give the most tokens in a millisecond.
//   lasts  the texts' last tokens
//   rows   that the step has beside the trees'
// Best-first growth finds the best tree of each size, since a node's chance is at most its parent's.
TreePlan plan_trees(std::span<const TextGuesses> texts, std::span<const int32_t> lasts, int64_t rows,
                    int64_t most_nodes, const StepCost& cost);

}  // namespace gradus::lm
