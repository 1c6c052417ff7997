#include "gradus/lm/hf_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::lm {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Far above any model, and low enough that the number of parameters stays below 2^63.
constexpr int64_t kMaxLayers = 1 << 12, kMaxWidth = 1 << 20, kMaxHeads = 1 << 16, kMaxVocab = 1 << 24,
                  kMaxPositions = INT32_MAX;

// What differs between the architectures, with the defaults of `transformers`.
struct Family {
  std::string_view model_type, architecture;
  int64_t max_positions;
  int64_t kv_heads;   // of a file without the field; 0 = heads
  int64_t head_size;  // likewise; 0 = width / heads
  enum class Windows { none, all_layers, by_layer } windows;
};
constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", 2048, 0, 0, Family::Windows::none},
    {"mistral", "MistralForCausalLM", 131072, 8, 0, Family::Windows::all_layers},
    {"qwen2", "Qwen2ForCausalLM", 32768, 32, 0, Family::Windows::by_layer},
    {"qwen3", "Qwen3ForCausalLM", 32768, 32, 128, Family::Windows::by_layer},
};
constexpr int64_t kDefaultWindow = 4096;

const Family& family(std::string_view model_type) {
  return *std::ranges::find(kFamilies, model_type, &Family::model_type);
}

class ConfigReader {
 public:
  ConfigReader(const json& document, std::string_view origin) : document_(document), origin_(origin) {}

  HfConfig read() const {
    if (!document_.is_object()) fail(ErrorCode::corrupt, "{}: is not a JSON object", origin_);
    const Family& f = find_family();
    refuse_what_we_do_not_compute();

    HfConfig out;
    nn::TransformerConfig& c = out.model;
    c.layers = count("num_hidden_layers", kMaxLayers);
    c.width = count("hidden_size", kMaxWidth);
    c.heads = count("num_attention_heads", kMaxHeads);
    const bool kv_heads_null = document_.contains("num_key_value_heads");  // there, but null: as many as heads
    c.kv_heads = count("num_key_value_heads", kMaxHeads, kv_heads_null || f.kv_heads == 0 ? c.heads : f.kv_heads);
    c.head_size = count("head_dim", kMaxWidth, document_.contains("head_dim") ? 0 : f.head_size);
    c.ffn_width = count("intermediate_size", kMaxWidth);
    c.n_vocab = count("vocab_size", kMaxVocab);
    c.max_positions = count("max_position_embeddings", kMaxPositions, f.max_positions);
    c.norm_eps = real(document_, "rms_norm_eps").value_or(1e-6);
    const bool attention_bias = (f.model_type == "llama" || f.model_type == "qwen3") && flag("attention_bias");
    c.qkv_bias = f.model_type == "qwen2" || attention_bias;
    c.o_bias = attention_bias;
    c.mlp_bias = f.model_type == "llama" && flag("mlp_bias");
    c.qk_norm = f.model_type == "qwen3";
    c.tie_embeddings = flag("tie_word_embeddings");
    read_rope(c);
    read_windows(f, c);
    out.eos_ids = token_ids("eos_token_id");
    if (const auto pad = token_ids("pad_token_id"); !pad.empty()) out.pad_id = pad.front();
    try {
      c = c.resolved();
    } catch (const Error& e) {
      fail(e.code(), "{}: {}", origin_, e.what());
    }
    return out;
  }

 private:
  // The field, or nullptr when it is absent or null.
  static const json* find(const json& object, const char* key) {
    const auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
  }

  [[noreturn]] void wrong_type(const char* key, std::string_view wanted) const {
    fail(ErrorCode::corrupt, "{}: {} is not {}", origin_, key, wanted);
  }
  [[noreturn]] void unsupported(std::string_view fact) const {
    fail(ErrorCode::unsupported, "unsupported: {} {}", origin_, fact);
  }

  std::optional<std::string> text(const char* key) const {
    const json* value = find(document_, key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) wrong_type(key, "a text");
    return value->get<std::string>();
  }

  bool flag(const char* key) const {
    const json* value = find(document_, key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) wrong_type(key, "true or false");
    return value->get<bool>();
  }

  std::optional<double> real(const json& object, const char* key) const {
    const json* value = find(object, key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) wrong_type(key, "a number");
    return value->get<double>();
  }

