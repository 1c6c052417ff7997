#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradus/core/thread_pool.h"
#include "gradus/env/mountain_car.h"
#include "gradus/rl/evaluation.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

constexpr double kGamma = 0.8;

// A point on a line, moved by the action, which is cut a little off 0 at both ends; the reward is minus the square of
// how far it then is from 0. Bounds are not around 0. It may terminate after its first step.
class Line final : public env::Env {
 public:
  explicit Line(bool terminates = false) : terminates_(terminates) {}
  const env::EnvSpec& spec() const override { return spec_; }
  env::Observation reset(std::optional<uint64_t> seed, const env::Options&) override {
    Rng rng = episodes_.next(seed);
    x_ = 2 * rng.uniform() - 1;
    return {&x_, 1};
  }
  env::StepResult step(std::span<const double> a) override {
    x_ = std::clamp(x_ + a[0], -1.0, 1.0);
    return {.observation = {&x_, 1}, .reward = -x_ * x_, .terminated = terminates_};
  }

 private:
  env::EnvSpec spec_{.id = "line",
                     .observation_space = env::Box{.low = {-1}, .high = {1}},
                     .action_space = env::Box{.low = {-0.3}, .high = {0.5}}};
  env::EpisodeRng episodes_;
  double x_ = 0;
  bool terminates_;
};

env::EnvFactory line(int64_t max_episode_steps = 10) {
  return [=] { return std::make_unique<env::TimeLimit>(std::make_unique<Line>(), max_episode_steps); };
}

// A reward of 1 whatever is done, and a limit of one step. It leads back, or terminates.
class One final : public env::Env {
 public:
  One(bool terminates, env::Space actions)
      : spec_{.id = "one", .observation_space = env::Box{.low = {-1}, .high = {1}}, .action_space = std::move(actions)},
        terminates_(terminates) {}
  const env::EnvSpec& spec() const override { return spec_; }
  env::Observation reset(std::optional<uint64_t>, const env::Options&) override { return {&x_, 1}; }
  env::StepResult step(std::span<const double>) override {
    return {.observation = {&x_, 1}, .reward = 1, .terminated = terminates_};
  }

 private:
  env::EnvSpec spec_;
  double x_ = 0.5;
  bool terminates_;
};

env::Space actions_of(std::string_view algorithm) {
  if (algorithm == "dqn") return env::Discrete{.n = 2};
  return env::Box{.low = {-0.3}, .high = {0.5}};
}

DeepConfig quick() {
  return {.learner = {.gamma = kGamma},
          .network = {.hidden = {16, 16}, .activation = "tanh", .learning_rate = 0.003},
          .replay =
              {.buffer_size = 2000, .batch_size = 32, .learning_starts = 64, .target_update_interval = 20, .tau = 0.02},
          .n_envs = 1,
          .total_steps = 2000};
}

const std::vector<std::string> kOffPolicy = {"dqn", "dpg", "ddpg", "td3", "sac"};
class OffPolicy : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, OffPolicy, ::testing::ValuesIn(kOffPolicy), test_name);

env::EnvFactory task_of(std::string_view algorithm) {
  if (algorithm != "dqn") return line();
  const auto mdp = random_mdp({.seed = 6, .deviation = 0.5});
  return [mdp] { return std::make_unique<env::FiniteEnv>(env_of(mdp, 10)); };
}

// After a time limit the value counts, after a termination it does not: what a step is worth comes out as 1 / (1 -
// gamma), or 1.
TEST_P(OffPolicy, BootstrapsAtATimeLimitAndNotAtATermination) {
  for (const bool terminates : {false, true}) {
    for (const int64_t n : {1, 3}) {
      DeepConfig c = quick();
      c.replay.n_step = n;
      c.replay.tau = 0.1;
      c.network.learning_rate = 0.01;
      c.network.linear_decay = true;
      c.sac = {.auto_entropy = false, .ent_coef = 1e-6};
      const auto agent = make_by_steps(
          GetParam(),
          [&]() -> std::unique_ptr<env::Env> {
            return std::make_unique<env::TimeLimit>(std::make_unique<One>(terminates, actions_of(GetParam())), 1);
          },
          c);
      TrainingStats stats;
      agent->train(0, 1900, 1, stats);
      stats = {};
      agent->train(1900, 2000, 1, stats);
      EXPECT_NEAR(metric(stats, "q"), terminates ? 1 : 1 / (1 - kGamma), 0.1) << terminates << n;
    }
  }
}

