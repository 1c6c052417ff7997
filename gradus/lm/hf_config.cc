#include "gradus/lm/hf_config.h"

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

class ConfigReader {
 public:
  ConfigReader(const json& document, std::string_view origin) : document_(document), origin_(origin) {}

  HfConfig read() const {
    if (!document_.is_object()) fail(ErrorCode::corrupt, "{}: is not a JSON object", origin_);
    const std::string type = text("model_type").value_or("");
    check_architecture(type);
    refuse_what_we_do_not_compute();

    HfConfig out;
    nn::TransformerConfig& c = out.model;
    c.layers = count("num_hidden_layers", kMaxLayers);
    c.width = count("hidden_size", kMaxWidth);
    c.heads = count("num_attention_heads", kMaxHeads);
    c.kv_heads = count("num_key_value_heads", kMaxHeads, c.heads);
    c.head_size = count("head_dim", kMaxWidth, 0);
    c.ffn_width = count("intermediate_size", kMaxWidth);
    c.n_vocab = count("vocab_size", kMaxVocab);
    c.max_positions = count("max_position_embeddings", kMaxPositions, type == "qwen2" ? 32768 : 2048);
    c.rope_theta = rope_theta();
    c.norm_eps = real(document_, "rms_norm_eps").value_or(1e-6);
    c.qkv_bias = type == "qwen2";
    c.tie_embeddings = flag("tie_word_embeddings");
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

  void check_architecture(const std::string& type) const {
    if (type != "llama" && type != "qwen2") {
      unsupported(fmt::format("has model_type {}; only \"llama\" and \"qwen2\" can be read", quote_text(type)));
    }
    const char* wanted = type == "llama" ? "LlamaForCausalLM" : "Qwen2ForCausalLM";
    const json* list = find(document_, "architectures");
    if (list == nullptr) return;
    if (!list->is_array()) wrong_type("architectures", "a list of texts");
    for (const json& architecture : *list) {
      if (!architecture.is_string()) wrong_type("architectures", "a list of texts");
      if (architecture != wanted) {
        unsupported(fmt::format("has the architecture {}; only {} can be read for model_type {}",
                                quote_text(architecture.get_ref<const std::string&>()), wanted, quote_text(type)));
      }
    }
  }

  void refuse_what_we_do_not_compute() const {
    if (const auto act = text("hidden_act"); act.value_or("silu") != "silu") {
      unsupported(fmt::format("has hidden_act {}; only \"silu\" can be computed", quote_text(*act)));
    }
    for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
      if (flag(key)) unsupported(fmt::format("has {} true; only false can be computed", key));
    }
    if (const json* layers = find(document_, "layer_types")) {
      if (!layers->is_array()) wrong_type("layer_types", "a list of texts");
      for (const json& layer : *layers) {
        if (layer != "full_attention") unsupported("has layer_types other than \"full_attention\"");
      }
    }
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
      const json* rope = find(document_, key);
      if (rope == nullptr) continue;
      if (!rope->is_object()) wrong_type(key, "an object");
      for (const char* type_key : {"rope_type", "type"}) {  // "type" is the older spelling
        const json* type = find(*rope, type_key);
        if (type == nullptr) continue;
        if (!type->is_string()) wrong_type(key, "an object with a text as rope_type");
        if (*type != "default") {
          unsupported(fmt::format("has {} of type {}; only \"default\" can be computed", key,
                                  quote_text(type->get_ref<const std::string&>())));
        }
      }
      if (real(*rope, "partial_rotary_factor").value_or(1.0) != 1.0)
        unsupported("has a partial_rotary_factor other than 1");
    }
    if (real(document_, "partial_rotary_factor").value_or(1.0) != 1.0)
      unsupported("has a partial_rotary_factor other than 1");
  }

  double rope_theta() const {
    if (const json* rope = find(document_, "rope_parameters")) {
      if (const auto theta = real(*rope, "rope_theta")) return *theta;
    }
    return real(document_, "rope_theta").value_or(10000.0);
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

}  // namespace

std::string config_json(const nn::TransformerConfig& config, int32_t eos_id, int32_t pad_id, DType dtype) {
  const nn::TransformerConfig c = config.resolved();
  ordered_json document;
  document["architectures"] = {c.qkv_bias ? "Qwen2ForCausalLM" : "LlamaForCausalLM"};
  document["model_type"] = c.qkv_bias ? "qwen2" : "llama";
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
  document["rope_scaling"] = nullptr;
  document["attention_dropout"] = 0.0;
  if (!c.qkv_bias) {  // Qwen2 has no such switches
    document["attention_bias"] = false;
    document["mlp_bias"] = false;
  }
  document["tie_word_embeddings"] = c.tie_embeddings;
  document["bos_token_id"] = nullptr;
  document["eos_token_id"] = eos_id;
  document["pad_token_id"] = pad_id;
  return write_json(document, 2) + "\n";
}

HfConfig parse_config_json(std::string_view text, std::string_view origin) {
  const json document = parse_json(text, origin);
  return ConfigReader(document, origin).read();
}

}  // namespace gradus::lm
