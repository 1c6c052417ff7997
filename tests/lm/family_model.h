// The tiny models of tests/fixtures/families (tools/oracle/make_family_fixtures.py): their weights are made here as
// they are there, and their folders are written with the byte tokenizer.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>

#include "gradus/core/file.h"
#include "gradus/core/safetensors.h"
#include "gradus/kernels/convert.h"
#include "gradus/lm/model.h"
#include "gradus/lm/weight_files.h"

namespace gradus::lm {

inline constexpr const char* kFamilyModels[] = {"llama3", "llama-biases", "smollm2", "mistral",     "mistral-yarn",
                                                "qwen2",  "qwen25",       "qwen3",   "qwen3-layers"};

inline std::filesystem::path family_folder(const std::string& name) {
  return std::filesystem::path(GRADUS_SOURCE_DIR) / "tests" / "fixtures" / "families" / name;
}

// The finaliser of SplitMix64.
inline uint64_t hash64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

inline Tensor family_weights(const std::string& name, const Shape& shape) {
  uint64_t key = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : name) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  Tensor t = Tensor::empty(shape, DType::f32);
  const bool is_gain = name.ends_with("norm.weight"), is_bias = name.ends_with("bias");
  const bool is_table = name.find("embed_tokens") != name.npos;
  const float scale = is_gain               ? 0.3f
                      : is_bias || is_table ? 0.5f
                                            : static_cast<float>(std::sqrt(3.0 / static_cast<double>(shape[1])));
  uint64_t i = 0;
  for (float& x : t.span<float>()) {
    const uint64_t h = hash64(key + ++i * 0x9E3779B97F4A7C15u);
    const float u = static_cast<float>(h >> 40) / 8388608.0f - 1.0f;
    x = is_gain ? 1.0f + scale * u : scale * u;
  }
  return t;
}

// A folder as `transformers` leaves it, in `folder`; with shard_bytes in several files.
inline void write_family_folder(const std::string& name, const std::filesystem::path& folder, DType dtype = DType::f32,
                                int64_t shard_bytes = kShardBytes) {
  std::filesystem::create_directories(folder);
  const std::string config = read_file(family_folder(name) / "config.json");
  write_file_atomically(folder / "config.json", config);
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(byte_tokenizer()));
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json(byte_tokenizer()));
  std::vector<StoredTensor> tensors;
  const auto source = [&](const std::string& tensor, const Shape& shape, DType) {
    tensors.push_back({tensor, family_weights(tensor, shape), dtype});
    return tensors.back().values;
  };
  const nn::Transformer model(parse_config_json(config, name).model, {.weights = source});
  write_weight_files(folder, tensors, shard_bytes);
}

}  // namespace gradus::lm
