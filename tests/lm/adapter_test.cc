#include "gradus/lm/adapter.h"

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

using gradus::testing::TemporaryFolder;
using nlohmann::json;

// A base model in a folder, and a second one with adapters for it.
class Adapters : public ::testing::Test {
 protected:
  void SetUp() override {
    save(small_model(), base_);
    save(adapted(nn::Precision::fp32), adapter_);
  }

  Model adapted(nn::Precision precision) const {
    Model model = load(base_, {.precision = precision, .read_only = true});
    model.add_lora({.rank = 4, .alpha = 6}, base_.string());
    for (size_t i = 0; i < model.lora()->parameters().size(); ++i) {
      nn::Parameter& p = *model.lora()->parameters()[i];
      kernels::convert(kernels::random_tensor(p.value.shape(), DType::f32, 500 + i, 0.2), p.weights());
      p.changed();
    }
    return model;
  }
  // Greedy and sampled.
  static std::vector<Sample> sample(Model& model, std::span<const std::vector<int32_t>> prompts, double temperature) {
    return Sampler(model, {.max_batch = 2, .max_tokens = 12, .temperature = temperature, .seed = 3})
        .generate(requests_of(prompts));
  }

  // adapter_config.json with `change`, read.
  template <class Change>
  static AdapterConfig read(Change change) {
    json document = parse_json(adapter_config_json({{.rank = 4, .alpha = 6}, "/base"}), "adapter_config.json");
    change(document);
    return parse_adapter_config(write_json(document), "adapter_config.json");
  }
  // The adapter's file with `change`, loaded.
  template <class Change>
  void load_changed(Change change) const {
    SafetensorsFile file = read_safetensors(adapter_ / kAdapterFile);
    change(file.tensors);
    write_safetensors(adapter_ / kAdapterFile, file.tensors);
    load(adapter_, nn::Precision::fp32);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path base_ = folder_ / "base", adapter_ = folder_ / "adapter";
  const std::vector<std::vector<int32_t>> prompts_ = random_prompts(std::vector<int64_t>{5, 1, 9});
};

TEST_F(Adapters, SamplerAndTrainerAgreeToTheLastBit) {
  for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16, nn::Precision::fp16}) {
    Model model = adapted(precision), plain = load(base_, precision);
    for (const double temperature : {0.0, 0.9}) {
      const std::vector<Sample> samples = sample(model, prompts_, temperature);
      EXPECT_EQ(mismatches(model, prompts_, samples, temperature == 0 ? 1.0 : temperature), 0)
          << nn::name(precision) << ' ' << temperature;
      EXPECT_GT(mismatches(plain, prompts_, samples, temperature == 0 ? 1.0 : temperature), 10);  // they are added
    }
    // A unit in the last place of one adapter shows.
    const std::vector<Sample> samples = sample(model, prompts_, 0.9);
    nn::Parameter& b = *model.lora()->parameters()[1];
    for (std::byte* at = static_cast<std::byte*>(b.value.raw());
         at < static_cast<std::byte*>(b.value.raw()) + b.value.bytes(); at += size_of(b.value.dtype()))
      *at ^= std::byte{1};
    EXPECT_GT(mismatches(model, prompts_, samples, 0.9), 0);
  }
}

TEST_F(Adapters, AFolderWithAdaptersIsItsBaseWithThem) {
  Model before = adapted(nn::Precision::fp32), after = load(adapter_, {.precision = nn::Precision::fp32});
  ASSERT_NE(after.lora(), nullptr);
  EXPECT_EQ(after.lora_base(), base_.string());
  EXPECT_EQ(after.lora()->config().alpha, 6);
  const std::vector<Sample> a = sample(before, prompts_, 0.9), b = sample(after, prompts_, 0.9);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_samples(a[i], b[i]));
  EXPECT_EQ(read_config(adapter_).model.width, small_config().width);
  EXPECT_EQ(stored_precision(adapter_), nn::Precision::fp32);
}

TEST_F(Adapters, MergedTheyAreAModelLikeAnyOther) {
  Model model = load(adapter_, {.precision = nn::Precision::fp32, .read_only = true});
  const std::vector<Sample> apart = sample(model, prompts_, 0);
  model.merge_lora();
  save(model, folder_ / "merged");
  EXPECT_FALSE(is_adapter(folder_ / "merged"));
  Model merged = load(folder_ / "merged");
  EXPECT_EQ(merged.lora(), nullptr);
  const std::vector<Sample> whole = sample(merged, prompts_, 0);
  for (size_t i = 0; i < apart.size(); ++i) {
    EXPECT_EQ(apart[i].tokens, whole[i].tokens);
    for (size_t t = 0; t < apart[i].log_probs.size(); ++t) {
      EXPECT_NEAR(apart[i].log_probs[t], whole[i].log_probs[t], 1e-3);
    }
  }
}

