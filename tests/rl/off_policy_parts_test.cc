// The parts of the off-policy agents, each by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "gradus/rl/deep/action_noise.h"
#include "gradus/rl/deep/action_units.h"
#include "gradus/rl/deep/deterministic_agent.h"
#include "gradus/rl/deep/dueling.h"
#include "gradus/rl/deep/n_step_returns.h"
#include "gradus/rl/deep/policy_head.h"
#include "gradus/rl/deep/priorities.h"
#include "gradus/rl/deep/soft_actor.h"
#include "gradus/rl/deep/squashed_gaussian.h"
#include "gradus/rl/deep/sum_tree.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

TEST(SumTree, IsTheNaiveSumAndFindsTheLeaf) {
  for (const int64_t n : {1, 2, 3, 8, 13, 100}) {
    SumTree tree(n);
    std::vector<double> leaves(static_cast<size_t>(n), 0.0);
    Rng rng(static_cast<uint64_t>(n), Purpose::test);
    for (int k = 0; k < 300; ++k) {
      const int64_t i = rng.below(n);
      leaves[static_cast<size_t>(i)] = rng.below(4) == 0 ? 0 : static_cast<double>(rng.below(1000));  // exact sums
      tree.set(i, leaves[static_cast<size_t>(i)]);
      double sum = 0;
      for (const double l : leaves) sum += l;
      ASSERT_EQ(tree.sum(), sum);
      if (sum == 0) continue;
      const double x = sum * rng.uniform();
      int64_t found = 0;
      for (double left = x; left >= leaves[static_cast<size_t>(found)]; ++found)
        left -= leaves[static_cast<size_t>(found)];
      ASSERT_EQ(tree.find(x), found) << n;
    }
  }
}

TEST(SumTree, NeverFindsALeafOfZero) {
  SumTree tree(5);
  tree.set(1, 0.1);
  tree.set(3, 0.2);
  for (const double x : {0.0, 0.1, 0.3, 0.5, 7.0}) EXPECT_GT(tree[tree.find(x)], 0);
}

// P(i) of errors 1, 2, 3, 4 to the power 0.5, the fifth new; weights go by P(i)^-beta alone.
TEST(Priorities, AreDrawnInProportionAndWeighedAgainstIt) {
  Priorities priorities(5, 0.5);
  for (int64_t i = 0; i < 5; ++i) priorities.add(i);
  for (int64_t i = 0; i < 4; ++i)
    priorities.set(i, i % 2 == 0 ? static_cast<double>(i + 1) : -static_cast<double>(i + 1));
  const std::vector<double> p = {1, std::sqrt(2), std::sqrt(3), 2, 1};
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  constexpr int kB = 16, kN = 4000;
  std::vector<int64_t> chosen(kB), drawn(5);
  std::vector<double> weights(kB);
  Rng rng(1, Purpose::test);
  for (int k = 0; k < kN; ++k) {
    priorities.draw(5, 0.7, rng, chosen, weights);
    double most = 0;
    for (const int64_t i : chosen) most = std::max(most, std::pow(p[static_cast<size_t>(i)], -0.7));
    for (size_t i = 0; i < kB; ++i) {
      ++drawn[static_cast<size_t>(chosen[i])];
      ASSERT_NEAR(weights[i], std::pow(p[static_cast<size_t>(chosen[i])], -0.7) / most, 1e-6);
    }
  }
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(priorities[static_cast<int64_t>(i)], p[i] / sum, 1e-6);
    EXPECT_NEAR(static_cast<double>(drawn[i]) / (kB * kN), p[i] / sum, 4 * 0.5 / std::sqrt(kB * kN));
  }
  priorities.add(0);  // as great as the greatest
  EXPECT_NEAR(priorities[0], priorities[3], 1e-12);
  Priorities same(5, 0.5);
  same.restore(priorities.state(5));
  EXPECT_TRUE(kernels::same_bits(same.state(5), priorities.state(5)));
}

