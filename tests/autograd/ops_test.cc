#include "gradus/autograd/ops.h"

#include <memory>
#include <numeric>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/rope.h"
#include "tests/autograd/operator_case.h"

namespace gradus::autograd {
namespace {

using kernels::random_tensor;
using kernels::same_bits;

using CasePointer = std::unique_ptr<OperatorCase>;

CasePointer make_embedding(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->parameters.push_back(random_parameter({5, 3}, dtype, 1));
  c->ids = {4, 0, 4, 2, 4};
  c->f = [c = c.get()](Tape& tape, auto&) { return embedding(tape, c->ids, c->parameters[0]); };
  return c;
}

CasePointer make_rms_norm(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({4, 9}, dtype, 1)};
  c->parameters.push_back(random_parameter({9}, dtype, 2));
  c->f = [c = c.get()](Tape&, auto& x) { return rms_norm(x[0], c->parameters[0], 1e-5); };
  return c;
}

CasePointer make_activation(DType dtype, Var (*op)(Var)) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({4, 9}, dtype, 1)};
  c->f = [op](Tape&, auto& x) { return op(x[0]); };
  return c;
}

CasePointer make_linear(DType dtype, bool with_bias) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({6, 5}, dtype, 1)};
  c->parameters.push_back(random_parameter({7, 5}, dtype, 2));
  c->parameters.push_back(random_parameter({7}, dtype, 3));
  c->f = [c = c.get(), with_bias](Tape&, auto& x) {
    return linear(x[0], c->parameters[0], with_bias ? &c->parameters[1] : nullptr);
  };
  return c;
}

CasePointer make_low_rank_linear(DType dtype) {
  auto c = make_linear(dtype, true);
  c->parameters.push_back(random_parameter({3, 5}, dtype, 4));
  c->parameters.push_back(random_parameter({7, 3}, dtype, 5));
  c->parameters[0].low_rank = {.a = &c->parameters[2], .b = &c->parameters[3], .scale = 1.7};
  return c;
}

CasePointer make_rope(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({5, 24}, dtype, 1)};
  c->rope_table = kernels::make_rope_table(20, 8, 100.0, dtype);
  c->rows = {0, 1, 2, 17, 18};
  c->f = [c = c.get()](Tape&, auto& x) { return rope(x[0], c->rows, 3, c->rope_table); };
  return c;
}

// Sequences of 5, 1 and 3 rows, each on a page of its own.
CasePointer make_attention(DType dtype, int64_t heads, int64_t kv_heads) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({9, heads * 8}, dtype, 1), random_tensor({9, kv_heads * 8}, dtype, 2),
               random_tensor({9, kv_heads * 8}, dtype, 3)};
  c->offsets = {0, 5, 6, 9};
  c->rows = {0, 1, 2, 3, 4, 0, 0, 1, 2};
  c->block_table = {0, 1, 2};
  c->f = [c = c.get(), heads, kv_heads](Tape&, auto& x) {
    const kernels::AttentionLayout layout{c->offsets, c->rows, c->block_table, 1};
    const kernels::AttentionShape shape{.heads = heads, .kv_heads = kv_heads, .head_size = 8, .scale = 0.4};
    return attention(x[0], x[1], x[2], layout, shape, 3, nullptr);
  };
  return c;
}

CasePointer make_swiglu(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({3, 7}, dtype, 1), random_tensor({3, 7}, dtype, 2)};
  c->f = [](Tape&, auto& x) { return swiglu(x[0], x[1]); };
  return c;
}

CasePointer make_add(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({3, 7}, dtype, 1), random_tensor({3, 7}, dtype, 2)};
  c->f = [](Tape&, auto& x) { return add(x[0], x[1]); };
  return c;
}

