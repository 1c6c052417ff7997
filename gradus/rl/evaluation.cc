#include "gradus/rl/evaluation.h"

#include "gradus/core/error.h"

namespace gradus::rl {

EpisodesOf evaluate_greedy(Agent& agent, uint64_t seed, int64_t episodes, int64_t most_steps, int64_t first,
                           run::Ranks* ranks) {
  require(agent.has_policy(), "it learns the values of a given policy, and has none of its own to evaluate");
  EpisodesOf out{.episodes = episodes, .total_reward = {}, .length = {}};
  std::vector<double> rewards(static_cast<size_t>(episodes), 0.0), lengths(rewards), terminated(rewards);
  const int64_t stride = ranks == nullptr ? 1 : ranks->size();
  for (int64_t k = ranks == nullptr ? 0 : ranks->rank(); k < episodes; k += stride) {
    Rng rng(seed, Purpose::held_out, static_cast<uint64_t>(first + k));
    const std::vector<PlayedStep> steps = agent.play(rng, most_steps);
    const auto i = static_cast<size_t>(k);
    for (const PlayedStep& step : steps) rewards[i] += step.reward;
    lengths[i] = static_cast<double>(steps.size());
    terminated[i] = !steps.empty() && steps.back().terminated;
  }
  if (ranks != nullptr) {
    for (std::vector<double>* numbers : {&rewards, &lengths, &terminated}) ranks->merge(*numbers);
  }
  for (const double ended : terminated) out.terminated_share += ended / static_cast<double>(episodes);
  out.total_reward = mean_of_seeds(rewards);
  out.length = mean_of_seeds(lengths);
  return out;
}

}  // namespace gradus::rl
