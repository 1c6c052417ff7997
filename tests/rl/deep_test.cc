#include <gtest/gtest.h>

#include "gradus/core/thread_pool.h"
#include "gradus/env/grid_world.h"
#include "gradus/env/mountain_car.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/network_inputs.h"
#include "gradus/rl/deep/replay_buffer.h"
#include "gradus/rl/deep/value_network.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

constexpr double kGamma = 0.8;

std::unique_ptr<EpisodeAgent> make_deep(std::string_view algorithm, std::unique_ptr<env::Env> env,
                                        const DeepConfig& config, uint64_t seed = 1) {
  return deep_algorithm(algorithm).by_episodes(std::move(env), config, seed);
}

Trial deep_trial(std::string_view algorithm, const env::FiniteEnv& env, const DeepConfig& config, uint64_t seed = 1) {
  return {make_deep(algorithm, std::make_unique<env::FiniteEnv>(env), config, seed), seed};
}

// The agent's own changes as it trains on.
NamedTensors copy_of(NamedTensors state) {
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

// Small and quick: a step size that lets a few thousand updates do.
DeepConfig quick() {
  return {.learner = {.gamma = kGamma, .eps = 0.3},
          .network = {.hidden = {16}, .activation = "tanh", .learning_rate = 0.01},
          .replay = {.buffer_size = 4000, .batch_size = 32, .train_freq = 2, .target_update_interval = 20}};
}

TEST(NetworkInputs, AreOneHotOrAsTheyAre) {
  const NetworkInputs numbers(env::Discrete{.n = 3, .start = 5});  // counted from 0 all the same
  std::vector<float> x(3);
  numbers.fill(std::vector<float>{1}, x);
  EXPECT_EQ(x, (std::vector<float>{0, 1, 0}));

  const NetworkInputs box(env::Box{.low = {-1, -INFINITY, 2}, .high = {3, 1, 2}});
  ASSERT_EQ(box.n(), 3);
  box.fill(std::vector<float>{0, 7, 2}, x);
  EXPECT_EQ(x, (std::vector<float>{0, 7, 2}));
}

// Columns and rows of a plane from 0 to 1; a plane of one row has it at 0.
TEST(NetworkInputs, OfStatesAreWhereTheyLieOrOneHot) {
  const auto grid = env::grid_world({.map = "..T/..."}), line = env::grid_world({.map = "..T"});
  const auto seen = [](const NetworkInputs& inputs, float s) {
    std::vector<float> x(static_cast<size_t>(inputs.n()));
    inputs.fill({&s, 1}, x);
    return x;
  };
  EXPECT_EQ(seen(NetworkInputs(*grid, false), 4), (std::vector<float>{0.5, 1}));
  EXPECT_EQ(seen(NetworkInputs(*line, false), 2), (std::vector<float>{1, 0}));
  EXPECT_EQ(seen(NetworkInputs(*line, true), 2), (std::vector<float>{0, 0, 1}));
}

Transition transition(const float& number, bool terminated = false) {
  return {.s = {&number, 1}, .a = {&number, 1}, .r = number, .s2 = {&number, 1}, .terminated = terminated};
}

class ReplayBufferIn : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, ReplayBufferIn, ::testing::Values("memory", "file"), test_name);

ReplayBuffer::Config three_in(std::string_view where) {
  return {.capacity = 3, .directory = where == "file" ? ::testing::TempDir() : ""};
}

TEST_P(ReplayBufferIn, KeepsTheLastTransitions) {
  ReplayBuffer buffer(three_in(GetParam()));
  std::multiset<float> kept;
  for (const float i : {1, 2, 3, 4, 5}) buffer.add(transition(i, i == 4));
  ASSERT_EQ(buffer.size(), 3);
  EXPECT_EQ(buffer.added(), 5);
  for (int64_t i = 0; i < 3; ++i) {
    const Transition t = buffer[i];
    kept.insert(t.r);
    for (const auto& number : {t.s, t.a, t.s2}) EXPECT_EQ(number[0], t.r);
    EXPECT_EQ(t.terminated, t.r == 4);
  }
  EXPECT_EQ(kept, (std::multiset<float>{3, 4, 5}));
}

