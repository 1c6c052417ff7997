#include "gradus/nn/lora.h"

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "tests/kernels/grid.h"

namespace gradus::nn {
namespace {

using kernels::random_ids;
using kernels::random_tensor;
using kernels::same_bits;

TransformerConfig tiny() {
  return {.layers = 2,
          .width = 16,
          .heads = 2,
          .kv_heads = 1,
          .ffn_width = 24,
          .n_vocab = 11,
          .max_positions = 32,
          .qkv_bias = true,
          .tie_embeddings = false};
}

void randomise(std::span<Parameter* const> parameters, uint64_t seed) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& p = *parameters[i];
    const double scale = p.value.rank() == 1 ? 0.3 : 1.0 / std::sqrt(static_cast<double>(p.value.dim(1)));
    Tensor x = random_tensor(p.value.shape(), DType::f64, seed + i, scale);
    if (p.name.ends_with("norm.weight")) {
      for (double& v : x.span<double>()) v += 1;
    }
    kernels::convert(x, p.weights());
    p.changed();
  }
}

struct Adapted {
  Transformer base;
  Lora lora;
  TokenBatch batch;
  std::vector<int32_t> rows, ids;
  std::vector<double> weights;

  explicit Adapted(Precision precision, LoraConfig config = {.rank = 3, .alpha = 5})
      : base(tiny(), precision), lora((randomise(base.parameters(), 1), base), config) {
    randomise(lora.parameters(), 100);
    for (const int64_t length : {5, 3}) batch.append(random_ids(length, 11, static_cast<uint64_t>(length)));
    batch.number_pages();
    Rng rng(1, Purpose::test);
    for (int32_t r = 0; r < 8; ++r) {
      rows.push_back(r);
      ids.push_back(static_cast<int32_t>(rng.below(11)));
      weights.push_back(rng.normal());
    }
  }

  Var log_probs(Tape& tape) { return autograd::token_log_probs(base.hidden(tape, batch), base.head(), rows, ids, 1.0); }
  Tensor log_probs() {
    Tape tape(Tape::Mode::inference);
    return log_probs(tape).value().clone();
  }
};

TEST(Lora, GradientsAreCentralDifferences) {
  Adapted m(Precision::fp64);
  m.lora.allocate_gradients();
  Tape tape;
  tape.backward(autograd::weighted_sum(m.log_probs(tape), m.weights));
  for (Parameter* p : m.lora.parameters()) {
    SCOPED_TRACE(p->name);
    kernels::expect_gradient(p->value, p->grad, [&] {
      const Tensor y = m.log_probs();
      double sum = 0;
      for (size_t i = 0; i < m.weights.size(); ++i) sum += m.weights[i] * y.data<double>()[i];
      return sum;
    });
  }
}

TEST(Lora, TheBaseHasNeitherGradientsNorMasters) {
  for (const PrecisionFormats& f : kPrecisions) {
    Adapted m(f.precision);
    std::vector<Tensor> before;
    for (const Parameter* p : m.base.parameters()) before.push_back(p->value.clone());
    m.lora.allocate_gradients();
    Tape tape;
    tape.backward(autograd::weighted_sum(m.log_probs(tape), m.weights));
    for (size_t i = 0; i < before.size(); ++i) {
      const Parameter& p = *m.base.parameters()[i];
      EXPECT_FALSE(p.grad.defined() || p.master.defined()) << p.name;
      EXPECT_TRUE(same_bits(p.value, before[i]));
    }
    for (const Parameter* p : m.lora.parameters()) {
      EXPECT_EQ(p->master.defined(), f.master);
      EXPECT_EQ(p->grad.dtype(), f.gradients);
      EXPECT_GT(kernels::sum_of_squares(p->grad), 0) << f.name << ' ' << p->name;
    }
  }
}

TEST(Lora, AtFirstNothingIsAdded) {
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
    Adapted m(precision);
    Transformer plain(tiny(), precision);
    randomise(plain.parameters(), 1);
    Tape tape(Tape::Mode::inference);
    const Tensor want =
        autograd::token_log_probs(plain.hidden(tape, m.batch), plain.head(), m.rows, m.ids, 1.0).value().clone();
    EXPECT_FALSE(same_bits(m.log_probs(), want));
    m.lora.initialise(7);
    EXPECT_TRUE(same_bits(m.log_probs(), want));
    EXPECT_GT(kernels::sum_of_squares(m.lora.parameters()[0]->value), 0);
  }
}

TEST(Lora, MergedItComputesTheSame) {
  Adapted m(Precision::fp64);
  const Tensor apart = m.log_probs();
  const Tensor shared = m.base.parameters()[2]->value, before = shared.clone();
  m.lora.merge();
  EXPECT_TRUE(same_bits(shared, before));  // whoever shares the weights keeps them
  const Tensor merged = m.log_probs();
  EXPECT_FALSE(same_bits(merged, apart));
  for (int64_t i = 0; i < apart.numel(); ++i) {
    EXPECT_NEAR(merged.data<double>()[i], apart.data<double>()[i], 1e-12);
  }
  for (const Parameter* p : m.base.parameters()) EXPECT_TRUE(p->low_rank.a == nullptr && !p->frozen);
}

TEST(Lora, OnlyTheTargetsHaveAdaptersAndTheirCountIsKnown) {
  const LoraConfig config{.rank = 2, .alpha = 4, .targets = {"q_proj", "v_proj", "down_proj"}};
  Adapted m(Precision::fp32, config);
  ASSERT_EQ(m.lora.parameters().size(), 2u * 2 * 3);
  EXPECT_EQ(m.lora.parameters()[1]->name, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
  EXPECT_EQ(m.lora.parameters()[11]->name, "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight");
  for (const LoraConfig& c : {config, LoraConfig{.rank = 5}}) {
    Transformer base(tiny());
    const Lora lora(base, c);
    int64_t n = 0;
    for (const Parameter* p : lora.parameters()) n += p->value.numel();
    EXPECT_EQ(c.n_parameters(tiny()), n);
  }
}

TEST(Lora, RefusesWhatMakesNoSense) {
  const auto code = [](const LoraConfig& c) { return kernels::error_code_of([&] { c.check(tiny()); }); };
  EXPECT_EQ(code({.rank = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.rank = 17}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.alpha = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.targets = {}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.targets = {"lm_head"}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.targets = {"q_proj", "q_proj"}}), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::nn
