// Against torch: tools/oracle/make_medusa_fixture.py writes the same heads in every layout, and their logits.
#include "gradus/lm/medusa/head_files.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/torch_file.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/gemm.h"
#include "gradus/lm/model.h"
#include "gradus/lm/weight_files.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/core/torch_archive.h"
#include "tests/kernels/grid.h"

namespace gradus::lm {
namespace {

namespace fs = std::filesystem;
using gradus::testing::TemporaryFolder;
using nlohmann::json;

constexpr int64_t kHeads = 3, C = 8, kVocab = 29;
const std::vector<int32_t> kDraftVocabulary = {3, 0, 28, 11, 7, 20, 5};

fs::path fixture(const std::string& name) {
  return fs::path(GRADUS_SOURCE_DIR) / "tests" / "fixtures" / "medusa" / name;
}

// The model of the fixtures' heads, as far as heads see it.
class HeadFiles : public ::testing::Test {
 protected:
  static nn::TransformerConfig config(int64_t width = C, int64_t n_vocab = kVocab) {
    return {.layers = 1,
            .width = width,
            .heads = 1,
            .kv_heads = 1,
            .ffn_width = 8,
            .n_vocab = n_vocab,
            .max_positions = 64,
            .tie_embeddings = false};
  }

  explicit HeadFiles() { set_output(trunk_); }

  void set_output(nn::Transformer& trunk) const {
    kernels::convert(*expected_.find("trunk_head"), trunk.head().weights());
    trunk.head().changed();
  }

  // Largest difference of the heads' logits from the fixture's; of the vocabulary's tokens where there is one.
  double error_of(const LoadedHeads& loaded, const std::string& expected) const {
    const Tensor& want = *expected_.find(expected);
    EXPECT_EQ(loaded.heads->config().heads, want.dim(0));
    nn::Tape tape(nn::Tape::Mode::inference);
    const nn::Var x = tape.constant(*expected_.find("hidden"));
    const int64_t rows = want.dim(1), n = want.dim(2);
    double error = 0;
    for (int64_t h = 0; h < want.dim(0); ++h) {
      Tensor logits = Tensor::empty({rows, n});
      kernels::gemm(loaded.heads->hidden(x, {}, h).value(), loaded.heads->output(h).value, logits,
                    {.transpose_b = true});
      for (int64_t i = 0; i < rows * n; ++i) {
        const float difference = logits.data<float>()[i] - want.data<float>()[h * rows * n + i];
        error = std::max(error, static_cast<double>(std::abs(difference)));
      }
    }
    return error;
  }

