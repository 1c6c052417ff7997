#include "gradus/lm/adapter.h"

#include <nlohmann/json.hpp>
#include <set>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/kernels/convert.h"

namespace gradus::lm {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr double kMaxRank = 1 << 20;  // far above any; the model's width is checked later

class AdapterConfigReader {
 public:
  AdapterConfigReader(const json& document, std::string_view origin) : document_(document), origin_(origin) {}

  AdapterConfig read() const {
    if (!document_.is_object()) fail(ErrorCode::corrupt, "{}: is not a JSON object", origin_);
    refuse_what_we_do_not_compute();
    AdapterConfig out;
    const json* rank = find("r");
    if (rank == nullptr || !rank->is_number_integer() || !(*rank >= 1) || !(*rank <= kMaxRank)) wrong("r", "a rank");
    out.lora.rank = rank->get<int64_t>();
    const json* alpha = find("lora_alpha");
    if (alpha == nullptr || !alpha->is_number() || !(alpha->get<double>() > 0))
      wrong("lora_alpha", "a positive number");
    out.lora.alpha = alpha->get<double>();
    out.lora.targets = targets();
    if (const json* base = find("base_model_name_or_path")) {
      if (!base->is_string()) wrong("base_model_name_or_path", "a text");
      out.base = base->get<std::string>();
    }
    return out;
  }

 private:
  const json* find(const char* key) const {
    const auto it = document_.find(key);
    return it == document_.end() || it->is_null() ? nullptr : &*it;
  }
  [[noreturn]] void wrong(const char* key, std::string_view wanted) const {
    fail(ErrorCode::corrupt, "{}: {} is missing or not {}", origin_, key, wanted);
  }
  [[noreturn]] void unsupported(std::string_view fact) const {
    fail(ErrorCode::unsupported, "unsupported: {} {}", origin_, fact);
  }

  void refuse_what_we_do_not_compute() const {
    const json* type = find("peft_type");
    if (type != nullptr && *type != "LORA") {
      unsupported(fmt::format("has peft_type {}; only \"LORA\" can be read", quote_text(type->dump())));
    }
    for (const char* key : {"use_dora", "use_rslora", "fan_in_fan_out", "lora_bias"}) {
      const json* value = find(key);
      if (value != nullptr && *value != false) unsupported(fmt::format("has {}; only false can be computed", key));
    }
    const json* bias = find("bias");
    if (bias != nullptr && *bias != "none") unsupported("has a bias other than \"none\"");
    for (const char* key : {"modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
                            "target_parameters", "megatron_config", "layer_replication", "trainable_token_indices"}) {
      const json* value = find(key);
      if (value != nullptr && !value->empty()) unsupported(fmt::format("has {}, which cannot be computed", key));
    }
  }

  std::vector<std::string> targets() const {
    const json* list = find("target_modules");
    if (list == nullptr) wrong("target_modules", "a list of texts");
    if (list->is_string()) unsupported("has target_modules as a pattern; only a list of names can be read");
    if (!list->is_array() || list->empty()) wrong("target_modules", "a list of texts");
    std::set<std::string> names;
    for (const json& name : *list) {
      if (!name.is_string()) wrong("target_modules", "a list of texts");
      if (std::ranges::find(nn::kLoraTargets, name.get_ref<const std::string&>()) == nn::kLoraTargets.end()) {
        unsupported(
            fmt::format("has an adapter of {}; only q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and "
                        "down_proj have one here",
                        quote_text(name.get_ref<const std::string&>())));
      }
      names.insert(name.get<std::string>());
    }
    std::vector<std::string> in_order;
    for (const std::string_view target : nn::kLoraTargets) {
      if (names.contains(std::string(target))) in_order.emplace_back(target);
    }
    return in_order;
  }

  const json& document_;
  std::string_view origin_;
};

NamedTensors tensors_of(const nn::Lora& lora) {
  NamedTensors out;
  for (const nn::Parameter* p : lora.parameters()) out.emplace_back(p->name, p->weights());
  return out;
}

// Before anything is made of the sizes that a hostile adapter_config.json names: every file holds a matrix of this
// rank.
void check_rank(const SafetensorsFile& file, int64_t rank, std::string_view origin) {
  for (const auto& [name, t] : file.tensors) {
    const bool is_a = name.ends_with(".lora_A.weight"), is_b = name.ends_with(".lora_B.weight");
    if ((is_a || is_b) && t.rank() == 2 && t.dim(is_a ? 0 : 1) == rank) continue;
    fail(ErrorCode::corrupt, "{}: tensor {} is {}, which is no lora_A or lora_B of rank {}", origin, name,
         to_string(t.shape()), rank);
  }
  if (file.tensors.empty()) fail(ErrorCode::corrupt, "{}: has no tensors", origin);
}

}  // namespace