// Four deviations of the mean over the sample, whose neighbours are correlated.
TEST(ActionNoise, HasTheMomentsAndTheCorrelationOfItsKind) {
  for (const std::string kind : {"gaussian", "ornstein-uhlenbeck"}) {
    const NoiseConfig c{.kind = kind, .sigma = 0.3, .theta = 2, .dt = 0.1};
    ActionNoise noise(c, 2, 1);
    Rng rng(1, Purpose::test);
    constexpr int kN = 200000, kLag = 3;
    std::vector<double> e(kN);
    for (double& x : e) x = noise.next(1, 1, rng)[0];
    const bool drifts = kind != "gaussian";
    const double keep = 1 - c.theta * c.dt;
    const double variance = drifts ? c.sigma * c.sigma * c.dt / (1 - keep * keep) : c.sigma * c.sigma;
    double mean = 0, squares = 0, lagged = 0;
    for (int i = 0; i < kN; ++i) {
      mean += e[static_cast<size_t>(i)] / kN;
      squares += e[static_cast<size_t>(i)] * e[static_cast<size_t>(i)] / kN;
      if (i >= kLag) lagged += e[static_cast<size_t>(i)] * e[static_cast<size_t>(i - kLag)] / kN;
    }
    const double correlated = drifts ? (1 + keep) / (1 - keep) : 1;
    EXPECT_NEAR(mean, 0, 4 * std::sqrt(variance * correlated / kN)) << kind;
    EXPECT_NEAR(squares / variance, 1, 4 * std::sqrt(2 * correlated / kN)) << kind;
    EXPECT_NEAR(lagged / variance, drifts ? std::pow(keep, kLag) : 0, 4 * std::sqrt(2 * correlated / kN)) << kind;
    noise.reset(1);
    EXPECT_EQ(noise.state().data<double>()[1], 0);
  }
}

TEST(ActionUnits, ReachBothBoundsAndTheMiddle) {
  const ActionUnits units(env::Box{.low = {-0.3, 2}, .high = {0.5, 4}});
  std::vector<float> a(6);
  units.to_space(std::vector<float>{-1, 1, 1, -1, 0, 0.5}, a);
  EXPECT_THAT(a, ::testing::ElementsAre(-0.3f, 4.0f, 0.5f, 2.0f, ::testing::FloatEq(0.1f), 3.5f));
  EXPECT_GRADUS_ERROR(ActionUnits(env::Box{.low = {0}, .high = {INFINITY}}), invalid_argument,
                      "number 0 of the action lies in [0, inf], but this algorithm needs finite bounds");
}

// Rewards 1, 2, 3, ... of two environments, gamma 1/2, n 3. Steps t as s; the first is cut after t = 4, the second ends
// after t = 1.
TEST(NStepReturns, AreThoseOfATableByHandAndStopAtAnEpisodesEnd) {
  struct Row {
    float s, r, s2;
    bool terminated;
    int64_t steps;
    bool operator==(const Row&) const = default;
  };
  NStepReturns returns(3, 0.5, 2, 1, 1);
  std::vector<Row> rows[2];
  const auto step = [&](NStepReturns& to, int64_t env, float t, bool terminated, bool ended) {
    to.act(env, {&t, 1}, {&t, 1});
    const float s2 = t + 1;
    to.reward(env, static_cast<double>(t) + 1, {&s2, 1}, terminated, ended, [&](const Transition& m) {
      EXPECT_EQ(m.a[0], m.s[0]);
      rows[env].push_back({m.s[0], m.r, m.s2[0], m.terminated, m.steps});
    });
  };
  for (const float t : {0, 1, 2, 3, 4, 5}) {
    step(returns, 0, t, false, t == 4);
    step(returns, 1, t, t == 1, t == 1);
  }
  const std::vector<Row> cut = {{0, 1 + 2 / 2.0f + 3 / 4.0f, 3, false, 3},
                                {1, 2 + 3 / 2.0f + 4 / 4.0f, 4, false, 3},
                                {2, 3 + 4 / 2.0f + 5 / 4.0f, 5, false, 3},
                                {3, 4 + 5 / 2.0f, 5, false, 2},
                                {4, 5, 5, false, 1}};
  EXPECT_TRUE(rows[0] == cut);
  const std::vector<Row> terminated = {{0, 1 + 2 / 2.0f, 2, true, 2},
                                       {1, 2, 2, true, 1},
                                       {2, 3 + 4 / 2.0f + 5 / 4.0f, 5, false, 3},
                                       {3, 4 + 5 / 2.0f + 6 / 4.0f, 6, false, 3}};
  EXPECT_TRUE(rows[1] == terminated);

  NStepReturns rest(3, 0.5, 2, 1, 1);
  rest.restore(returns.state());
  step(rest, 0, 6, false, false);
  step(rest, 0, 7, true, true);
  EXPECT_EQ(rows[0][5], (Row{5, 6 + 7 / 2.0f + 8 / 4.0f, 8, true, 3}));
}

