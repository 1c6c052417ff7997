#include "gradus/lm/medusa/head_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/memory.h"
#include "gradus/core/torch_file.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/embedding.h"
#include "gradus/lm/weight_files.h"

namespace gradus::lm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char *kHeads = "medusa_lm_head.safetensors", *kHeadsPickle = "medusa_lm_head.pt";
constexpr const char *kModel = "model.safetensors", *kModelPickle = "pytorch_model.bin", *kConfig = "config.json";
constexpr uintmax_t kMaxConfigBytes = uintmax_t{1} << 26;

// What a config.json says that the tensors do not.
struct HeadConfig {
  double logit_scale = 1;
  std::optional<bool> biases;               // "medusa_fc_bias"
  bool one_output = false;                  // "original_lm_head"
  std::optional<int64_t> n_vocab, n_draft;  // "vocab_size", "truncated_vocab_size"

  bool all_tokens() const { return n_draft && n_vocab && *n_draft == *n_vocab; }
};

json read_config_file(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (!error && size > kMaxConfigBytes)
    fail(ErrorCode::corrupt, "{}: {} bytes are over the limit of {}", path.string(), size, kMaxConfigBytes);
  json document = parse_json(read_file(path), path.string());
  if (!document.is_object()) fail(ErrorCode::corrupt, "{}: is not a JSON object", path.string());
  return document;
}

HeadConfig read_head_config(const fs::path& path) {
  HeadConfig out;
  if (!fs::exists(path)) return out;
  const json document = read_config_file(path);
  const auto find = [&](const char* key) -> const json* {
    const auto it = document.find(key);
    return it == document.end() || it->is_null() ? nullptr : &*it;
  };
  const auto wrong = [&](const char* key, std::string_view wanted) {
    fail(ErrorCode::corrupt, "{}: {} is not {}", path.string(), key, wanted);
  };
  const auto flag = [&](const char* key) -> std::optional<bool> {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) wrong(key, "true or false");
    return value->get<bool>();
  };
  const auto count = [&](const char* key) -> std::optional<int64_t> {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_unsigned() || value->get<uint64_t>() > INT32_MAX) wrong(key, "a number of tokens");
    return value->get<int64_t>();
  };
  if (const json* scale = find("logit_scale")) {
    if (!scale->is_number() || !std::isfinite(scale->get<double>())) wrong("logit_scale", "a number");
    out.logit_scale = scale->get<double>();
  }
  out.biases = flag("medusa_fc_bias");
  out.one_output = flag("original_lm_head").value_or(false);
  out.n_vocab = count("vocab_size");
  out.n_draft = count("truncated_vocab_size");
  return out;
}

struct HeadFile {
  NamedTensors tensors;
  std::string origin;
  fs::path config;
};

HeadFile read_heads_file(const fs::path& path) {
  HeadFile file{.tensors = {}, .origin = path.string(), .config = path.parent_path() / kConfig};
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") {
    const SafetensorsFile read = map_safetensors(path);
    // Tensors that share their numbers are written once; the other's name stands in the metadata
    // (safetensors.torch.save_model).
    std::map<std::string_view, const Tensor*> written;
    for (const auto& [name, tensor] : read.tensors) written.emplace(name, &tensor);
    for (const auto& [other, name] : read.metadata) {
      if (const auto it = written.find(name); it != written.end() && !written.contains(other))
        file.tensors.emplace_back(other, *it->second);
    }
    file.tensors.insert(file.tensors.end(), read.tensors.begin(), read.tensors.end());
  } else if (extension == ".pt" || extension == ".bin" || extension == ".pth") {
    file.tensors = map_torch_file(path);
  } else {
    fail(ErrorCode::invalid_argument, "load heads: {} is neither a .safetensors file nor torch's .pt, .bin or .pth",
         path.string());
  }
  return file;
}

HeadFile read_heads_folder(const fs::path& folder) {
  for (const char* name : {kHeads, kHeadsPickle}) {
    if (fs::exists(folder / name)) return read_heads_file(folder / name);
  }
  if (fs::exists(folder / kModel) || fs::exists(folder / (std::string(kModel) + ".index.json"))) {
    const WeightFiles files(folder);
    HeadFile file{.tensors = {}, .origin = files.origin(), .config = folder / kConfig};
    for (const auto& [name, tensor] : files.tensors()) file.tensors.emplace_back(name, tensor);
    return file;
  }
  if (fs::exists(folder / kModelPickle)) return read_heads_file(folder / kModelPickle);
  fail(ErrorCode::not_found, "load heads: {} has none of {}, {}, {} and {}", folder.string(), kHeads, kHeadsPickle,
       kModel, kModelPickle);
}

