// The config.json of a Hugging Face model folder, for the architectures LlamaForCausalLM and Qwen2ForCausalLM.
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

// The text of config.json for `config` (resolved here) whose weights are stored as `dtype`: model_type "qwen2" with
// biases on q, k, v, "llama" without. Throws the invalid_argument of TransformerConfig::resolved.
std::string config_json(const nn::TransformerConfig& config, int32_t eos_id, int32_t pad_id, DType dtype = DType::f32);

// Reads a config.json of `transformers` 4 or 5 (rope_theta at the top or inside "rope_parameters"). Fields that do not
// change what the model computes are ignored; absent ones take the default of `transformers`. `origin` names the source
// in errors. Throws
//   corrupt           not JSON, a required field is missing, a field has a wrong type
//   unsupported       another architecture, activation or rope type, sliding windows, biases elsewhere; names it
//   invalid_argument  an impossible shape, with the message of TransformerConfig::resolved
HfConfig parse_config_json(std::string_view text, std::string_view origin);

}  // namespace gradus::lm