  // A count up to `limit`; `absent` stands for a missing field, which without it is an error. The lower bounds are
  // resolved()'s.
  int64_t count(const char* key, int64_t limit, std::optional<int64_t> absent = std::nullopt) const {
    const json* value = find(document_, key);
    if (value == nullptr) {
      if (!absent) fail(ErrorCode::corrupt, "{}: the field {} is missing", origin_, key);
      return *absent;
    }
    if (!value->is_number_integer()) wrong_type(key, "a whole number");
    if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(limit)) {
      fail(ErrorCode::invalid_argument, "{}: {} is {}, but at most {} is possible", origin_, key,
           value->get<uint64_t>(), limit);
    }
    return value->get<int64_t>();
  }

  std::vector<int32_t> token_ids(const char* key) const {
    const json* value = find(document_, key);
    if (value == nullptr) return {};
    const json list = value->is_array() ? *value : json::array({*value});
    std::vector<int32_t> ids;
    for (const json& id : list) {
      // Old files of `transformers` write -1 for "none".
      if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX))
        wrong_type(key, "a token id");
      if (id.is_number_unsigned()) ids.push_back(id.get<int32_t>());
    }
    return ids;
  }

  const Family& find_family() const {
    const std::string type = text("model_type").value_or("");
    const auto found = std::ranges::find(kFamilies, type, &Family::model_type);
    if (found == std::end(kFamilies)) {
      unsupported(fmt::format("has model_type {}; only \"llama\", \"mistral\", \"qwen2\" and \"qwen3\" can be read",
                              quote_text(type)));
    }
    const json* list = find(document_, "architectures");
    if (list == nullptr) return *found;
    if (!list->is_array()) wrong_type("architectures", "a list of texts");
    for (const json& architecture : *list) {
      if (!architecture.is_string()) wrong_type("architectures", "a list of texts");
      if (architecture != found->architecture) {
        unsupported(fmt::format("has the architecture {}; only {} can be read for model_type {}",
                                quote_text(architecture.get_ref<const std::string&>()), found->architecture,
                                quote_text(type)));
      }
    }
    return *found;
  }

  void refuse_what_we_do_not_compute() const {
    if (const auto act = text("hidden_act"); act.value_or("silu") != "silu") {
      unsupported(fmt::format("has hidden_act {}; only \"silu\" can be computed", quote_text(*act)));
    }
    if (const json* quantization = find(document_, "quantization_config")) {
      const json* method = quantization->is_object() ? find(*quantization, "quant_method") : nullptr;
      unsupported(fmt::format("has a quantization_config ({}); take the model's bf16, fp16 or fp32 weights",
                              method != nullptr && method->is_string()
                                  ? quote_text(method->get_ref<const std::string&>())
                                  : "of no named method"));
    }
    if (real(document_, "partial_rotary_factor").value_or(1.0) != 1.0)
      unsupported("has a partial_rotary_factor other than 1");
  }

  // As `transformers` reads them: rope_scaling, when it says something, stands before rope_parameters.
  void read_rope(nn::TransformerConfig& c) const {
    c.rope_theta = real(document_, "rope_theta").value_or(10000.0);
    const char* key = "rope_scaling";
    const json* rope = find(document_, key);
    if (rope == nullptr || (rope->is_object() && rope->empty())) rope = find(document_, key = "rope_parameters");
    if (rope == nullptr) return;
    if (!rope->is_object()) wrong_type(key, "an object");
    for (const char* layer_type : {"full_attention", "sliding_attention"}) {
      if (rope->contains(layer_type)) unsupported(fmt::format("has {} by layer type", key));
    }
    c.rope_theta = real(*rope, "rope_theta").value_or(c.rope_theta);
    if (real(*rope, "partial_rotary_factor").value_or(1.0) != 1.0)
      unsupported("has a partial_rotary_factor other than 1");
    c.rope_scaling = rope_scaling(*rope, key, c.max_positions);
  }

  std::string rope_type(const json& rope, const char* key) const {
    for (const char* type_key : {"rope_type", "type"}) {  // "type" is the older spelling
      const json* type = find(rope, type_key);
      if (type == nullptr) continue;
      if (!type->is_string()) wrong_type(key, "an object with a text as rope_type");
      return type->get<std::string>();
    }
    return "default";
  }

  double required_real(const json& rope, const char* key, const char* field) const {
    const auto value = real(rope, field);
    if (!value) fail(ErrorCode::corrupt, "{}: {} has no {}", origin_, key, field);
    return *value;
  }

  kernels::RopeScaling rope_scaling(const json& rope, const char* key, int64_t max_positions) const {
    using kernels::RopeType;
    const std::string type = rope_type(rope, key);
    kernels::RopeScaling s;
    if (type == "default") return s;
    if (type != "linear" && type != "dynamic" && type != "yarn" && type != "llama3") {
      unsupported(fmt::format("has {} of type {}; only default, linear, dynamic, yarn and llama3 can be computed", key,
                              quote_text(type)));
    }
    const double factor = required_real(rope, key, "factor");
    if (type == "dynamic") return s;  // says something about positions that we do not take (kernels/rope.h)
    s.factor = factor;
    s.type = type == "linear" ? RopeType::linear : type == "yarn" ? RopeType::yarn : RopeType::llama3;
    if (type == "linear") return s;
    s.original_positions =
        real(document_, "original_max_position_embeddings")
            .value_or(real(rope, "original_max_position_embeddings").value_or(static_cast<double>(max_positions)));
    if (type == "llama3") {
      s.low_freq_factor = required_real(rope, key, "low_freq_factor");
      s.high_freq_factor = required_real(rope, key, "high_freq_factor");
      return s;
    }
    s.beta_fast = real(rope, "beta_fast").value_or(s.beta_fast);
    s.beta_slow = real(rope, "beta_slow").value_or(s.beta_slow);
    if (const json* truncate = find(rope, "truncate")) {
      if (!truncate->is_boolean()) wrong_type("truncate", "true or false");
      s.truncate = truncate->get<bool>();
    }
    const auto log_scale = [&](double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1; };
    const double mscale = real(rope, "mscale").value_or(0), mscale_all = real(rope, "mscale_all_dim").value_or(0);
    s.attention_factor =
        real(rope, "attention_factor")
            .value_or(mscale != 0 && mscale_all != 0 ? log_scale(mscale) / log_scale(mscale_all) : log_scale(1));
    if (!(s.attention_factor > 0)) {
      fail(ErrorCode::invalid_argument, "{}: {} has the attention_factor {}, but it must be positive", origin_, key,
           s.attention_factor);
    }
    return s;
  }

  void read_windows(const Family& f, nn::TransformerConfig& c) const {
    const std::vector<std::string> types = layer_types(c.layers);
    const bool any_sliding = std::ranges::find(types, "sliding_attention") != types.end();
    const bool any_full = std::ranges::find(types, "full_attention") != types.end();
    if (f.windows == Family::Windows::none) {
      if (any_sliding) unsupported("has layer_types other than \"full_attention\"");
      return;
    }
    const bool wanted = f.windows == Family::Windows::all_layers || flag("use_sliding_window");
    const bool is_null = document_.contains("sliding_window") && document_["sliding_window"].is_null();
    const int64_t window = wanted && !is_null ? count("sliding_window", kMaxPositions, kDefaultWindow) : 0;
    if (wanted && !is_null && window < 1) {
      fail(ErrorCode::invalid_argument, "{}: sliding_window is {}, but must be at least 1", origin_, window);
    }
    if (any_sliding && window == 0) {
      fail(ErrorCode::corrupt, "{}: layer_types has \"sliding_attention\", but there is no sliding_window", origin_);
    }
    if (window == 0) return;
    if (f.windows == Family::Windows::all_layers) {
      if (any_full) unsupported("has layer_types other than \"sliding_attention\" beside a sliding_window");
      c.window = window;
      return;
    }
    const int64_t first = count("max_window_layers", INT64_MAX, 28);
    int64_t n = 0;
    for (int64_t i = 0; i < c.layers; ++i) {
      const bool slides = types.empty() ? i >= first : types[static_cast<size_t>(i)] == "sliding_attention";
      c.windowed_layers.push_back(slides);
      n += slides;
    }
    c.window = n > 0 ? window : 0;
    if (n == 0 || n == c.layers) c.windowed_layers.clear();
  }

  std::vector<std::string> layer_types(int64_t layers) const {
    std::vector<std::string> out;
    const json* list = find(document_, "layer_types");
    if (list == nullptr) return out;
    if (!list->is_array()) wrong_type("layer_types", "a list of texts");
    for (const json& type : *list) {
      if (!type.is_string()) wrong_type("layer_types", "a list of texts");
      out.push_back(type.get<std::string>());
      if (out.back() != "full_attention" && out.back() != "sliding_attention") {
        unsupported(
            fmt::format("has the layer type {}; only \"full_attention\" and \"sliding_attention\" can be computed",
                        quote_text(out.back())));
      }
    }
    if (static_cast<int64_t>(out.size()) != layers) {
      fail(ErrorCode::corrupt, "{}: layer_types has {} entries, but num_hidden_layers is {}", origin_, out.size(),
           layers);
    }
    return out;
  }

  const json& document_;
  std::string_view origin_;
};

