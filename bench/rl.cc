// gradus bench rl: classic RL by the functions that `train` calls (gradus/rl/trial.h).
#include <chrono>
#include <numeric>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/grid_world.h"
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
      trials.emplace_back(path_grid(), "q-learning", rl::TabularConfig{}, seed);
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

}  // namespace

void rl(const RlOptions& options, const Sink& sink) {
  for (const char* algorithm : {"q-learning", "sarsa", "expected-sarsa"})
    tabular_speed(algorithm, options.rounds, sink);
  seeds_on_threads(options.rounds, sink);
}

}  // namespace gradus::bench