// Rows are read in any order, some twice and some not at all; more than one chunk of the head when n is large.
CasePointer make_token_log_probs(DType dtype, double temperature, int64_t n) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({6, 4}, dtype, 1)};
  c->parameters.push_back(random_parameter({5, 4}, dtype, 2));
  c->rows = kernels::random_ids(n, 5, 1);  // the last row is never read
  c->ids = kernels::random_ids(n, 5, 2);
  c->f = [c = c.get(), temperature](Tape&, auto& x) {
    return token_log_probs(x[0], c->parameters[0], c->rows, c->ids, temperature);
  };
  return c;
}

// The teacher has another width, and sees what it likes of the rows.
CasePointer make_divergence(DType dtype, int64_t n) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({6, 4}, dtype, 1)};
  c->parameters.push_back(random_parameter({5, 4}, dtype, 2));
  c->constants = {random_tensor({6, 3}, dtype, 3)};
  c->constant_parameters.push_back(random_parameter({5, 3}, dtype, 4));
  c->rows = kernels::random_ids(n, 5, 1);
  c->f = [c = c.get()](Tape&, auto& x) {
    return divergence(x[0], c->parameters[0], c->rows, c->constants[0], c->constant_parameters[0]);
  };
  return c;
}

CasePointer make_weighted_sum(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({8}, dtype, 1)};
  c->f = [w = loss_weights(8)](Tape&, auto& x) { return weighted_sum(x[0], w); };
  return c;
}

// x reaches the result on four ways, two of them through `add`, whose gradients share their storage.
CasePointer make_value_used_often(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({4, 6}, dtype, 1)};
  c->parameters.push_back(random_parameter({6, 6}, dtype, 2));
  c->parameters.push_back(random_parameter({6}, dtype, 3));
  c->f = [c = c.get()](Tape&, auto& v) {
    const Var x = v[0];
    const Var twice = add(x, x);
    const Var y = linear(rms_norm(twice, c->parameters[1], 1e-5), c->parameters[0]);
    return add(add(x, y), swiglu(y, x));
  };
  return c;
}

// The gradient that `add` hands to both of its inputs must survive an operator that works in place on one of them.
CasePointer make_shared_gradient(DType dtype) {
  auto c = std::make_unique<OperatorCase>();
  c->inputs = {random_tensor({3, 8}, dtype, 1), random_tensor({3, 8}, dtype, 2)};
  c->rope_table = kernels::make_rope_table(4, 8, 10.0, dtype);
  c->rows = {1, 2, 3};
  c->f = [c = c.get()](Tape&, auto& x) {
    const Var rotated = rope(x[0], c->rows, 1, c->rope_table);
    return add(add(rotated, x[1]), add(x[0], rotated));
  };
  return c;
}

struct NamedCase {
  const char* name;
  CasePointer (*make)(DType);
};

const NamedCase kCases[] = {
    {"Embedding", make_embedding},
    {"RmsNorm", make_rms_norm},
    {"Relu", [](DType t) { return make_activation(t, relu); }},
    {"Tanh", [](DType t) { return make_activation(t, tanh); }},
    {"Linear", [](DType t) { return make_linear(t, false); }},
    {"LinearWithBias", [](DType t) { return make_linear(t, true); }},
    {"LowRankLinear", make_low_rank_linear},
    {"Rope", make_rope},
    {"Attention", [](DType t) { return make_attention(t, 2, 2); }},
    {"GroupedQueryAttention", [](DType t) { return make_attention(t, 4, 2); }},
    {"SwiGlu", make_swiglu},
    {"Add", make_add},
    {"TokenLogProbs", [](DType t) { return make_token_log_probs(t, 1.0, 7); }},
    {"TokenLogProbsAtATemperature", [](DType t) { return make_token_log_probs(t, 0.7, 7); }},
    {"TokenLogProbsInTwoChunks", [](DType t) { return make_token_log_probs(t, 1.3, kHeadRows + 5); }},
    {"Divergence", [](DType t) { return make_divergence(t, 7); }},
    {"DivergenceInTwoChunks", [](DType t) { return make_divergence(t, kHeadRows + 5); }},
    {"WeightedSum", make_weighted_sum},
    {"ValueUsedOften", make_value_used_often},
    {"SharedGradient", make_shared_gradient},
};