TEST(Dueling, TakesTheMeanAdvantageAwayAndItsBackwardIsTheGradient) {
  const std::vector<double> out = {2, 1, 3, -4, -1, 0, 0.5, 5}, d_q = {0.3, -1, 2, 0, 0.7, 0};
  std::vector<double> q(6), d_out(8);
  duel(out, 3, q);
  const std::vector<double> by_hand = {3, 5, -2, -1 - 5.5 / 3, -0.5 - 5.5 / 3, 4 - 5.5 / 3};
  EXPECT_LT(rms_error(q, by_hand), 1e-14);
  duel_backward(d_q, 3, d_out);
  for (size_t k = 0; k < out.size(); ++k) {
    const auto at = [&](double h) {
      std::vector<double> moved = out;
      moved[k] += h;
      duel(moved, 3, q);
      double sum = 0;
      for (size_t i = 0; i < q.size(); ++i) sum += d_q[i] * q[i];
      return sum;
    };
    EXPECT_NEAR(d_out[k], (at(1e-4) - at(-1e-4)) / 2e-4, 1e-9);
  }
}

// Against the density of a Gaussian's image: numerically, p(a) = N(atanh a) / (1 - a^2).
TEST(SquashedGaussian, LogProbIsThatOfTheImageAndIntegratesToOne) {
  const std::vector<double> out = {0.4, -0.5};
  double sum = 0;
  constexpr int kN = 20000;
  for (int k = 0; k < kN; ++k) {
    const double a = -1 + (2 * k + 1.0) / kN, u = std::atanh(a);
    const std::vector<double> e = {(u - out[0]) / std::exp(out[1])};
    std::vector<double> drawn(1);
    const double log_prob = squash(out, e, drawn);
    ASSERT_NEAR(drawn[0], a, 1e-12);
    sum += std::exp(log_prob) * 2 / kN;
  }
  EXPECT_NEAR(sum, 1, 1e-6);
  std::vector<double> far(1);
  EXPECT_TRUE(std::isfinite(squash(std::vector<double>{500, 1}, std::vector<double>{1}, far)));
}

TEST(SquashedGaussian, BackwardIsTheGradient) {
  const std::vector<double> out = {0.4, -0.7, -0.5, 3.0}, e = {0.3, -1.2}, d_a = {0.9, -0.4};  // 3 is cut to 2
  std::vector<double> a(2), d_out(4);
  squash(out, e, a);
  squash_backward(out, e, a, 0.6, d_a, d_out);
  for (size_t k = 0; k < out.size(); ++k) {
    const auto at = [&](double h) {
      std::vector<double> moved = out;
      moved[k] += h;
      const double log_prob = squash(moved, e, a);
      return 0.6 * log_prob + d_a[0] * a[0] + d_a[1] * a[1];
    };
    EXPECT_NEAR(d_out[k], (at(1e-5) - at(-1e-5)) / 2e-5, 1e-8) << k;
  }
}

NetworkConfig exact() {
  return {.hidden = {7, 5}, .activation = "tanh", .learning_rate = 0.01, .clip_norm = 0, .precision = "fp64"};
}

// The gradient that Adam's first step saw: its first moment is (1 - beta1) times that.
Tensor first_gradient(const NamedTensors& state, const std::string& name) {
  const Tensor& m = std::ranges::find(state, name, &NamedTensors::value_type::first)->second;
  Tensor g = m.clone();
  for (double& x : g.span<double>()) x /= 0.1;
  return g;
}

// Central differences of `loss` in every weight of a network, against what Adam saw.
template <class Loss>
void expect_gradient(Network& network, const std::vector<Tensor>& gradients, Loss loss) {
  for (size_t i = 0; i < gradients.size(); ++i) {
    autograd::Parameter& p = *network.mlp().parameters()[i];
    for (int64_t k = 0; k < p.value.numel(); ++k) {
      double& w = p.value.data<double>()[k];
      const double middle = w;
      w = middle + 1e-5;
      const double above = loss();
      w = middle - 1e-5;
      const double below = loss();
      w = middle;
      EXPECT_NEAR(gradients[i].data<double>()[k], (above - below) / 2e-5, 1e-7) << p.name << ' ' << k;
    }
  }
}