// Makes heads for a trunk out of a file's tensors.
class Loader {
 public:
  Loader(HeadTensors tensors, const HeadConfig& config, std::string origin, nn::Transformer& trunk)
      : tensors_(std::move(tensors)), config_(config), origin_(std::move(origin)), trunk_(trunk) {}

  LoadedHeads load(const LoadHeadsOptions& options) {
    check_blocks();
    std::vector<int32_t> tokens = read_token_map();
    const bool own = has_own_outputs(tokens);
    const MedusaConfig shape{.heads = static_cast<int64_t>(tensors_.blocks.size()),
                             .layers = static_cast<int64_t>(tensors_.blocks.front().size()),
                             .own_outputs = own,
                             .reads_token = !tensors_.tokens.empty()};
    require_memory_of(shape);
    LoadedHeads out{.heads = std::make_unique<MedusaHeads>(trunk_, shape),
                    .vocabulary = std::move(tokens),
                    .layout = tensors_.layout,
                    .dtype = tensors_.blocks.front().front().weight.values.dtype()};
    fill(*out.heads);
    if (options.read_only) {
      for (nn::Parameter* p : out.heads->parameters()) p->master = {};
    }
    return out;
  }

 private:
  int64_t width() const { return trunk_.config().width; }
  int64_t n_vocab() const { return trunk_.config().n_vocab; }

  void check(const HeadTensor& t, const Shape& wanted) const {
    if (t.values.shape() != wanted) {
      fail(ErrorCode::invalid_argument,
           "load heads: {}: tensor {} is {}, but heads of a model of hidden size {} with {} tokens have {} there; take "
           "heads that were trained for this model",
           origin_, t.name, to_string(t.values.shape()), width(), n_vocab(), to_string(wanted));
    }
    if (!is_floating(t.values.dtype())) {
      fail(ErrorCode::corrupt, "{}: tensor {} is {}, but weights are numbers of floating point", origin_, t.name,
           gradus::name(t.values.dtype()));
    }
  }

  void check_blocks() const {
    for (const auto& layers : tensors_.blocks) {
      for (const HeadTensors::Block& block : layers) {
        check(block.weight, {width(), width()});
        if (tensors_.has_biases()) check(block.bias, {width()});
      }
    }
    for (const HeadTensor& token : tensors_.tokens) check(token, {width(), width()});
    if (config_.biases && *config_.biases != tensors_.has_biases()) {
      fail(ErrorCode::corrupt, "{}: config.json has medusa_fc_bias {}, but there are {}biases, such as {}", origin_,
           *config_.biases, tensors_.has_biases() ? "" : "no ", "blocks.0.layers.0.bias");
    }
  }

  // The tokens that may be drafted; empty: all. As vLLM has it, a map counts unless the config says that nothing is
  // left out.
  std::vector<int32_t> read_token_map() const {
    const HeadTensor& map = tensors_.token_map;
    if (!map.values.defined()) {
      if (config_.n_draft && !config_.all_tokens()) {
        fail(ErrorCode::corrupt,
             "{}: tensor token_map is missing, though config.json has a truncated_vocab_size of {} beside a vocab_size "
             "of {}",
             origin_, *config_.n_draft, config_.n_vocab.value_or(0));
      }
      return {};
    }
    if (config_.all_tokens()) return {};
    const DType dtype = map.values.dtype();
    if (map.values.rank() != 1 || map.values.numel() == 0 || (dtype != DType::i64 && dtype != DType::i32)) {
      fail(ErrorCode::corrupt, "{}: tensor {} is {} of {}, but should be a list of tokens", origin_, map.name,
           to_string(map.values.shape()), gradus::name(dtype));
    }
    std::vector<int32_t> tokens;
    std::vector<bool> seen(static_cast<size_t>(n_vocab()));
    for (int64_t i = 0; i < map.values.numel(); ++i) {
      const int64_t id = dtype == DType::i64 ? map.values.data<int64_t>()[i] : map.values.data<int32_t>()[i];
      const bool known = id >= 0 && id < n_vocab();
      if (!known || seen[static_cast<size_t>(id)]) {
        fail(ErrorCode::corrupt, "{}: tensor {} has the token {} at {}, which is {} of the model's {}", origin_,
             map.name, id, i, known ? "there twice, one" : "none", n_vocab());
      }
      seen[static_cast<size_t>(id)] = true;
      tokens.push_back(static_cast<int32_t>(id));
    }
    return tokens;
  }

