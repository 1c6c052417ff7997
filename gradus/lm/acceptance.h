// Typical acceptance of drafts, which is not lossless (Cai et al. 2024, arXiv 2401.10774, section 2.3.1).
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/core/tensor.h"
#include "gradus/lm/draft.h"
#include "gradus/lm/sampler.h"

namespace gradus::lm {

// The longest path of nodes from node 0 on of which each is likely enough after its parent, p(x) > min(epsilon, delta
// exp(-H(p))) with p = softmax(logits / temperature) there; among equally long ones the likeliest, then the first.
//   logits  [rows, n_vocab]; node i's are row first_row + i
std::vector<int32_t> typical_path(const Tensor& logits, int64_t first_row, const DraftTree& tree, double temperature,
                                  const TypicalAcceptance& typical);

}  // namespace gradus::lm