struct Batch : ReplayBatch {
  Batch() : ReplayBatch(6, 3, 2) {
    s = kernels::random_tensor({6, 3}, DType::f32, 1);
    s2 = kernels::random_tensor({6, 3}, DType::f32, 2);
    Rng rng(3, Purpose::test);
    for (double& x : a) x = 2 * rng.uniform() - 1;
    for (double& x : weight) x = rng.uniform();
  }
};

TEST(ActionCritics, FitGoesDownTheWeightedSquaredError) {
  Batch b;
  ActionCritics critics(2, exact(), 3, 2, 1), same(2, exact(), 3, 2, 1);
  const std::vector<double> y = {3, -1, 0.5, 2, -4, 1};
  TrainingStats stats;
  critics.fit(b, y, 0.01, stats);
  NamedTensors state;
  critics.add_state("", state);
  for (uint64_t c = 0; c < 2; ++c) {
    ActionCritic one(exact(), 3, 2, 1 + c);
    std::vector<Tensor> gradients;
    for (size_t i = 0; i < 6; ++i) gradients.push_back(first_gradient(state, fmt::format("adam.m.{}", 6 * c + i)));
    const auto loss = [&] {
      const std::span<const double> q = one.forward(b.s, b.a);
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += b.weight[i] * (y[i] - q[i]) * (y[i] - q[i]) / 12;
      return sum;
    };
    expect_gradient(one.network(), gradients, loss);
    if (c > 0) continue;
    const std::span<const double> q = one.forward(b.s, b.a);
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(b.error[i], y[i] - q[i], 1e-12);
  }
}

TEST(ActionCritics, ActionGradientsAreDifferencesAndLeaveTheWeightsAlone) {
  Batch b;
  ActionCritics critics(2, exact(), 3, 2, 1);
  ActionCritic first(exact(), 3, 2, 1), second(exact(), 3, 2, 2);
  const auto loss = [&](bool least) {
    const std::span<const double> q1 = first.forward(b.s, b.a), q2 = second.forward(b.s, b.a);
    double sum = 0;
    for (size_t i = 0; i < q1.size(); ++i) sum -= (least ? std::min(q1[i], q2[i]) : q1[i]) / 6;
    return sum;
  };
  for (const bool least : {false, true}) {
    const ActionCritics::Mean mean{.B = 6, .loss_scale = least ? 1.0 : 256.0};
    const std::span<const double> view = least ? critics.d_least(b.s, b.a, mean) : critics.d_first(b.s, b.a, mean);
    const std::vector<double> d_a(view.begin(), view.end());
    for (size_t k = 0; k < d_a.size(); ++k) {
      const double middle = b.a[k];
      b.a[k] = middle + 1e-5;
      const double above = loss(least);
      b.a[k] = middle - 1e-5;
      const double below = loss(least);
      b.a[k] = middle;
      EXPECT_NEAR(d_a[k], (above - below) / 2e-5, 1e-8) << least << k;
    }
  }
  // The next fit sees the gradient of its own loss alone.
  ActionCritics other(2, exact(), 3, 2, 1);
  const std::vector<double> y(6, 1.0);
  TrainingStats stats;
  critics.fit(b, y, 0.01, stats);
  other.fit(b, y, 0.01, stats);
  NamedTensors state, other_state;
  critics.add_state("", state);
  other.add_state("", other_state);
  EXPECT_TRUE(same_state(state, other_state));
}

TEST(DeterministicActor, AscentIsTheGradientOfItsValue) {
  const Batch b;
  DeterministicActor mu(exact(), 3, 2, 5), same(exact(), 3, 2, 5);
  ActionCritics q(1, exact(), 3, 2, 1);
  TrainingStats stats;
  mu.ascend(b.s, q, 0.01, stats);
  NamedTensors state;
  mu.add_state(state);
  std::vector<Tensor> gradients;
  for (size_t i = 0; i < 6; ++i) gradients.push_back(first_gradient(state, fmt::format("actor.adam.m.{}", i)));
  expect_gradient(same.network(), gradients, [&] {
    double sum = 0;
    for (const double x : q(b.s, same(b.s))) sum -= x / 6;
    return sum;
  });
}

