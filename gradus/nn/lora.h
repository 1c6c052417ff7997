// Low-rank adapters on the projections of a transformer: its own weights are frozen, and each target W [out, in] gets
// W x + (alpha / r) B A x, of which only A [r, in] and B [out, r] learn. Hu et al. 2021, "LoRA: Low-Rank Adaptation of
// Large Language Models" (arXiv 2106.09685), section 4.1, equation 3. What is rounded where: autograd::linear, which
// the trainer and the sampler share. Reading and writing adapters in PEFT's layout is gradus/lm/adapter.h.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/nn/transformer.h"

namespace gradus::nn {

// The projections that may have an adapter, by their names in checkpoints.
inline constexpr std::array<std::string_view, 7> kLoraTargets = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                                 "gate_proj", "up_proj", "down_proj"};

struct LoraConfig {
  int64_t rank = 8;   // r
  double alpha = 16;  // what is added is scaled by alpha / r
  std::vector<std::string> targets{kLoraTargets.begin(), kLoraTargets.end()};

  // Throws invalid_argument on a rank below 1 or above the width, an alpha that is not positive, or a target that is
  // not one of kLoraTargets, or twice there.
  void check(const TransformerConfig& base) const;
  // Elements of all A and B.
  int64_t n_parameters(const TransformerConfig& base) const;
};

class Lora {
 public:
  // Freezes all parameters of `base`, and gives the memory of their master copies back. From here on `base` reads this
  // object's A and B: it stays as long as that is used, or until `merge`. They are zero until `initialise` or a loader
  // fills them; they have the formats of the base's matrices, masters included. Throws what LoraConfig::check throws.
  Lora(Transformer& base, const LoraConfig& config);
  Lora(const Lora&) = delete;
  Lora& operator=(const Lora&) = delete;

  const LoraConfig& config() const { return config_; }

  // A uniform in +-1/sqrt(in), B zero: at first nothing is added. (PEFT's kaiming_uniform with a = sqrt(5). Differs
  // from the paper's normal A.) Streams: Rng(seed, init, 2^32 + index).
  void initialise(uint64_t seed);

  // A and B of each target in the order of the base's parameters, with PEFT's names:
  // base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight.
  const std::vector<Parameter*>& parameters() const { return order_; }
  void allocate_gradients();

  // W + (alpha / r) B A in place of each target, computed in f32 (f64) and rounded once to its format. Then the base is
  // as if there had been no adapters, but for master copies, which it has no more.
  void merge();

 private:
  Transformer& base_;
  LoraConfig config_;
  std::deque<Parameter> storage_;
  std::vector<Parameter*> order_;
  std::vector<Parameter*> targets_;  // of the base, one for each two of order_
};

}  // namespace gradus::nn