  const SafetensorsFile expected_ = read_safetensors(fixture("expected.safetensors"));
  nn::Transformer trunk_{config(), nn::Precision::fp32};
};

bool same_values(const LoadedHeads& a, const LoadedHeads& b) {
  const auto &p = a.heads->parameters(), &q = b.heads->parameters();
  bool same = p.size() == q.size();
  for (size_t i = 0; same && i < p.size(); ++i) {
    same = p[i]->name == q[i]->name && kernels::same_bits(p[i]->value, q[i]->value) &&
           kernels::same_bits(p[i]->weights(), q[i]->weights());
  }
  return same;
}

struct Expected {
  std::string fixture, logits;
  HeadLayout layout;
  bool own_outputs = true;
  int64_t layers = 1;
};
const std::vector<Expected> kLayouts = {{"v1", "own", HeadLayout::v1},
                                        {"v1-pt", "own", HeadLayout::v1},
                                        {"full", "own", HeadLayout::full_model},
                                        {"vllm", "own", HeadLayout::vllm},
                                        {"vllm-plain", "plain", HeadLayout::vllm},
                                        {"v2", "shared", HeadLayout::v2, false},
                                        {"v2-pt", "shared", HeadLayout::v2, false},
                                        {"vllm-shared", "shared", HeadLayout::vllm, false},
                                        {"twice", "twice", HeadLayout::v1, true, 2},
                                        {"twice-pt", "twice", HeadLayout::v1, true, 2}};

TEST_F(HeadFiles, EveryLayoutGivesTheLogitsOfTorch) {
  for (const Expected& e : kLayouts) {
    SCOPED_TRACE(e.fixture);
    const LoadedHeads loaded = load_heads(fixture(e.fixture), trunk_);
    EXPECT_EQ(loaded.layout, e.layout);
    EXPECT_EQ(loaded.heads->config().heads, kHeads);  // whatever the config says
    EXPECT_EQ(loaded.heads->config().layers, e.layers);
    EXPECT_EQ(loaded.heads->config().own_outputs, e.own_outputs);
    EXPECT_EQ(loaded.vocabulary, e.fixture == "vllm-shared" ? kDraftVocabulary : std::vector<int32_t>{});
    EXPECT_LE(error_of(loaded, e.logits), 1e-5);
  }
}

TEST_F(HeadFiles, EveryLayoutOfTheSameHeadsGivesTheSameBits) {
  const LoadedHeads own = load_heads(fixture("v1"), trunk_), shared = load_heads(fixture("v2"), trunk_);
  for (const char* name : {"v1-pt", "full", "vllm"})
    EXPECT_TRUE(same_values(load_heads(fixture(name), trunk_), own)) << name;
  for (const char* name : {"v2-pt", "vllm-shared"})
    EXPECT_TRUE(same_values(load_heads(fixture(name), trunk_), shared)) << name;
  EXPECT_TRUE(same_values(load_heads(fixture("twice"), trunk_), load_heads(fixture("twice-pt"), trunk_)));
  EXPECT_TRUE(same_values(load_heads(fixture("v1-pt/medusa_lm_head.pt"), trunk_), own));  // a file instead of a folder
  EXPECT_FALSE(same_values(own, load_heads(fixture("vllm-plain"), trunk_)));
}

TEST_F(HeadFiles, SavingAndLoadingGivesTheSameBitsInEveryPrecision) {
  for (const nn::Precision precision :
       {nn::Precision::fp32, nn::Precision::bf16, nn::Precision::fp16, nn::Precision::bf16_pure, nn::Precision::fp64}) {
    nn::Transformer trunk(config(), precision);
    set_output(trunk);
    for (const char* fixture_name : {"v1", "v2", "twice"}) {
      if (precision != nn::Precision::fp32 && fixture_name == std::string("twice")) continue;
      const LoadedHeads before = load_heads(fixture(fixture_name), trunk);
      for (const HeadLayout layout : {published_layout(*before.heads), HeadLayout::vllm}) {
        SCOPED_TRACE(fmt::format("{} {} as {}", fixture_name, nn::name(precision), name(layout)));
        const TemporaryFolder folder;
        save_heads(*before.heads, folder / "new", {.layout = layout, .base_model = "some/model"});
        const LoadedHeads after = load_heads(folder / "new", trunk);
        EXPECT_EQ(after.layout, layout);
        EXPECT_EQ(after.heads->config().own_outputs, before.heads->config().own_outputs);
        EXPECT_TRUE(after.vocabulary.empty());
        EXPECT_TRUE(same_values(before, after));
        EXPECT_EQ(parse_json(read_file(folder / "new/config.json"), "")["base_model_name_or_path"], "some/model");
      }
    }
  }
}

TEST_F(HeadFiles, HeadsThatSeeTheDrawnTokenAreKept) {
  for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16}) {
    nn::Transformer trunk(config(), precision);
    set_output(trunk);
    for (const bool own : {false, true}) {
      const TemporaryFolder folder;
      LoadedHeads before{
          .heads = std::make_unique<MedusaHeads>(trunk, MedusaConfig{.own_outputs = own, .reads_token = true})};
      for (nn::Parameter* p : before.heads->parameters())
        kernels::convert(kernels::random_tensor(p->value.shape(), DType::f32, 5, 1.0), p->weights()), p->changed();
      save_heads(*before.heads, folder.path(), {.layout = published_layout(*before.heads)});
      const LoadedHeads after = load_heads(folder.path(), trunk);
      EXPECT_EQ(after.heads->config(), before.heads->config());
      EXPECT_TRUE(same_values(before, after));
      EXPECT_GRADUS_ERROR(save_heads(*before.heads, folder / "other", {.layout = HeadLayout::vllm}), invalid_argument,
                          "medusa.reads_token=false");
    }
  }
}

