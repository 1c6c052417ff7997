// Low-rank adapters in the layout of Hugging Face's PEFT: a folder with adapter_config.json, which names the model that
// they are for, and adapter_model.safetensors. `lm::load` takes such a folder for a model: the base, with its adapters.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "gradus/lm/model.h"
#include "gradus/nn/lora.h"

namespace gradus::lm {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterFile = "adapter_model.safetensors";

struct AdapterConfig {
  nn::LoraConfig lora;
  std::string base;  // "base_model_name_or_path"
};

std::string adapter_config_json(const AdapterConfig& config);

// Reads an adapter_config.json of PEFT. What only matters in training (dropout, initialisation) is ignored. `origin`
// names the source in errors. Throws
//   corrupt           not JSON, a required field (r, lora_alpha, target_modules) is missing or has a wrong type
//   unsupported       what is computed in another way: another method than LoRA, DoRA, rsLoRA, biases, whole modules,
//                     ranks of single layers, target_modules as a pattern or with a module that has no adapter here
AdapterConfig parse_adapter_config(std::string_view text, std::string_view origin);

bool is_adapter(const std::filesystem::path& folder);
// Of the adapter in `folder`. Throws what parse_adapter_config throws, or not_found when its base is no folder here.
AdapterConfig read_adapter_config(const std::filesystem::path& folder);

// Copies A and B into a model's adapters. Throws corrupt, naming the tensor, when one is missing, left over, or has
// another shape or no floating-point format: then it belongs to another model.
void set_adapter_weights(Model& model, const SafetensorsFile& file, std::string_view origin);

// The folder's model: its base, read only, with these adapters, not merged. Throws as `load`.
Model load_adapted(const std::filesystem::path& folder, const LoadOptions& options);

// Writes the two files, and the model's texts beside them (Model::files). The model has adapters.
void save_adapter(const Model& model, const std::filesystem::path& folder);

}  // namespace gradus::lm
