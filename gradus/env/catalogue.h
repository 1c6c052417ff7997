// All environments by name, and their settings.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/env/grid_world.h"

namespace gradus::env {

struct EnvConfig {
  std::string name = "grid";
  int64_t max_episode_steps = -1;
  GridWorldConfig grid;

  template <class F>
  void fields(F& f) {
    f("env", name, "the environment: see `gradus list envs`");
    f("max_episode_steps", max_episode_steps, "time limit; 0 = none, -1 = the environment's own");
    f.section("grid", grid);
  }
};

struct NamedEnvironment {
  std::string_view name, description, source;
};
const std::vector<NamedEnvironment>& environments();

// Throws invalid_argument on an unknown name, with the nearest, and what the environment throws.
std::unique_ptr<Env> make_env(const EnvConfig& config);

}  // namespace gradus::env