TEST_F(HeadFiles, TheDrawnTokensWeightsMustFit) {
  const auto load_with = [&](const std::string& name, const Shape& shape) {
    const TemporaryFolder folder;
    NamedTensors tensors = read_safetensors(fixture("v2") / "medusa_lm_head.safetensors").tensors;
    tensors.emplace_back(name, Tensor::zeros(shape));
    write_safetensors(folder / "medusa_lm_head.safetensors", tensors);
    load_heads(folder.path(), trunk_);
  };
  const int64_t width = trunk_.config().width;
  EXPECT_GRADUS_ERROR(load_with("0.token.weight", {width, width}), corrupt, "1.token.weight is missing");
  EXPECT_GRADUS_ERROR(load_with("99.token.weight", {width, width}), corrupt, "left over");
  EXPECT_GRADUS_ERROR(load_with("0.token.bias", {width}), corrupt, "no known layout");
}

// A converter need not know what it converts: 16-bit heads stay what they are.
TEST_F(HeadFiles, SixteenBitHeadsAreWrittenAgainAsTheyWere) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const TemporaryFolder folder;
    save_heads(*load_heads(fixture("v1"), trunk_).heads, folder / "a", {.layout = HeadLayout::v1, .dtype = dtype});
    for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16}) {
      nn::Transformer trunk(config(), precision);
      set_output(trunk);
      const LoadedHeads loaded = load_heads(folder / "a", trunk);
      EXPECT_EQ(loaded.dtype, dtype);
      save_heads(*loaded.heads, folder / "b", {.layout = HeadLayout::v1, .dtype = loaded.dtype});
      EXPECT_EQ(read_file(folder / "a/medusa_lm_head.safetensors"), read_file(folder / "b/medusa_lm_head.safetensors"));
    }
  }
}

TEST_F(HeadFiles, ADraftVocabularyIsKept) {
  const TemporaryFolder folder;
  const LoadedHeads before = load_heads(fixture("vllm-shared"), trunk_);
  save_heads(*before.heads, folder.path(), {.layout = HeadLayout::vllm, .vocabulary = before.vocabulary});
  const LoadedHeads after = load_heads(folder.path(), trunk_);
  EXPECT_EQ(after.vocabulary, kDraftVocabulary);
  EXPECT_TRUE(same_values(before, after));

  MedusaGuesser guesser(*after.heads, after.vocabulary);
  const auto guesses = guesser.guess(*expected_.find("hidden"), std::vector<int32_t>(5), 2);
  const Tensor& want = *expected_.find("shared");
  ASSERT_EQ(guesses.size(), static_cast<size_t>(5 * kHeads));
  for (int64_t row = 0; row < 5; ++row) {
    for (int64_t h = 0; h < kHeads; ++h) {
      const float* z = want.data<float>() + (h * 5 + row) * kVocab;
      const int32_t best = *std::ranges::max_element(kDraftVocabulary, {}, [&](int32_t id) { return z[id]; });
      EXPECT_EQ(guesses[static_cast<size_t>(row * kHeads + h)].front().token, best);
    }
  }
}

TEST_F(HeadFiles, WrittenConfigsAndNamesAreThoseOfTheLayouts) {
  const TemporaryFolder folder;
  const LoadedHeads own = load_heads(fixture("v1"), trunk_), shared = load_heads(fixture("v2"), trunk_);
  const auto names = [](const fs::path& path) {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : read_safetensors(path).tensors) out.push_back(name);
    return out;
  };
  const auto config_of = [&](const std::string& name) {
    return parse_json(read_file(folder / (name + "/config.json")), name);
  };
  save_heads(*own.heads, folder / "v1", {.layout = HeadLayout::v1, .base_model = "b"});
  EXPECT_THAT(names(folder / "v1/medusa_lm_head.safetensors"),
              ::testing::IsSupersetOf({"0.0.linear.weight", "0.0.linear.bias", "0.1.weight", "2.1.weight"}));
  EXPECT_EQ(config_of("v1"),
            (json{{"base_model_name_or_path", "b"}, {"medusa_num_heads", 3}, {"medusa_num_layers", 1}}));
  save_heads(*shared.heads, folder / "v2", {.layout = HeadLayout::v2, .base_model = "b"});
  EXPECT_EQ(names(folder / "v2/medusa_lm_head.safetensors").size(), 2u * kHeads);
  EXPECT_EQ(config_of("v2")["version"], "2");
  save_heads(*shared.heads, folder / "vllm", {.layout = HeadLayout::vllm});
  EXPECT_THAT(names(folder / "vllm/model.safetensors"),
              ::testing::IsSupersetOf({"blocks.0.layers.0.weight", "blocks.2.layers.0.bias", "lm_head.weight"}));
  const json config = config_of("vllm");
  EXPECT_EQ(config["model_type"], "medusa");
  EXPECT_EQ(config["truncated_vocab_size"], kVocab);
  EXPECT_EQ(config["original_lm_head"], true);
  int64_t ambiguous = 0;  // vLLM takes any key with these words
  for (const auto& [key, value] : config.items())
    ambiguous += key.find("num") != key.npos && (key.find("heads") != key.npos || key.find("layers") != key.npos);
  EXPECT_EQ(ambiguous, 2);
}

