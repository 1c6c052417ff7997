#include "gradus/lm/hf_config.h"

#include <gtest/gtest.h>

#include <cmath>
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
  EXPECT_EQ(a.rope_scaling, b.rope_scaling);
  EXPECT_EQ(a.o_bias, b.o_bias);
  EXPECT_EQ(a.mlp_bias, b.mlp_bias);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.windowed_layers, b.windowed_layers);
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

TEST(ConfigJson, EveryFamilyAndScalingSurvivesTheRoundTrip) {
  const auto expect_round_trip = [](const nn::TransformerConfig& c, std::string_view model_type) {
    const std::string text = config_json(c, 1, 2);
    EXPECT_EQ(parse_json(text, "config.json")["model_type"], model_type);
    expect_equal(parse_config_json(text, "config.json").model, c.resolved());
  };
  nn::TransformerConfig llama = small();
  llama.qkv_bias = llama.o_bias = llama.mlp_bias = true;
  expect_round_trip(llama, "llama");
  nn::TransformerConfig mistral = small();
  mistral.window = 77;
  expect_round_trip(mistral, "mistral");
  nn::TransformerConfig qwen2 = small();
  qwen2.qkv_bias = true, qwen2.window = 5, qwen2.windowed_layers = {false, true, true};
  expect_round_trip(qwen2, "qwen2");
  nn::TransformerConfig qwen3 = small();
  qwen3.qk_norm = true, qwen3.window = 5, qwen3.windowed_layers = {true, false, true};
  expect_round_trip(qwen3, "qwen3");
  qwen3.qkv_bias = qwen3.o_bias = true;
  expect_round_trip(qwen3, "qwen3");
  using kernels::RopeType;
  for (const kernels::RopeScaling& s :
       {kernels::RopeScaling{.type = RopeType::linear, .factor = 2.5},
        kernels::RopeScaling{.type = RopeType::llama3, .factor = 8, .original_positions = 8192},
        kernels::RopeScaling{.type = RopeType::yarn,
        .factor = 4,
        .original_positions = 128,
        .attention_factor = 1.25,
        .beta_fast = 16,
        .truncate = false}}) {
    nn::TransformerConfig c = small();
    c.rope_scaling = s;
    expect_round_trip(c, "llama");
  }
}

TEST(ConfigJson, WhatNoArchitectureHasCannotBeWritten) {
  nn::TransformerConfig c = small();
  c.qk_norm = c.mlp_bias = true;
  EXPECT_GRADUS_ERROR(config_json(c, 1, 2), invalid_argument, "qk_norm true");
  c = small();
  c.window = 4, c.mlp_bias = true;
  EXPECT_GRADUS_ERROR(config_json(c, 1, 2), invalid_argument, "window 4");
}

TEST(ConfigJson, AnotherDtypeKeepsEveryOtherField) {
  const std::string text = R"({"model_type": "llama", "odd": {"a": [1, 2.5]}, "torch_dtype": "bfloat16"})";
  EXPECT_EQ(config_with_dtype(text, "config.json", DType::bf16), text);
  json document = parse_json(config_with_dtype(text, "config.json", DType::f32), "config.json");
  EXPECT_EQ(document["torch_dtype"], "float32");
  document["torch_dtype"] = "bfloat16";
  document.erase("dtype");
  EXPECT_EQ(document, parse_json(text, "config.json"));
  document = parse_json(config_with_dtype(R"({"dtype": "float16"})", "config.json", DType::f32), "config.json");
  EXPECT_EQ(document, (json{{"dtype", "float32"}}));
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
  for (const char* other : {"gemma2", "gemma3_text", "phi3", "mixtral", "qwen2_moe", "qwen3_moe", "smollm3", "gpt2"}) {
    EXPECT_GRADUS_ERROR(read([&](json& d) { d["model_type"] = other; }), unsupported,
                        std::string("model_type \"") + other + "\"");
  }
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
                      }),
                      unsupported, "quantization_config (\"gptq\")");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
                      }),
                      unsupported, "layer_types");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["layer_types"] = {"full_attention", "linear_attention", "full_attention"};
                      }),
                      unsupported, "\"linear_attention\"");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["rope_scaling"] = {{"type", "longrope"}, {"factor", 2.0}};
                      }),
                      unsupported, "rope_scaling of type \"longrope\"");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["rope_scaling"] = nullptr;
                        d["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}}}};
                      }),
                      unsupported, "rope_parameters by layer type");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["partial_rotary_factor"] = 0.5; }), unsupported, "partial_rotary_factor");
}

