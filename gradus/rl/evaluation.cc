#include "gradus/rl/evaluation.h"

#include "gradus/core/error.h"
#include "gradus/env/catalogue.h"

namespace gradus::rl {

namespace {

// Greedy steps in `env`, one stream of random numbers an episode.
template <class Visit>
void walk(env::FiniteEnv& env, const Table& Q, uint64_t seed, uint64_t episode, int64_t most_steps, Visit visit) {
  Rng rng(seed, Purpose::held_out, episode);
  int32_t s = env.begin(rng);
  for (int64_t t = 0; t < most_steps; ++t) {
    const int64_t a = greedy(Q[s], rng);
    const auto m = env.move(a, rng);
    visit(PlayedStep{.state = s,
                     .next = m.next,
                     .action = a,
                     .reward = m.reward,
                     .terminated = m.terminated,
                     .truncated = m.truncated});
    if (m.terminated || m.truncated) return;
    s = m.next;
  }
}

env::FiniteEnv env_of(const Trained& trained) {
  require(trained.Q.n_states() > 0, "{}: it has no policy of its own", trained.config.algorithm);
  return *env::make_env(trained.config.env)->finite();
}

}  // namespace

std::vector<PlayedStep> play_episode(const Trained& trained, uint64_t seed, int64_t most_steps) {
  env::FiniteEnv env = env_of(trained);
  std::vector<PlayedStep> steps;
  walk(env, trained.Q, seed, 0, most_steps, [&](const PlayedStep& step) { steps.push_back(step); });
  return steps;
}

EpisodesOf evaluate_greedy(const Trained& trained, uint64_t seed, int64_t episodes, int64_t most_steps) {
  env::FiniteEnv env = env_of(trained);
  EpisodesOf out{.episodes = episodes, .total_reward = {}, .length = {}};
  std::vector<double> rewards, lengths;
  for (int64_t k = 0; k < episodes; ++k) {
    double reward = 0, length = 0;
    walk(env, trained.Q, seed, static_cast<uint64_t>(k), most_steps, [&](const PlayedStep& step) {
      reward += step.reward;
      ++length;
      out.terminated_share += step.terminated ? 1.0 / static_cast<double>(episodes) : 0;
    });
    rewards.push_back(reward);
    lengths.push_back(length);
  }
  out.total_reward = mean_of_seeds(rewards);
  out.length = mean_of_seeds(lengths);
  return out;
}

}  // namespace gradus::rl
