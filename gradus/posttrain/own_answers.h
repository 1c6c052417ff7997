// What a model writes after the beginnings of texts: what its heads learn from in self-distillation (Cai et al. 2024,
// arXiv 2401.10774, section 2.3.2), where the texts that it was trained on are not at hand, or are not what it says.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/posttrain/likelihood.h"

namespace gradus::posttrain {

struct OwnAnswer {
  std::vector<int32_t> tokens = {};  // the beginning and the answer
  int64_t prompt_tokens = 0;

  TrainSequence sequence() const { return {.tokens = tokens, .prompt_tokens = prompt_tokens}; }
};

// An answer for each window: its first quarter is the beginning, and answer and beginning together are no longer than
// the window. Answer i is drawn with the streams of sequence first + i; it depends on weights, window, temperature and
// seed alone.
std::vector<OwnAnswer> own_answers(lm::Model& model, std::span<const std::vector<int32_t>> windows, double temperature,
                                   uint64_t seed, int64_t first);

}  // namespace gradus::posttrain
