#include "gradus/lm/hf_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

using nlohmann::json;

nn::TransformerConfig small() {
  return {.layers = 3,
          .width = 96,
          .heads = 6,
          .kv_heads = 2,
          .ffn_width = 256,
          .n_vocab = 21,
          .max_positions = 512,
          .norm_eps = 1e-5};
}

void expect_equal(const nn::TransformerConfig& a, const nn::TransformerConfig& b) {
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_size, b.head_size);
  EXPECT_EQ(a.ffn_width, b.ffn_width);
  EXPECT_EQ(a.n_vocab, b.n_vocab);
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.norm_eps, b.norm_eps);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.tie_embeddings, b.tie_embeddings);
}

// What is read after `change` was made to a good file.
template <class Change>
HfConfig read(Change change) {
  json document = parse_json(config_json(small(), 1, 2), "config.json");
  change(document);
  return parse_config_json(write_json(document), "config.json");
}

TEST(ConfigJson, SurvivesTheRoundTrip) {
  for (bool qkv_bias : {false, true}) {
    for (bool tie : {false, true}) {
      nn::TransformerConfig c = small();
      c.qkv_bias = qkv_bias;
      c.tie_embeddings = tie;
      c.rope_theta = 1e6;
      c.norm_eps = 1.25e-7;
      c.head_size = 24;
      const HfConfig got = parse_config_json(config_json(c, 7, 8), "config.json");
      expect_equal(got.model, c.resolved());
      EXPECT_EQ(got.eos_ids, std::vector<int32_t>{7});
      EXPECT_EQ(got.pad_id, 8);
    }
  }
}

TEST(ConfigJson, NamesArchitectureAndDtype) {
  nn::TransformerConfig c = small();
  const json llama = parse_json(config_json(c, 1, 2), "llama");
  EXPECT_EQ(llama["architectures"], json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(llama["model_type"], "llama");
  EXPECT_EQ(llama["torch_dtype"], "float32");
  c.qkv_bias = true;
  const json qwen = parse_json(config_json(c, 1, 2, DType::bf16), "qwen");
  EXPECT_EQ(qwen["architectures"], json::array({"Qwen2ForCausalLM"}));
  EXPECT_EQ(qwen["model_type"], "qwen2");
  EXPECT_EQ(qwen["torch_dtype"], "bfloat16");
}

// tests/fixtures/transformer is made by `transformers` (tools/oracle/make_transformer_fixture.py).
TEST(ConfigJson, ReadsTheFilesOfTransformers) {
  for (const std::string name : {"llama", "qwen2"}) {
    const auto path = std::string(GRADUS_SOURCE_DIR) + "/tests/fixtures/transformer/" + name + "/config.json";
    const HfConfig got = parse_config_json(read_file(path), path);
    const bool qwen = name == "qwen2";
    expect_equal(got.model, {.layers = 2,
                             .width = 32,
                             .heads = 4,
                             .kv_heads = 2,
                             .head_size = 8,
                             .ffn_width = 64,
                             .n_vocab = 29,
                             .max_positions = 64,
                             .rope_theta = 10000.0,
                             .norm_eps = qwen ? 1e-5 : 1e-6,
                             .qkv_bias = qwen,
                             .tie_embeddings = !qwen});
    EXPECT_EQ(got.eos_ids, std::vector<int32_t>{27});
    EXPECT_EQ(got.pad_id, 28);
  }
}

TEST(ConfigJson, TakesRopeThetaFromEitherPlace) {
  EXPECT_EQ(read([](json& d) { d["rope_theta"] = 5e5; }).model.rope_theta, 5e5);
  EXPECT_EQ(read([](json& d) {
              d.erase("rope_theta");
              d["rope_parameters"] = {{"rope_theta", 7e5}, {"rope_type", "default"}};
            }).model.rope_theta,
            7e5);
  EXPECT_EQ(read([](json& d) { d.erase("rope_theta"); }).model.rope_theta, 10000.0);
}

TEST(ConfigJson, AbsentFieldsTakeTheDefaultsOfTransformers) {
  const HfConfig got = read([](json& d) {
    for (const char* key :
         {"num_key_value_heads", "head_dim", "rms_norm_eps", "tie_word_embeddings", "max_position_embeddings",
          "eos_token_id", "pad_token_id", "architectures", "hidden_act", "attention_bias"}) {
      d.erase(key);
    }
  });
  EXPECT_EQ(got.model.kv_heads, 6);
  EXPECT_EQ(got.model.head_size, 16);
  EXPECT_EQ(got.model.norm_eps, 1e-6);
  EXPECT_EQ(got.model.max_positions, 2048);
  EXPECT_FALSE(got.model.tie_embeddings);
  EXPECT_TRUE(got.eos_ids.empty());
  EXPECT_EQ(got.pad_id, -1);
}

TEST(ConfigJson, ReadsSeveralEndTokens) {
  EXPECT_EQ(read([](json& d) { d["eos_token_id"] = {3, 4}; }).eos_ids, (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(read([](json& d) { d["pad_token_id"] = -1; }).pad_id, -1);
}

TEST(ConfigJson, RefusesByNameWhatItCannotCompute) {
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model_type"] = "mamba"; }), unsupported, "model_type \"mamba\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d.erase("model_type"); }), unsupported, "model_type \"\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["architectures"] = {"LlamaForSequenceClassification"}; }), unsupported,
                      "LlamaForSequenceClassification");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["hidden_act"] = "gelu"; }), unsupported, "hidden_act \"gelu\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["attention_bias"] = true; }), unsupported, "attention_bias");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["mlp_bias"] = true; }), unsupported, "mlp_bias");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["use_sliding_window"] = true; }), unsupported, "use_sliding_window");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["layer_types"] = {"full_attention", "sliding_attention"};
                      }),
                      unsupported, "layer_types");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
                      }),
                      unsupported, "rope_scaling of type \"linear\"");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["rope_parameters"] = {{"rope_type", "yarn"}};
                      }),
                      unsupported, "of type \"yarn\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["partial_rotary_factor"] = 0.5; }), unsupported, "partial_rotary_factor");
}