// Empty, half full, and after it went round: what is added later lands in the same places.
TEST_P(ReplayBufferIn, GoesOnFromItsState) {
  for (const int n : {0, 2, 5}) {
    ReplayBuffer whole(three_in(GetParam())), rest(three_in(GetParam()));
    for (int i = 0; i < n; ++i) whole.add(transition(static_cast<float>(i)));
    rest.restore(whole.state());
    whole.add(transition(7, true));
    rest.add(transition(7, true));
    EXPECT_TRUE(same_state(whole.state(), rest.state())) << n;
  }
}

TEST(ReplayBuffer, RefusesToBeLargerThanMemory) {
  EXPECT_GRADUS_ERROR(
      ReplayBuffer({.capacity = 1'000'000'000'000'000, .observation_size = 3}), exhausted,
      "replay.buffer_size is 1000000000000000: that many transitions take 34000000.0 GB of memory, but ");
  const auto half_of_memory = available_memory() / 2 / 18;  // bytes of a transition
  ReplayBuffer({.capacity = half_of_memory});
  EXPECT_GRADUS_ERROR(ReplayBuffer({.capacity = half_of_memory, .side_by_side = 3}), exhausted,
                      "of memory for 3 seeds");
  EXPECT_GRADUS_ERROR(ReplayBuffer({.capacity = 3, .directory = "/nowhere"}), not_found, "create a file in /nowhere");
}

TEST(ReplayBuffer, RefusesAStateThatIsNotItsOwn) {
  ReplayBuffer buffer({.capacity = 3}), wider({.capacity = 3, .observation_size = 2});
  buffer.add(transition(1));
  wider.restore(ReplayBuffer({.capacity = 3, .observation_size = 2}).state());
  EXPECT_GRADUS_ERROR(wider.restore(buffer.state()), corrupt,
                      "the tensor replay.s is f32 [1, 1], but must be f32 [1, 2]");
  EXPECT_GRADUS_ERROR(buffer.restore({}), corrupt, "the tensor replay.added is missing");
}

TEST(Minibatch, DrawsAllTransitionsAlike) {
  ReplayBuffer buffer({.capacity = 4});
  for (const float i : {0, 1, 2, 3}) buffer.add(transition(i, i == 2));
  const NetworkInputs inputs(env::Discrete{.n = 4});
  Minibatch batch(4000, inputs.n());
  Rng rng(1, Purpose::test);
  batch.draw(buffer, inputs, rng);
  std::array<int, 4> drawn{};
  for (size_t k = 0; k < batch.r.size(); ++k) {
    const int32_t a = batch.a[k];
    ++drawn[static_cast<size_t>(a)];
    EXPECT_EQ(batch.r[k], a);
    EXPECT_EQ(batch.terminated[k] != 0, a == 2);
    EXPECT_EQ(batch.s.span<float>()[4 * k + static_cast<size_t>(a)], 1.0f);
    EXPECT_EQ(batch.s2.span<float>()[4 * k + static_cast<size_t>(a)], 1.0f);
  }
  for (const int n : drawn) EXPECT_NEAR(n, 1000, 4 * 27);  // four deviations
}

// The first step of Adam goes by the sign of the gradient of mean (y - v)^2 / 2 alone, which differences give, too.
TEST(ValueNetwork, FirstStepGoesDownTheSquaredError) {
  for (const bool action_as_input : {false, true}) {
    const NetworkConfig config{.hidden = {4}, .activation = "tanh", .action_as_input = action_as_input};
    ValueNetwork net(2, 3, config, 1);
    const Tensor x = kernels::random_tensor({5, 2}, DType::f32, 2);
    const std::vector<int32_t> which = {0, 2, 1, 1, 0};
    const std::vector<double> y = {3, -1, 0.5, 2, -4};
    const auto loss = [&] {
      const auto v = net.values(x);
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        const double delta = y[i] - static_cast<double>(v[3 * i + static_cast<size_t>(which[i])]);
        sum += delta * delta / 10;
      }
      return sum;
    };
    std::vector<std::vector<float>> before;
    std::vector<std::vector<double>> gradient;
    NamedTensors state = net.state();
    for (auto& [name, w] : state) {
      if (!name.starts_with("network.")) continue;
      before.emplace_back(w.span<float>().begin(), w.span<float>().end());
      gradient.emplace_back();
      for (float& value : w.span<float>()) {
        const float middle = value;
        value = middle + 0x1p-7f;
        const double above = loss();
        value = middle - 0x1p-7f;
        gradient.back().push_back((above - loss()) * 0x1p6);
        value = middle;
      }
    }
    EpisodeStats stats;
    net.update(x, which, y, 1e-3, stats);
    EXPECT_EQ(stats.updates, 5);
    size_t k = 0;
    for (const auto& [name, w] : net.state()) {
      if (!name.starts_with("network.")) continue;
      for (size_t i = 0; i < before[k].size(); ++i) {
        if (std::abs(gradient[k][i]) < 0.02) continue;
        const double step = -1e-3 * (gradient[k][i] > 0 ? 1 : -1);
        EXPECT_NEAR(w.span<float>()[i] - before[k][i], step, 2e-5) << name << ' ' << i;
      }
      ++k;
    }
  }
}

TEST(ValueNetwork, TargetsStayUntilTheyAreUpdated) {
  ValueNetwork net(2, 2, {}, 1);
  const Tensor x = kernels::random_tensor({3, 2}, DType::f32, 2);
  const auto values = [](std::span<const double> v) { return std::vector<double>(v.begin(), v.end()); };
  const std::vector<double> first = values(net.values(x));
  EXPECT_EQ(values(net.target_values(x)), first);
  EpisodeStats stats;
  net.update(x, std::vector<int32_t>{0, 1, 0}, std::vector<double>{1, 2, 3}, 1e-3, stats);
  EXPECT_EQ(values(net.target_values(x)), first);
  EXPECT_NE(values(net.values(x)), first);
  net.update_target();
  EXPECT_EQ(values(net.target_values(x)), values(net.values(x)));
}

std::vector<std::string> deep_names() {
  std::vector<std::string> names;
  for (const DeepAlgorithm& a : deep_algorithms()) {
    if (a.by_episodes != nullptr) names.emplace_back(a.name);
  }
  return names;
}

class Deep : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Deep, ::testing::ValuesIn(deep_names()), test_name);