TEST(ConfigJson, ReadsWindowsAsTransformersDoes) {
  const auto qwen = [](auto change) {
    return read([&](json& d) {
             d["model_type"] = "qwen2";
             d["architectures"] = {"Qwen2ForCausalLM"};
             change(d);
           })
        .model;
  };
  EXPECT_EQ(qwen([](json& d) { d["sliding_window"] = 9; }).window, 0);         // use_sliding_window is false
  EXPECT_EQ(qwen([](json& d) { d["use_sliding_window"] = true; }).window, 0);  // max_window_layers is 28
  const nn::TransformerConfig late = qwen([](json& d) {
    d["use_sliding_window"] = true;
    d["sliding_window"] = 9;
    d["max_window_layers"] = 2;
  });
  EXPECT_EQ(late.window, 9);
  EXPECT_EQ(late.windowed_layers, (std::vector<bool>{false, false, true}));
  EXPECT_TRUE(qwen([](json& d) {
                d["use_sliding_window"] = true;
                d["max_window_layers"] = 0;
              }).windowed_layers.empty());  // all
  const auto mistral = [](auto change) {
    return read([&](json& d) {
             d["model_type"] = "mistral";
             d["architectures"] = {"MistralForCausalLM"};
             change(d);
           })
        .model;
  };
  EXPECT_EQ(mistral([](json&) {}).window, 4096);
  EXPECT_EQ(mistral([](json& d) { d["sliding_window"] = nullptr; }).window, 0);
  EXPECT_GRADUS_ERROR(mistral([](json& d) { d["sliding_window"] = 0; }), invalid_argument, "sliding_window is 0");
  EXPECT_GRADUS_ERROR(qwen([](json& d) {
                        d["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};
                      }),
                      corrupt, "there is no sliding_window");
  EXPECT_GRADUS_ERROR(qwen([](json& d) { d["layer_types"] = {"full_attention"}; }), corrupt, "has 1 entries");
}

TEST(ConfigJson, ReadsRotaryScalingsAsTransformersDoes) {
  const auto scaling = [](json rope) { return read([&](json& d) { d["rope_scaling"] = rope; }).model.rope_scaling; };
  using kernels::RopeType;
  EXPECT_EQ(scaling({{"type", "linear"}, {"factor", 2.0}}).type, RopeType::linear);
  EXPECT_EQ(scaling({{"type", "dynamic"}, {"factor", 2.0}}).type, RopeType::standard);  // up to the model's positions
  const kernels::RopeScaling yarn = scaling({{"rope_type", "yarn"}, {"factor", 4}});
  EXPECT_EQ(yarn.original_positions, 512);  // max_position_embeddings
  EXPECT_NEAR(yarn.attention_factor, 0.1 * std::log(4.0) + 1, 1e-12);
  EXPECT_NEAR(scaling({{"type", "yarn"}, {"factor", 4}, {"mscale", 2.0}, {"mscale_all_dim", 1.0}}).attention_factor,
              (0.2 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-12);
  EXPECT_GRADUS_ERROR(scaling({{"rope_type", "yarn"}}), corrupt, "rope_scaling has no factor");
  EXPECT_GRADUS_ERROR(scaling({{"rope_type", "llama3"}, {"factor", 8}}), corrupt, "has no low_freq_factor");
  EXPECT_GRADUS_ERROR(scaling({{"rope_type", "linear"}, {"factor", 0}}), invalid_argument, "factor is 0");
  EXPECT_GRADUS_ERROR(scaling({{"rope_type", "yarn"}, {"factor", 4}, {"attention_factor", -1}}), invalid_argument,
                      "attention_factor -1");
  EXPECT_GRADUS_ERROR(scaling({{"rope_type", 3}}), corrupt, "rope_type");
}

TEST(ConfigJson, AFieldThatIsNullIsNotOneThatIsAbsent) {
  const auto qwen3 = [](auto change) {
    return read([&](json& d) {
             d["model_type"] = "qwen3";
             d["architectures"] = {"Qwen3ForCausalLM"};
             change(d);
           })
        .model;
  };
  EXPECT_EQ(qwen3([](json& d) { d.erase("head_dim"); }).head_size, 128);
  EXPECT_EQ(qwen3([](json& d) { d["head_dim"] = nullptr; }).head_size, 16);
  EXPECT_EQ(qwen3([](json& d) { d["num_key_value_heads"] = nullptr; }).kv_heads, 6);
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
