#include "gradus/rl/deep/deep_agent.h"

namespace gradus::rl {

#define GRADUS_DEEP(make, name, learns, description, source) \
  std::unique_ptr<EpisodeAgent> make(std::unique_ptr<env::Env> env, const DeepConfig& config, uint64_t seed);
#include "gradus/rl/deep/algorithms.def"
#undef GRADUS_DEEP

const std::vector<DeepAlgorithm>& deep_algorithms() {
  using enum Learns;
  static const std::vector<DeepAlgorithm> list = {
#define GRADUS_DEEP(make, name, learns, description, source) {name, description, source, learns, make},
#include "gradus/rl/deep/algorithms.def"
#undef GRADUS_DEEP
  };
  return list;
}

}  // namespace gradus::rl