// After a time limit the value counts, after a termination it does not.
TEST_P(Deep, BootstrapsAtATimeLimitAndNotAtATermination) {
  DeepConfig c = quick();
  c.replay.buffer_size = 100;
  for (const bool terminates : {false, true}) {
    Trial trial = deep_trial(GetParam(), one_step_env(terminates), c);
    trial.run(GetParam() == "off-policy-dqn" ? 40 : 4000);
    EXPECT_NEAR(trial.agent().V()[0], terminates ? 1 : 1 / (1 - kGamma), 0.02) << terminates;
  }
}

TEST_P(Deep, GivesTheSameBitsOnAnyNumberOfThreads) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 5, .deviation = 0.5}), 20);
  std::vector<NamedTensors> first;
  for (const int threads : {1, 3}) {
    set_pool_threads(threads);
    std::vector<Trial> trials;
    for (uint64_t seed = 0; seed < 3; ++seed) trials.push_back(deep_trial(GetParam(), env, quick(), seed));
    run_trials(trials, 15);
    std::vector<NamedTensors> all;
    for (const Trial& trial : trials) all.push_back(trial.agent().state());
    if (threads == 1) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same_state(all[i], first[i]));
  }
  set_pool_threads(available_cpus());
  EXPECT_FALSE(same_state(first[0], first[1]));  // seeds differ
}

