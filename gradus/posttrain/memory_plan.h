// What a training run will take in memory, said before its first step.
#pragma once

#include <cstdint>
#include <optional>

#include "gradus/lm/medusa/heads.h"
#include "gradus/nn/lora.h"
#include "gradus/nn/precision.h"
#include "gradus/nn/transformer_config.h"

namespace gradus::posttrain {

// In bytes.
struct MemoryPlan {
  int64_t parameters = 0;   // what forward and backward read
  int64_t gradients = 0;    // of them
  int64_t moments = 0;      // AdamW's two; an even share where ranks share them out
  int64_t master = 0;       // f32 copies of narrower parameters; a share, too
  int64_t activations = 0;  // what a micro-batch's forward keeps for its backward
  int64_t workspace = 0;    // the most that comes and goes: logits, packed operands, gradients of activations; or the
                            // sampler's keys and values and packed weights, if they are more
  int64_t shares = 1;       // ranks that share moments and master weights out

  int64_t total() const { return parameters + gradients + moments + master + activations + workspace; }
};

struct MemoryPlanConfig {
  int64_t rows = 2048;          // of a micro-batch
  int64_t sampled_at_once = 0;  // sequences
  int64_t sampled_tokens = 0;   // of each, prompt included
  int64_t threads = 1;
  int64_t shares = 1;                    // ranks that share moments and master weights out (ZeRO)
  std::optional<nn::LoraConfig> lora{};  // adapters alone learn
  std::optional<lm::MedusaConfig> heads{};
  bool trunk_learns = true;  // beside heads
  bool teacher = false;      // a second copy of the model, that is only read
};

// Parameters to activations are counted exactly; the workspace is an estimate, and what the process takes besides
// (code, text, checkpoints on their way to disk, whole master weights while a model is read) is not in it.
MemoryPlan plan_memory(const nn::TransformerConfig& model, nn::Precision precision, const MemoryPlanConfig& config);

}  // namespace gradus::posttrain
