#include "gradus/rl/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gradus/core/file.h"
#include "gradus/env/finite_env.h"
#include "gradus/rl/evaluation.h"
#include "gradus/rl/picture.h"
#include "gradus/run/config.h"
#include "gradus/run/run_folder.h"
#include "tests/core/expect_error.h"
#include "tests/rl/tabular_case.h"
#include "tests/run/temp_folder.h"

namespace gradus::rl {
namespace {

using ::testing::StartsWith;

// Zhao, figure 7.3: from (1, 1) to the target, around forbidden cells; 11 moves and a return of -10 at best.
TrainConfig path_task(const std::string& algorithm = "q-learning") {
  TrainConfig c;
  c.algorithm = algorithm;
  c.seeds = 3;
  c.threads = 2;
  c.episodes = 103;
  c.reports = 4;
  c.env.grid.reward_boundary = c.env.grid.reward_forbidden = -10;
  c.env.grid.reward_other = -1;
  c.env.grid.reward_target = 0;
  c.env.grid.target_is_terminal = true;
  c.env.grid.start_row = c.env.grid.start_column = 1;
  return c;
}

std::vector<run::Metric> metrics_of(const std::filesystem::path& directory) {
  return run::Database(run::RunPaths{directory}.database(), run::Database::Mode::read).metrics();
}

TrainObserver stop_after(int64_t reports) {
  return {.should_stop = [reports]() mutable { return --reports == 0; }};
}

TEST(Train, WritesMetricsCheckpointAndPictures) {
  const run::TempFolder folder;
  std::vector<int64_t> reported;
  const TrainSummary s =
      train(folder / "run", path_task(), {"test"}, {.on_report = [&](const Report& r) { reported.push_back(r.done); }});
  EXPECT_EQ(reported, (std::vector<int64_t>{26, 52, 78, 103}));
  EXPECT_EQ(s.directory, folder / "run");
  ASSERT_TRUE(s.last);
  EXPECT_EQ(s.last->done, 103);

  const run::RunPaths paths{folder / "run"};
  const std::vector<run::Metric> metrics = metrics_of(folder / "run");
  EXPECT_EQ(metrics.size(), 40u);  // four rows of five means with their standard errors
  EXPECT_EQ(metrics.back().step, 103);
  EXPECT_EQ(config_of_run(folder / "run").env.grid.reward_other, -1);
  EXPECT_TRUE(std::filesystem::exists(paths.metrics_jsonl()));
  EXPECT_EQ(run::load_checkpoint(*run::latest_checkpoint(paths.checkpoints())).step, 103);

  ASSERT_EQ(s.pictures.size(), 3u);
  EXPECT_EQ(s.pictures[0], folder / "run" / "curves.svg");
  EXPECT_EQ(s.pictures[1], folder / "run" / "errors.svg");
  EXPECT_EQ(s.pictures[2], folder / "run" / "values.svg");
  for (const auto& picture : s.pictures) EXPECT_THAT(read_file(picture), StartsWith("<svg"));
}

// What is reported is what the episodes were: the mean over seeds of their means.
TEST(Train, ReportsWhatTheTrialsDid) {
  const run::TempFolder folder;
  TrainConfig c = path_task();
  c.episodes = 20;
  c.reports = 1;
  const TrainSummary s = train(folder / "run", c, {});
  std::vector<double> returns, lengths;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Trial trial(*env::make_env(c.env)->finite(), c.algorithm, c.learner, seed);
    trial.run(20);
    double reward = 0, length = 0;
    for (const EpisodeStats& e : trial.episodes()) {
      reward += e.total_reward;
      length += static_cast<double>(e.length);
    }
    returns.push_back(reward / 20);
    lengths.push_back(length / 20);
    EXPECT_EQ(s.Q == trial.agent().Q(), seed == 1);
  }
  EXPECT_EQ(s.last->total_reward->mean, mean_of_seeds(returns).mean);
  EXPECT_EQ(s.last->total_reward->standard_error, mean_of_seeds(returns).standard_error);
  EXPECT_EQ(s.last->length->mean, mean_of_seeds(lengths).mean);
}

// One of each frame and of all kinds of state; tabular_control_test.cc and deep_test.cc have all algorithms without run
// folders, whose synced files cost most of the time here.
class TrainAny : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Some, TrainAny,
                         ::testing::Values("mc-exploring-starts", "mc-off-policy-control", "sarsa-lambda",
                                           "double-q-learning", "td0", "lstd", "off-policy-dqn"),
                         test_name);