TEST_F(HeadFiles, HeadsThatAreOnlyReadHaveNoMasters) {
  nn::Transformer trunk(config(), nn::Precision::bf16);
  set_output(trunk);
  const LoadedHeads trained = load_heads(fixture("v1"), trunk),
                    read = load_heads(fixture("v1"), trunk, {.read_only = true});
  for (size_t i = 0; i < trained.heads->parameters().size(); ++i) {
    const nn::Parameter &p = *trained.heads->parameters()[i], &q = *read.heads->parameters()[i];
    EXPECT_EQ(p.master.defined(), p.value.rank() == 2);
    EXPECT_FALSE(q.master.defined());
    EXPECT_TRUE(kernels::same_bits(p.value, q.value));
  }
}

TEST_F(HeadFiles, AModelWithHeadsInsideLoadsAsAModelToo) {
  const TemporaryFolder folder;
  fs::copy(fixture("full"), folder.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  const Tokenizer tokenizer = character_tokenizer("0123456789abcdefghijklmnop", "$");
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(tokenizer));
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json(tokenizer));
  Model model = load(folder.path());
  EXPECT_TRUE(kernels::same_bits(model.transformer().head().value, *expected_.find("trunk_head")));
  ASSERT_NE(model.heads(), nullptr);
  EXPECT_LE(error_of(load_heads(folder.path(), model.transformer()), "own"), 1e-5);
}

// What is wrong with a file.

// A safetensors file of these tensors beside this config, in a folder of its own.
class Altered {
 public:
  explicit Altered(const std::string& name) {
    const bool vllm = name.starts_with("vllm");
    file_ = vllm ? "model.safetensors" : "medusa_lm_head.safetensors";
    tensors_ = read_safetensors(fixture(name) / file_).tensors;
    config_ = parse_json(read_file(fixture(name) / "config.json"), name);
  }
  Altered& remove(const std::string& name) {
    EXPECT_EQ(std::erase_if(tensors_, [&](const auto& t) { return t.first == name; }), 1u) << name;
    return *this;
  }
  Altered& add(const std::string& name, const Tensor& t) {
    tensors_.emplace_back(name, t);
    return *this;
  }
  Altered& replace(const std::string& name, const Tensor& t) { return remove(name).add(name, t); }
  Altered& set(const std::string& key, const json& value) {
    config_[key] = value;
    return *this;
  }
  const Tensor& tensor(const std::string& name) const {
    return std::ranges::find(tensors_, name, &NamedTensors::value_type::first)->second;
  }
  const fs::path& write() {
    write_safetensors(folder_ / file_, tensors_);
    std::ofstream(folder_ / "config.json") << write_json(config_);
    return folder_.path();
  }

 private:
  TemporaryFolder folder_;
  std::string file_;
  NamedTensors tensors_;
  json config_;
};

TEST_F(HeadFiles, HeadsOfAnotherModelAreRefusedWithTheTensorAndBothShapes) {
  nn::Transformer wider(config(16)), larger(config(C, 31));
  for (const char* name : {"v1", "v1-pt", "v2", "full", "vllm", "vllm-shared"}) {
    SCOPED_TRACE(name);
    EXPECT_GRADUS_ERROR(load_heads(fixture(name), wider), invalid_argument,
                        "weight is [8, 8], but heads of a model of hidden size 16 with 29 tokens have [16, 16] there");
  }
  for (const char* name : {"v1", "full"}) {
    EXPECT_GRADUS_ERROR(
        load_heads(fixture(name), larger), invalid_argument,
        "0.1.weight is [29, 8], but heads of a model of hidden size 8 with 31 tokens have [31, 8] there");
  }
  EXPECT_GRADUS_ERROR(load_heads(fixture("vllm"), larger), invalid_argument, "lm_heads.0.weight is [29, 8]");
  EXPECT_NO_THROW(load_heads(fixture("v2"), larger));  // nothing in it depends on the vocabulary
}