std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "float64";
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    default:
      fail(ErrorCode::invalid_argument, "config.json: weights cannot be {}", name(dtype));
  }
}

// The architecture that has all of it.
const Family& family_of(const nn::TransformerConfig& c) {
  const bool all_or_none = c.qkv_bias == c.o_bias;
  if (c.qk_norm && all_or_none && !c.mlp_bias) return family("qwen3");
  if (c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm) return family("qwen2");
  if (c.window > 0 && c.windowed_layers.empty() && !c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm)
    return family("mistral");
  require(c.window == 0 && all_or_none && !c.qk_norm,
          "config.json: no architecture has qkv_bias {}, o_bias {}, mlp_bias {}, qk_norm {} and window {} together",
          c.qkv_bias, c.o_bias, c.mlp_bias, c.qk_norm, c.window);
  return family("llama");
}

ordered_json rope_scaling_json(const kernels::RopeScaling& s) {
  using kernels::RopeType;
  ordered_json out;
  switch (s.type) {
    case RopeType::standard:
      return nullptr;
    case RopeType::linear:
      return {{"rope_type", "linear"}, {"factor", s.factor}};
    case RopeType::yarn:
      out = {{"rope_type", "yarn"},
             {"factor", s.factor},
             {"original_max_position_embeddings", s.original_positions},
             {"beta_fast", s.beta_fast},
             {"beta_slow", s.beta_slow},
             {"truncate", s.truncate}};
      if (s.attention_factor > 0) out["attention_factor"] = s.attention_factor;
      break;
    case RopeType::llama3:
      out = {{"rope_type", "llama3"},
             {"factor", s.factor},
             {"original_max_position_embeddings", s.original_positions},
             {"low_freq_factor", s.low_freq_factor},
             {"high_freq_factor", s.high_freq_factor}};
      break;
  }
  // A whole number, as `transformers` has it.
  if (s.original_positions == std::floor(s.original_positions) && s.original_positions < 9e15)
    out["original_max_position_embeddings"] = static_cast<int64_t>(s.original_positions);
  return out;
}

