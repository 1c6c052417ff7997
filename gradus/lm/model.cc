#include "gradus/lm/model.h"

#include <algorithm>
#include <set>

#include "gradus/core/file.h"
#include "gradus/core/memory.h"
#include "gradus/kernels/convert.h"
#include "gradus/lm/adapter.h"
#include "gradus/lm/medusa/head_files.h"
#include "gradus/lm/memory_plan.h"
#include "gradus/lm/weight_files.h"

namespace gradus::lm {

namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMaxTextBytes = uintmax_t{1} << 29;  // of a file that is not weights

// What a folder may have beside config.json and weights, and a saved one has again.
constexpr const char* kCompanions[] = {"generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
                                       "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
                                       "chat_template.json",      "vocab.json",        "merges.txt",
                                       "tokenizer.model"};

std::string read_text(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (!error && size > kMaxTextBytes)
    fail(ErrorCode::corrupt, "{}: {} bytes are over the limit of {}", path.string(), size, kMaxTextBytes);
  return read_file(path);
}

// What is wrong with a tensor of a file for a parameter of this shape, or nothing.
void check_tensor(const Tensor* t, std::string_view name, const Shape& shape, std::string_view origin) {
  if (t == nullptr) fail(ErrorCode::corrupt, "{}: tensor {} is missing; config.json asks for it", origin, name);
  if (t->shape() != shape) {
    fail(ErrorCode::corrupt, "{}: tensor {} is {}, but config.json asks for {}", origin, name, to_string(t->shape()),
         to_string(shape));
  }
  if (!is_floating(t->dtype())) {
    fail(ErrorCode::corrupt, "{}: tensor {} is {}, but weights are numbers of floating point", origin, name,
         gradus::name(t->dtype()));
  }
}

// A tensor that no parameter stands for: the copy of a tied head, and what old files have of the rotary angles, are of
// no use, and Medusa heads are read by load_heads; others mean that this is another model.
void check_left_over(std::string_view name, const nn::TransformerConfig& config, std::string_view origin) {
  if (name == "lm_head.weight" && config.tie_embeddings) return;
  if (name.ends_with("rotary_emb.inv_freq")) return;
  if (is_head_in_model(name)) return;
  fail(ErrorCode::corrupt, "{}: tensor {} does not belong to the model that config.json describes", origin, name);
}

nn::Precision precision_of(const WeightFiles& files) {
  const Tensor* table = files.find("model.embed_tokens.weight");
  if (table != nullptr && table->dtype() == DType::bf16) return nn::Precision::bf16;
  if (table != nullptr && table->dtype() == DType::f16) return nn::Precision::fp16;
  return nn::Precision::fp32;
}

}  // namespace

Model::Model(std::unique_ptr<nn::Transformer> transformer, Tokenizer tokenizer)
    : transformer_(std::move(transformer)), tokenizer_(std::move(tokenizer)) {}

Model Model::create(nn::TransformerConfig config, Tokenizer tokenizer, uint64_t seed, nn::Precision precision) {
  config.n_vocab = tokenizer.n_vocab();
  require_memory("a new model", plan_inference(config, precision, {}), available_memory());
  auto transformer = std::make_unique<nn::Transformer>(config, precision);
  transformer->initialise(seed);
  return Model(std::move(transformer), std::move(tokenizer));
}

bool Model::ends(int32_t id) const {
  return id == tokenizer_.eos_id() || std::ranges::find(end_ids_, id) != end_ids_.end();
}

std::map<std::string, std::string> Model::files(DType dtype) const {
  std::map<std::string, std::string> out = files_;
  const auto config = files_.find("config.json");
  out["config.json"] = config != files_.end()
                           ? config_with_dtype(config->second, "config.json", dtype)
                           : config_json(this->config(), tokenizer_.eos_id(), tokenizer_.pad_id(), dtype);
  if (heads_ != nullptr) {
    out["config.json"] =
        config_with_heads(out["config.json"], "config.json", heads_->config().heads, heads_->config().layers);
  }
  if (!files_.contains("tokenizer.json")) {
    out["tokenizer.json"] = tokenizer_json(tokenizer_);
    out["tokenizer_config.json"] = tokenizer_config_json(tokenizer_);
  }
  return out;
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
    check_tensor(file.find(p->name), p->name, p->value.shape(), origin);
  }
  for (const auto& [tensor_name, tensor] : file.tensors) {
    if (!known.contains(tensor_name)) check_left_over(tensor_name, config(), origin);
  }
  for (nn::Parameter* p : transformer_->parameters()) {
    kernels::convert(*file.find(p->name), p->weights());
    p->changed();
  }
}

void Model::add_lora(const nn::LoraConfig& config, std::string base) {
  GRADUS_CHECK(lora_ == nullptr);
  lora_ = std::make_unique<nn::Lora>(*transformer_, config);
  lora_base_ = std::move(base);
  files_[kAdapterConfigFile] = adapter_config_json({config, lora_base_});
}

void Model::merge_lora() {
  GRADUS_CHECK(lora_ != nullptr);
  lora_->merge();
  lora_ = nullptr;
  lora_base_.clear();
  files_.erase(kAdapterConfigFile);
}

MedusaHeads& Model::add_heads(const MedusaConfig& config) {
  heads_ = std::make_unique<MedusaHeads>(*transformer_, config);
  return *heads_;
}