class Operator : public testing::TestWithParam<NamedCase> {};

TEST_P(Operator, GradientsAreCentralDifferences) {
  expect_central_differences(*GetParam().make(DType::f64));
}

double largest_magnitude(const Tensor& x) {
  double largest = 0;
  for (int64_t i = 0; i < x.numel(); ++i) largest = std::max(largest, std::abs(x.data<double>()[i]));
  return largest;
}

void expect_near(const Tensor& narrow, const Tensor& wide) {
  const double bound = 3e-6 * (1 + largest_magnitude(wide));
  for (int64_t i = 0; i < wide.numel(); ++i) EXPECT_NEAR(narrow.data<float>()[i], wide.data<double>()[i], bound) << i;
}

TEST_P(Operator, FloatAgreesWithDoubleOnEveryInstructionSet) {
  const Outcome wide = run(*GetParam().make(DType::f64));
  kernels::for_each_isa([&] {
    const Outcome narrow = run(*GetParam().make(DType::f32));
    expect_near(narrow.y, wide.y);
    for (size_t i = 0; i < wide.gradients.size(); ++i) expect_near(narrow.gradients[i], wide.gradients[i]);
  });
}

TEST_P(Operator, ATapeUsedAgainGivesTheSameBits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const CasePointer c = GetParam().make(dtype);
    Tape tape;
    const Outcome first = run(tape, *c);
    const Outcome second = run(tape, *c);
    EXPECT_TRUE(same_bits(second.y, first.y));
    for (size_t i = 0; i < first.gradients.size(); ++i) {
      EXPECT_TRUE(same_bits(second.gradients[i], first.gradients[i])) << i;
    }
  }
}

TEST_P(Operator, InferenceGivesTheBitsOfRecording) {
  kernels::for_each_isa([] {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const CasePointer c = GetParam().make(dtype);
      Tape inference(Tape::Mode::inference);
      const Tensor y = (*c)(inference).value().clone();
      EXPECT_TRUE(same_bits(y, run(*c).y));
    }
  });
}

TEST_P(Operator, MakesNoStorageInTheSteadyState) {
  const CasePointer c = GetParam().make(DType::f32);
  Tape tape;
  run(tape, *c);
  const int64_t before = tensor_storages_created();
  run(tape, *c);
  EXPECT_EQ(tensor_storages_created(), before);
}

INSTANTIATE_TEST_SUITE_P(All, Operator, testing::ValuesIn(kCases), [](const auto& i) { return i.param.name; });

