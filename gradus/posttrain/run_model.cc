#include "gradus/posttrain/run_model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "gradus/kernels/elementwise.h"
#include "gradus/lm/adapter.h"
#include "gradus/posttrain/train.h"

namespace gradus::posttrain {

namespace {

// The model of `folder` with adapters: its own, or new ones.
lm::Model adapted_model(const TrainConfig& config, const std::filesystem::path& folder) {
  const nn::LoraConfig wanted = config.lora.config();
  lm::Model model = lm::load(folder, {.precision = config.formats().precision, .read_only = true});
  if (model.lora() == nullptr) {
    model.add_lora(wanted, std::filesystem::canonical(folder).string());
    model.lora()->initialise(static_cast<uint64_t>(config.seed));
  }
  const nn::LoraConfig& there = model.lora()->config();
  require(there.rank == wanted.rank && there.alpha == wanted.alpha &&
              std::ranges::is_permutation(there.targets, wanted.targets),
          "model {} has adapters of rank {} and alpha {} on {}, which go on as they are; set lora.rank, lora.alpha and "
          "lora.targets to that, or merge them first: `gradus export {} DIR --merge`",
          folder.string(), there.rank, there.alpha, fmt::join(there.targets, ","), folder.string());
  return model;
}

// Its own heads go on learning; a model without gets new ones.
void want_heads(lm::Model& model, const TrainConfig& config) {
  const lm::MedusaConfig wanted = config.medusa.shape();
  if (model.heads() == nullptr) model.add_heads(wanted);
  const lm::MedusaConfig& there = model.heads()->config();
  require(there == wanted,
          "model {} has heads that go on learning; set medusa.heads={} medusa.layers={} medusa.own_outputs={} "
          "medusa.reads_token={}, as they are",
          config.model, there.heads, there.layers, there.own_outputs, there.reads_token);
}

}  // namespace

lm::Model make_model(const TrainConfig& config, lm::Tokenizer tokenizer) {
  const nn::Precision precision = config.formats().precision;
  if (config.lora.rank > 0) return adapted_model(config, model_folder_of(config.model));
  require(config.model.empty() || !lm::is_adapter(model_folder_of(config.model)),
          "model {} is a base model with adapters; merge them first (`gradus export {} DIR --merge`), or train these "
          "(lora.rank)",
          config.model, config.model);
  if (!config.model.empty()) {
    lm::Model model = lm::load(model_folder_of(config.model), precision);
    if (config.trains_heads()) want_heads(model, config);
    return model;
  }
  return lm::Model::create(config.architecture.shape, std::move(tokenizer), static_cast<uint64_t>(config.seed),
                           precision);
}

double base_norm(const lm::Model& model) {
  double sum = 0;
  for (const nn::Parameter* p : model.transformer().parameters()) sum += kernels::sum_of_squares(p->value);
  return std::sqrt(sum);
}

void require_base_norm(const lm::Model& model, double expected, std::string_view name) {
  const double norm = base_norm(model);
  require(norm == expected,
          "the model {} is not the one that the run began with (norm of its weights {}, then {}); put that back", name,
          norm, expected);
}

lm::Model model_of(const run::Checkpoint& checkpoint, const TrainConfig& config, lm::Tokenizer tokenizer,
                   const TrainState& state, const std::string& origin) {
  const auto file = [&](const char* name) {
    const auto weights = checkpoint.tensors.find(name);
    if (weights == checkpoint.tensors.end()) fail(ErrorCode::corrupt, "{}: {} is missing", origin, name);
    return SafetensorsFile{.tensors = weights->second, .metadata = {}};
  };
  if (config.lora.rank == 0) {
    lm::Model model = make_model(config, std::move(tokenizer));
    model.set_weights(file("model.safetensors"), origin);
    if (model.heads() != nullptr) model.heads()->set_weights(file(lm::kHeadsFile).tensors, origin);
    return model;
  }
  const auto text = checkpoint.files.find(lm::kAdapterConfigFile);
  if (text == checkpoint.files.end()) fail(ErrorCode::corrupt, "{}: {} is missing", origin, lm::kAdapterConfigFile);
  const std::string base = lm::parse_adapter_config(text->second, origin).base;
  lm::Model model = lm::load(base, {.precision = config.formats().precision, .read_only = true});
  require_base_norm(model, state.base_norm, base);
  model.add_lora(config.lora.config(), base);
  lm::set_adapter_weights(model, file(lm::kAdapterFile), origin);
  return model;
}

}  // namespace gradus::posttrain