std::string adapter_config_json(const AdapterConfig& config) {
  ordered_json document;
  document["peft_type"] = "LORA";
  document["task_type"] = "CAUSAL_LM";
  document["base_model_name_or_path"] = config.base;
  document["r"] = config.lora.rank;
  document["lora_alpha"] = config.lora.alpha;
  document["lora_dropout"] = 0.0;
  document["target_modules"] = config.lora.targets;
  document["bias"] = "none";
  document["fan_in_fan_out"] = false;
  document["use_rslora"] = false;
  document["use_dora"] = false;
  document["inference_mode"] = true;
  document["init_lora_weights"] = true;
  document["modules_to_save"] = nullptr;
  document["layers_to_transform"] = nullptr;
  document["layers_pattern"] = nullptr;
  document["rank_pattern"] = ordered_json::object();
  document["alpha_pattern"] = ordered_json::object();
  return write_json(document, 2) + "\n";
}

AdapterConfig parse_adapter_config(std::string_view text, std::string_view origin) {
  const json document = parse_json(text, origin);
  return AdapterConfigReader(document, origin).read();
}

bool is_adapter(const fs::path& folder) {
  return fs::exists(folder / kAdapterConfigFile);
}

AdapterConfig read_adapter_config(const fs::path& folder) {
  const fs::path path = folder / kAdapterConfigFile;
  AdapterConfig config = parse_adapter_config(read_file(path), path.string());
  if (!fs::is_directory(config.base)) {
    fail(ErrorCode::not_found, "{}: its base model {} is no folder here; put the model there, or its place into {}",
         folder.string(), quote_text(config.base), kAdapterConfigFile);
  }
  if (is_adapter(config.base)) {
    fail(ErrorCode::unsupported, "unsupported: {} is an adapter of {}, which is an adapter; merge that one first",
         folder.string(), quote_text(config.base));
  }
  return config;
}

void set_adapter_weights(Model& model, const SafetensorsFile& file, std::string_view origin) {
  GRADUS_CHECK(model.lora() != nullptr);
  std::set<std::string_view> known;
  for (const nn::Parameter* p : model.lora()->parameters()) {
    known.insert(p->name);
    const Tensor* t = file.find(p->name);
    if (t == nullptr) fail(ErrorCode::corrupt, "{}: tensor {} is missing", origin, p->name);
    if (t->shape() != p->value.shape() || !is_floating(t->dtype())) {
      fail(ErrorCode::corrupt, "{}: tensor {} is {} {}, but the base model asks for numbers of shape {}", origin,
           p->name, to_string(t->shape()), name(t->dtype()), to_string(p->value.shape()));
    }
  }
  for (const auto& [tensor_name, tensor] : file.tensors) {
    if (!known.contains(tensor_name))
      fail(ErrorCode::corrupt, "{}: tensor {} belongs to no layer of the base model", origin, tensor_name);
  }
  for (nn::Parameter* p : model.lora()->parameters()) {
    kernels::convert(*file.find(p->name), p->weights());
    p->changed();
  }
}

Model load_adapted(const fs::path& folder, const LoadOptions& options) {
  const AdapterConfig config = read_adapter_config(folder);
  const std::string origin = (folder / kAdapterFile).string();
  const SafetensorsFile file = read_safetensors(origin);
  check_rank(file, config.lora.rank, origin);
  Model model = load(config.base, {.precision = options.precision, .read_only = true});
  model.add_lora(config.lora, config.base);
  set_adapter_weights(model, file, origin);
  return model;
}

void save_adapter(const Model& model, const fs::path& folder) {
  GRADUS_CHECK(model.lora() != nullptr);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "save adapter: cannot make the folder {}: {}", folder.string(), error.message());
  for (const auto& [name, text] : model.files(model.weights_dtype())) write_file_atomically(folder / name, text);
  write_safetensors(folder / kAdapterFile, tensors_of(*model.lora()), {{"format", "pt"}});
}

}  // namespace gradus::lm