// Of one x: values, and after a backward all gradients, have the bits of one map after the other.
TEST(Linear, SeveralAtOnceGiveTheBitsOfEachAlone) {
  const Tensor x_value = random_tensor({3, 40}, DType::f32, 1);
  const auto run_maps = [&](auto&& maps) {
    Parameter q = random_parameter({32, 40}, DType::f32, 2), k = random_parameter({18, 40}, DType::f32, 3),
              v = random_parameter({7, 40}, DType::f32, 4), bias = random_parameter({18}, DType::f32, 5);
    Tape tape;
    const Var x = tape.emit(x_value, true);
    const std::array<Var, 3> y = maps(x, std::array{LinearWeights{q}, LinearWeights{k, &bias}, LinearWeights{v}});
    std::vector<Tensor> all;
    for (const Var& each : y) all.push_back(each.value().clone());
    const std::vector<double> ones(96, 1.0);
    Var sum = weighted_sum(y[0], std::span(ones).first(96));
    sum = add(sum, weighted_sum(y[1], std::span(ones).first(54)));
    sum = add(sum, weighted_sum(y[2], std::span(ones).first(21)));
    tape.backward(sum);
    for (const Tensor& grad : {q.grad, k.grad, v.grad, bias.grad}) all.push_back(grad.clone());
    all.push_back(tape.grad(x).clone());
    return all;
  };
  const std::vector<Tensor> at_once = run_maps([](Var x, const auto& maps) { return linear(x, maps); });
  const std::vector<Tensor> alone = run_maps([](Var x, const auto& maps) {
    return std::array{linear(x, maps[0].weight), linear(x, maps[1].weight, maps[1].bias), linear(x, maps[2].weight)};
  });
  ASSERT_EQ(at_once.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(same_bits(at_once[i], alone[i])) << i;
}

// The first parameter of each operator that has one: its gradient is not there, and all others are as they were.
TEST(Frozen, AParameterTakesNoGradientAndLetsItThrough) {
  for (const NamedCase& named : kCases) {
    SCOPED_TRACE(named.name);
    const CasePointer c = named.make(DType::f32);
    if (c->parameters.empty()) continue;
    const Outcome want = run(*c);
    c->parameters[0].frozen = true;
    const Outcome got = run(*c);
    EXPECT_TRUE(same_bits(got.y, want.y));
    for (size_t i = 0; i < want.gradients.size(); ++i) {
      if (i == c->inputs.size()) {
        EXPECT_EQ(kernels::sum_of_squares(got.gradients[i]), 0.0);
      } else {
        EXPECT_TRUE(same_bits(got.gradients[i], want.gradients[i])) << i;
      }
    }
  }
}

// What learns nothing is not recorded: below the first low-rank matrix no gradient is computed.
TEST(Frozen, NothingFlowsBelowTheFirstParameterThatLearns) {
  Parameter table = random_parameter({5, 8}, DType::f32, 1), gain = random_parameter({8}, DType::f32, 2),
            weight = random_parameter({6, 8}, DType::f32, 3), a = random_parameter({2, 8}, DType::f32, 4),
            b = random_parameter({6, 2}, DType::f32, 5);
  for (Parameter* p : {&table, &gain, &weight}) {
    p->frozen = true;
    p->grad = {};
  }
  Tape tape;
  const std::vector<int32_t> ids = {3, 1, 3};
  const Var x = rms_norm(embedding(tape, ids, table), gain, 1e-5);
  EXPECT_FALSE(tape.needs_grad(x));
  EXPECT_FALSE(tape.needs_grad(linear(x, weight)));
  weight.low_rank = {.a = &a, .b = &b, .scale = 2};
  const Var y = linear(x, weight);
  EXPECT_TRUE(tape.needs_grad(y));
  const std::vector<double> w = loss_weights(18);
  tape.backward(weighted_sum(y, w));
  EXPECT_GT(kernels::sum_of_squares(a.grad), 0);
  EXPECT_GT(kernels::sum_of_squares(b.grad), 0);
}

// The rounding points that ops.h states, in every 16-bit format and on every instruction set.
TEST(Linear, LowRankRoundsWhereItIsSaid) {
  kernels::for_each_isa([] {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      const Tensor x = random_tensor({6, 40}, dtype, 1);
      Parameter weight = random_parameter({24, 40}, dtype, 2), a = random_parameter({4, 40}, dtype, 3),
                b = random_parameter({24, 4}, dtype, 4);
      weight.low_rank = {.a = &a, .b = &b, .scale = 0.7};
      const auto product = [&](const Tensor& left, const Tensor& right) {
        Tensor y = Tensor::empty({left.dim(0), right.dim(0)}, dtype);
        kernels::gemm(left, right, y, {.transpose_b = true});
        return y;
      };
      Tensor want = kernels::converted(product(x, weight.value), DType::f32).clone();
      kernels::axpy(0.7, kernels::converted(product(product(x, a.value), b.value), DType::f32), want);
      Tape tape;
      EXPECT_TRUE(same_bits(linear(tape.constant(x), weight).value(), kernels::converted(want, dtype)));
    }
  });
}

