// Which tensor is what in the published layouts of Medusa heads, told from the tensors' names and shapes alone. Numbers
// of heads and layers are those of the tensors: configs lie about them (published ones say 2 heads beside 5).
//   v1          {h}.{l}.linear.weight, .bias, {h}.{layers}.weight    FasterDecoding's: outputs of their own
//   v2          {h}.{l}.linear.weight, .bias                         its second version: the model's output
//               In both, Gradus adds {h}.token.weight where heads see the drawn token (heads.h).
//   full_model  the same behind "medusa_head.", among a model's own tensors
//   vllm        blocks.{h}.layers.{l}.weight, perhaps .bias; lm_heads.{h}.weight, or lm_head.weight for all; token_map;
//               all perhaps behind "medusa_heads."
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/core/safetensors.h"

namespace gradus::lm {

enum class HeadLayout : uint8_t { v1, v2, full_model, vllm };
std::string_view name(HeadLayout layout);
HeadLayout head_layout_from_name(std::string_view name);  // throws invalid_argument, naming all

struct HeadTensor {
  std::string name = {};  // in the file
  Tensor values = {};     // undefined: there is none
};

struct HeadTensors {
  struct Block {
    HeadTensor weight, bias;
  };
  HeadLayout layout = HeadLayout::v1;
  std::vector<std::vector<Block>> blocks = {};  // [heads][layers]; biases in all or in none
  std::vector<HeadTensor> tokens = {};          // [heads], or none: the drawn token is not seen
  std::vector<HeadTensor> outputs = {};         // [heads]; one for all; or none: the model's own
  HeadTensor token_map = {};

  bool has_biases() const { return blocks.front().front().bias.values.defined(); }
};

// Sorts a file's tensors. Layers after the first of a head may be missing: then all are one module, as the reference
// builds them. `one_output`: the first head's output is that of all (vLLM's original_lm_head). `origin` names the
// source in errors. Throws
//   not_found    none of the tensors belongs to a head
//   corrupt      a tensor is missing, left over, or twice there
//   unsupported  more heads or layers than MedusaConfig can have, heads without a residual block
HeadTensors sort_head_tensors(const NamedTensors& tensors, bool one_output, std::string_view origin);

// Whether a tensor of a model's folder belongs to heads that are inside (full_model).
bool is_head_in_model(std::string_view name);

}  // namespace gradus::lm
