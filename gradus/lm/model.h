// A language model = a transformer, its tokenizer, and the special ids. Saved and loaded as a Hugging Face folder.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradus/core/safetensors.h"
#include "gradus/lm/generation_config.h"
#include "gradus/lm/hf_config.h"
#include "gradus/lm/medusa/heads.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/nn/lora.h"
#include "gradus/nn/transformer.h"

namespace gradus::lm {

struct LoadOptions {
  std::optional<nn::Precision> precision = {};  // none: that of the file, bf16 of a bf16 file
  bool read_only = false;                       // it will not be trained: no master copies of 16-bit weights
};

inline constexpr int64_t kShardBytes = 5'000'000'000;
struct SaveOptions {
  std::optional<DType> dtype = {};  // f32, bf16 or f16; none: that of the folder it was loaded from, or as they are
  int64_t shard_bytes = kShardBytes;
};

class Model {
 public:
  // A new model with random weights; config.n_vocab is taken from the tokenizer.
  static Model create(nn::TransformerConfig config, Tokenizer tokenizer, uint64_t seed = 0,
                      nn::Precision precision = nn::Precision::fp32);

  nn::Transformer& transformer() { return *transformer_; }
  const nn::Transformer& transformer() const { return *transformer_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const nn::TransformerConfig& config() const { return transformer_->config(); }
  const GenerationDefaults& generation() const { return generation_; }

  // Whether this id ends an answer: the tokenizer's end token, or one that generation_config.json, or without it
  // config.json, has in eos_token_id.
  bool ends(int32_t id) const;
  // Ids that may be drawn: [0, this). Many models have rows of embeddings that no token belongs to; these take part in
  // the softmax, as in `transformers`, and so in every log-probability, but are never drawn.
  int64_t n_drawn() const { return std::min(config().n_vocab, tokenizer_.n_vocab()); }

  // The folder's texts by file name, beside weights stored as `dtype`: config.json and the tokenizer's files, and what
  // else a loaded model's folder had of this kind, byte for byte; only the dtype in config.json may change.
  std::map<std::string, std::string> files(DType dtype) const;
  NamedTensors weights() const;  // Parameter::weights of the transformer, whose storage they share
  DType weights_dtype() const { return transformer_->parameters().front()->weights_dtype(); }

  // Copies weights in, from whatever floating-point format. Throws corrupt, naming the tensor, when one is missing,
  // left over, or has another shape or no floating-point format.
  void set_weights(const SafetensorsFile& file, std::string_view origin);

  // Low-rank adapters (adapter.h): from here on they alone learn. `base` is where the transformer's weights lie, for
  // those who load the adapters. Merged, the model is again one without.
  void add_lora(const nn::LoraConfig& config, std::string base);
  void merge_lora();
  nn::Lora* lora() { return lora_.get(); }
  const nn::Lora* lora() const { return lora_.get(); }
  const std::string& lora_base() const { return lora_base_; }

  // The heads that draft for this model, if it has some. Untrained ones guess what the model itself does.
  MedusaHeads& add_heads(const MedusaConfig& config);
  // Those of a file or folder in any published layout (head_files.h); replaces others.
  void load_heads(const std::filesystem::path& path, bool read_only = false);
  MedusaHeads* heads() { return heads_.get(); }
  const MedusaHeads* heads() const { return heads_.get(); }
  // Tokens that the heads may guess; empty: all.
  const std::vector<int32_t>& draft_vocabulary() const { return draft_vocabulary_; }

  // The parameters that learn: those of the adapters, or all.
  const std::vector<nn::Parameter*>& learned() const {
    return lora_ ? lora_->parameters() : transformer_->parameters();
  }
  void allocate_gradients() { lora_ ? lora_->allocate_gradients() : transformer_->allocate_gradients(); }

 private:
  Model(std::unique_ptr<nn::Transformer> transformer, Tokenizer tokenizer);
  friend Model load(const std::filesystem::path& folder, const LoadOptions& options);
  friend void save(const Model& model, const std::filesystem::path& folder, const SaveOptions& options);

  std::unique_ptr<nn::Transformer> transformer_;
  std::unique_ptr<nn::Lora> lora_;  // goes before the transformer that it is attached to
  std::string lora_base_;
  std::unique_ptr<MedusaHeads> heads_;
  std::vector<int32_t> draft_vocabulary_;
  Tokenizer tokenizer_;
  GenerationDefaults generation_;
  std::vector<int32_t> end_ids_;              // beside the tokenizer's
  std::map<std::string, std::string> files_;  // of the folder that it was loaded from
  std::vector<DType> stored_;                 // [parameters] their formats there
};

// Medusa heads beside a model's weights, as the reference names the file.
inline constexpr const char* kHeadsFile = "medusa_lm_head.safetensors";
// Their weights, by name.
NamedTensors named_weights(const MedusaHeads& heads);

// Writes the folder that `load` and `transformers` read (made if missing), each file as a whole: files(), and the
// weights, in shards when they are more than shard_bytes. Of a model with adapters only these (save_adapter).
void save(const Model& model, const std::filesystem::path& folder, const SaveOptions& options = {});

// The shape that a folder's config.json asks for. Throws not_found, corrupt, unsupported or invalid_argument.
HfConfig read_config(const std::filesystem::path& folder);

// What a folder's weights are kept in: bf16, fp16, or else fp32. Throws as `load`.
nn::Precision stored_precision(const std::filesystem::path& folder);

// The weights are read into memory of their own, large pages where there are some. Throws not_found or corrupt, naming
// the file; unsupported, naming what is; exhausted, naming the memory needed, when that is not there. A folder with
// adapters is its base model with them (adapter.h), and one with Medusa heads has these, too.
Model load(const std::filesystem::path& folder, const LoadOptions& options = {});
inline Model load(const std::filesystem::path& folder, nn::Precision precision) {
  return load(folder, {.precision = precision});
}

}  // namespace gradus::lm
