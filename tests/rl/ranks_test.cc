// Deep agents trained by several ranks, which are threads: the same bits as by one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "gradus/comm/thread_transport.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/cart_pole.h"
#include "gradus/rl/deep/shared_vec_env.h"
#include "gradus/rl/train.h"
#include "gradus/run/shared_run.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

struct Outcome {
  NamedTensors state;
  std::vector<std::pair<std::string, double>> metrics;
};

// body(ranks) on P ranks at once; what each returned. Errors end the test.
template <class Body>
auto on_ranks(int P, const run::ParallelConfig& config, Body body) {
  const comm::ThreadWorld world(P);
  std::vector<decltype(body(static_cast<run::Ranks*>(nullptr)))> results(static_cast<size_t>(P));
  std::vector<std::string> errors(static_cast<size_t>(P));
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      run::Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), config);
      try {
        results[static_cast<size_t>(r)] = body(&ranks);
      } catch (const Error& e) {
        ranks.abort(e);
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::string& e : errors) EXPECT_EQ(e, "");
  return results;
}

NamedTensors copy_of(NamedTensors state) {
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

// An algorithm, and what it is to be tried with.
struct Case {
  std::string name, algorithm;
  void (*change)(DeepConfig&);
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

DeepConfig config_of(const Case& c, run::Ranks* ranks) {
  DeepConfig config{.learner = {},
                    .network = {.hidden = {24, 16}, .activation = "tanh"},
                    .replay = {.buffer_size = 200, .batch_size = 13, .learning_starts = 12},
                    .on_policy = {.n_steps = 9, .n_epochs = 2, .batch_size = 10},
                    .n_envs = 3,
                    .total_steps = 1000};
  config.trust_region.n_critic_updates = 2;
  c.change(config);
  config.ranks = ranks;
  return config;
}

env::EnvFactory task_of(const Case& c) {
  return task_for(c.algorithm, 7);
}

// A few updates; from `begin` if it is given.
Outcome train(const Case& c, run::Ranks* ranks, const NamedTensors& begin = {}) {
  const auto agent = make_by_steps(c.algorithm, task_of(c), config_of(c, ranks));
  TrainingStats stats;
  int64_t done = 0;
  if (!begin.empty()) {
    agent->restore(begin);
    done = 54;
  }
  agent->train(done, done + 54, 1, stats);
  Outcome out{.state = copy_of(agent->state()), .metrics = stats.metrics()};
  out.metrics.emplace_back("episodes", static_cast<double>(stats.episodes()));
  out.metrics.emplace_back("return", stats.total_reward());
  return out;
}

void expect_equal(const Outcome& a, const Outcome& b, const std::string& what) {
  ASSERT_EQ(a.metrics.size(), b.metrics.size()) << what;
  for (size_t i = 0; i < a.metrics.size(); ++i) {
    EXPECT_EQ(a.metrics[i].first, b.metrics[i].first) << what;
    EXPECT_TRUE(a.metrics[i].second == b.metrics[i].second ||
                (std::isnan(a.metrics[i].second) && std::isnan(b.metrics[i].second)))
        << what << ", " << a.metrics[i].first << ": " << a.metrics[i].second << " and " << b.metrics[i].second;
  }
  ASSERT_EQ(a.state.size(), b.state.size()) << what;
  for (size_t i = 0; i < a.state.size(); ++i) {
    EXPECT_EQ(a.state[i].first, b.state[i].first) << what;
    EXPECT_TRUE(kernels::same_bits(a.state[i].second, b.state[i].second)) << what << ", " << a.state[i].first;
  }
}

class DeepRanks : public ::testing::TestWithParam<Case> {};

void as_it_is(DeepConfig&) {}

INSTANTIATE_TEST_SUITE_P(
    All, DeepRanks,
    ::testing::Values(Case{"reinforce", "reinforce", as_it_is}, Case{"qac", "qac", as_it_is},
                      Case{"a2c", "a2c", as_it_is}, Case{"off_policy_ac", "off-policy-ac", as_it_is},
                      Case{"ppo", "ppo",
                           [](DeepConfig& c) {
                             c.normalize = {.observations = true, .rewards = true};
                             c.on_policy.ent_coef = 0.01;
                           }},
                      Case{"npg", "npg", as_it_is}, Case{"trpo", "trpo", as_it_is},
                      Case{"ppo_fp16", "ppo", [](DeepConfig& c) { c.network.precision = "fp16"; }},
                      Case{"dqn", "dqn", as_it_is},
                      Case{"dqn_with_everything", "dqn",
                           [](DeepConfig& c) {
                             c.dqn = {.double_q = true, .dueling = true, .huber = true};
                             c.replay.prioritised = true;
                             c.replay.n_step = 3;
                             c.normalize.observations = true;
                           }},
                      Case{"dpg", "dpg", as_it_is}, Case{"ddpg", "ddpg", as_it_is},
                      Case{"td3", "td3", [](DeepConfig& c) { c.replay.prioritised = true; }},
                      Case{"sac", "sac", as_it_is},
                      Case{"sac_fp16", "sac", [](DeepConfig& c) { c.network.precision = "fp16"; }}),
    [](const auto& tested) { return tested.param.name; });

// Three environments and 13 or 10 rows for 4 ranks and 4 shards: no part is even, one rank steps none.
TEST_P(DeepRanks, OneTwoAndFourTrainTheSameAgentBitForBit) {
  const Outcome alone = on_ranks(1, {.shards = 4}, [](run::Ranks* ranks) { return train(GetParam(), ranks); }).front();
  for (const int P : {2, 4}) {
    for (const int64_t zero : {0, 2}) {
      const auto outcomes = on_ranks(P, {.shards = 4, .zero = zero, .bucket_mb = 0.001},
                                     [](run::Ranks* ranks) { return train(GetParam(), ranks); });
      for (const Outcome& o : outcomes) expect_equal(o, alone, fmt::format("{} ranks, zero {}", P, zero));
    }
  }
}

TEST_P(DeepRanks, OneWithoutShardsIsNone) {
  const Outcome alone = train(GetParam(), nullptr);
  expect_equal(on_ranks(1, {}, [](run::Ranks* ranks) { return train(GetParam(), ranks); }).front(), alone, "1 rank");
}

// In fp64, where the order of additions hardly shows.
TEST_P(DeepRanks, ShardsAddUpToTheWholeMinibatch) {
  const auto exactly = [](run::Ranks* ranks) {
    DeepConfig config = config_of(GetParam(), ranks);
    config.network.precision = "fp64";
    const auto agent = make_by_steps(GetParam().algorithm, task_of(GetParam()), config);
    TrainingStats stats;
    agent->train(0, 54, 1, stats);
    return Outcome{.state = copy_of(agent->state()), .metrics = stats.metrics()};
  };
  const Outcome whole = exactly(nullptr), shards = on_ranks(1, {.shards = 4}, exactly).front();
  const auto expect_near = [](double a, double b, const std::string& what) {
    EXPECT_NEAR(a, b, 1e-9 * (1 + std::abs(a))) << what;
  };
  for (size_t i = 0; i < whole.metrics.size(); ++i) {
    expect_near(whole.metrics[i].second, shards.metrics[i].second, whole.metrics[i].first);
  }
  int compared = 0;
  for (size_t i = 0; i < whole.state.size(); ++i) {
    const auto& [name, tensor] = whole.state[i];
    if (tensor.dtype() != DType::f64 || name.find("adam.") == name.npos) continue;
    double norm = 0, distance = 0;
    for (int64_t k = 0; k < tensor.numel(); ++k) {
      const double x = tensor.data<double>()[k], difference = x - shards.state[i].second.data<double>()[k];
      norm += x * x;
      distance += difference * difference;
    }
    EXPECT_LE(std::sqrt(distance), 1e-6 * std::sqrt(norm)) << name;
    compared += norm > 0;
  }
  EXPECT_GE(compared, 8);  // both moments of the weights of a few layers
}

TEST_P(DeepRanks, WithoutShardsTrainTheSameAgentEachTime) {
  const auto three = [] { return on_ranks(3, {}, [](run::Ranks* ranks) { return train(GetParam(), ranks); }); };
  const auto first = three(), second = three();
  for (size_t r = 0; r < first.size(); ++r) {
    expect_equal(first[r], first[0], fmt::format("rank {}", r));
    expect_equal(second[r], first[0], "again");
  }
}

TEST_P(DeepRanks, TheStateOfTwoGoesOnWithOneAndFour) {
  const auto go = [](int P, int64_t zero, const NamedTensors& begin) {
    return on_ranks(P, {.shards = 4, .zero = zero}, [&](run::Ranks* ranks) { return train(GetParam(), ranks, begin); });
  };
  const NamedTensors middle = go(2, 1, {}).front().state;
  const Outcome whole = go(1, 0, middle).front();
  for (const Outcome& o : go(2, 1, middle)) expect_equal(o, whole, "2 ranks");
  for (const Outcome& o : go(4, 2, middle)) expect_equal(o, whole, "4 ranks");
}

// What a VecEnv gave in some steps.
std::vector<double> watch(env::VecEnv& envs, int n_steps, uint64_t first = 0) {
  std::vector<double> seen;
  const auto add = [&](const auto& numbers) { seen.insert(seen.end(), numbers.begin(), numbers.end()); };
  std::vector<float> actions(static_cast<size_t>(envs.num_envs()));
  for (int t = 0; t < n_steps; ++t) {
    for (size_t i = 0; i < actions.size(); ++i)
      actions[i] = static_cast<float>(
          Rng(3, Purpose::test, first + static_cast<uint64_t>(t), static_cast<uint32_t>(i)).below(2));
    const env::VecStep m = envs.step(actions);
    add(m.observations);
    add(m.rewards);
    add(m.terminated);
    add(m.truncated);
    for (int64_t i = 0; i < m.size(); ++i) {
      const auto k = static_cast<size_t>(i);
      add(m.next_observation(i));
      if (m.ended(i)) add(std::vector<double>{m.episode_returns[k], static_cast<double>(m.episode_lengths[k])});
    }
  }
  return seen;
}

std::unique_ptr<env::Env> short_cart_pole() {
  return std::make_unique<env::TimeLimit>(std::make_unique<env::CartPole>(), 11);
}

TEST(SharedVecEnv, IsTheOneOfThisProcessWhateverTheRanks) {
  const env::VecConfig config{.num_envs = 5};
  const auto alone = env::make_vec_env(short_cart_pole, config);
  const std::span<const float> first = alone->reset(7);
  std::vector<double> expected(first.begin(), first.end());
  for (const double x : watch(*alone, 30)) expected.push_back(x);
  const env::VecState state = alone->state();
  const std::vector<uint8_t> mask = {1, 0, 0, 1, 0};
  for (const float x : alone->reset_where(mask)) expected.push_back(static_cast<double>(x));
  alone->restore(state);
  for (const double x : watch(*alone, 30, 30)) expected.push_back(x);

  for (const int P : {1, 2, 3, 7}) {
    on_ranks(P, {}, [&](run::Ranks* ranks) {
      SharedVecEnv envs(short_cart_pole, config, *ranks);
      const std::span<const float> begin = envs.reset(7);
      std::vector<double> seen(begin.begin(), begin.end());
      for (const double x : watch(envs, 30)) seen.push_back(x);
      EXPECT_EQ(envs.state(), state) << P;
      for (const float x : envs.reset_where(mask)) seen.push_back(static_cast<double>(x));
      envs.restore(state);
      for (const double x : watch(envs, 30, 30)) seen.push_back(x);
      EXPECT_EQ(seen, expected) << P << " ranks, rank " << ranks->rank();
      return 0;
    });
  }
}

// Fails in its third step, if it is to.
class Broken final : public env::TimeLimit {
 public:
  explicit Broken(bool breaks) : TimeLimit(std::make_unique<env::CartPole>(), 11), breaks_(breaks) {}
  env::StepResult step(std::span<const double> action) override {
    if (breaks_ && ++steps_ == 3) fail(ErrorCode::io, "the wheel came off");
    return TimeLimit::step(action);
  }

 private:
  bool breaks_;
  int steps_ = 0;
};

TEST(SharedVecEnv, AnEnvironmentThatFailsEndsAllRanks) {
  const comm::ThreadWorld world(3);
  std::vector<std::string> errors(3);
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      run::Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), {});
      try {
        run::on_all_ranks(&ranks, [&] {
          SharedVecEnv envs([&] { return std::make_unique<Broken>(r == 1); }, {.num_envs = 6}, ranks);
          envs.reset(1);
          watch(envs, 5);
        });
      } catch (const Error& e) {
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::string& e : errors) {
    EXPECT_NE(e.find("environment 2, episode 0, step 3: the wheel came off"), std::string::npos) << e;
  }
}

