// The config.json of a Hugging Face model folder, for LlamaForCausalLM (Llama 3.x, SmolLM2), MistralForCausalLM,
// Qwen2ForCausalLM (Qwen2, Qwen2.5) and Qwen3ForCausalLM. What loads and what is refused: docs/models.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/core/dtype.h"
#include "gradus/nn/transformer_config.h"

namespace gradus::lm {

struct HfConfig {
  nn::TransformerConfig model;   // resolved
  std::vector<int32_t> eos_ids;  // "eos_token_id", a number or a list; empty when the file names none
  int32_t pad_id = -1;           // "pad_token_id"; -1 when the file names none
};

// The text of config.json for `config` (resolved here) whose weights are stored as `dtype`. The architecture is the one
// that has what `config` asks for: qk_norm is Qwen3's, biases on q, k, v alone Qwen2's, a window Mistral's, the rest
// Llama's. Throws the invalid_argument of TransformerConfig::resolved, and invalid_argument when no architecture has
// all of it.
std::string config_json(const nn::TransformerConfig& config, int32_t eos_id, int32_t pad_id, DType dtype = DType::f32);

// The config.json `text` with another dtype of the weights, all other fields kept, those we do not know too; `text` as
// it is when it names that dtype already.
std::string config_with_dtype(std::string_view text, std::string_view origin, DType dtype);

// The same with the fields by which the reference knows a model with Medusa heads.
std::string config_with_heads(std::string_view text, std::string_view origin, int64_t heads, int64_t layers);

// Reads a config.json of `transformers` 4 or 5 (rotary embedding in "rope_parameters", or in "rope_scaling" and
// "rope_theta"; "rope_type" or the older "type"). Fields that do not change what the model computes are ignored; absent
// ones take the default of `transformers`. `origin` names the source in errors. Throws
//   corrupt           not JSON, a required field is missing, a field has a wrong type
//   unsupported       another architecture, activation or rope type, quantised weights; names it
//   invalid_argument  an impossible shape, with the message of TransformerConfig::resolved
HfConfig parse_config_json(std::string_view text, std::string_view origin);

}  // namespace gradus::lm