TEST_F(HeadFiles, MissingTensorsAreNamed) {
  for (const auto& [name, tensor] :
       std::vector<std::pair<std::string, std::string>>{{"v1", "0.0.linear.weight"},
                                                        {"v1", "1.0.linear.bias"},
                                                        {"v1", "1.1.weight"},
                                                        {"v2", "0.0.linear.weight"},
                                                        {"v2", "2.0.linear.bias"},
                                                        {"vllm", "blocks.1.layers.0.weight"},
                                                        {"vllm", "blocks.1.layers.0.bias"},
                                                        {"vllm", "lm_heads.1.weight"}}) {
    SCOPED_TRACE(name);
    EXPECT_GRADUS_ERROR(load_heads(Altered(name).remove(tensor).write(), trunk_), corrupt,
                        fmt::format("tensor {} is missing", tensor));
  }
  // A whole head.
  EXPECT_GRADUS_ERROR(load_heads(Altered("v2").remove("1.0.linear.weight").remove("1.0.linear.bias").write(), trunk_),
                      corrupt, "tensor 1.0.linear.weight is missing, though there are 3 heads of 1 layers");
}

TEST_F(HeadFiles, TensorsTooManyAreNamed) {
  const Tensor square = Tensor::zeros({C, C}), vector = Tensor::zeros({C}), output = Tensor::zeros({kVocab, C});
  for (const char* name : {"extra", "0.0.weight.more", "model.norm.weight", "a.0.linear.weight", "00.0.linear.weight",
                           "-1.0.linear.weight", "99999999999999999999.0.linear.weight", "0.0.linear.scale", "", ".",
                           "medusa_heads.0.0.linear", "blocks.0.layers.0.weight", "lm_head.weight"}) {
    EXPECT_GRADUS_ERROR(load_heads(Altered("v1").add(name, square).write(), trunk_), corrupt,
                        fmt::format("tensor \"{}\" belongs to no known layout", name));
  }
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").add("0.0.linear.weight", square).write(), trunk_), corrupt,
                      "belongs to no known layout");
  EXPECT_GRADUS_ERROR(load_heads(Altered("v1").add("0.1.linear.weight", square).write(), trunk_), corrupt,
                      "\"0.1.linear.weight\" is left over");
  EXPECT_GRADUS_ERROR(load_heads(Altered("v1").remove("1.1.weight").add("1.2.weight", output).write(), trunk_), corrupt,
                      "\"1.2.weight\" is left over beside 3 heads of 1 layers");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").add("lm_head.weight", output).write(), trunk_), corrupt, "left over");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("original_lm_head", true).write(), trunk_), corrupt,
                      "\"lm_heads.1.weight\" is left over");
  EXPECT_GRADUS_ERROR(
      load_heads(Altered("vllm-shared").add("token_map", Tensor::zeros({3}, DType::i64)).write(), trunk_), corrupt,
      "have one place");
}

TEST_F(HeadFiles, NumbersOfHeadsAndLayersHaveLimits) {
  const Tensor square = Tensor::zeros({C, C}), vector = Tensor::zeros({C}), output = Tensor::zeros({kVocab, C});
  EXPECT_GRADUS_ERROR(load_heads(Altered("v2").add("9999.0.linear.weight", square).write(), trunk_), unsupported,
                      "10000 heads are not 1 to 32");
  EXPECT_GRADUS_ERROR(load_heads(Altered("v2").add("0.8.linear.weight", square).write(), trunk_), unsupported,
                      "9 layers of a head are not 1 to 8");
  const TemporaryFolder folder;
  write_safetensors(folder / "medusa_lm_head.safetensors", {{"0.0.weight", output}});
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), unsupported, "0 layers of a head");
  write_safetensors(folder / "medusa_lm_head.safetensors", {});
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), not_found, "no tensor of a Medusa head");
}

TEST_F(HeadFiles, TensorsOfOtherFormatsAreRefused) {
  EXPECT_GRADUS_ERROR(
      load_heads(Altered("v2").replace("1.0.linear.weight", Tensor::zeros({C, C}, DType::i32)).write(), trunk_),
      corrupt, "tensor 1.0.linear.weight is i32");
  EXPECT_GRADUS_ERROR(load_heads(Altered("v2").replace("1.0.linear.bias", Tensor::zeros({C, 1})).write(), trunk_),
                      invalid_argument, "tensor 1.0.linear.bias is [8, 1]");
}