TEST(ConfigJson, RefusesMissingFieldsAndWrongTypesAsCorrupt) {
  EXPECT_GRADUS_ERROR(parse_config_json("{", "config.json"), corrupt, "config.json: not valid JSON");
  EXPECT_GRADUS_ERROR(parse_config_json("3", "config.json"), corrupt, "not a JSON object");
  for (const char* key :
       {"num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"}) {
    EXPECT_GRADUS_ERROR(read([&](json& d) { d.erase(key); }), corrupt, std::string("the field ") + key + " is missing");
    EXPECT_GRADUS_ERROR(read([&](json& d) { d[key] = "8"; }), corrupt, std::string(key) + " is not a whole number");
    EXPECT_GRADUS_ERROR(read([&](json& d) { d[key] = 8.0; }), corrupt, std::string(key) + " is not a whole number");
  }
  EXPECT_GRADUS_ERROR(read([](json& d) { d["rms_norm_eps"] = "1e-6"; }), corrupt, "rms_norm_eps is not a number");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["tie_word_embeddings"] = 1; }), corrupt,
                      "tie_word_embeddings is not true or false");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["eos_token_id"] = "1"; }), corrupt, "eos_token_id is not a token id");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["rope_scaling"] = 3; }), corrupt, "rope_scaling is not an object");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["architectures"] = "x"; }), corrupt, "architectures");
}

TEST(ConfigJson, ImpossibleShapesGiveTheMessageOfTheTransformer) {
  EXPECT_GRADUS_ERROR(read([](json& d) { d["num_key_value_heads"] = 4; }), invalid_argument,
                      "config.json: model: kv_heads 4 do not divide heads 6");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["num_attention_heads"] = 7;
                        d["num_key_value_heads"] = 7;
                        d.erase("head_dim");
                      }),
                      invalid_argument, "heads 7 do not divide width 96");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["num_hidden_layers"] = 0; }), invalid_argument, "layers 0");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["hidden_size"] = -96; }), invalid_argument, "width -96");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["hidden_size"] = INT64_MAX; }), invalid_argument,
                      "hidden_size is 9223372036854775807");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["rope_theta"] = -1; }), invalid_argument, "rope_theta -1");
}

}  // namespace
}  // namespace gradus::lm
