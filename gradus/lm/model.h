// A language model = a transformer, its tokenizer, and the special ids. Saved and loaded as a Hugging Face folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "gradus/core/safetensors.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/nn/transformer.h"

namespace gradus::lm {

class Model {
 public:
  // A new model with random weights; config.n_vocab is taken from the tokenizer.
  static Model create(nn::TransformerConfig config, Tokenizer tokenizer, uint64_t seed = 0,
                      nn::Precision precision = nn::Precision::fp32);

  nn::Transformer& transformer() { return *transformer_; }
  const nn::Transformer& transformer() const { return *transformer_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const nn::TransformerConfig& config() const { return transformer_->config(); }

  // The folder's files as text and tensors, for a checkpoint.
  std::string config_text() const;
  std::string tokenizer_text() const;
  NamedTensors weights() const;  // Parameter::weights, whose storage they share

  // Copies weights in, from whatever floating-point format. Throws corrupt, naming the tensor, when one is missing,
  // left over, or has another shape or no floating-point format.
  void set_weights(const SafetensorsFile& file, std::string_view origin);

 private:
  Model(std::unique_ptr<nn::Transformer> transformer, Tokenizer tokenizer);
  friend Model load(const std::filesystem::path& folder, nn::Precision precision);

  std::unique_ptr<nn::Transformer> transformer_;
  Tokenizer tokenizer_;
};

// Writes config.json, model.safetensors, tokenizer.json and tokenizer_config.json, each as a whole; the folder is made
// if missing.
void save(const Model& model, const std::filesystem::path& folder);

// Throws not_found or corrupt, naming the file.
Model load(const std::filesystem::path& folder, nn::Precision precision = nn::Precision::fp32);

}  // namespace gradus::lm