TEST_P(TrainAny, InterruptedAndResumedIsTheSameToTheBit) {
  const run::TempFolder folder;
  TrainConfig c = path_task(GetParam());
  c.episodes = 29;
  c.reports = 4;
  c.env.max_episode_steps = 50;
  c.learner.episode_length = 50;
  c.learner.eps_decay = 0.95;
  c.learner.alpha_power = 0.6;
  const TrainSummary whole = train(folder / "whole", c, {});
  EXPECT_GRADUS_ERROR(train(folder / "parts", c, {}, stop_after(1)), interrupted, "interrupted after episode 8; go on");
  EXPECT_GRADUS_ERROR(resume(folder / "parts", {}, stop_after(2)), interrupted, "interrupted after episode 24");
  const TrainSummary parts = resume(folder / "parts", {});
  EXPECT_EQ(parts.Q, whole.Q);
  EXPECT_EQ(parts.V, whole.V);
  EXPECT_EQ(metrics_of(folder / "parts"), metrics_of(folder / "whole"));
  const auto agents_of = [&](const char* name) {
    const run::RunPaths paths{folder / name};
    const auto latest = *run::latest_checkpoint(paths.checkpoints());
    return read_file(latest / "agents.safetensors");
  };
  EXPECT_EQ(agents_of("parts"), agents_of("whole"));
}

TEST(Train, AFinishedRunIsResumedToItsSummary) {
  const run::TempFolder folder;
  const TrainSummary done = train(folder / "run", path_task(), {});
  const std::vector<run::Metric> metrics = metrics_of(folder / "run");
  const TrainSummary again = resume(folder / "run", {});
  EXPECT_EQ(again.Q, done.Q);
  EXPECT_FALSE(again.last);
  EXPECT_EQ(metrics_of(folder / "run"), metrics);
}

// Threads train seeds side by side, or step the environments of the only one.
TEST(Train, DoesNotDependOnThreads) {
  for (const char* algorithm : {"q-learning", "ppo", "sac"}) {
    for (const int64_t seeds : {1, 3}) {
      const run::TempFolder folder;
      std::vector<run::Metric> first;
      for (const int64_t threads : {1, 2, 3}) {
        TrainConfig c = path_task(algorithm);
        c.seeds = seeds;
        c.reports = 1;
        c.threads = threads;
        c.steps = 240;
        c.n_envs = 4;
        c.env.max_episode_steps = 50;
        c.on_policy = {.n_steps = 20, .n_epochs = 2};
        if (c.algorithm == "sac") c.env.name = "pendulum";
        const auto directory = folder / fmt::format("{}", threads);
        train(directory, c, {});
        if (threads == 1) first = metrics_of(directory);
        EXPECT_EQ(metrics_of(directory), first) << algorithm << seeds;
      }
    }
  }
}