TEST_P(OffPolicy, GoesOnFromItsStateToTheSameBitsOnAnyNumberOfThreads) {
  for (const bool everything : {false, true}) {
    DeepConfig c = quick();
    c.n_envs = 3;
    c.replay.buffer_size = 200;  // goes round
    c.replay.train_freq = 2;
    c.network.linear_decay = !everything;
    if (everything) {
      c.network.precision = "fp16";
      c.schedule = {.learning_rate_share = 0.1, .sigma_share = 0.2, .begin = 0.05, .shape = "exponential"};
      c.replay.n_step = 3;
      c.replay.prioritised = true;
      c.noise.kind = "ornstein-uhlenbeck";
      c.dqn = {.double_q = true, .dueling = true, .huber = false};
      c.normalize = {.observations = true, .rewards = true};
    }
    const env::EnvFactory env = task_of(GetParam());
    DeepConfig threaded = c;
    threaded.env_threads = 2;
    const auto whole = make_by_steps(GetParam(), env, threaded), half = make_by_steps(GetParam(), env, c);
    TrainingStats stats;
    set_pool_threads(3);
    whole->train(0, 600, 1, stats);
    set_pool_threads(1);
    EXPECT_EQ(half->train(0, 400, 1, stats), 402);
    const auto rest = make_by_steps(GetParam(), env, c);
    rest->restore(half->state());
    rest->train(402, 600, 1, stats);
    EXPECT_TRUE(same_state(rest->state(), whole->state())) << everything;
    const auto other = make_by_steps(GetParam(), env, c, 2);
    other->train(0, 600, 2, stats);
    EXPECT_FALSE(same_state(other->state(), whole->state()));
  }
  set_pool_threads(available_cpus());
}

TEST_P(OffPolicy, RefusesWhatItCannotActIn) {
  const bool discrete = GetParam() == "dqn";
  const auto env = [&]() -> std::unique_ptr<env::Env> {
    return std::make_unique<One>(false, actions_of(discrete ? "ddpg" : "dqn"));
  };
  EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), env, quick()), invalid_argument,
                      discrete ? "here can reinforce, a2c, ppo, npg, trpo, dpg, ddpg, td3, sac"
                               : "here can dqn, off-policy-dqn, reinforce, qac, a2c, off-policy-ac, ppo, npg, trpo");
}

TEST_P(OffPolicy, RefusesSettingsOutOfRange) {
  const auto refuses = [&](auto change, const char* message) {
    DeepConfig c = quick();
    change(c);
    EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), task_of(GetParam()), c), invalid_argument, message);
  };
  refuses([](DeepConfig& c) { c.learner.gamma = 2; }, "gamma is 2");
  refuses([](DeepConfig& c) { c.network.actor_learning_rate = -1; }, "network.actor_learning_rate is -1");
  refuses([](DeepConfig& c) { c.replay.tau = 0; }, "replay.tau is 0, but must lie in (0, 1]");
  refuses([](DeepConfig& c) { c.replay.n_step = 0; }, "replay.n_step is 0, but must be at least 1");
  refuses([](DeepConfig& c) { c.replay.n_step = 256; }, "replay.n_step is 256, but must be at most 255");
  refuses([](DeepConfig& c) { c.replay.priority_exponent = 2; }, "replay.priority_exponent is 2");
  refuses([](DeepConfig& c) { c.exploration.fraction = 0; }, "exploration.fraction is 0");
  refuses([](DeepConfig& c) { c.noise.kind = "pink"; }, "noise.kind is 'pink'");
  refuses([](DeepConfig& c) { c.td3.policy_delay = 0; }, "td3.policy_delay is 0");
  refuses([](DeepConfig& c) { c.sac.ent_coef = 0; }, "sac.ent_coef is 0, but must be positive");
}

TEST_P(OffPolicy, RefusesAnotherAgentsState) {
  DeepConfig wider = quick(), more = quick();
  wider.network.hidden = {17, 16};
  more.n_envs = 2;
  const env::EnvFactory env = task_of(GetParam());
  const auto one = make_by_steps(GetParam(), env, quick());
  EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), env, wider)->restore(one->state()), corrupt, ".0.weight is f32 [16");
  EXPECT_GRADUS_ERROR(make_by_steps(GetParam(), env, more)->restore(one->state()), corrupt,
                      "of 1 environments, but there are 2");
}

