// Action values as a network: Zhao's deep Q-learning from one episode of a uniform policy (Figs. 8.11 and 8.12).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bench/textbook.h"
#include "gradus/env/grid_world.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/rl/train_config.h"
#include "gradus/rl/trial.h"

namespace gradus::bench {

namespace {

// One hidden layer of 100; row, column and action as inputs. An iteration is 100 updates on minibatches, the target
// network's weights being those of the iteration before.
rl::TrainConfig deep_q_learning(int64_t steps, int64_t batch) {
  rl::TrainConfig c;
  c.algorithm = "off-policy-dqn";
  c.env.grid.reward_boundary = c.env.grid.reward_forbidden = -10;
  c.env.grid.start_row = c.env.grid.start_column = 1;
  c.env.max_episode_steps = steps;
  c.learner.gamma = 0.9;
  c.network = {.hidden = {100}, .activation = "tanh", .action_as_input = true, .learning_rate = 0.003};
  c.replay = {.buffer_size = steps, .batch_size = batch, .gradient_steps = 100, .target_update_interval = 100};
  return c;
}

// How many different actions of different states the agent's buffer holds.
size_t pairs_seen(rl::Agent& agent) {
  const NamedTensors state = agent.state();
  const auto column = [&](std::string_view name) {
    return std::ranges::find(state, name, &NamedTensors::value_type::first)->second.span<float>();
  };
  const auto s = column("replay.s"), a = column("replay.a");
  std::set<std::pair<float, float>> pairs;
  for (size_t i = 0; i < a.size(); ++i) pairs.insert({s[i], a[i]});
  return pairs.size();
}

// After their first iteration, the first `n` seeds that see at least so many pairs.
std::vector<rl::Trial> seeds_that_see(size_t pairs, const rl::TrainConfig& config, size_t n) {
  std::vector<rl::Trial> trials;
  for (uint64_t seed = 1; trials.size() < n; ++seed) {
    rl::Trial trial(rl::make_episode_agent(config, seed), seed);
    trial.run(1);
    if (pairs_seen(trial.agent()) >= pairs) trials.push_back(std::move(trial));
  }
  return trials;
}

struct Fit {
  std::vector<double> loss, error;  // of each seed, root mean squares
};

Fit fitted(std::vector<rl::Trial> trials, const rl::TrainConfig& config, int64_t iterations) {
  const std::vector<double> V = rl::value_iteration(*env::grid_world(config.env.grid), {.gamma = 0.9}).V;
  rl::run_trials(trials, iterations - 1);
  Fit fit;
  for (const rl::Trial& t : trials) {
    const rl::EpisodeStats& e = t.episodes().back();
    fit.loss.push_back(std::sqrt(e.squared_td_error / static_cast<double>(e.updates)));
    fit.error.push_back(rl::rms_error(t.agent().V(), V));
  }
  return fit;
}

}  // namespace

void textbook_networks(const TextbookOptions& options, const TextbookSink& sink) {
  const auto n = static_cast<size_t>(std::clamp<int64_t>(options.seeds / 7, 1, 4));
  constexpr int64_t kIterations = 1000;
  const std::string about = fmt::format(
      "deep Q-learning from one uniform episode: after {} iterations, of {} seeds the worst", kIterations, n);
  const rl::TrainConfig enough = deep_q_learning(1000, 100), few = deep_q_learning(100, 50);

  const Fit whole = fitted(seeds_that_see(125, enough, n), enough, kIterations);
  const std::string all_seen = "seeds whose steps try every action everywhere, as 18 of the first 30 do";
  sink({"Zhao 8.11: 1000 steps", about, "TD error", 0, std::ranges::max(whole.loss), 0.1,
        "a curve that reaches 0 as far as one sees"});
  sink({"Zhao 8.11: 1000 steps", about, "error of the values", 0, std::ranges::max(whole.error), 0.25, all_seen});

  const Fit part = fitted(seeds_that_see(0, few, n), few, kIterations);
  sink({"Zhao 8.12: 100 steps", about, "TD error", 0, std::ranges::max(part.loss), 0.25, ""});
  sink({.table = "Zhao 8.12: 100 steps",
        .about = about,
        .cell = "error of the values, at least",
        .book = 4,
        .ours = std::ranges::min(part.error),
        .allowed = 0,
        .remark = "it stays, since most was never tried; how large it is depends on what the network makes of that",
        .at_least = true});
}

}  // namespace gradus::bench