TEST(Train, RefusesNoDiscountWhereNothingEnds) {
  const run::TempFolder folder;
  TrainConfig c;  // the target is not terminal
  c.env.max_episode_steps = 100;
  c.learner.gamma = 1;
  EXPECT_GRADUS_ERROR(train(folder / "run", c, {}), invalid_argument,
                      "gamma is 1, but the episodes of grid never end, so values are infinite; use gamma below 1");
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

TEST(Train, RefusesAContinuingTaskWithoutLimit) {
  const run::TempFolder folder;
  TrainConfig c;
  for (const std::string algorithm : {"q-learning", "td0", "sarsa-lambda"}) {
    c.algorithm = algorithm;
    EXPECT_GRADUS_ERROR(train(folder / "run", c, {}), invalid_argument,
                        "the episodes of grid never end; set max_episode_steps");
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  c.algorithm = "mc-prediction";  // has episode_length
  c.episodes = 2;
  c.reports = 1;
  EXPECT_EQ(train(folder / "run", c, {}).last->length->mean, 100);
}

TEST(Train, RefusesBadSettingsBeforeThereIsAFolder) {
  const run::TempFolder folder;
  const auto refuses = [&](const TrainConfig& c, const std::string& part) {
    EXPECT_GRADUS_ERROR(train(folder / "run", c, {}), invalid_argument, part);
    EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  };
  const auto changed = [](auto change) {
    TrainConfig c = path_task();
    change(c);
    return c;
  };
  refuses(changed([](TrainConfig& c) {
            c.algorithm = "dqn";
            c.network.action_as_input = true;
          }),
          "network.action_as_input is true, but dqn does not read it");
  refuses(path_task("sarza"), "did you mean 'sarsa'?");
  refuses(changed([](TrainConfig& c) { c.env.name = "gird"; }), "did you mean 'grid'?");
  refuses(changed([](TrainConfig& c) { c.seeds = 0; }), "seeds is 0");
  refuses(changed([](TrainConfig& c) { c.episodes = 0; }), "episodes is 0");
  refuses(changed([](TrainConfig& c) { c.reports = 0; }), "reports is 0");
  refuses(changed([](TrainConfig& c) { c.learner.gamma = 1.5; }), "gamma is 1.5");
  refuses(changed([](TrainConfig& c) { c.learner.eps = -1; }), "eps is -1");
  refuses(changed([](TrainConfig& c) { c.env.name = "mountaincar"; }), "has no table of states");
  refuses(changed([](TrainConfig& c) {
            c.algorithm = "off-policy-q-learning";
            c.learner.behaviour = "up";
            c.learner.behaviour_eps = 0;
          }),
          "never takes right in");
}

TEST(LoadRun, PlaysTheGreedyPath) {
  const run::TempFolder folder;
  TrainConfig c = path_task();
  c.episodes = 1000;
  c.reports = 1;
  train(folder / "run", c, {});
  const Trained t = load_run(folder / "run");
  const Table Q = t.agent->Q();
  const auto mdp = env::make_env(c.env)->finite()->shared_mdp();
  Rng rng(1, Purpose::held_out);
  const std::vector<PlayedStep> steps = t.agent->play(rng, 100);
  ASSERT_EQ(steps.size(), 11u);
  EXPECT_TRUE(steps.back().terminated);
  std::vector<std::string> states, path;
  double total = 0;
  for (const PlayedStep& step : steps) {
    states.push_back(step.state);
    total += step.reward;
  }
  states.push_back(steps.back().next);
  for (const int32_t s : greedy_path(*mdp, Q)) path.push_back(mdp->state_name(s));
  EXPECT_EQ(total, -10);
  EXPECT_EQ(states, path);

  const EpisodesOf e = evaluate_greedy(*t.agent, 1, 20, 100);
  EXPECT_EQ(e.total_reward.mean, -10);
  EXPECT_EQ(e.length.mean, 11);
  EXPECT_NEAR(e.terminated_share, 1, 1e-12);
  EXPECT_EQ(t.agent->play(rng, 4).size(), 4u);
}

// A table, a function and a network.
TEST(LoadRun, AWatchSeesTheFirstStateAndTheOneAfterEachStep) {
  for (const char* algorithm : {"q-learning", "q-learning-linear", "ppo"}) {
    const run::TempFolder folder;
    TrainConfig c = path_task();
    c.algorithm = algorithm;
    c.episodes = 10;
    c.steps = 128;
    c.reports = 1;
    train(folder / "run", c, {});
    const Trained t = load_run(folder / "run");
    std::vector<env::Pose> seen;
    Rng rng(1, Purpose::held_out);
    const auto steps =
        t.agent->play(rng, 20, [&](const env::Env& e) { seen.push_back(e.frame()->shapes.back().pose); });
    EXPECT_EQ(seen.size(), steps.size() + 1) << algorithm;
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_EQ(seen[i] == seen[i + 1], steps[i].state == steps[i].next) << algorithm;
    }
  }
}

TEST(LoadRun, OfAPredictionHasValuesAndNoPolicy) {
  const run::TempFolder folder;
  TrainConfig c;
  c.algorithm = "td0";
  c.episodes = 50;
  c.reports = 1;
  c.env.name = "walk";
  c.learner.gamma = 1;
  const TrainSummary s = train(folder / "run", c, {});
  EXPECT_EQ(s.pictures.size(), 2u);  // a walk is no plane
  EXPECT_NEAR(s.exact_V[2], 0.5, 1e-12);
  const Trained t = load_run(folder / "run");
  EXPECT_EQ(t.agent->V(), s.V);
  EXPECT_FALSE(t.agent->has_policy());
  EXPECT_GRADUS_ERROR(evaluate_greedy(*t.agent, 1, 10, 10), invalid_argument, "none of its own");
}

// A checkpoint of another shape, as after a change of config.toml.
TEST(LoadRun, SaysWhichPartOfACheckpointDoesNotFit) {
  const run::TempFolder folder;
  TrainConfig c = path_task();
  c.reports = 1;
  train(folder / "run", c, {});
  c.env.grid.map = "..T";
  write_file_atomically(run::RunPaths{folder / "run"}.config(), run::write_config(c));
  EXPECT_GRADUS_ERROR(load_run(folder / "run"), corrupt,
                      "checkpoint of step 103: agents.safetensors, of seed 1: the tensor Q is f64 [25, 5], but must be "
                      "f64 [3, 5]; algorithm and settings have to be those of the training");
}

TEST(LoadRun, SaysWhatIsNoRun) {
  const run::TempFolder folder;
  EXPECT_GRADUS_ERROR(load_run(folder / "nothing"), not_found, "not a run with a checkpoint");
}

// Of a continuing task, and where nothing can be won: there is no exact answer to compare with.
TEST(Train, HasNoExactValuesWhereTheyAreNotFinite) {
  const run::TempFolder folder;
  TrainConfig c = path_task();
  c.learner.gamma = 1;
  c.env.grid.reward_other = 1;  // walking for ever is best
  c.env.max_episode_steps = 50;
  const TrainSummary s = train(folder / "run", c, {});
  EXPECT_TRUE(s.exact_V.empty());
  EXPECT_EQ(metrics_of(folder / "run").size(), 32u);  // no value errors
}

}  // namespace
}  // namespace gradus::rl
