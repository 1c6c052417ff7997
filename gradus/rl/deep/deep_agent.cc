#include "gradus/rl/deep/deep_agent.h"

namespace gradus::rl {

#define GRADUS_BY_EPISODES(make, name, learns, acts, description, source) \
  std::unique_ptr<EpisodeAgent> make(std::unique_ptr<env::Env> env, const DeepConfig& config, uint64_t seed);
#define GRADUS_BY_STEPS(make, name, learns, acts, description, source) \
  std::unique_ptr<Agent> make(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed);
#include "gradus/rl/deep/algorithms.def"
#undef GRADUS_BY_EPISODES
#undef GRADUS_BY_STEPS

const std::vector<DeepAlgorithm>& deep_algorithms() {
  using enum Learns;
  using enum Acts;
  static const std::vector<DeepAlgorithm> list = {
#define GRADUS_BY_EPISODES(make, name, learns, acts, description, source) \
  {name, description, source, learns, acts, make, nullptr},
#define GRADUS_BY_STEPS(make, name, learns, acts, description, source) \
  {name, description, source, learns, acts, nullptr, make},
#include "gradus/rl/deep/algorithms.def"
#undef GRADUS_BY_EPISODES
#undef GRADUS_BY_STEPS
  };
  return list;
}

bool can_act(const DeepAlgorithm& algorithm, const env::Space& actions) {
  return algorithm.acts == Acts::any ||
         (algorithm.acts == Acts::discrete) == std::holds_alternative<env::Discrete>(actions);
}

}  // namespace gradus::rl
