#include "gradus/env/catalogue.h"

#include "gradus/core/error.h"
#include "gradus/env/finite_env.h"

namespace gradus::env {

const std::vector<NamedEnvironment>& environments() {
  static const std::vector<NamedEnvironment> list = {
      {"grid", "walk to a target around forbidden cells", "Zhao, chapter 1"},
  };
  return list;
}

std::unique_ptr<Env> make_env(const EnvConfig& c) {
  const int64_t limit = c.max_episode_steps < 0 ? 0 : c.max_episode_steps;
  require(c.name == "grid", "environment '{}' is not known", c.name);
  return std::make_unique<FiniteEnv>(grid_world(c.grid), FiniteEnv::Config{.id = c.name, .max_episode_steps = limit});
}

}  // namespace gradus::env
