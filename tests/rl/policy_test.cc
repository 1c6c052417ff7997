#include "gradus/rl/deep/policy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradus/rl/deep/conjugate_gradient.h"
#include "gradus/rl/deep/policy_jacobian.h"
#include "gradus/rl/deep/rollout.h"
#include "gradus/rl/deep/running_moments.h"
#include "gradus/rl/linear_system.h"
#include "tests/kernels/grid.h"

namespace gradus::rl {
namespace {

const env::Space kThree = env::Discrete{.n = 3};
const env::Space kPlane = env::Box{.low = {-1, -2}, .high = {1, 2}};

// A distribution with random parameters, and an action of it.
struct Case {
  PolicyHead head;
  std::vector<double> out, log_std;
  std::vector<float> action;
};

Case random_case(const env::Space& actions, uint64_t seed) {
  Rng rng(seed, Purpose::test);
  Case c{PolicyHead(actions), {}, {}, {}};
  for (int64_t i = 0; i < c.head.n_outputs(); ++i) c.out.push_back(rng.normal());
  for (int64_t i = 0; i < c.head.n_log_std(); ++i) c.log_std.push_back(0.5 * rng.normal());
  c.action.resize(static_cast<size_t>(c.head.action_size()));
  c.head.sample(c.out, c.log_std, rng, c.action);
  return c;
}

// f by a small step of x.
template <class F>
double slope(double& x, F&& f) {
  constexpr double kStep = 1e-6;
  const double middle = x;
  x = middle + kStep;
  const double above = f();
  x = middle - kStep;
  const double below = f();
  x = middle;
  return (above - below) / (2 * kStep);
}

class Head : public ::testing::TestWithParam<bool> {
 protected:
  const env::Space& space() const { return GetParam() ? kThree : kPlane; }
};
INSTANTIATE_TEST_SUITE_P(Categorical, Head, ::testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Gaussian, Head, ::testing::Values(false));

TEST_P(Head, DrawsWithTheProbabilitiesThatItSays) {
  const Case c = random_case(space(), 1);
  constexpr int kDraws = 20000;
  Rng rng(2, Purpose::test);
  std::vector<float> action = c.action;
  double mean_log_prob = 0;
  std::vector<double> mean(c.action.size(), 0.0);
  for (int i = 0; i < kDraws; ++i) {
    const double log_prob = c.head.sample(c.out, c.log_std, rng, action);
    ASSERT_EQ(log_prob, c.head.log_prob(c.out, c.log_std, action));
    mean_log_prob += log_prob / kDraws;
    for (size_t k = 0; k < mean.size(); ++k) mean[k] += static_cast<double>(action[k]) / kDraws;
  }
  EXPECT_NEAR(-mean_log_prob, c.head.entropy(c.out, c.log_std), 0.03);
  if (!c.head.categorical()) {
    for (size_t k = 0; k < mean.size(); ++k)
      EXPECT_NEAR(mean[k], c.out[k], 5 * std::exp(c.log_std[k]) / std::sqrt(kDraws));
    return;
  }
  double sum = 0;
  for (const float a : {0, 1, 2}) sum += std::exp(c.head.log_prob(c.out, c.log_std, {&a, 1}));
  EXPECT_NEAR(sum, 1, 1e-14);
}

TEST_P(Head, GradientsEqualDifferences) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Case c = random_case(space(), seed);
    const auto f = [&] {
      return 0.7 * c.head.log_prob(c.out, c.log_std, c.action) - 1.3 * c.head.entropy(c.out, c.log_std);
    };
    std::vector<double> d_out(c.out.size(), 0.0), d_log_std(c.log_std.size(), 0.0);
    c.head.add_gradient(c.out, c.log_std, c.action, 0.7, -1.3, d_out, d_log_std);
    for (size_t i = 0; i < c.out.size(); ++i) EXPECT_NEAR(d_out[i], slope(c.out[i], f), 1e-7);
    for (size_t i = 0; i < c.log_std.size(); ++i) EXPECT_NEAR(d_log_std[i], slope(c.log_std[i], f), 1e-7);
  }
}

TEST_P(Head, DivergenceIsTheMeanOfLogRatios) {
  const Case old = random_case(space(), 3), now = random_case(space(), 4);
  EXPECT_NEAR(old.head.kl(old.out, old.log_std, old.out, old.log_std), 0, 1e-15);
  constexpr int kDraws = 100000;
  Rng rng(5, Purpose::test);
  std::vector<float> action = old.action;
  double mean = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x =
        old.head.sample(old.out, old.log_std, rng, action) - now.head.log_prob(now.out, now.log_std, action);
    mean += x / kDraws;
    squares += x * x / kDraws;
  }
  EXPECT_NEAR(old.head.kl(old.out, old.log_std, now.out, now.log_std), mean, 5 * std::sqrt(squares / kDraws));
}