// Networks, moments and buffer of the first part, in an agent that was drawn otherwise.
TEST_P(Deep, GoesOnFromItsStateToTheSameBits) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 6, .deviation = 0.5}), 20);
  for (const char* precision : {"fp32", "fp16"}) {
    DeepConfig c = quick();
    c.network.precision = precision;
    c.replay.buffer_size = 150;  // goes round
    c.network.linear_decay = true;
    c.total_episodes = 20;
    Trial whole = deep_trial(GetParam(), env, c), half = deep_trial(GetParam(), env, c);
    whole.run(20);
    half.run(12);
    Trial rest(make_deep(GetParam(), std::make_unique<env::FiniteEnv>(env), c, 2), 1);
    rest.agent().restore(half.agent().state());
    rest.continue_after(12);
    rest.run(8);
    EXPECT_TRUE(same_state(rest.agent().state(), whole.agent().state())) << precision;
  }
}

// The first episode has the full rate, the second what the length of the training leaves of it.
TEST_P(Deep, LearningRatesFallOverTheEpisodes) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 6, .deviation = 0.5}), 20);
  std::vector<NamedTensors> first, second;
  for (const int64_t total : {2, 4}) {
    DeepConfig c = quick();
    c.replay.learning_starts = 0;
    c.network.linear_decay = true;
    c.total_episodes = total;
    Trial trial = deep_trial(GetParam(), env, c);
    trial.run(1);
    first.push_back(copy_of(trial.agent().state()));
    trial.run(1);
    second.push_back(copy_of(trial.agent().state()));
  }
  EXPECT_TRUE(same_state(first[0], first[1]));
  EXPECT_FALSE(same_state(second[0], second[1]));
}

TEST_P(Deep, RefusesAnotherAgentsState) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 6}), 20);
  DeepConfig wider = quick();
  wider.network.hidden = {17};
  Trial one = deep_trial(GetParam(), env, quick()), other = deep_trial(GetParam(), env, wider);
  EXPECT_GRADUS_ERROR(other.agent().restore(one.agent().state()), corrupt, "the tensor network.0.weight is f32 [16");
}

TEST_P(Deep, RefusesSettingsOutOfRange) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 6}), 20);
  const auto refuses = [&](auto change, const char* message) {
    DeepConfig c = quick();
    change(c);
    EXPECT_GRADUS_ERROR(deep_trial(GetParam(), env, c), invalid_argument, message);
  };
  refuses([](DeepConfig& c) { c.learner.gamma = 2; }, "gamma is 2");
  refuses([](DeepConfig& c) { c.network.hidden = {4, 0}; }, "network.hidden has a width of 0");
  refuses([](DeepConfig& c) { c.network.activation = "gelu"; }, "network.activation is 'gelu'");
  refuses([](DeepConfig& c) { c.network.learning_rate = NAN; }, "network.learning_rate is nan");
  refuses([](DeepConfig& c) { c.network.clip_norm = -1; }, "network.clip_norm is -1");
  refuses([](DeepConfig& c) { c.replay.buffer_size = 0; }, "replay.buffer_size is 0, but must be at least 1");
  refuses([](DeepConfig& c) { c.replay.batch_size = 0; }, "replay.batch_size is 0");
  refuses([](DeepConfig& c) { c.replay.gradient_steps = 0; }, "replay.gradient_steps is 0");
}

// States that lie nowhere are one-hot, so that the network can be as exact as a table.
TEST(TdNetwork, ComesToTheValuesOfThePolicy) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const auto mdp = random_mdp({.seed = seed, .least_actions = 2});
    const std::vector<double> V = evaluate_policy(*mdp, uniform_policy(mdp->n_states(), mdp->n_actions()), kGamma);
    DeepConfig c = quick();
    c.network.learning_rate = 0.003;
    c.replay.batch_size = 64;
    Trial trial = deep_trial("td-network", env_of(mdp, 20), c, seed);
    trial.run(400);
    EXPECT_LE(rms_error(trial.agent().V(), V), 0.12) << seed;
    EXPECT_FALSE(trial.agent().has_policy());
  }
}

