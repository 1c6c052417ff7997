// Folders in: memory, precision, end tokens, rows of embeddings without a token, and what is wrong with a folder.
#include "gradus/lm/model.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "gradus/core/json.h"
#include "gradus/lm/memory_plan.h"
#include "gradus/lm/sampler.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/lm/family_model.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

using gradus::testing::TemporaryFolder;
using nlohmann::json;

void change_json(const std::filesystem::path& path, const std::function<void(json&)>& change) {
  json document = parse_json(read_file(path), path.string());
  change(document);
  write_file_atomically(path, write_json(document));
}

TEST(ModelFolder, ThePrecisionIsThatOfTheFile) {
  const TemporaryFolder folder;
  for (const auto& [dtype, precision] : {std::pair{DType::f32, nn::Precision::fp32},
                                         {DType::bf16, nn::Precision::bf16},
                                         {DType::f16, nn::Precision::fp16},
                                         {DType::f64, nn::Precision::fp32}}) {
    write_family_folder("qwen3", folder.path(), dtype);
    EXPECT_EQ(stored_precision(folder.path()), precision);
    EXPECT_EQ(load(folder.path()).transformer().precision().precision, precision);
  }
  EXPECT_EQ(load(folder.path(), nn::Precision::bf16).transformer().precision().precision, nn::Precision::bf16);
}

TEST(ModelFolder, MatricesOfTheRightFormatAreNotCopied) {
  const TemporaryFolder folder;
  write_family_folder("llama3", folder.path(), DType::bf16);
  const auto bytes_of_matrices = [](const Model& model) {
    size_t n = 0;
    for (const nn::Parameter* p : model.transformer().parameters()) n += p->value.rank() == 2 ? p->value.bytes() : 0;
    return n;
  };
  const int64_t before = tensor_storages_created();
  trim_tensor_storage();
  const Model model = load(folder.path(), {.read_only = true});
  int64_t n_vectors = 0;
  for (const nn::Parameter* p : model.transformer().parameters()) {
    n_vectors += p->value.rank() == 1;
    EXPECT_FALSE(p->master.defined());
  }
  EXPECT_LE(tensor_storages_created() - before, n_vectors + 4);  // gains become f32; converting has its own scratch
  EXPECT_GT(bytes_of_matrices(model), 0u);
}

TEST(ModelFolder, TrainingAMappedModelLeavesTheFileAlone) {
  const TemporaryFolder folder;
  write_family_folder("smollm2", folder.path());
  const std::string before = read_file(folder / "model.safetensors");
  Model model = load(folder.path());
  for (nn::Parameter* p : model.transformer().parameters()) {
    for (float& w : p->value.span<float>()) w += 1;
    p->changed();
  }
  EXPECT_EQ(read_file(folder / "model.safetensors"), before);
  save(model, folder.path());  // where it lies
  EXPECT_NE(read_file(folder / "model.safetensors"), before);
  EXPECT_TRUE(kernels::same_bits(load(folder.path()).transformer().parameters().back()->value,
                                 model.transformer().parameters().back()->value));
}

TEST(ModelFolder, MastersAreTheFilesNumbers) {
  const TemporaryFolder folder;
  write_family_folder("mistral", folder.path(), DType::f32);
  const Model model = load(folder.path(), nn::Precision::bf16);
  for (const nn::Parameter* p : model.transformer().parameters()) {
    EXPECT_TRUE(kernels::same_bits(p->weights(), family_weights(p->name, p->value.shape()))) << p->name;
    EXPECT_TRUE(kernels::same_bits(p->value, kernels::converted(p->weights(), p->value.dtype()))) << p->name;
  }
}