TEST(TokenLogProbs, RowsAndIdsOfDifferentLengthAreAnError) {
  Tape tape;
  const Var x = tape.constant(Tensor::zeros({2, 3}));
  Parameter weight = random_parameter({4, 3}, DType::f32, 1);
  const std::vector<int32_t> rows = {0, 1}, ids = {0}, outside = {0, 4};
  EXPECT_THROW(token_log_probs(x, weight, rows, ids, 1.0), Error);
  EXPECT_THROW(token_log_probs(x, weight, rows, outside, 1.0), Error);
  EXPECT_THROW(token_log_probs(x, weight, rows, rows, 0.0), Error);
}

TEST(TokenLogProbs, NoRowsGiveNoGradient) {
  Tape tape;
  const Var x = tape.emit(Tensor::zeros({2, 3}), true);
  Parameter weight = random_parameter({4, 3}, DType::f32, 1);
  const Var y = token_log_probs(x, weight, {}, {}, 1.0);
  EXPECT_EQ(y.value().numel(), 0);
  tape.backward(weighted_sum(y, {}));
  EXPECT_TRUE(same_bits(weight.grad, Tensor::zeros({4, 3})));
}

TEST(Divergence, IsZeroAtTheTeacherAndItsFormulaElsewhere) {
  Tape tape;
  const Var x = tape.constant(Tensor::from<double>(std::vector<double>{1, 2, -0.5, 0.25}, {2, 2}));
  Parameter eye = random_parameter({2, 2}, DType::f64, 1), other = random_parameter({2, 2}, DType::f64, 2);
  eye.value.copy_from(Tensor::from<double>(std::vector<double>{1, 0, 0, 1}, {2, 2}));
  const std::vector<int32_t> rows = {1, 0};
  const Var at_itself = divergence(x, other, rows, x.value(), other);
  for (const double y : at_itself.value().span<double>()) EXPECT_NEAR(y, 0, 1e-15);

  const Tensor teacher_x = Tensor::from<double>(std::vector<double>{0, 0, 1, -1}, {2, 2});
  const Var y = divergence(x, eye, rows, teacher_x, eye);
  const auto kl = [](double p0, double q0) {
    return p0 * std::log(p0 / q0) + (1 - p0) * std::log((1 - p0) / (1 - q0));
  };
  const auto first_of = [](double a, double b) { return 1 / (1 + std::exp(b - a)); };
  EXPECT_NEAR(y.value().data<double>()[0], kl(first_of(1, -1), first_of(-0.5, 0.25)), 1e-12);
  EXPECT_NEAR(y.value().data<double>()[1], kl(0.5, first_of(1, 2)), 1e-12);
}

TEST(WeightedSum, AddsInDouble) {
  Tape tape(Tape::Mode::inference);
  const std::vector<float> x = {1e8f, 1.0f, -1e8f};
  const std::vector<double> ones = {1.0, 1.0, 1.0};
  EXPECT_EQ(weighted_sum(tape.constant(Tensor::from<float>(x, {3})), ones).value().data<float>()[0], 1.0f);
}

TEST(Linear, WeightGradientsAddUpOverRowsInTheOrderOfTheContract) {
  // dW += dY^T X is one product over all rows: as gemm.h has it, whatever the threads do.
  const CasePointer c = make_linear(DType::f32, true);
  c->inputs[0] = random_tensor({1500, 5}, DType::f32, 9);
  kernels::for_each_isa([&] {
    set_pool_threads(1);
    const Outcome want = run(*c);
    kernels::for_1_2_3_threads([&] {
      const Outcome got = run(*c);
      for (size_t i = 0; i < want.gradients.size(); ++i) EXPECT_TRUE(same_bits(got.gradients[i], want.gradients[i]));
    });
  });
}

}  // namespace
}  // namespace gradus::autograd
