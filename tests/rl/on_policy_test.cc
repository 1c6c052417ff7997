#include <gtest/gtest.h>

#include <cmath>

#include "gradus/core/thread_pool.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

constexpr double kGamma = 0.8;

using Mdp = std::shared_ptr<const env::FiniteMdp>;

// A table: a logit and a value for each state, as weights.
DeepConfig tabular() {
  return {.learner = {.gamma = kGamma},
          .network = {.hidden = {}, .one_hot = true, .learning_rate = 0.02, .clip_norm = 0, .precision = "fp64"},
          .replay = {},
          .on_policy = {.n_steps = 8, .n_epochs = 4, .batch_size = 64},
          .n_envs = 8,
          .total_steps = 1000};
}

Tensor tensor_of(Agent& agent, std::string_view name) {
  NamedTensors state = agent.state();
  return std::ranges::find(state, name, &NamedTensors::value_type::first)->second;
}

const std::vector<std::string> kOnPolicy = {"reinforce", "qac", "a2c", "off-policy-ac", "ppo", "npg", "trpo"};
class OnPolicy : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, OnPolicy, ::testing::ValuesIn(kOnPolicy), test_name);

// The gradient of one step from the start distribution mu, with a critic that is right:
//   dJ/d logit(s, a) = mu(s) pi(a|s) (q(s, a) - v(s)).
// It is read from the first moment of Adam, (1 - beta1) times the first gradient. A baseline does not change its mean.
class PolicyGradient : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, PolicyGradient,
                         ::testing::Values("reinforce", "reinforce without baseline", "qac", "a2c", "off-policy-ac",
                                           "ppo"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '-' || c == ' ' ? '_' : c;
                           return name;
                         });

TEST_P(PolicyGradient, IsTheExactOneInTheMean) {
  const std::string algorithm = GetParam().substr(0, GetParam().find(' '));
  for (uint64_t seed = 0; seed < 2; ++seed) {
    const Mdp mdp = random_mdp({.seed = seed, .least_actions = 2});
    DeepConfig c = tabular();
    c.on_policy = {.n_steps = 1,
                   .n_epochs = 1,
                   .batch_size = 1'000'000,
                   .normalize_advantage = false,
                   .baseline = GetParam() == algorithm};
    c.n_envs = 40000;
    const std::unique_ptr<Agent> agent = make_by_steps(algorithm, factory_of(mdp, 50), c, seed);
    Rng rng(seed, Purpose::test, 7);
    Tensor logits = tensor_of(*agent, "policy.0.weight");  // [n_actions, n_states]
    for (double& w : logits.span<double>()) w = rng.normal();
    const Table pi = agent->pi();
    const std::vector<double> V = evaluate_policy(*mdp, pi, kGamma);
    const Table q = action_values_of(*mdp, V, kGamma);
    Tensor critic = tensor_of(*agent, "critic.0.weight");  // [1 or n_actions, n_states]
    for (int64_t s = 0; s < q.n_states(); ++s) {
      for (int64_t a = 0; a < critic.dim(0); ++a) {
        critic.data<double>()[a * q.n_states() + s] = critic.dim(0) == 1 ? V[static_cast<size_t>(s)] : q(s, a);
      }
    }
    tensor_of(*agent, "critic.0.bias").fill_zero();

    TrainingStats stats;
    EXPECT_EQ(agent->train(0, 1, seed, stats), c.n_envs);
    const Tensor m = tensor_of(*agent, "adam.m.0");
    for (int64_t s = 0; s < q.n_states(); ++s) {
      for (int64_t a = 0; a < q.n_actions(); ++a) {
        const double exact = mdp->start()[static_cast<size_t>(s)] * pi(s, a) * (q(s, a) - V[static_cast<size_t>(s)]);
        EXPECT_NEAR(-m.data<double>()[a * q.n_states() + s] / 0.1, exact, 0.008) << s << ' ' << a;
      }
    }
  }
}

// After a time limit the value counts, after a termination it does not.
TEST_P(OnPolicy, BootstrapsAtATimeLimitAndNotAtATermination) {
  for (const bool terminates : {false, true}) {
    const env::FiniteEnv env = one_step_env(terminates);
    DeepConfig c = tabular();
    c.network.learning_rate = 0.05;
    c.on_policy.vf_coef = 1;
    const auto agent = make_by_steps(
        GetParam(), [&] { return std::make_unique<env::FiniteEnv>(env); }, c);
    TrainingStats stats;
    agent->train(0, 40000, 1, stats);
    EXPECT_NEAR(agent->V()[0], terminates ? 1 : 1 / (1 - kGamma), 0.05) << terminates;
  }
}

TEST_P(OnPolicy, ComesToTheOptimum) {
  const Mdp mdp = random_mdp({.seed = 3, .least_actions = 2});
  const std::vector<double> V = value_iteration(*mdp, {.gamma = kGamma}).V;
  DeepConfig c = tabular();
  c.on_policy.ent_coef = 0.003;
  const auto agent = make_by_steps(GetParam(), factory_of(mdp, 20), c);
  TrainingStats stats;
  agent->train(0, 60000, 1, stats);
  const std::vector<double> reached = evaluate_policy(*mdp, first_greedy_policy(agent->pi(), 0), kGamma);
  EXPECT_LE(rms_error(reached, V), 0.05);
  EXPECT_GT(stats.episodes(), 0);
}