// The second derivative of the divergence, by differences of differences.
TEST_P(Head, FisherInformationIsTheHessianOfTheDivergence) {
  Case c = random_case(space(), 6);
  const std::vector<double> out = c.out, log_std = c.log_std;
  const auto kl = [&] { return c.head.kl(out, log_std, c.out, c.log_std); };
  std::vector<double*> at;
  for (double& x : c.out) at.push_back(&x);
  for (double& x : c.log_std) at.push_back(&x);
  for (size_t j = 0; j < at.size(); ++j) {
    std::vector<double> v(at.size(), 0.0), u(at.size(), 0.0);
    v[j] = 1;
    c.head.fisher(out, log_std, std::span(v).first(out.size()), std::span(v).subspan(out.size()),
                  std::span(u).first(out.size()), std::span(u).subspan(out.size()));
    for (size_t i = 0; i < at.size(); ++i) {
      constexpr double kStep = 1e-4;
      double second = 0;
      for (const double a : {-1.0, 1.0}) {
        for (const double b : {-1.0, 1.0}) {
          const double x = *at[i], y = *at[j];
          *at[i] += a * kStep;
          *at[j] += b * kStep;
          second += a * b * kl() / (4 * kStep * kStep);
          *at[j] = y;
          *at[i] = x;
        }
      }
      EXPECT_NEAR(u[i], second, 1e-5) << i << ' ' << j;
    }
  }
}

TEST_P(Head, TheModeIsTheLikeliestAction) {
  const Case c = random_case(space(), 7);
  std::vector<float> mode = c.action, action = c.action;
  c.head.mode(c.out, mode);
  Rng rng(8, Purpose::test);
  const double best = c.head.log_prob(c.out, c.log_std, mode);
  for (int i = 0; i < 100; ++i) EXPECT_LE(c.head.sample(c.out, c.log_std, rng, action), best + 1e-6);
}

std::vector<double> weights_of(const Policy& policy) {
  std::vector<double> weights;
  policy.get_weights(weights);
  return weights;
}

// The dense matrix: mean over rows of the Hessian, in the weights, of the divergence from the policy as it is.
TEST_P(Head, FisherProductsAreThoseOfTheDenseMatrix) {
  Policy policy({.inputs = 3, .hidden = {4}, .activation = "tanh"}, space(), nn::Precision::fp64, -0.3, 1);
  std::vector<double> w = weights_of(policy);
  Rng rng(2, Purpose::test);
  for (double& x : w) x += 0.5 * rng.normal();
  policy.set_weights(w);
  constexpr int64_t kRows = 5;
  const Tensor x = kernels::random_tensor({kRows, 3}, DType::f32, 3);
  PolicyJacobian jacobian(policy);
  jacobian.at(x);
  ASSERT_EQ(jacobian.n_weights(), std::ssize(w));
  const auto n = static_cast<size_t>(policy.head().n_outputs());
  const std::vector<double> out(policy.forward(x).begin(), policy.forward(x).end());
  const Deviations deviations = policy.deviations();
  // grad_w mean KL at weights w2, by differences; F v by the difference of two of these.
  const auto divergence_gradient = [&](std::vector<double> w2) {
    std::vector<double> g(w2.size());
    for (size_t i = 0; i < w2.size(); ++i) {
      g[i] = slope(w2[i], [&] {
        policy.set_weights(w2);
        const std::span<const double> now = policy.forward(x);
        double sum = 0;
        for (int64_t r = 0; r < kRows; ++r) {
          sum += policy.head().kl(std::span(out).subspan(static_cast<size_t>(r) * n, n), deviations, policy.row(now, r),
                                  policy.deviations());
        }
        return sum / kRows;
      });
    }
    return g;
  };
  std::vector<double> v(w.size()), Fv(w.size());
  for (double& e : v) e = rng.normal();
  jacobian.fisher_times(v, Fv);
  constexpr double kStep = 1e-3;
  std::vector<double> above = w, below = w;
  for (size_t i = 0; i < w.size(); ++i) {
    above[i] += kStep * v[i];
    below[i] -= kStep * v[i];
  }
  const std::vector<double> g_above = divergence_gradient(above), g_below = divergence_gradient(below);
  for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(Fv[i], (g_above[i] - g_below[i]) / (2 * kStep), 2e-4) << i;
}

TEST_P(Head, WeightsComeBackToTheBit) {
  for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16}) {
    Policy policy({.inputs = 3, .hidden = {4}, .activation = "relu"}, space(), precision, -0.3, 1);
    const Tensor x = kernels::random_tensor({6, 3}, DType::f32, 3);
    const std::vector<double> before(policy.forward(x).begin(), policy.forward(x).end());
    const std::vector<double> w = weights_of(policy);
    std::vector<double> moved = w;
    for (double& e : moved) e += 0.1;
    policy.set_weights(moved);
    EXPECT_NE(std::vector<double>(policy.forward(x).begin(), policy.forward(x).end()), before);
    policy.set_weights(w);
    EXPECT_EQ(weights_of(policy), w);
    EXPECT_EQ(std::vector<double>(policy.forward(x).begin(), policy.forward(x).end()), before);
  }
}