// One step, one update, no memory: the books' semi-gradient TD(0).
TEST(TdNetwork, LearnsFromEachStepAlone) {
  DeepConfig c = quick();
  c.replay = {.buffer_size = 1, .batch_size = 1, .learning_starts = 0, .target_update_interval = 1};
  Trial trial = deep_trial("td-network", one_step_env(false), c);
  trial.run(1000);
  EXPECT_EQ(trial.episodes().front().updates, 1);
  EXPECT_NEAR(trial.agent().V()[0], 1 / (1 - kGamma), 0.02);
}

// How much worse the second best action is than the best, where that is least.
double gap(const env::FiniteMdp& mdp) {
  const Table Q = value_iteration(mdp, {.gamma = kGamma}).Q;
  double least = INFINITY;
  for (int64_t s = 0; s < Q.n_states(); ++s) {
    if (mdp.is_terminal(s)) continue;
    std::vector<double> q(Q[s].begin(), Q[s].end());
    std::ranges::sort(q, std::greater());
    least = std::min(least, q[0] - q[1]);
  }
  return least;
}

TEST(OffPolicyDqn, ComesToTheOptimum) {
  for (const bool action_as_input : {false, true}) {
    int tried = 0;
    for (uint64_t seed = 0; tried < 2; ++seed) {
      const auto mdp = random_mdp({.seed = seed, .least_actions = 2});
      if (gap(*mdp) < 0.1) continue;
      ++tried;
      const std::vector<double> V = value_iteration(*mdp, {.gamma = kGamma}).V;
      DeepConfig c = quick();
      c.network.action_as_input = action_as_input;
      c.network.learning_rate = 0.005;
      c.replay.batch_size = 64;
      Trial trial = deep_trial("off-policy-dqn", env_of(mdp, 20), c, seed);
      trial.run(100);
      const std::vector<double> reached = evaluate_policy(*mdp, first_greedy_policy(trial.agent().Q(), 0), kGamma);
      EXPECT_LE(rms_error(reached, V), 0.05) << seed << action_as_input;
      EXPECT_LE(rms_error(trial.agent().V(), V), 0.3) << seed << action_as_input;
    }
  }
}

TEST(OffPolicyDqn, StepsOnlyToFillItsBuffer) {
  DeepConfig c = quick();
  c.replay.buffer_size = 50;
  c.replay.gradient_steps = 3;
  Trial trial = deep_trial("off-policy-dqn", env_of(random_mdp({.seed = 1}), 20), c);
  trial.run(3);
  EXPECT_EQ(trial.episodes()[0].length, 50);
  EXPECT_EQ(trial.episodes()[1].length, 0);
  for (const EpisodeStats& e : trial.episodes()) EXPECT_EQ(e.updates, 3 * 32);
}

TEST(OffPolicyDqn, RefusesABehaviourThatDoesNotTryEverything) {
  DeepConfig c = quick();
  c.learner.behaviour = "action 0";
  c.learner.behaviour_eps = 0;
  const env::FiniteEnv env = env_of(random_mdp({.seed = 1, .least_actions = 2}), 20);
  EXPECT_GRADUS_ERROR(deep_trial("off-policy-dqn", env, c), invalid_argument,
                      "the behaviour policy never takes action 1");
}

TEST(TdNetwork, NeedsAPolicyByState) {
  const auto car = [] { return std::make_unique<env::TimeLimit>(std::make_unique<env::MountainCar>(), 50); };
  EXPECT_GRADUS_ERROR(make_deep("td-network", car(), quick()), invalid_argument, "which only finite environments have");
}

}  // namespace
}  // namespace gradus::rl