TEST_F(HeadFiles, TokenMapsAreListsOfDifferentTokens) {
  const std::string name = "medusa_heads.token_map";
  const auto with_map = [&](const std::vector<int64_t>& tokens) {
    return load_heads(Altered("vllm-shared")
                          .replace(name, Tensor::from<int64_t>(tokens, {static_cast<int64_t>(tokens.size())}))
                          .write(),
                      trunk_);
  };
  EXPECT_GRADUS_ERROR(with_map({3, 0, 29, 11, 7, 20, 5}), corrupt,
                      "has the token 29 at 2, which is none of the model's 29");
  EXPECT_GRADUS_ERROR(with_map({3, 0, -1, 11, 7, 20, 5}), corrupt, "has the token -1 at 2");
  EXPECT_GRADUS_ERROR(with_map({3, 0, 28, 11, 3, 20, 5}), corrupt, "has the token 3 at 4, which is there twice");
  EXPECT_GRADUS_ERROR(with_map({}), corrupt, "should be a list of tokens");
  EXPECT_GRADUS_ERROR(with_map({3, 0, 28}), invalid_argument, "lm_head.weight is [7, 8]");
  EXPECT_GRADUS_ERROR(with_map({0, 3, 28, 11, 7, 20, 5}), unsupported, "are not the model's rows");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm-shared").replace(name, Tensor::zeros({7})).write(), trunk_), corrupt,
                      "is [7] of f32");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm-shared").remove(name).write(), trunk_), corrupt,
                      "tensor token_map is missing");
}

TEST_F(HeadFiles, OutputsForSomeTokensAreTheModelsOrRefused) {
  Altered changed("vllm-shared");
  Tensor rows = changed.tensor("medusa_heads.lm_head.weight").clone();
  rows.data<float>()[5] += 1;
  changed.replace("medusa_heads.lm_head.weight", rows);
  EXPECT_GRADUS_ERROR(load_heads(changed.write(), trunk_), unsupported,
                      "outputs for 7 of 29 tokens, such as medusa_heads.lm_head.weight");
  // Rows of all tokens: the map says which are meant, as in vLLM.
  Altered all("vllm-shared");
  all.replace("medusa_heads.lm_head.weight", *expected_.find("trunk_head"));
  EXPECT_EQ(load_heads(all.write(), trunk_).vocabulary, kDraftVocabulary);
  all.set("truncated_vocab_size", kVocab);  // then there is no map
  EXPECT_TRUE(load_heads(all.write(), trunk_).vocabulary.empty());
  // Another output than the model's, for all tokens and heads: each head gets a copy.
  Tensor other = expected_.find("trunk_head")->clone();
  other.data<float>()[5] += 1;
  const LoadedHeads copies = load_heads(all.replace("medusa_heads.lm_head.weight", other).write(), trunk_);
  EXPECT_TRUE(copies.heads->config().own_outputs);
  for (int64_t h = 0; h < kHeads; ++h) EXPECT_TRUE(kernels::same_bits(copies.heads->output(h).value, other));
}

TEST_F(HeadFiles, ConfigsThatDoNotFitAreRefused) {
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm-shared").set("logit_scale", 0.5).write(), trunk_), unsupported,
                      "model's rows");
  EXPECT_GRADUS_ERROR(load_heads(Altered("v2").set("logit_scale", 0.5).write(), trunk_), unsupported,
                      "logit_scale of 0.5");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("logit_scale", "x").write(), trunk_), corrupt, "logit_scale");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("medusa_fc_bias", false).write(), trunk_), corrupt,
                      "medusa_fc_bias false");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm-plain").set("medusa_fc_bias", true).write(), trunk_), corrupt,
                      "medusa_fc_bias true");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("medusa_fc_bias", 1).write(), trunk_), corrupt, "medusa_fc_bias");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("truncated_vocab_size", -1).write(), trunk_), corrupt,
                      "truncated_vocab_size");
  EXPECT_GRADUS_ERROR(load_heads(Altered("vllm").set("truncated_vocab_size", 7).write(), trunk_), corrupt,
                      "token_map is missing");
  const TemporaryFolder folder;
  fs::copy(fixture("v2"), folder.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  std::ofstream(folder / "config.json") << "{\"medusa_num_heads\": NaN}";
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), corrupt, "config.json");
  std::ofstream(folder / "config.json") << "[]";
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), corrupt, "not a JSON object");
  fs::remove(folder / "config.json");
  EXPECT_NO_THROW(load_heads(folder.path(), trunk_));
}