  // Whether heads have outputs of their own, rather than the trunk's.
  bool has_own_outputs(const std::vector<int32_t>& tokens) const {
    const auto n_tokens = static_cast<int64_t>(tokens.size());
    for (const HeadTensor& output : tensors_.outputs) {
      // A map may stand beside the rows of all tokens; it then says which are meant.
      const bool is_cut = n_tokens > 0 && output.values.rank() == 2 && output.values.dim(0) == n_tokens;
      check(output, {is_cut ? n_tokens : n_vocab(), width()});
    }
    if (tensors_.outputs.empty()) {
      require_no_scale("the model's output");
      return false;
    }
    const bool one = tensors_.outputs.size() < tensors_.blocks.size();
    if (tokens.empty() && !one) return true;
    const bool trunks = config_.logit_scale == 1 &&
                        std::ranges::all_of(tensors_.outputs,
                                            [&](const HeadTensor& output) { return is_trunks(output.values, tokens); });
    if (!trunks && !tokens.empty()) {
      fail(
          ErrorCode::unsupported,
          "unsupported: {} has outputs for {} of {} tokens, such as {}, that are not the model's rows for these; heads "
          "with a draft vocabulary use the model's output",
          origin_, n_tokens, n_vocab(), tensors_.outputs.front().name);
    }
    return !trunks;
  }

  void require_no_scale(std::string_view what) const {
    if (config_.logit_scale == 1) return;
    fail(ErrorCode::unsupported, "unsupported: {} has a logit_scale of {} on {}, which can only be 1", origin_,
         config_.logit_scale, what);
  }

  // Whether the rows are the trunk's for these tokens (none: all), bit for bit in the trunk's format.
  bool is_trunks(const Tensor& output, const std::vector<int32_t>& tokens) const {
    const Tensor& head = trunk_.head().value;
    const bool cut = !tokens.empty() && output.dim(0) == static_cast<int64_t>(tokens.size());
    const int64_t n = tokens.empty() ? n_vocab() : static_cast<int64_t>(tokens.size());
    for (int64_t i = 0; i < n; ++i) {
      const int64_t id = tokens.empty() ? i : tokens[static_cast<size_t>(i)], row = cut ? i : id;
      const Tensor theirs = kernels::converted(output.rows(row, row + 1), head.dtype());
      if (std::memcmp(theirs.raw(), head.rows(id, id + 1).raw(), theirs.bytes()) != 0) return false;
    }
    return true;
  }

  void require_memory_of(const MedusaConfig& shape) const {
    const nn::PrecisionFormats& formats = trunk_.precision();
    const size_t matrix = size_of(formats.matrices) + (formats.master ? size_of(formats.vectors) : 0);
    // In double: nothing overflows, and the sizes are those of tensors that are there.
    const double C = static_cast<double>(width()), V = static_cast<double>(n_vocab());
    const double numbers =
        static_cast<double>(shape.heads) * (static_cast<double>(shape.layers) * C * (C + 1) +
                                            (shape.reads_token ? C * C : 0) + (shape.own_outputs ? V * C : 0));
    const double bytes = numbers * static_cast<double>(matrix), available = static_cast<double>(available_memory());
    if (bytes > available) {
      fail(ErrorCode::exhausted,
           "load heads: {} needs {:.2f} GB of memory, but {:.2f} are available; take heads with "
           "the model's output (v2)",
           origin_, bytes / 1e9, available / 1e9);
    }
  }

  void fill(MedusaHeads& heads) const {
    size_t next = 0;  // parameters stand in the order of heads, and within one of layers
    const auto parameter = [&]() -> nn::Parameter& { return *heads.parameters()[next++]; };
    for (size_t h = 0; h < tensors_.blocks.size(); ++h) {
      for (const HeadTensors::Block& block : tensors_.blocks[h]) {
        set(parameter(), block.weight.values);
        nn::Parameter& bias = parameter();
        if (tensors_.has_biases()) set(bias, block.bias.values);
      }
      if (heads.config().reads_token) set(parameter(), tensors_.tokens[h].values);
      if (!heads.config().own_outputs) continue;
      set(parameter(), tensors_.outputs[tensors_.outputs.size() == 1 ? 0 : h].values, config_.logit_scale);
    }
  }

  static void set(nn::Parameter& p, const Tensor& values, double scale = 1) {
    if (scale == 1) {
      kernels::convert(values, p.weights());
    } else {
      Tensor wide = Tensor::empty(values.shape(), DType::f64);
      kernels::convert(values, wide);
      for (double& x : wide.span<double>()) x *= scale;
      kernels::convert(wide, p.weights());
    }
    p.changed();
  }

  HeadTensors tensors_;
  HeadConfig config_;
  std::string origin_;
  nn::Transformer& trunk_;
};

