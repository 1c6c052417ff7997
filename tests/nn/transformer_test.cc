#include "gradus/nn/transformer.h"

#include <algorithm>
#include <numeric>

#include "tests/kernels/grid.h"

namespace gradus::nn {
namespace {

using kernels::random_ids;
using kernels::random_tensor;
using kernels::same_bits;

constexpr int64_t kVocab = 11;

struct Variant {
  const char* name;
  TransformerConfig config;
};

// Small enough for central differences: every shape is different, so that none can be taken for another.
const Variant kVariants[] = {
    {"Plain", {.layers = 2, .width = 16, .heads = 2, .ffn_width = 24, .n_vocab = kVocab, .max_positions = 160}},
    {"GroupedQueriesAndBiasesUntied",
     {.layers = 2,
      .width = 20,
      .heads = 4,
      .kv_heads = 2,
      .head_size = 8,
      .ffn_width = 24,
      .n_vocab = kVocab,
      .max_positions = 160,
      .qkv_bias = true,
      .tie_embeddings = false}},
    {"NormalisedHeadsAndWindowsInSomeLayers",  // Qwen3
     {.layers = 3,
      .width = 20,
      .heads = 4,
      .kv_heads = 2,
      .head_size = 8,
      .ffn_width = 24,
      .n_vocab = kVocab,
      .max_positions = 160,
      .rope_scaling = {.type = kernels::RopeType::yarn, .factor = 4, .original_positions = 40},
      .qk_norm = true,
      .window = 3,
      .windowed_layers = {true, false, true}}},
    {"BiasesEverywhereAndWindows",
     {.layers = 2,
      .width = 16,
      .heads = 2,
      .ffn_width = 24,
      .n_vocab = kVocab,
      .max_positions = 160,
      .qkv_bias = true,
      .rope_scaling = {.type = kernels::RopeType::llama3, .factor = 8, .original_positions = 32},
      .o_bias = true,
      .mlp_bias = true,
      .window = 66}},
};

// Random weights everywhere, gains and biases too, and large enough that attention and the gates are far from linear.
void randomise(Transformer& model) {
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    Parameter& p = *model.parameters()[i];
    const bool is_gain = p.name.ends_with("norm.weight");
    const double scale = p.value.rank() == 1 ? 0.3 : 1.0 / std::sqrt(static_cast<double>(p.value.dim(1)));
    Tensor x = random_tensor(p.value.shape(), DType::f64, i, scale);
    for (double& v : x.span<double>()) v += is_gain ? 1 : 0;
    kernels::convert(x, p.weights());
    p.changed();
  }
}

TokenBatch whole_sequences(std::span<const int64_t> lengths, int64_t n_vocab = kVocab) {
  TokenBatch batch;
  for (size_t s = 0; s < lengths.size(); ++s) batch.append(random_ids(lengths[s], n_vocab, s));
  batch.number_pages();
  return batch;
}

// The next-token loss of a batch with unequal weights: what training differentiates.
struct Loss {
  Transformer& model;
  TokenBatch batch;
  std::vector<int32_t> rows, targets;
  std::vector<double> weights;