TEST_F(HeadFiles, FilesThatAreNoneAreRefused) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(load_heads(folder / "nothing", trunk_), not_found, "no such file");
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), not_found, "has none of medusa_lm_head.safetensors");
  write_file_atomically(folder / "heads.npz", "x");
  EXPECT_GRADUS_ERROR(load_heads(folder / "heads.npz", trunk_), invalid_argument, "neither a .safetensors");
  write_file_atomically(folder / "medusa_lm_head.pt", "x");
  EXPECT_GRADUS_ERROR(load_heads(folder.path(), trunk_), corrupt, "no directory of a zip archive");
  EXPECT_GRADUS_ERROR(load_heads(fixture("legacy"), trunk_), unsupported, "from before version 1.6");
  EXPECT_GRADUS_ERROR(load_heads(fs::path(GRADUS_SOURCE_DIR) / "tests/fixtures/transformer/llama", trunk_), corrupt,
                      "belongs to no known layout");  // a model without heads
}

TEST_F(HeadFiles, APickleThatRunsACommandIsRefusedAndDoesNot) {
  const fs::path written = "/tmp/gradus-pickle-was-run";  // by the fixture's command
  fs::remove(written);
  EXPECT_GRADUS_ERROR(load_heads(fixture("hostile"), trunk_), unsupported, "asks for \"posix.system\"");
  EXPECT_FALSE(fs::exists(written));
}

TEST_F(HeadFiles, AFolderOfSomethingElseIsNotOverwritten) {
  const LoadedHeads shared = load_heads(fixture("v2"), trunk_);
  const TemporaryFolder folder;
  write_file_atomically(folder / "config.json", "{\"model_type\": \"llama\"}");
  for (const HeadLayout layout : {HeadLayout::v2, HeadLayout::vllm}) {
    EXPECT_GRADUS_ERROR(save_heads(*shared.heads, folder.path(), {.layout = layout}), invalid_argument,
                        "config.json of a model");
  }
  EXPECT_EQ(read_file(folder / "config.json"), "{\"model_type\": \"llama\"}");
  for (const auto& [first, second] :
       {std::pair{HeadLayout::v2, HeadLayout::vllm}, {HeadLayout::vllm, HeadLayout::v2}}) {
    const TemporaryFolder other;
    save_heads(*shared.heads, other.path(), {.layout = first});
    save_heads(*shared.heads, other.path(), {.layout = first});  // again
    EXPECT_GRADUS_ERROR(save_heads(*shared.heads, other.path(), {.layout = second}), invalid_argument,
                        "another layout");
  }
}

TEST_F(HeadFiles, LayoutsThatCannotHoldTheHeadsAreRefused) {
  const TemporaryFolder folder;
  const LoadedHeads own = load_heads(fixture("v1"), trunk_), shared = load_heads(fixture("v2"), trunk_);
  EXPECT_GRADUS_ERROR(save_heads(*own.heads, folder.path(), {.layout = HeadLayout::v2}), invalid_argument,
                      "saved as v1");
  EXPECT_GRADUS_ERROR(save_heads(*shared.heads, folder.path(), {.layout = HeadLayout::v1}), invalid_argument,
                      "saved as v2");
  EXPECT_GRADUS_ERROR(save_heads(*own.heads, folder.path(), {.layout = HeadLayout::full_model}), invalid_argument,
                      "full-model");
  EXPECT_GRADUS_ERROR(save_heads(*shared.heads, folder.path(), {.layout = HeadLayout::v2, .vocabulary = {1, 2}}),
                      invalid_argument, "draft vocabulary");
  EXPECT_GRADUS_ERROR(save_heads(*own.heads, folder.path(), {.layout = HeadLayout::vllm, .vocabulary = {1, 2}}),
                      invalid_argument, "draft vocabulary");
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_GRADUS_ERROR(head_layout_from_name("v3"), invalid_argument, "none of v1, v2, full-model, vllm");
  EXPECT_EQ(head_layout_from_name("vllm"), HeadLayout::vllm);
}

}  // namespace
}  // namespace gradus::lm
