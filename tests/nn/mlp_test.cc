#include "gradus/nn/mlp.h"

#include <numeric>

#include "gradus/kernels/convert.h"
#include "gradus/nn/mlp_jacobian.h"

#include "tests/core/expect_error.h"
#include "tests/kernels/grid.h"

namespace gradus::nn {
namespace {

using autograd::Tape;
using autograd::Var;
using kernels::same_bits;

TEST(Mlp, IsItsFormulaByHand) {
  Mlp net({.inputs = 2, .outputs = 1, .hidden = {2}, .activation = "relu"}, Precision::fp64);
  const double w1[] = {1, -1, 2, 0.5}, b1[] = {0.25, -1}, w2[] = {3, -2}, b2[] = {0.5};
  const std::span<const double> weights[] = {w1, b1, w2, b2};
  for (size_t i = 0; i < 4; ++i) std::ranges::copy(weights[i], net.parameters()[i]->value.data<double>());
  const double x[] = {2, 0.5};
  Tape tape(Tape::Mode::inference);
  const Var y = net(tape.constant(Tensor::from<double>(x, {1, 2})));
  // max(0, 2 - .5 + .25) = 1.75, max(0, 4 + .25 - 1) = 3.25; 3 * 1.75 - 2 * 3.25 + .5
  EXPECT_DOUBLE_EQ(y.value().data<double>()[0], -0.75);
}

TEST(Mlp, GradientsEqualCentralDifferences) {
  for (const char* activation : {"relu", "tanh"}) {
    Mlp net({.inputs = 3, .outputs = 2, .hidden = {5, 4}, .activation = activation}, Precision::fp64);
    net.initialise(3);
    const Tensor x = kernels::random_tensor({6, 3}, DType::f64, 1);
    std::vector<double> weights;
    Rng rng(1, Purpose::test);
    for (int i = 0; i < 12; ++i) weights.push_back(rng.normal());
    const auto loss = [&](Tape& tape) { return autograd::weighted_sum(net(tape.constant(x)), weights); };
    Tape tape;
    tape.backward(loss(tape));
    for (autograd::Parameter* p : net.parameters()) {
      SCOPED_TRACE(p->name);
      kernels::expect_gradient(p->value, p->grad, [&] {
        Tape forward(Tape::Mode::inference);
        return loss(forward).value().data<double>()[0];
      });
    }
  }
}

TEST(Mlp, TheSameSeedGivesTheSameWeightsWithinTheirBound) {
  Mlp a({.inputs = 4, .outputs = 3, .hidden = {16}}), b({.inputs = 4, .outputs = 3, .hidden = {16}});
  a.initialise(7);
  b.initialise(7);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(same_bits(a.parameters()[i]->value, b.parameters()[i]->value));
  for (const float w : a.parameters()[0]->value.span<float>()) EXPECT_LE(std::abs(w), 0.5f);
  b.initialise(8);
  EXPECT_FALSE(same_bits(a.parameters()[0]->value, b.parameters()[0]->value));
}

TEST(Mlp, FollowsAnotherWhollyOrALittle) {
  Mlp a({.inputs = 2, .outputs = 1, .hidden = {3}}), b({.inputs = 2, .outputs = 1, .hidden = {3}});
  b.initialise(1);
  a.follow(b, 0.25);
  EXPECT_EQ(a.parameters()[0]->value.data<float>()[0], 0.25f * b.parameters()[0]->value.data<float>()[0]);
  a.follow(b);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(same_bits(a.parameters()[i]->value, b.parameters()[i]->value));
  Mlp wider({.inputs = 2, .outputs = 1, .hidden = {4}});
  EXPECT_GRADUS_ERROR(a.follow(wider), invalid_argument, "0.weight is [3, 2] but the other's is [4, 2]");
}

// J v by differences along v, and u . J v = (J^T u) . v.
TEST(MlpJacobian, ProductsAreThoseOfTheDerivative) {
  for (const char* activation : {"relu", "tanh"}) {
    for (const std::vector<int64_t>& hidden : {std::vector<int64_t>{}, {5}, {5, 4}}) {
      Mlp net({.inputs = 3, .outputs = 2, .hidden = hidden, .activation = activation}, Precision::fp64);
      net.initialise(3);
      const Tensor x = kernels::random_tensor({6, 3}, DType::f32, 1);
      MlpJacobian jacobian(net);
      jacobian.at(x);
      const auto random = [](int64_t n, uint64_t seed) {
        const Tensor t = kernels::random_tensor({n}, DType::f64, seed);
        return std::vector<double>(t.span<double>().begin(), t.span<double>().end());
      };
      const std::vector<double> v = random(jacobian.n_weights(), 2), u = random(jacobian.n_outputs(), 3);
      std::vector<double> Jv(u.size()), JTu(v.size());
      jacobian.times(v, Jv);
      jacobian.transposed_times(u, JTu);
      EXPECT_NEAR(std::inner_product(u.begin(), u.end(), Jv.begin(), 0.0),
                  std::inner_product(v.begin(), v.end(), JTu.begin(), 0.0), 1e-12);

      const auto outputs_at = [&](double step) {
        size_t at = 0;
        for (autograd::Parameter* p : net.parameters()) {
          for (double& w : p->value.span<double>()) w += step * v[at++];
        }
        Tape tape(Tape::Mode::inference);
        return net(tape.constant(kernels::converted(x, DType::f64))).value().clone();
      };
      constexpr double kStep = 1e-6;
      const Tensor above = outputs_at(kStep), below = outputs_at(-2 * kStep);
      for (size_t i = 0; i < Jv.size(); ++i) {
        EXPECT_NEAR(Jv[i], (above.span<double>()[i] - below.span<double>()[i]) / (2 * kStep), 1e-7);
      }
    }
  }
}

TEST(Mlp, RefusesWhatCannotBe) {
  EXPECT_GRADUS_ERROR(Mlp({.activation = "gelu"}), invalid_argument, "activation is 'gelu'");
  EXPECT_GRADUS_ERROR(Mlp({.hidden = {0}}), invalid_argument, "a width is 0");
}

}  // namespace
}  // namespace gradus::nn
