// Medusa heads as files: reads every published layout (head_layout.h) and writes two of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradus/lm/medusa/head_layout.h"
#include "gradus/lm/medusa/heads.h"

namespace gradus::lm {

struct LoadedHeads {
  std::unique_ptr<MedusaHeads> heads;
  std::vector<int32_t> vocabulary = {};  // for MedusaGuesser: the tokens of the file's token_map; empty: all
  HeadLayout layout = HeadLayout::v1;    // of the file
  DType dtype = DType::f32;              // of its blocks
};

struct LoadHeadsOptions {
  bool read_only = false;  // the heads will not be trained: no master copies of 16-bit weights
};

// Heads for `trunk`, which outlives them and whose precision they take.
//   path  a file (.safetensors, or torch's .pt, .bin or .pth), with or without a config.json beside it; or a folder
//         with medusa_lm_head.safetensors or .pt, or else the weights of a vLLM head or of a whole model with heads
// Nothing in a pickle is run (core/pickle.h). Layers that are one module become two with the same numbers. One output
// for all heads that is not the trunk's becomes a copy for each; a logit_scale is multiplied into outputs of their own.
// Everything is checked before memory is taken. Throws
//   not_found         there is no such file, or no heads in it
//   corrupt           what the readers say; a tensor is missing, left over, twice there or no floating-point numbers; a
//                     token_map that is no list of different tokens, or is missing though config.json asks for one
//   invalid_argument  a tensor's shape is not that of heads for this trunk: names both
//   unsupported       what the readers say; outputs for some tokens that are not the trunk's rows for these; a
//                     logit_scale other than 1 on the trunk's own output
//   exhausted         the heads' memory is not there
LoadedHeads load_heads(const std::filesystem::path& path, nn::Transformer& trunk, const LoadHeadsOptions& options = {});

struct SaveHeadsOptions {
  HeadLayout layout = HeadLayout::v2;    // v1 for outputs of their own, v2 for the model's, vllm for either
  std::string base_model = {};           // "base_model_name_or_path"
  std::vector<int32_t> vocabulary = {};  // of MedusaGuesser, kept as vLLM's token_map; empty: all tokens
  std::optional<DType> dtype = {};       // of what is written; none: that of the heads' weights
};

// v1 or v2: what these heads can be saved as.
HeadLayout published_layout(const MedusaHeads& heads);

// Writes config.json and medusa_lm_head.safetensors, or with vllm model.safetensors, each as a whole; the folder is
// made if missing. Loading gives the same bits where `dtype` holds them. Throws invalid_argument on a layout that
// cannot hold these heads, and when `folder` has a model or heads of the other kind, which would be overwritten or be
// found before these; io.
void save_heads(MedusaHeads& heads, const std::filesystem::path& folder, const SaveHeadsOptions& options);

}  // namespace gradus::lm
