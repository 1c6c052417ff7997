// Every family against `transformers` in float32, from a folder on disk to logits and greedy text.
#include <algorithm>
#include <cmath>

#include "gradus/lm/sampler.h"
#include "tests/core/temporary_folder.h"
#include "tests/kernels/grid.h"
#include "tests/lm/family_model.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

using gradus::testing::TemporaryFolder;

class Families : public ::testing::TestWithParam<const char*> {
 protected:
  Families() : expected_(read_safetensors(family_folder(GetParam()) / "expected.safetensors")) {}

  std::filesystem::path folder(DType dtype = DType::f32, int64_t shard_bytes = kShardBytes) {
    write_family_folder(GetParam(), folder_ / "model", dtype, shard_bytes);
    return folder_ / "model";
  }
  const Tensor* find(const char* what, int i) const { return expected_.find(fmt::format("{}_{}", what, i)); }
  std::vector<int32_t> prompt(int i) const {
    const std::span<const int32_t> ids = find("prompt", i)->span<int32_t>();
    return {ids.begin(), ids.end()};
  }

  TemporaryFolder folder_;
  SafetensorsFile expected_;
};

TEST_P(Families, LogitsAreThoseOfTransformers) {
  Model model = load(folder());
  kernels::for_each_isa([&] {
    for (int i = 0; find("prompt", i) != nullptr; ++i) {
      nn::TokenBatch batch;
      batch.append(prompt(i));
      batch.number_pages();
      nn::Tape tape(nn::Tape::Mode::inference);
      const Tensor logits = model.transformer().logits(model.transformer().hidden(tape, batch).value());
      const Tensor& want = *find("logits", i);
      const auto [least, greatest] = std::ranges::minmax(want.span<float>());
      const std::span<const int32_t> rows = find("rows", i)->span<int32_t>();
      for (size_t r = 0; r < rows.size(); ++r) {
        for (int64_t j = 0; j < want.dim(1); ++j) {
          ASSERT_NEAR(logits.data<float>()[rows[r] * want.dim(1) + j],
                      want.data<float>()[static_cast<int64_t>(r) * want.dim(1) + j], 1e-4 * (greatest - least))
              << "prompt " << i << " row " << rows[r];
        }
      }
    }
  });
}

TEST_P(Families, GreedyTextIsThatOfTransformers) {
  Model model = load(folder());
  std::vector<std::vector<int32_t>> prompts, wanted;
  std::vector<SampleRequest> requests;
  for (int i = 0; find("prompt", i) != nullptr; ++i) {
    const Tensor* continuation = find("continuation", i);
    if (continuation == nullptr) continue;
    prompts.push_back(prompt(i));
    wanted.emplace_back(continuation->span<int32_t>().begin(), continuation->span<int32_t>().end());
  }
  ASSERT_EQ(prompts.size(), 2u);
  for (const auto& p : prompts) requests.push_back({p, 0});
  const std::vector<Sample> samples =
      Sampler(model, {.max_tokens = static_cast<int64_t>(wanted[0].size()), .temperature = 0}).generate(requests);
  for (size_t i = 0; i < samples.size(); ++i) {
    std::vector<int32_t> want = wanted[i];  // `transformers` was told to go on after end tokens
    const auto end = std::ranges::find_if(want, [&](int32_t id) { return model.ends(id); });
    if (end != want.end()) want.erase(end + 1, want.end());
    EXPECT_EQ(samples[i].tokens, want);
  }
}

// The sampler's windows, rotations and norms are the trainer's: prompts and answers run over windows and key blocks.
TEST_P(Families, RecordedLogProbsAreTheTrainersInEveryPrecision) {
  const std::vector<int64_t> lengths = {1, 20, 33, 64, 65, 100, 130};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    Model model = load(folder(dtype));
    const auto prompts = random_prompts(lengths);
    const auto requests = requests_of(prompts);
    for (const double temperature : {1.0, 0.7}) {
      const std::vector<Sample> samples =
          Sampler(model, {.max_batch = 4, .max_tokens = 40, .prefill_rows = 100, .temperature = temperature})
              .generate(requests);
      EXPECT_EQ(mismatches(model, prompts, samples, temperature), 0) << name(dtype);
    }
  }
}

TEST_P(Families, WhatIsSavedIsWhatWasRead) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t shard_bytes : {kShardBytes, int64_t{100'000}}) {
      const std::filesystem::path from = folder(dtype), to = folder_ / "again";
      write_file_atomically(from / "generation_config.json", R"({"do_sample": true, "temperature": 0.6, "odd": [1]})");
      write_file_atomically(from / "special_tokens_map.json", "{\n }");
      {
        const Model model = load(from);
        EXPECT_EQ(model.transformer().precision().matrices, dtype);
        EXPECT_EQ(model.generation().sampling_temperature(), 0.6);
        save(model, to, {.shard_bytes = shard_bytes});
      }
      EXPECT_EQ(std::filesystem::exists(to / "model.safetensors.index.json"), shard_bytes != kShardBytes);
      for (const char* file :
           {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json"}) {
        EXPECT_EQ(read_file(to / file), read_file(from / file)) << file;
      }
      const nn::TransformerConfig a = read_config(from).model, b = read_config(to).model;
      EXPECT_EQ(config_json(a, 0, 0), config_json(b, 0, 0));
      const WeightFiles before(from), after(to);
      ASSERT_EQ(before.tensors().size(), after.tensors().size());
      for (const auto& [name, tensor] : before.tensors()) {
        ASSERT_NE(after.find(name), nullptr) << name;
        EXPECT_TRUE(kernels::same_bits(*after.find(name), tensor)) << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Families, ::testing::ValuesIn(kFamilyModels), [](const auto& i) {
  std::string name = i.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace gradus::lm
