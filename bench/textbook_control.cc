// Control by temporal differences on Zhao's grid: Sarsa and Q-learning (Figs. 7.2 and 7.3), off-policy Q-learning
// (Figs. 7.4 and 7.5). The book shows curves; the numbers are means over 30 seeds of its protocol, computed by an
// independent program.
#include <fmt/format.h>

#include "bench/textbook.h"
#include "bench/textbook_trials.h"
#include "gradus/env/grid_world.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/rl/trial.h"

namespace gradus::bench {

namespace {

using rl::MeanOfSeeds;
using rl::Trial;

// From (1, 1) to a terminal target, 500 episodes, alpha .1, eps .1; means over episodes 401 to 500.
void path_to_the_target(const TextbookOptions& o, const TextbookSink& sink) {
  const env::FiniteEnv env(env::grid_world({.reward_boundary = -10,
                                            .reward_forbidden = -10,
                                            .reward_target = 0,
                                            .reward_other = -1,
                                            .target_is_terminal = true,
                                            .start_row = 1,
                                            .start_column = 1}),
                           {.id = "grid"});
  struct Known {
    const char* algorithm;
    double total_reward, length;
  };
  for (const Known& k :
       {Known{"sarsa", -19.4, 14.9}, Known{"expected-sarsa", -16.4, 12.9}, Known{"q-learning", -15.4, 12.4}}) {
    auto trials = trials_of(env, k.algorithm, {.alpha = 0.1}, o.seeds);
    rl::run_trials(trials, 500);
    std::vector<double> rewards, lengths;
    for (const Trial& t : trials) {
      double reward = 0, length = 0;
      for (size_t e = 400; e < 500; ++e) {
        reward += t.episodes()[e].total_reward / 100;
        length += static_cast<double>(t.episodes()[e].length) / 100;
      }
      rewards.push_back(reward);
      lengths.push_back(length);
    }
    const MeanOfSeeds reward = rl::mean_of_seeds(rewards), length = rl::mean_of_seeds(lengths);
    const std::string table = fmt::format("Zhao 7.2, 7.3: {}", k.algorithm);
    const std::string about = "episodes 401 to 500 from (1, 1) to the target, means over seeds";
    sink({table, about, "total reward", k.total_reward, reward.mean, three_standard_errors(reward)});
    sink({table, about, "length", k.length, length.mean, three_standard_errors(length)});
  }
}

// One episode of 100 000 steps by a given behaviour, alpha .1: error of max_a Q against the optimal values.
void off_policy(const TextbookOptions& o, const TextbookSink& sink) {
  const auto mdp = env::grid_world({.start_row = 1, .start_column = 1});
  const auto exact = rl::value_iteration(*mdp, {.gamma = 0.9}).V;
  const auto error_after = [&](int64_t steps, double q0, const std::string& behaviour, double eps) {
    const env::FiniteEnv env(mdp, {.id = "grid", .max_episode_steps = steps});
    auto trials = trials_of(env, "off-policy-q-learning",
                            {.alpha = 0.1, .q0 = q0, .behaviour = behaviour, .behaviour_eps = eps}, o.seeds);
    rl::run_trials(trials, 1);
    std::vector<double> errors;
    for (const Trial& t : trials) errors.push_back(rms_error(t.agent().V(), exact));
    return rl::mean_of_seeds(errors);
  };
  struct Known {
    double q0;
    int64_t steps;
    double error;
  };
  for (const Known& k :
       {Known{0, 10000, 4.69}, Known{0, 20000, 2.05}, Known{0, 50000, 0.216}, Known{0, 100000, 0.004},
        Known{10, 10000, 0.056}, Known{100, 10000, 49}, Known{100, 50000, 2.4}, Known{100, 100000, 0.043}}) {
    const MeanOfSeeds error = error_after(k.steps, k.q0, "uniform", 0);
    sink({"Zhao 7.4", "off-policy Q-learning, uniform behaviour: root mean square error of the values",
          fmt::format("q0 = {}, {} steps", k.q0, k.steps), k.error, error.mean, three_standard_errors(error)});
  }
  struct Range {
    double eps, least, greatest;
  };
  for (const Range& k : {Range{0.5, 0.31, 0.36}, Range{0.1, 4.3, 4.6}}) {
    const MeanOfSeeds error = error_after(100000, 0, "optimal", k.eps);
    sink({"Zhao 7.5", "the same, eps-greedy behaviour around an optimal policy, after 100000 steps",
          fmt::format("eps = {}", k.eps), (k.least + k.greatest) / 2, error.mean,
          (k.greatest - k.least) / 2 + three_standard_errors(error),
          fmt::format("known as a range, {} to {}", k.least, k.greatest)});
  }
}

}  // namespace

void textbook_control(const TextbookOptions& options, const TextbookSink& sink) {
  path_to_the_target(options, sink);
  off_policy(options, sink);
}

}  // namespace gradus::bench