TEST(SoftActor, DescentIsTheGradientOfItsLoss) {
  const Batch b;
  SoftActor pi(exact(), 3, 2, 5), same(exact(), 3, 2, 5);
  ActionCritics q(2, exact(), 3, 2, 1);
  TrainingStats stats;
  Rng rng(9, Purpose::noise);
  const double entropy = pi.descend(b.s, q, {.alpha = 0.3, .learning_rate = 0.01}, rng, stats);
  NamedTensors state;
  pi.add_state(state);
  std::vector<Tensor> gradients;
  for (size_t i = 0; i < 6; ++i) gradients.push_back(first_gradient(state, fmt::format("actor.adam.m.{}", i)));
  expect_gradient(same.network(), gradients, [&] {
    Rng again(9, Purpose::noise);
    const auto [a, log_prob] = same.draw(b.s, again);
    const std::span<const double> least = q(b.s, a);
    double sum = 0;
    for (size_t i = 0; i < least.size(); ++i) sum += (0.3 * log_prob[i] - least[i]) / 6;
    return sum;
  });
  Rng again(9, Purpose::noise);
  double mean = 0;
  for (const double x : same.draw(b.s, again).log_prob) mean -= x / 6;
  EXPECT_NEAR(entropy, mean, 1e-12);
}

TEST(DeterministicActor, TargetsFollowByTau) {
  const Batch b;
  DeterministicActor mu(exact(), 3, 2, 5);
  ActionCritics q(1, exact(), 3, 2, 1);
  const auto weights = [&](const char* name) {
    NamedTensors state;
    mu.add_state(state);
    const Tensor& t = std::ranges::find(state, name, &NamedTensors::value_type::first)->second;
    return std::vector<double>(t.span<double>().begin(), t.span<double>().end());
  };
  TrainingStats stats;
  mu.ascend(b.s, q, 0.01, stats);
  const std::vector<double> before = weights("actor_target.0.weight"), online = weights("actor.0.weight");
  mu.follow(0.1);
  const std::vector<double> after = weights("actor_target.0.weight");
  for (size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(after[i], 0.1 * online[i] + 0.9 * before[i], 1e-15);
  EXPECT_NE(before, online);
}

// Silver et al. 2014, theorem 2: with q(a) = -(a - 2)^2 + 3 a and a ~ N(m, sigma^2), the stochastic gradient
// E[q(a) d log pi(a) / dm] = -2 (m - 2) + 3 is that of the deterministic policy, dq/da at m, for every sigma; with a
// term -a^4 it only becomes so: -4 m^3 - 12 m sigma^2.
TEST(DeterministicPolicyGradient, IsTheLimitOfTheStochasticOne) {
  const PolicyHead head(env::Box{.low = {-9}, .high = {9}});
  const double m = 0.7;
  const auto stochastic = [&](double sigma, auto q) {
    const std::vector<double> mean = {m}, log_std = {std::log(sigma)};
    double sum = 0, weights = 0;
    for (int k = -4000; k <= 4000; ++k) {  // over +-8 deviations
      const double z = k / 500.0, a = m + sigma * z;
      const auto action = static_cast<float>(a);
      std::vector<double> d_mean(1), d_log_std(1);
      head.add_gradient(mean, log_std, {&action, 1}, 1, 0, d_mean, d_log_std);
      const double p = std::exp(-z * z / 2);
      sum += p * (q(a) - q(m)) * d_mean[0];
      weights += p;
    }
    return sum / weights;
  };
  const auto square = [](double a) { return -(a - 2) * (a - 2) + 3 * a; };
  const auto fourth = [&](double a) { return square(a) - a * a * a * a; };
  const double deterministic = -2 * (m - 2) + 3;
  double error = INFINITY;
  for (const double sigma : {0.8, 0.4, 0.2, 0.1}) {
    EXPECT_NEAR(stochastic(sigma, square), deterministic, 2e-3) << sigma;
    const double off = std::abs(stochastic(sigma, fourth) - (deterministic - 4 * m * m * m));
    EXPECT_NEAR(off, 12 * m * sigma * sigma, 5e-3) << sigma;
    EXPECT_LT(off, error);
    error = off;
  }
}

}  // namespace
}  // namespace gradus::rl