// The headline: what the policy said when it acted is what training sees, to the bit, in every precision.
TEST_P(OnPolicy, TrainsOnTheVeryLogProbabilitiesThatItSampledWith) {
  if (GetParam() == "off-policy-ac") return;  // another policy acts
  for (const char* precision : {"fp32", "bf16", "fp16", "bf16-pure"}) {
    DeepConfig c = tabular();
    c.network = {.hidden = {70, 33}, .activation = "tanh", .precision = precision};
    c.n_envs = 3;
    const auto agent = make_by_steps(GetParam(), factory_of(random_mdp({.seed = 5, .least_actions = 3}), 20), c);
    TrainingStats stats;
    agent->train(0, 500, 1, stats);
    EXPECT_EQ(metric(stats, "mismatch_max"), 0) << precision;
  }
}

TEST_P(OnPolicy, GoesOnFromItsStateToTheSameBitsOnAnyNumberOfThreads) {
  const env::EnvFactory make = factory_of(random_mdp({.seed = 6, .deviation = 0.5}), 20);
  for (const char* precision : {"fp32", "fp16"}) {
    DeepConfig c = tabular();
    c.network = {.hidden = {16}, .activation = "tanh", .precision = precision};
    c.on_policy.ent_coef = 0.01;
    c.schedule = {.learning_rate_share = 0.1,
                  .clip_range_share = 0.5,
                  .ent_coef_share = 0.2,
                  .begin = 0.1,
                  .end = 0.9,
                  .shape = "exponential"};
    c.normalize = {.observations = true, .rewards = true};
    DeepConfig threaded = c;
    threaded.env_threads = 2;
    const auto whole = make_by_steps(GetParam(), make, threaded), half = make_by_steps(GetParam(), make, c);
    TrainingStats stats;
    set_pool_threads(3);
    int64_t done = whole->train(0, 300, 1, stats);
    whole->train(done, 700, 1, stats);
    set_pool_threads(1);
    done = half->train(0, 300, 1, stats);
    const auto rest = make_by_steps(GetParam(), make, c, 1);
    rest->restore(half->state());
    rest->train(done, 700, 1, stats);
    EXPECT_TRUE(same_state(rest->state(), whole->state())) << precision;
    const auto other = make_by_steps(GetParam(), make, c, 2);
    other->train(0, 700, 2, stats);
    EXPECT_FALSE(same_state(other->state(), whole->state()));
  }
  set_pool_threads(available_cpus());
}

TEST_P(OnPolicy, RefusesAnotherAgentsState) {
  const env::EnvFactory make = factory_of(random_mdp({.seed = 6}), 20);
  DeepConfig wider = tabular(), more = tabular();
  wider.network.hidden = {17};
  more.n_envs = 9;
  const auto one = make_by_steps(GetParam(), make, tabular());
  EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), make, wider)->restore(one->state()), corrupt, "policy.0.weight is f64");
  EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), make, more)->restore(one->state()), corrupt,
                      "of 8 environments, but there are 9");
}

TEST_P(OnPolicy, RefusesSettingsOutOfRange) {
  const env::EnvFactory make = factory_of(random_mdp({.seed = 6}), 20);
  const auto refuses = [&](auto change, const char* message) {
    DeepConfig c = tabular();
    change(c);
    EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), make, c), invalid_argument, message);
  };
  refuses([](DeepConfig& c) { c.learner.gamma = 2; }, "gamma is 2");
  refuses([](DeepConfig& c) { c.network.precision = "fp8"; }, "precision 'fp8' is not known");
  refuses([](DeepConfig& c) { c.on_policy.n_steps = -1; }, "on_policy.n_steps is -1, but must be at least 0");
  refuses([](DeepConfig& c) { c.on_policy.gae_lambda = 1.5; }, "on_policy.gae_lambda is 1.5");
  refuses([](DeepConfig& c) { c.on_policy.clip_range = 0; }, "on_policy.clip_range is 0, but must be positive");
  refuses([](DeepConfig& c) { c.trust_region.delta = -1; }, "trust_region.delta is -1");
  refuses([](DeepConfig& c) { c.trust_region.line_search_shrinking_factor = 1; }, "line_search_shrinking_factor is 1");
}

// Whatever the radius, an accepted step stays within it, and a refused one leaves the policy as it was, to the bit.
TEST(Trpo, StaysInItsTrustRegion) {
  const Mdp mdp = random_mdp({.seed = 4, .least_actions = 2});
  int64_t refused = 0;
  for (const double delta : {1e-4, 1e-2, 1.0, 100.0}) {
    DeepConfig c = tabular();
    c.trust_region.delta = delta;
    c.trust_region.cg_damping = 1e-3;
    c.trust_region.line_search_max_iter = 2;
    c.on_policy.n_steps = 4;
    const auto agent = make_by_steps("trpo", factory_of(mdp, 20), c);
    int64_t done = 0;
    for (int k = 0; k < 30; ++k) {
      const Table before = agent->pi();
      TrainingStats stats;
      done = agent->train(done, done + 1, 1, stats);
      if (metric(stats, "accepted") == 0) {
        EXPECT_EQ(agent->pi(), before);
        ++refused;
      } else {
        EXPECT_LE(metric(stats, "kl_max"), delta);
        EXPECT_GT(metric(stats, "surrogate_gain"), 0);
      }
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(Qac, NeedsASetOfActions) {
  class Line final : public env::Env {
   public:
    const env::EnvSpec& spec() const override { return spec_; }
    env::Observation reset(std::optional<uint64_t>, const env::Options&) override { return {&x_, 1}; }
    env::StepResult step(std::span<const double>) override { return {.observation = {&x_, 1}}; }

   private:
    env::EnvSpec spec_{.id = "line",
                       .observation_space = env::Box{.low = {0}, .high = {1}},
                       .action_space = env::Box{.low = {-1}, .high = {1}}};
    double x_ = 0;
  };
  EXPECT_GRADUS_ERROR(make_by_steps(
                          "qac", [] { return std::make_unique<Line>(); }, tabular()),
                      invalid_argument, "the actions are Box(1)");
}

}  // namespace
}  // namespace gradus::rl