// One update from a state whose policy is as it was: alpha rises by a step of Adam where the entropy is below the goal.
TEST(Sac, AlphaGoesTowardsTheEntropyThatIsWanted) {
  for (const double goal : {-9.0, 9.0}) {
    DeepConfig c = quick();
    c.sac.target_entropy = goal;
    const auto agent = make_by_steps("sac", line(), c);
    TrainingStats stats;
    agent->train(0, 65, 1, stats);
    const NamedTensors state = agent->state();
    const Tensor& log_alpha = std::ranges::find(state, "log_alpha", &NamedTensors::value_type::first)->second;
    EXPECT_NEAR(log_alpha.data<double>()[0], goal > 0 ? 0.003 : -0.003, 1e-6);
  }
}

class Continuous : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Continuous, ::testing::Values("dpg", "ddpg", "td3", "sac"), test_name);

// The best first step ends at 0 from most places; ten random ones cost about 3.
TEST_P(Continuous, LearnsToReachThePointWithBoundsThatAreNotAroundZero) {
  for (const char* precision : {"fp32", "fp16"}) {
    DeepConfig c = quick();
    c.network.precision = precision;
    c.sac.ent_coef = 0.1;
    const auto agent = make_by_steps(GetParam(), line(), c);
    TrainingStats stats;
    agent->train(0, 2000, 1, stats);
    const EpisodesOf e = evaluate_greedy(*agent, 1, 50, 10);
    EXPECT_GT(e.total_reward.mean, -0.75) << precision;  // -0.45 at best
  }
}

TEST(Dqn, ComesToTheOptimumWithEachSwitch) {
  const auto mdp = random_mdp({.seed = 3, .least_actions = 2});
  const std::vector<double> V = value_iteration(*mdp, {.gamma = kGamma}).V;
  const auto env = [mdp] { return std::make_unique<env::FiniteEnv>(env_of(mdp, 20)); };
  const std::map<std::string, std::function<void(DeepConfig&)>> switches = {
      {"plain", [](DeepConfig&) {}},
      {"double", [](DeepConfig& c) { c.dqn.double_q = true; }},
      {"dueling", [](DeepConfig& c) { c.dqn.dueling = true; }},
      {"squared", [](DeepConfig& c) { c.dqn.huber = false; }},
      {"prioritised", [](DeepConfig& c) { c.replay.prioritised = true; }},
      {"fp64", [](DeepConfig& c) { c.network.precision = "fp64"; }},
      {"fp16", [](DeepConfig& c) { c.network.precision = "fp16"; }},
  };
  for (const auto& [name, change] : switches) {
    DeepConfig c = quick();
    c.network.hidden = {16};
    c.network.learning_rate = 0.01;
    c.network.linear_decay = true;
    c.replay.batch_size = 64;
    c.exploration = {.fraction = 1, .final_eps = 0.3};
    c.total_steps = 6000;
    change(c);
    const auto agent = make_by_steps("dqn", env, c);
    TrainingStats stats;
    agent->train(0, c.total_steps, 1, stats);
    const std::vector<double> reached = evaluate_policy(*mdp, first_greedy_policy(agent->Q(), 0), kGamma);
    EXPECT_LE(rms_error(reached, V), 0.05) << name;
    EXPECT_LE(rms_error(agent->V(), V), 0.3) << name;
  }
}

TEST(Dqn, ExploresBySchedule) {
  const ExplorationConfig c{.fraction = 0.5, .initial_eps = 0.9, .final_eps = 0.1};
  EXPECT_DOUBLE_EQ(c.eps(0), 0.9);
  EXPECT_DOUBLE_EQ(c.eps(0.25), 0.5);
  EXPECT_DOUBLE_EQ(c.eps(0.5), 0.1);
  EXPECT_DOUBLE_EQ(c.eps(1), 0.1);
}

TEST(Dqn, LearnsFromContinuousStates) {
  const auto car = [] { return std::make_unique<env::TimeLimit>(std::make_unique<env::MountainCar>(), 50); };
  const auto agent = make_by_steps("dqn", car, quick());
  TrainingStats stats;
  agent->train(0, 200, 1, stats);
  EXPECT_EQ(stats.steps(), 200);
  EXPECT_EQ(stats.episodes(), 4);
  EXPECT_TRUE(agent->V().empty());
  EXPECT_EQ(agent->Q().n_states(), 0);
  EXPECT_EQ(evaluate_greedy(*agent, 1, 2, 50).length.mean, 50);
}

}  // namespace
}  // namespace gradus::rl
