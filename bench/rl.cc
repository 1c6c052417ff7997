// gradus bench rl: classic RL by the functions that `train` calls (gradus/rl/trial.h).
#include <cmath>
#include <numeric>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/rl_networks.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/grid_world.h"
#include "gradus/env/mountain_car.h"
#include "gradus/env/random_walk.h"
#include "gradus/rl/linear/feature_table.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/rl/train_config.h"
#include "gradus/rl/trial.h"

namespace gradus::bench {

namespace {

using rl::Trial;

env::FiniteEnv path_grid() {
  return {env::grid_world({.reward_boundary = -10,
                           .reward_forbidden = -10,
                           .reward_target = 0,
                           .reward_other = -1,
                           .target_is_terminal = true,
                           .start_row = 1,
                           .start_column = 1}),
          {.id = "grid"}};
}

int64_t steps_of(const Trial& trial) {
  const auto add = [](int64_t sum, const rl::EpisodeStats& e) { return sum + e.length; };
  return std::accumulate(trial.episodes().begin(), trial.episodes().end(), int64_t{0}, add);
}

// The environment alone, by random actions.
int64_t random_steps(env::FiniteEnv& env, int64_t steps, uint64_t seed) {
  Rng rng(seed, Purpose::test);
  env.begin(rng);
  int64_t ends = 0;
  for (int64_t i = 0; i < steps; ++i) {
    if (env.move(rl::pick(env.n_actions(), rng), rng).terminated) {
      env.begin(rng);
      ++ends;
    }
  }
  return ends;
}

// One seed on one core, 20000 episodes of about 12 steps a measurement, once it knows the way.
void tabular_speed(const char* algorithm, int rounds, const Sink& sink) {
  constexpr int64_t kEpisodes = 20000, kSteps = 250000;
  env::FiniteEnv env = path_grid();
  Trial trial(env, algorithm, {}, 1);
  trial.run(2000);
  int64_t steps = 0, calls = 0;
  volatile int64_t ends = 0;  // so that nothing is left out
  Alternation turns;
  const auto learning = turns.add([&] {
    trial.continue_after(2000 + ++calls * kEpisodes);
    trial.run(kEpisodes);
    steps += steps_of(trial);
  });
  const auto stepping = turns.add([&] { ends = ends + random_steps(env, kSteps, 1); });
  turns.run(rounds);
  const double per_call = static_cast<double>(steps) / static_cast<double>(calls);
  const double updates = per_call / turns.median_s(learning);
  const double environment = static_cast<double>(kSteps) / turns.median_s(stepping);
  sink({{"what", std::string("grid/") + algorithm},
        {"updates_per_s", updates},
        {"ns_per_update", 1e9 / updates},
        {"environment_ns_per_step", 1e9 / environment}});
}

// 30 seeds, 10000 episodes each: on one thread and on two, in turns.
void seeds_on_threads(int rounds, const Sink& sink) {
  constexpr int64_t kEpisodes = 10000;
  const int threads_before = pool().size();
  const auto train = [&](int threads) {
    set_pool_threads(threads);
    std::vector<Trial> trials;
    for (uint64_t seed = 1; seed <= 30; ++seed)
      trials.emplace_back(path_grid(), "q-learning", rl::LearnerConfig{}, seed);
    rl::run_trials(trials, kEpisodes);
    return trials;
  };
  std::vector<Trial> one, two;
  Alternation turns;
  const auto on_one = turns.add([&] { one = train(1); });
  const auto on_two = turns.add([&] { two = train(2); });
  turns.run(rounds);
  bool same = true;
  for (size_t i = 0; i < one.size(); ++i) same = same && one[i].agent().Q() == two[i].agent().Q();
  set_pool_threads(threads_before);
  sink({{"what", std::string("30 seeds of grid/q-learning")},
        {"one_thread_ms", 1e3 * turns.median_s(on_one)},
        {"two_threads_ms", 1e3 * turns.median_s(on_two)},
        {"two_to_one", turns.median_s(on_two) / turns.median_s(on_one)},
        {"same_values", same}});
}

// Sarsa with 8 tilings of 8 x 8 on the mountain car: the class that `train` uses, and the car alone.
void linear_speed(int rounds, const Sink& sink) {
  constexpr int64_t kEpisodes = 50, kSteps = 100000;
  rl::TrainConfig config;
  config.algorithm = "sarsa-linear";
  config.env.name = "mountaincar";
  config.env.max_episode_steps = 10000;
  config.learner.gamma = 1;
  config.learner.eps = 0;
  Trial trial(rl::make_episode_agent(config, 1), 1);
  trial.run(100);
  int64_t steps = 0, calls = 0;
  volatile double ends = 0;  // so that nothing is left out
  Alternation turns;
  const auto learning = turns.add([&] {
    trial.continue_after(100 + ++calls * kEpisodes);
    trial.run(kEpisodes);
    steps += steps_of(trial);
  });
  const auto stepping = turns.add([&] {
    Rng rng(1, Purpose::test);
    auto car = env::MountainCarState::start(rng);
    for (int64_t i = 0; i < kSteps; ++i) {
      if (car.step(rl::pick(3, rng))) car = env::MountainCarState::start(rng);
    }
    ends = ends + car.position;
  });
  turns.run(rounds);
  const double rate = static_cast<double>(steps) / static_cast<double>(calls) / turns.median_s(learning);
  sink({{"what", std::string("mountaincar/sarsa-linear")},
        {"updates_per_s", rate},
        {"ns_per_update", 1e9 / rate},
        {"environment_ns_per_step", 1e9 * turns.median_s(stepping) / static_cast<double>(kSteps)}});
}

// What temporal differences and Monte Carlo make of the same few episodes of the random walk of 5 states: how far the
// mean over seeds is from the truth, and how far a seed is from that mean, both as root mean squares over states.
void bias_and_variance(const Sink& sink) {
  constexpr int64_t kSeeds = 2000, kStates = 5;
  const env::FiniteEnv env(env::random_walk({}), {.id = "walk"});
  for (const auto& [algorithm, alpha] : {std::pair{"td0", 0.1}, {"td-lambda", 0.1}, {"mc-prediction", 0.03}}) {
    for (const int64_t episodes : {10, 100}) {
      std::vector<Trial> trials;
      for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const rl::LearnerConfig config{.gamma = 1, .alpha = alpha, .q0 = 0.5, .visits = "every"};
        trials.emplace_back(env, algorithm, config, seed);
      }
      rl::run_trials(trials, episodes);
      double bias = 0, variance = 0;
      for (size_t s = 0; s < kStates; ++s) {
        std::vector<double> values;
        for (const Trial& t : trials) values.push_back(t.agent().V()[s]);
        const rl::MeanOfSeeds m = rl::mean_of_seeds(values);
        const double off = m.mean - static_cast<double>(s + 1) / 6;
        bias += off * off / kStates;
        variance += m.standard_error * m.standard_error * kSeeds / kStates;
      }
      sink({{"method", std::string(algorithm)},
            {"alpha", alpha},
            {"episodes", episodes},
            {"bias", std::sqrt(bias)},
            {"deviation", std::sqrt(variance)},
            {"error", std::sqrt(bias + variance)}});
    }
  }
}

// Zhao's grid under the uniform policy, by ever fewer numbers.
void from_table_to_function(const Sink& sink) {
  const auto mdp = env::grid_world({});
  for (const rl::FeatureTableRow& row : rl::from_table_to_function(*mdp, rl::uniform_policy(25, 5), 0.9)) {
    sink({{"values_as", row.features},
          {"numbers", row.n_numbers},
          {"td_rmse", row.td_rmse},
          {"best_fit_rmse", row.best_fit_rmse}});
  }
}

// The same values as networks of one hidden layer, trained by td-network: the mean error of 4 seeds after 200 episodes
// of 500 steps. What fits best is not known for a network.
void from_table_to_network(const Sink& sink) {
  constexpr int64_t kSeeds = 4;
  rl::TrainConfig config;
  config.algorithm = "td-network";
  config.env.max_episode_steps = 500;
  config.replay = {.buffer_size = 50000, .batch_size = 100, .train_freq = 2};
  const std::vector<double> V = rl::evaluate_policy(*env::grid_world({}), rl::uniform_policy(25, 5), 0.9);
  for (const int64_t width : {4, 16, 64}) {
    config.network.hidden = {width};
    std::vector<Trial> trials;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) trials.emplace_back(rl::make_episode_agent(config, seed), seed);
    rl::run_trials(trials, 200);
    std::vector<double> errors;
    for (const Trial& trial : trials) errors.push_back(rl::rms_error(trial.agent().V(), V));
    sink({{"values_as", fmt::format("network, {} hidden", width)},
          {"numbers", 4 * width + 1},
          {"td_rmse", rl::mean_of_seeds(errors).mean},
          {"best_fit_rmse", std::nan("")}});
  }
}

}  // namespace

void rl(const RlOptions& options, const Sink& sink) {
  for (const char* algorithm : {"q-learning", "sarsa", "expected-sarsa"})
    tabular_speed(algorithm, options.rounds, sink);
  linear_speed(options.rounds, sink);
  seeds_on_threads(options.rounds, sink);
  network_speed(options.rounds, sink);
  bias_and_variance(sink);
  from_table_to_function(sink);
  from_table_to_network(sink);
}

}  // namespace gradus::bench