void add_windows(const nn::TransformerConfig& c, const Family& f, ordered_json& document) {
  if (f.windows == Family::Windows::none) return;
  document["sliding_window"] = c.window > 0 ? ordered_json(c.window) : ordered_json(nullptr);
  if (f.windows == Family::Windows::all_layers) return;
  document["use_sliding_window"] = c.window > 0;
  // Older versions of `transformers` know only where the windows begin.
  int64_t first = c.layers;
  while (first > 0 && c.has_window(first - 1)) --first;
  document["max_window_layers"] = first;
  ordered_json types = ordered_json::array();
  for (int64_t i = 0; i < c.layers; ++i) types.push_back(c.has_window(i) ? "sliding_attention" : "full_attention");
  document["layer_types"] = std::move(types);
}

}  // namespace

std::string config_json(const nn::TransformerConfig& config, int32_t eos_id, int32_t pad_id, DType dtype) {
  const nn::TransformerConfig c = config.resolved();
  const Family& f = family_of(c);
  ordered_json document;
  document["architectures"] = {f.architecture};
  document["model_type"] = f.model_type;
  document["torch_dtype"] = torch_name(dtype);
  document["vocab_size"] = c.n_vocab;
  document["hidden_size"] = c.width;
  document["intermediate_size"] = c.ffn_width;
  document["num_hidden_layers"] = c.layers;
  document["num_attention_heads"] = c.heads;
  document["num_key_value_heads"] = c.kv_heads;
  document["head_dim"] = c.head_size;
  document["hidden_act"] = "silu";
  document["max_position_embeddings"] = c.max_positions;
  document["rms_norm_eps"] = c.norm_eps;
  document["rope_theta"] = c.rope_theta;
  document["rope_scaling"] = rope_scaling_json(c.rope_scaling);
  document["attention_dropout"] = 0.0;
  if (f.model_type == "llama" || f.model_type == "qwen3") document["attention_bias"] = c.qkv_bias;
  if (f.model_type == "llama") document["mlp_bias"] = c.mlp_bias;
  add_windows(c, f, document);
  document["tie_word_embeddings"] = c.tie_embeddings;
  document["bos_token_id"] = nullptr;
  document["eos_token_id"] = eos_id;
  document["pad_token_id"] = pad_id;
  return write_json(document, 2) + "\n";
}

std::string config_with_dtype(std::string_view text, std::string_view origin, DType dtype) {
  json document = parse_json(text, origin);
  const std::string_view wanted = torch_name(dtype);
  const bool newer = document.contains("dtype");  // the name since `transformers` 5
  if (document.value(newer ? "dtype" : "torch_dtype", json()) == wanted) return std::string(text);
  if (newer || !document.contains("torch_dtype")) document["dtype"] = wanted;
  if (!newer) document["torch_dtype"] = wanted;
  return write_json(document, 2) + "\n";
}

std::string config_with_heads(std::string_view text, std::string_view origin, int64_t heads, int64_t layers) {
  json document = parse_json(text, origin);
  document["medusa_num_heads"] = heads;
  document["medusa_num_layers"] = layers;
  return write_json(document, 2) + "\n";
}

HfConfig parse_config_json(std::string_view text, std::string_view origin) {
  const json document = parse_json(text, origin);
  return ConfigReader(document, origin).read();
}

}  // namespace gradus::lm