TEST_F(Adapters, ConfigSurvivesTheRoundTripAndIgnoresWhatOnlyTrainingNeeds) {
  const AdapterConfig c = read([](json& d) {
    d["target_modules"] = {"v_proj", "q_proj", "v_proj"};
    d["lora_dropout"] = 0.1;
    d["task_type"] = nullptr;
    d["auto_mapping"] = nullptr;
    d["eva_config"] = nullptr;
  });
  EXPECT_EQ(c.base, "/base");
  EXPECT_EQ(c.lora.rank, 4);
  EXPECT_EQ(c.lora.alpha, 6);
  EXPECT_EQ(c.lora.targets, (std::vector<std::string>{"q_proj", "v_proj"}));
}

TEST_F(Adapters, RefuseAConfigThatIsComputedInAnotherWay) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"peft_type", "LOHA"},
                                                                            {"use_dora", true},
                                                                            {"use_rslora", true},
                                                                            {"fan_in_fan_out", true},
                                                                            {"bias", "all"},
                                                                            {"modules_to_save", {"lm_head"}},
                                                                            {"rank_pattern", {{"q_proj", 8}}},
                                                                            {"alpha_pattern", {{"q_proj", 8}}},
                                                                            {"layers_to_transform", {0}},
                                                                            {"target_modules", ".*_proj"},
                                                                            {"target_modules", {"lm_head"}}}) {
    EXPECT_GRADUS_ERROR(read([&](json& d) { d[key] = value; }), unsupported, "adapter_config.json");
  }
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"r", 0},
                                                                            {"r", 2.5},
                                                                            {"r", 1e300},
                                                                            {"r", "8"},
                                                                            {"r", nullptr},
                                                                            {"lora_alpha", -1},
                                                                            {"lora_alpha", nullptr},
                                                                            {"target_modules", nullptr},
                                                                            {"target_modules", json::array()},
                                                                            {"target_modules", {1}},
                                                                            {"base_model_name_or_path", 7}}) {
    EXPECT_GRADUS_ERROR(read([&](json& d) { d[key] = value; }), corrupt, key);
  }
  EXPECT_GRADUS_ERROR(parse_adapter_config("[]", "x"), corrupt, "not a JSON object");
}

TEST_F(Adapters, RefuseWeightsOfAnotherModel) {
  EXPECT_GRADUS_ERROR(load_changed([](NamedTensors& t) { t.pop_back(); }), corrupt, "is missing");
  save(adapted(nn::Precision::fp32), adapter_);
  EXPECT_GRADUS_ERROR(
      load_changed([](NamedTensors& t) {
        t.emplace_back("base_model.model.model.layers.9.mlp.up_proj.lora_A.weight", Tensor::zeros({4, 32}));
      }),
      corrupt, "belongs to no layer");
  save(adapted(nn::Precision::fp32), adapter_);
  EXPECT_GRADUS_ERROR(load_changed([](NamedTensors& t) {
                        for (auto& [name, tensor] : t) {
                          if (name.ends_with("q_proj.lora_A.weight")) tensor = Tensor::zeros({4, 40});
                        }
                      }),
                      corrupt, "but the base model asks for");
  save(adapted(nn::Precision::fp32), adapter_);
  EXPECT_GRADUS_ERROR(load_changed([](NamedTensors& t) {
                        t.emplace_back("base_model.model.model.embed_tokens.weight", Tensor::zeros({4, 4}));
                      }),
                      corrupt, "no lora_A or lora_B");
}

// A rank that the file does not have is refused before anything is made of it.
TEST_F(Adapters, RefuseARankThatIsNotTheFiles) {
  json document = parse_json(read_file(adapter_ / kAdapterConfigFile), "x");
  document["r"] = 1'000'000;
  write_file_atomically(adapter_ / kAdapterConfigFile, write_json(document));
  EXPECT_GRADUS_ERROR(load(adapter_), corrupt, "no lora_A or lora_B of rank 1000000");
}

TEST_F(Adapters, SayWhereTheBaseShouldBe) {
  json document = parse_json(read_file(adapter_ / kAdapterConfigFile), "x");
  for (const std::string& base : {std::string("meta-llama/Llama-3.2-1B"), std::string()}) {
    document["base_model_name_or_path"] = base;
    write_file_atomically(adapter_ / kAdapterConfigFile, write_json(document));
    EXPECT_GRADUS_ERROR(load(adapter_), not_found, "is no folder here");
  }
  document["base_model_name_or_path"] = adapter_.string();
  write_file_atomically(adapter_ / kAdapterConfigFile, write_json(document));
  EXPECT_GRADUS_ERROR(load(adapter_), unsupported, "which is an adapter");
}

}  // namespace
}  // namespace gradus::lm