std::string config_text(const MedusaHeads& heads, const SaveHeadsOptions& options, bool own) {
  ordered_json config;
  if (options.layout == HeadLayout::vllm) {
    const nn::TransformerConfig& trunk = heads.trunk().config();
    config["architectures"] = {"MedusaModel"};
    config["model_type"] = "medusa";
    if (!options.base_model.empty()) config["base_model_name_or_path"] = options.base_model;
    config["hidden_size"] = trunk.width;
    config["vocab_size"] = trunk.n_vocab;
    config["truncated_vocab_size"] =
        options.vocabulary.empty() ? trunk.n_vocab : static_cast<int64_t>(options.vocabulary.size());
    // vLLM takes any key with "num" and "heads" or "layers" for these, so there must be no other such key.
    config["num_heads"] = heads.config().heads;
    config["num_hidden_layers"] = heads.config().layers;
    config["medusa_fc_bias"] = true;
    config["original_lm_head"] = !own;
  } else {
    config["base_model_name_or_path"] = options.base_model;
    config["medusa_num_heads"] = heads.config().heads;
    config["medusa_num_layers"] = heads.config().layers;
    if (!own) config["version"] = "2";
  }
  return write_json(config, 2) + "\n";
}

void require_own_folder(const fs::path& folder, const char* other_file) {
  if (fs::exists(folder / kConfig)) {
    const json config = read_config_file(folder / kConfig);
    const auto type = config.find("model_type");
    require(type == config.end() || *type == "medusa",
            "save heads: {} has the config.json of a model, which theirs would replace; give a folder of their own",
            folder.string());
  }
  require(!fs::exists(folder / other_file), "save heads: {} has heads of another layout in {}; give another folder",
          folder.string(), other_file);
}

}  // namespace

LoadedHeads load_heads(const fs::path& path, nn::Transformer& trunk, const LoadHeadsOptions& options) {
  if (!fs::exists(path)) {
    fail(ErrorCode::not_found, "load heads: {}: no such file or folder", path.string());
  }
  HeadFile file = fs::is_directory(path) ? read_heads_folder(path) : read_heads_file(path);
  const HeadConfig config = read_head_config(file.config);
  HeadTensors tensors = sort_head_tensors(file.tensors, config.one_output, file.origin);
  return Loader(std::move(tensors), config, file.origin, trunk).load(options);
}

HeadLayout published_layout(const MedusaHeads& heads) {
  return heads.config().own_outputs ? HeadLayout::v1 : HeadLayout::v2;
}

void save_heads(MedusaHeads& heads, const fs::path& folder, const SaveHeadsOptions& options) {
  const bool own = heads.config().own_outputs, vllm = options.layout == HeadLayout::vllm;
  require(vllm || options.layout == published_layout(heads),
          "save heads: heads with {} can be saved as {} or vllm, but not as {}",
          own ? "outputs of their own" : "the model's output", name(published_layout(heads)), name(options.layout));
  require(options.vocabulary.empty() || (vllm && !own),
          "save heads: the {} tokens of a draft vocabulary can only be saved as vllm, and with the model's output",
          options.vocabulary.size());
  require(!vllm || !heads.config().reads_token,
          "save heads: heads that see the drawn token can be saved as {}, but not as vllm; train others with "
          "medusa.reads_token=false",
          name(published_layout(heads)));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "save heads: cannot make the folder {}: {}", folder.string(), error.message());
  require_own_folder(folder, vllm ? kHeads : kModel);

  NamedTensors tensors;
  const auto add_tensor = [&](const std::string& tensor_name, const Tensor& values) {
    tensors.emplace_back(tensor_name, kernels::converted(values, options.dtype.value_or(values.dtype())));
  };
  const int64_t n_layers = heads.config().layers;
  size_t next = 0;
  const auto add = [&](const std::string& vllm_name) {
    const nn::Parameter& p = *heads.parameters()[next++];
    require(p.has_all_weights(), "save heads: {} is shared out among ranks; gather it first", p.name);
    add_tensor(vllm ? vllm_name : p.name, p.weights());
  };
  for (int64_t h = 0; h < heads.config().heads; ++h) {
    for (int64_t l = 0; l < n_layers; ++l) {
      add(fmt::format("blocks.{}.layers.{}.weight", h, l));
      add(fmt::format("blocks.{}.layers.{}.bias", h, l));
    }
    if (heads.config().reads_token) add({});  // v1 and v2 only
    if (own) add(fmt::format("lm_heads.{}.weight", h));
  }
  if (vllm && !own) {
    const Tensor& head = heads.trunk().head().value;
    const auto n_tokens = static_cast<int64_t>(options.vocabulary.size());
    Tensor rows = head;
    if (n_tokens > 0) {
      rows = Tensor::empty({n_tokens, head.dim(1)}, head.dtype());
      kernels::embedding(options.vocabulary, head, rows);
      std::vector<int64_t> ids(options.vocabulary.begin(), options.vocabulary.end());
      tensors.emplace_back("token_map", Tensor::from<int64_t>(ids, {n_tokens}));
    }
    add_tensor("lm_head.weight", rows);
  }
  write_safetensors(folder / (vllm ? kModel : kHeads), tensors, {{"format", "pt"}});
  write_file_atomically(folder / kConfig, config_text(heads, options, own));
}

}  // namespace gradus::lm