// Whole runs.
class RankRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    set_pool_threads(1);  // as the configuration has it, so that ranks, which are threads here, do not change it
    std::filesystem::remove_all(root_);
  }
  void TearDown() override {
    std::filesystem::remove_all(root_);
    set_pool_threads(available_cpus());
  }

  static TrainConfig config() {
    TrainConfig c;
    c.algorithm = "a2c";
    c.threads = 1;
    c.seeds = 2;
    c.steps = 240;
    c.reports = 6;
    c.evaluations = 3;
    c.evaluation_episodes = 2;
    c.env.name = "cartpole";
    c.n_envs = 3;
    c.network.hidden = {12};
    c.parallel.shards = 4;
    return c;
  }

  // What each of P ranks threw, "" for nothing.
  template <class Body>
  static std::vector<std::string> errors_of(int P, Body body) {
    const comm::ThreadWorld world(P);
    std::vector<std::string> errors(static_cast<size_t>(P));
    std::vector<std::thread> threads;
    for (int r = 0; r < P; ++r) {
      threads.emplace_back([&, r] {
        try {
          body(r, std::make_unique<comm::Group>(world.transport(r)));
        } catch (const Error& e) {
          errors[static_cast<size_t>(r)] = e.what();
        }
      });
    }
    for (std::thread& t : threads) t.join();
    return errors;
  }

  std::vector<Report> train_on(int P, const std::string& name, const TrainConfig& c) {
    std::vector<Report> reports;
    const TrainObserver observer{.on_report = [&](const Report& r) { reports.push_back(r); }};
    for (const std::string& e : errors_of(P, [&](int, std::unique_ptr<comm::Group> group) {
           train(root_ / name, c, {}, observer, std::move(group));
         })) {
      EXPECT_EQ(e, "");
    }
    return reports;
  }

  NamedTensors state_of(const std::string& name) { return load_run(root_ / name).agent->state(); }

  const std::filesystem::path root_ =
      std::filesystem::path(::testing::TempDir()) / fmt::format("rank_runs_{}", ::getpid());
};

