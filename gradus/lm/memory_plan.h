// What a model takes in memory to be read and sampled from, told from its shape before anything large is there.
// Training has more: gradus/posttrain/memory_plan.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gradus/nn/precision.h"
#include "gradus/nn/transformer_config.h"

namespace gradus::lm {

// In bytes; a number beyond 2^63 - 1 is that.
struct InferencePlan {
  int64_t weights = 0;
  int64_t cache = 0;      // keys and values
  int64_t workspace = 0;  // logits, activations, a matrix packed

  int64_t total() const;
};

struct InferenceLoad {
  int64_t sequences = 0;  // decoded at once; 0: the model is only loaded
  int64_t positions = 0;  // of each, prompt included
  int64_t rows = 0;       // of the largest forward pass
};

InferencePlan plan_inference(const nn::TransformerConfig& config, nn::Precision precision, const InferenceLoad& load);

// "needs 2.47 GB of memory: weights 2.47, keys and values 0.00, workspace 0.00; 22.1 GB are available"
std::string to_text(const InferencePlan& plan, int64_t available);

// Throws exhausted, naming `what` and the memory needed, when the plan is more than `available`.
void require_memory(std::string_view what, const InferencePlan& plan, int64_t available);

}  // namespace gradus::lm