TEST(ModelFolder, EndTokensAreThoseOfAllItsFiles) {
  const TemporaryFolder folder;
  write_family_folder("llama3", folder.path());  // config.json has 256 and 255, the tokenizer 256
  Model model = load(folder.path());
  EXPECT_TRUE(model.ends(256) && model.ends(255));
  EXPECT_FALSE(model.ends(7));
  write_file_atomically(folder / "generation_config.json", R"({"eos_token_id": [7, 9]})");
  model = load(folder.path());
  EXPECT_TRUE(model.ends(256) && model.ends(7) && model.ends(9));
  EXPECT_FALSE(model.ends(255));  // generation_config.json stands before config.json
}

TEST(ModelFolder, RowsWithoutATokenAreNeverDrawn) {
  const TemporaryFolder folder;
  write_family_folder("llama3", folder.path());  // 272 rows, 257 tokens
  Model model = load(folder.path());
  EXPECT_EQ(model.n_drawn(), 257);
  nn::Parameter& head = model.transformer().head();  // makes the rows without a token as likely as the others together
  const std::vector<int32_t> prompt = {1, 2, 3};
  std::vector<SampleRequest> requests;
  for (uint64_t i = 0; i < 64; ++i) requests.push_back({prompt, i});
  for (int64_t i = 0; i < head.value.numel(); ++i) head.value.data<float>()[i] *= 0.05f;
  head.changed();
  int64_t n = 0;
  double mass = 0;
  for (const Sample& s : Sampler(model, {.max_tokens = 20, .seed = 3}).generate(requests)) {
    for (size_t t = 0; t < s.tokens.size(); ++t) {
      ++n;
      mass += std::exp(s.log_probs[t]);
      EXPECT_LT(s.tokens[t], 257);
    }
  }
  EXPECT_GT(n, 500);
  // Nearly uniform over 272 rows: the recorded probability is that of the whole softmax.
  EXPECT_NEAR(mass / static_cast<double>(n) * 272, 1, 0.05);
}

TEST(ModelFolder, AConfigOfAbsurdSizeIsRefusedWithTheMemoryItNeeds) {
  const TemporaryFolder folder;
  write_family_folder("llama3", folder.path());
  change_json(folder / "config.json", [](json& d) {
    d["num_hidden_layers"] = 4096;
    d["hidden_size"] = 1 << 20;
    d["intermediate_size"] = 1 << 20;
    d["vocab_size"] = 1 << 24;
    d["max_position_embeddings"] = INT32_MAX;
  });
  EXPECT_GRADUS_ERROR(load(folder.path()), exhausted, "GB of memory: weights");
}

TEST(ModelFolder, ManyPositionsCostNothingUntilTheyAreUsed) {
  const TemporaryFolder folder;
  write_family_folder("llama3", folder.path());
  change_json(folder / "config.json", [](json& d) { d["max_position_embeddings"] = INT32_MAX; });
  Model model = load(folder.path());
  const std::vector<int32_t> prompt = {1, 2, 3};
  EXPECT_EQ(Sampler(model, {.max_tokens = 4}).generate(std::vector<SampleRequest>{{prompt, 0}}).size(), 1u);
}

TEST(ModelFolder, OtherTensorsThanTheConfigAsksForAreCorrupt) {
  const TemporaryFolder folder;
  const auto with = [&](const std::function<void(std::vector<StoredTensor>&)>& change) {
    write_family_folder("smollm2", folder.path());
    std::vector<StoredTensor> tensors;
    for (const auto& [name, t] : read_safetensors(folder / "model.safetensors").tensors)
      tensors.push_back({name, t, t.dtype()});
    change(tensors);
    write_weight_files(folder.path(), tensors, kShardBytes);
    return load(folder.path());
  };
  EXPECT_GRADUS_ERROR(with([](auto& t) { t.pop_back(); }), corrupt, "is missing; config.json asks for it");
  EXPECT_GRADUS_ERROR(with([](auto& t) {
                        t.push_back({"model.extra", Tensor::zeros({2}), DType::f32});
                      }),
                      corrupt, "model.extra does not belong");
  EXPECT_GRADUS_ERROR(with([](auto& t) { t.front().values = Tensor::zeros({2, 2}); }), corrupt, "config.json asks for");
  // The copy of a tied head and the rotary angles of old files are of no use, and harmless.
  with([](auto& t) {
    t.push_back({"lm_head.weight", Tensor::zeros({272, 64}), DType::f32});
    t.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::zeros({8}), DType::f32});
  });
}