void Model::load_heads(const fs::path& path, bool read_only) {
  LoadedHeads loaded = lm::load_heads(path, *transformer_, {.read_only = read_only});
  heads_ = std::move(loaded.heads);
  draft_vocabulary_ = std::move(loaded.vocabulary);
}

NamedTensors named_weights(const MedusaHeads& heads) {
  NamedTensors out;
  for (const nn::Parameter* p : heads.parameters()) out.emplace_back(p->name, p->weights());
  return out;
}

void save(const Model& model, const fs::path& folder, const SaveOptions& options) {
  if (model.lora() != nullptr) return save_adapter(model, folder);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "save model: cannot make the folder {}: {}", folder.string(), error.message());
  std::vector<StoredTensor> tensors;
  for (const nn::Parameter* p : model.transformer().parameters()) {
    const size_t i = tensors.size();
    const DType own = model.stored_.empty() ? p->weights_dtype() : model.stored_[i];
    const DType dtype = options.dtype.value_or(own);
    // A master is rounded to what its 16-bit copy holds, so that copy will do.
    tensors.push_back({p->name, p->value.dtype() == dtype ? p->value : p->weights(), dtype});
  }
  for (const auto& [name, text] : model.files(tensors.front().dtype)) write_file_atomically(folder / name, text);
  write_weight_files(folder, tensors, options.shard_bytes);
  if (model.heads() != nullptr)
    write_safetensors(folder / kHeadsFile, named_weights(*model.heads()), {{"format", "pt"}});
}

HfConfig read_config(const fs::path& folder) {
  if (is_adapter(folder)) return read_config(read_adapter_config(folder).base);
  if (!fs::is_directory(folder)) {
    fail(ErrorCode::not_found,
         "model {}: no such folder; give one with config.json, model.safetensors and tokenizer.json", folder.string());
  }
  return parse_config_json(read_text(folder / "config.json"), (folder / "config.json").string());
}

nn::Precision stored_precision(const fs::path& folder) {
  return precision_of(WeightFiles(is_adapter(folder) ? fs::path(read_adapter_config(folder).base) : folder));
}

Model load(const fs::path& folder, const LoadOptions& options) {
  if (is_adapter(folder)) return load_adapted(folder, options);
  const HfConfig config = read_config(folder);
  const WeightFiles weights(folder);
  const nn::Precision precision = options.precision.value_or(precision_of(weights));
  require_memory(fmt::format("model {}:", folder.string()), plan_inference(config.model, precision, {}),
                 available_memory());

  std::map<std::string, std::string> files;
  files["config.json"] = read_text(folder / "config.json");
  for (const char* name : kCompanions) {
    if (fs::exists(folder / name)) files[name] = read_text(folder / name);
  }
  const auto path = [&](const char* file) { return (folder / file).string(); };
  if (!files.contains("tokenizer.json")) fail(ErrorCode::not_found, "{}: no such file", path("tokenizer.json"));
  Tokenizer tokenizer =
      parse_tokenizer_json(files["tokenizer.json"], path("tokenizer.json"), files["tokenizer_config.json"]);
  if (files["tokenizer_config.json"].empty()) files.erase("tokenizer_config.json");
  if (tokenizer.n_vocab() > config.model.n_vocab) {
    fail(ErrorCode::corrupt, "model {}: tokenizer.json has {} tokens but config.json a vocab_size of {}",
         folder.string(), tokenizer.n_vocab(), config.model.n_vocab);
  }

  const nn::PrecisionFormats& formats = nn::formats(precision);
  const auto format_of = [&](const Tensor& t) { return t.rank() == 2 ? formats.matrices : formats.vectors; };
  int64_t bytes = 0;
  for (const auto& [name, tensor] : weights.tensors()) bytes += WeightBlock::room_of(tensor.numel(), format_of(tensor));
  WeightBlock block(bytes);
  std::vector<DType> stored;
  std::set<std::string> known;
  const auto source = [&](const std::string& name, const Shape& shape, DType dtype) {
    const Tensor* t = weights.find(name);
    check_tensor(t, name, shape, weights.origin());
    if (known.insert(name).second) stored.push_back(t->dtype());  // asked again for the master copy
    return read_from_file(*t, dtype, block);
  };
  Model model(std::make_unique<nn::Transformer>(
                  config.model,
                  nn::TransformerOptions{.precision = precision, .weights = source, .masters = !options.read_only}),
              std::move(tokenizer));
  for (const auto& [name, tensor] : weights.tensors()) {
    if (!known.contains(name)) check_left_over(name, config.model, weights.origin());
  }
  model.stored_ = std::move(stored);
  if (const auto text = files.find("generation_config.json"); text != files.end())
    model.generation_ = parse_generation_config(text->second, path("generation_config.json"));
  model.end_ids_ = model.generation_.eos_ids.empty() ? config.eos_ids : model.generation_.eos_ids;
  model.files_ = std::move(files);
  const bool has_heads_inside =
      std::ranges::any_of(weights.tensors(), [](const auto& t) { return is_head_in_model(t.first); });
  if (fs::exists(folder / kHeadsFile)) {
    model.load_heads(folder / kHeadsFile, options.read_only);
  } else if (has_heads_inside) {
    model.load_heads(folder, options.read_only);
  }
  return model;
}

}  // namespace gradus::lm
