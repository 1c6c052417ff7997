#include "gradus/rl/evaluation.h"

#include "gradus/core/error.h"

namespace gradus::rl {

EpisodesOf evaluate_greedy(Agent& agent, uint64_t seed, int64_t episodes, int64_t most_steps, int64_t first) {
  require(agent.has_policy(), "it learns the values of a given policy, and has none of its own to evaluate");
  EpisodesOf out{.episodes = episodes, .total_reward = {}, .length = {}};
  std::vector<double> rewards, lengths;
  for (int64_t k = 0; k < episodes; ++k) {
    Rng rng(seed, Purpose::held_out, static_cast<uint64_t>(first + k));
    const std::vector<PlayedStep> steps = agent.play(rng, most_steps);
    double reward = 0;
    for (const PlayedStep& step : steps) reward += step.reward;
    rewards.push_back(reward);
    lengths.push_back(static_cast<double>(steps.size()));
    if (!steps.empty() && steps.back().terminated) out.terminated_share += 1.0 / static_cast<double>(episodes);
  }
  out.total_reward = mean_of_seeds(rewards);
  out.length = mean_of_seeds(lengths);
  return out;
}

}  // namespace gradus::rl