  Loss(Transformer& m, TokenBatch b) : model(m), batch(std::move(b)) {
    rows.resize(static_cast<size_t>(batch.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    targets = random_ids(batch.rows(), model.config().n_vocab, 99);
    Rng rng(5, Purpose::test);
    for (size_t i = 0; i < rows.size(); ++i) weights.push_back(rng.normal());
  }

  Var on(Tape& tape) {
    const Var hidden = model.hidden(tape, batch);
    return autograd::weighted_sum(autograd::token_log_probs(hidden, model.head(), rows, targets, 0.8), weights);
  }
  double value() {
    Tape tape(Tape::Mode::inference);
    const Tensor x = on(tape).value();
    return kernels::converted(x, DType::f64).data<double>()[0];
  }
  std::vector<Tensor> gradients() {
    model.allocate_gradients();
    for (Parameter* p : model.parameters()) p->grad.fill_zero();
    Tape tape;
    tape.backward(on(tape));
    std::vector<Tensor> out;
    for (Parameter* p : model.parameters()) out.push_back(p->grad.clone());
    return out;
  }
};

class TransformerVariants : public testing::TestWithParam<Variant> {};

TEST_P(TransformerVariants, GradientsAreCentralDifferences) {
  constexpr double kStep = 1e-6;
  constexpr int64_t kElements = 12;  // of each parameter, spread over it
  Transformer model(GetParam().config, Precision::fp64);
  randomise(model);
  Loss loss(model, whole_sequences(std::vector<int64_t>{5, 1, 3}));
  const std::vector<Tensor> gradients = loss.gradients();
  for (size_t i = 0; i < gradients.size(); ++i) {
    Parameter& p = *model.parameters()[i];
    SCOPED_TRACE(p.name);
    const int64_t stride = std::max<int64_t>(1, p.value.numel() / kElements);
    for (int64_t j = stride / 2; j < p.value.numel(); j += stride) {
      double& w = p.value.data<double>()[j];
      const double at = w;
      w = at + kStep;
      const double above = loss.value();
      w = at - kStep;
      const double below = loss.value();
      w = at;
      const double expected = (above - below) / (2 * kStep);
      EXPECT_NEAR(gradients[i].data<double>()[j], expected, 1e-7 * (1 + std::abs(expected))) << "element " << j;
    }
  }
}

TEST_P(TransformerVariants, FloatAgreesWithDoubleOnEveryInstructionSet) {
  Transformer wide(GetParam().config, Precision::fp64);
  randomise(wide);
  const TokenBatch batch = whole_sequences(std::vector<int64_t>{70, 1, 9});
  Loss wide_loss(wide, batch);
  const std::vector<Tensor> wanted = wide_loss.gradients();
  kernels::for_each_isa([&] {
    Transformer model(GetParam().config);
    randomise(model);
    Loss loss(model, batch);
    EXPECT_NEAR(loss.value(), wide_loss.value(), 2e-5 * std::abs(wide_loss.value()));
    const std::vector<Tensor> gradients = loss.gradients();
    for (size_t i = 0; i < gradients.size(); ++i) {
      double error = 0, magnitude = 0;
      for (int64_t j = 0; j < wanted[i].numel(); ++j) {
        const double want = wanted[i].data<double>()[j];
        error = std::max(error, std::abs(want - gradients[i].data<float>()[j]));
        magnitude = std::max(magnitude, std::abs(want));
      }
      EXPECT_LE(error, 1e-4 * magnitude + 1e-6) << model.parameters()[i]->name;
    }
  });
}

TEST_P(TransformerVariants, ParameterCountIsThatOfTheConfig) {
  const Transformer model(GetParam().config);
  int64_t n = 0;
  for (const Parameter* p : model.parameters()) n += p->value.numel();
  EXPECT_EQ(n, GetParam().config.n_parameters());
}

INSTANTIATE_TEST_SUITE_P(All, TransformerVariants, testing::ValuesIn(kVariants),
                         [](const auto& i) { return std::string(i.param.name); });

// Large enough that products run on oneDNN and are cut over threads.
TransformerConfig middle_config() {
  return {.layers = 2,
          .width = 64,
          .heads = 4,
          .kv_heads = 2,
          .ffn_width = 160,
          .n_vocab = 70,
          .max_positions = 160,
          .qkv_bias = true};
}

TEST(Transformer, EveryGradientHasTheSameBitsOnOneTwoAndThreeThreads) {
  std::vector<int64_t> lengths;
  Rng rng(1, Purpose::test);
  for (int s = 0; s < 24; ++s) lengths.push_back(1 + rng.below(100));
  kernels::for_each_isa([&] {
    if (kernels::active_isa() == kernels::Isa::ref) return;  // the scalar path is slow and runs in its caller
    Transformer model(middle_config());
    randomise(model);
    Loss loss(model, whole_sequences(lengths, 70));
    ASSERT_GE(loss.batch.rows(), 1000);
    set_pool_threads(1);
    const double want_value = loss.value();
    const std::vector<Tensor> want = loss.gradients();
    for (const int threads : {2, 3}) {
      set_pool_threads(threads);
      EXPECT_EQ(loss.value(), want_value);
      const std::vector<Tensor> got = loss.gradients();
      for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_TRUE(same_bits(got[i], want[i])) << model.parameters()[i]->name << " on " << threads << " threads";
      }
    }
    set_pool_threads(available_cpus());
  });
}

Tensor hidden_of(Transformer& model, const TokenBatch& batch) {
  Tape tape(Tape::Mode::inference);
  return model.hidden(tape, batch).value().clone();
}

TEST(Transformer, PackingChangesNoBitOfTheHiddenStates) {
  const std::vector<int64_t> lengths = {65, 1, 130, 7, 64, 31};
  std::vector<std::vector<int32_t>> sequences;
  for (size_t s = 0; s < lengths.size(); ++s) sequences.push_back(random_ids(lengths[s], 70, s));
  kernels::for_each_isa([&] {
    Transformer model(middle_config());
    randomise(model);
    std::vector<Tensor> alone;
    for (const auto& sequence : sequences) {
      TokenBatch batch;
      batch.append(sequence);
      batch.number_pages();
      alone.push_back(hidden_of(model, batch));
    }
    for (const std::vector<size_t>& order : {std::vector<size_t>{0, 1, 2, 3, 4, 5}, {5, 2, 0, 4, 1, 3}, {3, 2}}) {
      TokenBatch batch;
      for (const size_t s : order) batch.append(sequences[s]);
      batch.number_pages();
      const Tensor packed = hidden_of(model, batch);
      for (size_t i = 0; i < order.size(); ++i) {
        EXPECT_TRUE(same_bits(packed.rows(batch.row_offsets[i], batch.row_offsets[i + 1]), alone[order[i]]));
      }
    }
  });
}

// The tokens of one sequence read through a cache, in pieces of the given sizes.
Tensor hidden_in_pieces(Transformer& model, std::span<const int32_t> ids, std::span<const int64_t> pieces) {
  const int64_t n_pages = (static_cast<int64_t>(ids.size()) + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  KeyValueCache cache = model.make_cache(n_pages + 2);
  Tensor all = Tensor::empty({static_cast<int64_t>(ids.size()), model.config().width});
  Tape tape(Tape::Mode::inference);
  int64_t at = 0;
  for (const int64_t n : pieces) {
    TokenBatch batch;
    batch.append(ids.subspan(static_cast<size_t>(at), static_cast<size_t>(n)), static_cast<int32_t>(at));
    batch.max_blocks = n_pages;
    for (int64_t b = 0; b < n_pages; ++b) batch.block_table.push_back(static_cast<int32_t>(n_pages - b));  // any pages
    all.rows(at, at + n).copy_from(model.hidden(tape, batch, &cache).value());
    tape.reset();
    at += n;
  }
  return all;
}

TEST(Transformer, APromptReadInPiecesGivesTheBitsOfTheWhole) {
  const std::vector<int32_t> ids = random_ids(150, 70, 3);
  const std::vector<int64_t> single(150, 1);
  kernels::for_each_isa([&] {
    Transformer model(middle_config());
    randomise(model);
    TokenBatch batch;
    batch.append(ids);
    batch.number_pages();
    const Tensor whole = hidden_of(model, batch);
    for (const std::vector<int64_t>& pieces :
         {std::vector<int64_t>{150}, {64, 86}, {1, 149}, {63, 2, 85}, {100, 1, 1, 48}, single}) {
      EXPECT_TRUE(same_bits(hidden_in_pieces(model, ids, pieces), whole)) << pieces.size() << " pieces";
    }
  });
}

TEST(Transformer, RecordingChangesNoBitOfTheHiddenStates) {
  Transformer model(middle_config());
  randomise(model);
  const TokenBatch batch = whole_sequences(std::vector<int64_t>{65, 3}, 70);
  Tape recording;
  EXPECT_TRUE(same_bits(model.hidden(recording, batch).value(), hidden_of(model, batch)));
}

TEST(Transformer, InitialWeightsDependOnTheSeedAlone) {
  Transformer a(middle_config()), b(middle_config()), c(middle_config());
  a.initialise(7);
  b.initialise(7);
  c.initialise(8);
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const Parameter& p = *a.parameters()[i];
    EXPECT_TRUE(same_bits(p.value, b.parameters()[i]->value)) << p.name;
    EXPECT_EQ(bool(same_bits(p.value, c.parameters()[i]->value)), p.value.rank() == 1) << p.name;
  }
}

TEST(Transformer, InitialWeightsHaveTheStatedSpread) {
  Transformer model(middle_config());
  model.initialise(1);
  for (const Parameter* p : model.parameters()) {
    double sum = 0, squares = 0;
    for (const float x : p->value.span<float>()) sum += x, squares += static_cast<double>(x) * x;
    const auto n = static_cast<double>(p->value.numel());
    if (p->value.rank() == 1) {
      EXPECT_EQ(sum, p->name.ends_with("bias") ? 0.0 : n) << p->name;
      continue;
    }
    double expected = 1 / std::sqrt(static_cast<double>(p->value.dim(1)));
    if (p->name.ends_with("o_proj.weight") || p->name.ends_with("down_proj.weight")) expected /= 2;  // sqrt(2 layers)
    if (p->name.starts_with("model.embed")) expected *= 3;
    EXPECT_NEAR(std::sqrt(squares / n) / expected, 1, 4 / std::sqrt(2 * n)) << p->name;
    EXPECT_NEAR(sum / n / expected, 0, 4 / std::sqrt(n)) << p->name;
  }
}

TEST(Transformer, BadTokensAndPositionsAreErrors) {
  Transformer model(kVariants[0].config);
  const auto code = [&](std::vector<int32_t> ids, int32_t first_position) {
    TokenBatch batch;
    batch.append(ids, first_position);
    batch.number_pages();
    Tape tape(Tape::Mode::inference);
    return kernels::error_code_of([&] { model.hidden(tape, batch); });
  };
  EXPECT_EQ(code({0, kVocab}, 0), ErrorCode::invalid_argument);
  EXPECT_EQ(code({-1}, 0), ErrorCode::invalid_argument);
  EXPECT_EQ(code({1, 2}, 159), ErrorCode::invalid_argument);
}

TEST(TokenBatch, PagesAreNumberedBySequence) {
  TokenBatch batch;
  for (const int64_t n : {1, 64, 65, 130}) batch.append(std::vector<int32_t>(static_cast<size_t>(n), 1));
  batch.number_pages();
  EXPECT_EQ(batch.n_pages, 7);
  EXPECT_EQ(batch.max_blocks, 3);
  EXPECT_EQ(batch.block_table, (std::vector<int32_t>{0, -1, -1, 1, -1, -1, 2, 3, -1, 4, 5, 6}));
  EXPECT_EQ(batch.row_offsets, (std::vector<int32_t>{0, 1, 65, 130, 260}));
  batch.clear();
  EXPECT_EQ(batch.rows(), 0);
  EXPECT_EQ(batch.n_sequences(), 0);
}

}  // namespace
}  // namespace gradus::nn
