// Tokens that are guessed before the model has drawn them, so that one pass over the weights can confirm several: trees
// of drafts, who makes them, and how much of one is kept (Cai et al. 2024, arXiv 2401.10774).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/tensor.h"

namespace gradus::lm {

// Guesses at how a text goes on. Node 0 is the text's last token, whose keys are computed with the rest; a node's
// children are guesses at what follows it, all different.
struct DraftTree {
  std::vector<int32_t> tokens, parents;  // [nodes]; parents[0] = -1, otherwise before the node

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  void clear() { tokens.clear(), parents.clear(); }
  // The new node's number.
  int32_t add(int32_t token, int32_t parent) {
    tokens.push_back(token), parents.push_back(parent);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  int32_t child(int32_t node, int32_t token) const;  // -1: none
};

// A text that is being continued.
struct DraftContext {
  std::span<const int32_t> text = {};  // so far
  uint64_t sequence = 0;               // its name while the sampler runs
  int64_t deepest = 0;                 // the depth that nodes may have; node 0 has depth 0
  int32_t hidden_row = 0;              // of the final hidden states: the one that its last token was drawn from
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // A tree for each text; one of a single node drafts nothing.
  //   hidden  [all rows, C] of the pass before
  //   rows    that the pass over the trees has beside theirs
  virtual void propose(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t rows,
                       std::span<DraftTree> trees) = 0;

  // What became of the tree that was last proposed for a text: the nodes whose tokens the text has, from node 0 on,
  // each the child of the one before; and whether it went on after the last of them, so that what that one had as
  // children was wrong.
  virtual void observe(uint64_t sequence, const DraftTree& tree, std::span<const int32_t> accepted, bool went_on) = 0;

  // What a step took that read nothing of a prompt, from its forward pass until its drafts were kept; `drafts` of its
  // rows were guesses.
  virtual void observe_step(int64_t /*rows*/, int64_t /*drafts*/, double /*ms*/) {}
};

}  // namespace gradus::lm