TEST_F(RankRuns, AreTheSameOnAnyNumberOfRanks) {
  const std::vector<Report> alone = train_on(1, "alone", config());
  for (const int P : {2, 4}) {
    const std::string name = fmt::format("of-{}", P);
    const std::vector<Report> reports = train_on(P, name, config());  // the first rank's alone
    ASSERT_EQ(reports.size(), alone.size());
    for (size_t i = 0; i < reports.size(); ++i) {
      EXPECT_EQ(reports[i].evaluation.has_value(), alone[i].evaluation.has_value());
      EXPECT_EQ(reports[i].evaluation.value_or(MeanOfSeeds{}).mean, alone[i].evaluation.value_or(MeanOfSeeds{}).mean);
      ASSERT_EQ(reports[i].metrics.size(), alone[i].metrics.size());
      for (size_t m = 0; m < alone[i].metrics.size(); ++m) {
        EXPECT_EQ(reports[i].metrics[m].second.mean, alone[i].metrics[m].second.mean) << alone[i].metrics[m].first;
      }
    }
    EXPECT_TRUE(same_state(state_of(name), state_of("alone")));
  }
}

TEST_F(RankRuns, OneThatIsToStopStopsAllAndAnotherNumberGoesOn) {
  train_on(1, "alone", config());
  std::atomic<bool> asked = false;
  for (const std::string& e : errors_of(2, [&](int r, std::unique_ptr<comm::Group> group) {
         const TrainObserver observer{.should_stop = [&asked, r] { return r == 1 && !asked.exchange(true); }};
         train(root_ / "stopped", config(), {}, observer, std::move(group));
       })) {
    EXPECT_NE(e.find("interrupted after step 45"), std::string::npos) << e;
  }
  for (const std::string& e : errors_of(
           4, [&](int, std::unique_ptr<comm::Group> group) { resume(root_ / "stopped", {}, {}, std::move(group)); })) {
    EXPECT_EQ(e, "");
  }
  EXPECT_TRUE(same_state(state_of("stopped"), state_of("alone")));
}

TEST_F(RankRuns, RefuseWhatLearnsEpisodeByEpisode) {
  TrainConfig c = config();
  c.env.name = "grid";
  c.env.max_episode_steps = 100;
  c.parallel = {};
  c.evaluations = 0;
  for (const char* algorithm : {"q-learning", "sarsa-linear", "off-policy-dqn"}) {
    c.algorithm = algorithm;
    for (const std::string& e : errors_of(2, [&](int, std::unique_ptr<comm::Group> group) {
           train(root_ / "refused", c, {}, {}, std::move(group));
         })) {
      EXPECT_NE(e.find(fmt::format(
                    "{} learns episode by episode, which 2 ranks cannot share; use one rank, and `seeds=`", algorithm)),
                std::string::npos)
          << e;
    }
  }
  EXPECT_FALSE(std::filesystem::exists(root_ / "refused"));
  c.parallel.shards = 4;
  EXPECT_GRADUS_ERROR(c.check(), invalid_argument, "parallel.shards is 4, but off-policy-dqn does not read it");
}

}  // namespace
}  // namespace gradus::rl