TEST(ModelFolder, SavedWeightsHaveTheFormatsOfTheFile) {
  const TemporaryFolder folder;
  write_family_folder("qwen2", folder.path(), DType::bf16);
  save(load(folder.path(), nn::Precision::fp32), folder / "again");
  EXPECT_EQ(stored_precision(folder / "again"), nn::Precision::bf16);
  // A checkpoint keeps the masters instead, and says so.
  const Model model = load(folder.path());
  EXPECT_EQ(model.weights_dtype(), DType::f32);
  EXPECT_EQ(parse_json(model.files(DType::f32).at("config.json"), "config.json")["torch_dtype"], "float32");
}

TEST(GenerationConfig, SaysWhatItSays) {
  const GenerationDefaults d = parse_generation_config(
      R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 40, "eos_token_id": [1, 2], "odd": {}})", "g");
  EXPECT_EQ(d.sampling_temperature(), 0.6);
  EXPECT_EQ(d.top_p, 0.9);
  EXPECT_EQ(d.top_k, 40);
  EXPECT_EQ(d.eos_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_FALSE(d.min_p.has_value());
  EXPECT_EQ(parse_generation_config(R"({"do_sample": false, "temperature": 0.6})", "g").sampling_temperature(), 0.0);
  EXPECT_FALSE(parse_generation_config("{}", "g").sampling_temperature().has_value());
  EXPECT_EQ(parse_generation_config(R"({"eos_token_id": 5})", "g").eos_ids, std::vector<int32_t>{5});
}

TEST(GenerationConfig, WrongTypesAndRangesAreErrors) {
  EXPECT_GRADUS_ERROR(parse_generation_config("[]", "g.json"), corrupt, "g.json: is not a JSON object");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"do_sample": 1})", "g"), corrupt, "do_sample");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"temperature": "1"})", "g"), corrupt, "temperature");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"temperature": -1})", "g"), invalid_argument, "temperature is -1");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"top_p": 0})", "g"), invalid_argument, "top_p is 0");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"top_k": 99999999999})", "g"), invalid_argument, "top_k");
  EXPECT_GRADUS_ERROR(parse_generation_config(R"({"eos_token_id": ["a"]})", "g"), corrupt, "eos_token_id");
}

TEST(InferencePlan, CountsWeightsAndKeysExactlyAndNeverOverflows) {
  const nn::TransformerConfig c = small_config();
  nn::TransformerConfig config = c;
  config.n_vocab = 21;
  const nn::Transformer model(config, nn::Precision::bf16);
  size_t bytes = 0;
  for (const nn::Parameter* p : model.parameters()) bytes += p->value.bytes();
  const InferencePlan plan = plan_inference(config, nn::Precision::bf16, {.sequences = 3, .positions = 63, .rows = 8});
  EXPECT_EQ(plan.weights, static_cast<int64_t>(bytes));
  const nn::KeyValueCache cache = model.make_cache(3);
  size_t keys = 0;
  for (const auto& pages : cache.layers) keys += pages.keys.bytes() + pages.values.bytes();
  EXPECT_EQ(plan.cache, static_cast<int64_t>(keys));
  const InferencePlan huge = plan_inference(
      config, nn::Precision::fp32, {.sequences = INT64_MAX / 4, .positions = INT64_MAX / 4, .rows = INT64_MAX / 4});
  EXPECT_EQ(huge.total(), INT64_MAX);
  EXPECT_GRADUS_ERROR(require_memory("model x:", huge, 1'000'000'000), exhausted, "1.00 GB are available");
}

}  // namespace
}  // namespace gradus::lm
