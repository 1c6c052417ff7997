#include "gradus/lm/model.h"

#include <set>

#include "gradus/core/file.h"
#include "gradus/kernels/convert.h"
#include "gradus/lm/hf_config.h"

namespace gradus::lm {

Model::Model(std::unique_ptr<nn::Transformer> transformer, Tokenizer tokenizer)
    : transformer_(std::move(transformer)), tokenizer_(std::move(tokenizer)) {}

Model Model::create(nn::TransformerConfig config, Tokenizer tokenizer, uint64_t seed, nn::Precision precision) {
  config.n_vocab = tokenizer.n_vocab();
  auto transformer = std::make_unique<nn::Transformer>(config, precision);
  transformer->initialise(seed);
  return Model(std::move(transformer), std::move(tokenizer));
}

std::string Model::config_text() const {
  return config_json(config(), tokenizer_.eos_id(), tokenizer_.pad_id(),
                     transformer_->parameters().front()->weights_dtype());
}

std::string Model::tokenizer_text() const {
  return tokenizer_json(tokenizer_);
}

NamedTensors Model::weights() const {
  NamedTensors out;
  for (const nn::Parameter* p : transformer_->parameters()) out.emplace_back(p->name, p->weights());
  return out;
}

void Model::set_weights(const SafetensorsFile& file, std::string_view origin) {
  std::set<std::string_view> known;
  for (nn::Parameter* p : transformer_->parameters()) {
    known.insert(p->name);
    const Tensor* t = file.find(p->name);
    if (t == nullptr) fail(ErrorCode::corrupt, "{}: tensor {} is missing; config.json asks for it", origin, p->name);
    if (t->shape() != p->value.shape()) {
      fail(ErrorCode::corrupt, "{}: tensor {} is {}, but config.json asks for {}", origin, p->name,
           to_string(t->shape()), to_string(p->value.shape()));
    }
    if (!is_floating(t->dtype()))
      fail(ErrorCode::corrupt, "{}: tensor {} is {}, but weights are numbers of floating point", origin, p->name,
           name(t->dtype()));
  }
  for (const auto& [tensor_name, tensor] : file.tensors) {
    const bool tied_copy = tensor_name == "lm_head.weight" && config().tie_embeddings;
    if (!known.contains(tensor_name) && !tied_copy) {
      fail(ErrorCode::corrupt, "{}: tensor {} does not belong to the model that config.json describes", origin,
           tensor_name);
    }
  }
  for (nn::Parameter* p : transformer_->parameters()) {
    kernels::convert(*file.find(p->name), p->weights());
    p->changed();
  }
}

void save(const Model& model, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "save model: cannot make the folder {}: {}", folder.string(), error.message());
  write_file_atomically(folder / "config.json", model.config_text());
  write_file_atomically(folder / "tokenizer.json", model.tokenizer_text());
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json(model.tokenizer()));
  write_safetensors(folder / "model.safetensors", model.weights(), {{"format", "pt"}});
}

Model load(const std::filesystem::path& folder, nn::Precision precision) {
  if (!std::filesystem::is_directory(folder)) {
    fail(ErrorCode::not_found,
         "model {}: no such folder; give one with config.json, model.safetensors and tokenizer.json", folder.string());
  }
  const auto path = [&](const char* file) { return folder / file; };
  const HfConfig config = parse_config_json(read_file(path("config.json")), path("config.json").string());
  const std::string tokenizer_config =
      std::filesystem::exists(path("tokenizer_config.json")) ? read_file(path("tokenizer_config.json")) : std::string();
  Tokenizer tokenizer =
      parse_tokenizer_json(read_file(path("tokenizer.json")), path("tokenizer.json").string(), tokenizer_config);
  if (tokenizer.n_vocab() > config.model.n_vocab) {
    fail(ErrorCode::corrupt, "model {}: tokenizer.json has {} tokens but config.json a vocab_size of {}",
         folder.string(), tokenizer.n_vocab(), config.model.n_vocab);
  }
  Model model(std::make_unique<nn::Transformer>(config.model, precision), std::move(tokenizer));
  model.set_weights(read_safetensors(path("model.safetensors")), path("model.safetensors").string());
  return model;
}

}  // namespace gradus::lm