TEST(ConjugateGradient, EqualsADirectSolve) {
  for (const int64_t n : {1, 5, 20}) {
    Rng rng(static_cast<uint64_t>(n), Purpose::test);
    std::vector<double> B(static_cast<size_t>(n * n)), b(static_cast<size_t>(n));
    for (double& x : B) x = rng.normal();
    for (double& x : b) x = rng.normal();
    const auto at = [&](int64_t i, int64_t j) {  // B B^T + I
      double sum = i == j;
      for (int64_t k = 0; k < n; ++k) sum += B[static_cast<size_t>(i * n + k)] * B[static_cast<size_t>(j * n + k)];
      return sum;
    };
    LinearSystem system(n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) system.row(i)[static_cast<size_t>(j)] = at(i, j);
      system.right(i) = b[static_cast<size_t>(i)];
    }
    ConjugateGradient solve;
    const std::span<const double> x = solve(b, 10 * n, 1e-14, [&](auto v, auto out) {
      for (int64_t i = 0; i < n; ++i) {
        out[static_cast<size_t>(i)] = 0;
        for (int64_t j = 0; j < n; ++j) out[static_cast<size_t>(i)] += at(i, j) * v[static_cast<size_t>(j)];
      }
    });
    const std::vector<double> exact = system.solve();
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], exact[i], 1e-9);
  }
}

TEST(ConjugateGradient, OfNothingIsNothing) {
  const std::vector<double> b = {0, 0};
  ConjugateGradient solve;
  const auto x = solve(b, 5, 1e-10, [](auto v, auto out) { std::ranges::copy(v, out.begin()); });
  EXPECT_TRUE(std::ranges::equal(x, b));
}

// One environment; rewards 1, 2, 3, 4; gamma 1/2, lambda 1/2. The second step terminates, the third is cut.
TEST(GeneralizedAdvantages, AreThoseOfATableByHand) {
  Rollout r(4, 1, 1, 1);
  r.rewards = {1, 2, 3, 4};
  r.terminated = {0, 1, 0, 0};
  r.truncated = {0, 0, 1, 0};
  const float x[] = {10, 20, 30, 40};
  r.x = Tensor::from<float>(x, {4, 1});
  const float last[] = {50};
  r.last_x = Tensor::from<float>(last, {1, 1});
  r.cut = {2};
  r.cut_x = {60};
  std::vector<double> v;
  value(r, [&](const Tensor& rows) {  // v(x) = x
    v.assign(rows.span<float>().begin(), rows.span<float>().end());
    return std::span<const double>(v);
  });
  EXPECT_EQ(r.values, (std::vector<double>{10, 20, 30, 40}));
  EXPECT_EQ(r.next_values, (std::vector<double>{20, 0, 60, 50}));
  std::vector<double> A;
  generalized_advantages(r, 0.5, 0.5, A);
  // deltas: 1 + 10 - 10 = 1; 2 - 20 = -18; 3 + 30 - 30 = 3; 4 + 25 - 40 = -11
  EXPECT_EQ(A, (std::vector<double>{1 + 0.25 * -18, -18, 3, -11}));
  generalized_advantages(r, 0.5, 1, A);
  EXPECT_EQ(A[0] + r.values[0], 1 + 0.5 * 2);  // the return of an episode that ended
}

// Two environments: neighbours in memory, strangers in time.
TEST(GeneralizedAdvantages, KeepEnvironmentsApart) {
  Rollout r(3, 2, 1, 1);
  r.rewards = {1, 0, 1, 0, 1, 0};
  r.terminated.assign(6, 0);
  r.truncated.assign(6, 0);
  r.values.assign(6, 0.0);
  r.next_values.assign(6, 0.0);
  std::vector<double> A;
  generalized_advantages(r, 1, 1, A);
  EXPECT_EQ(A, (std::vector<double>{3, 0, 2, 0, 1, 0}));
}

TEST(RunningMoments, OfBatchesAreThoseOfTheWhole) {
  Rng rng(1, Purpose::test);
  std::vector<double> all;
  for (int i = 0; i < 3 * 30; ++i) all.push_back(100 + (i % 3 + 1) * rng.normal());
  RunningMoments whole(3), parts(3);
  EXPECT_EQ(whole.variance(0), 1);
  whole.add(all);
  parts.add(std::span(all).first(3));
  parts.add(std::span(all).subspan(3, 60));
  parts.add(std::span(all).subspan(63));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(parts.mean(i), whole.mean(i), 1e-10);
    EXPECT_NEAR(parts.variance(i), whole.variance(i), 1e-10);
    EXPECT_NEAR(std::sqrt(whole.variance(i)), static_cast<double>(i + 1), 0.6);
  }
}

}  // namespace
}  // namespace gradus::rl
