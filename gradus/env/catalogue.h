// All environments by name, and their settings.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/env/bandit.h"
#include "gradus/env/blackjack.h"
#include "gradus/env/cliff_walking.h"
#include "gradus/env/env.h"
#include "gradus/env/frozen_lake.h"
#include "gradus/env/grid_world.h"
#include "gradus/env/lander_world.h"
#include "gradus/env/program_env.h"
#include "gradus/env/random_walk.h"
#include "gradus/env/windy_grid_world.h"

namespace gradus::env {

struct EnvConfig {
  std::string name = "grid";
  int64_t max_episode_steps = -1;
  int64_t action_bins = 0;
  GridWorldConfig grid;
  RandomWalkConfig walk;
  CliffWalkingConfig cliff;
  WindyGridWorldConfig windy;
  BlackjackConfig blackjack;
  FrozenLakeConfig frozenlake;
  BanditConfig bandit;
  LunarLanderConfig lunarlander;
  ProgramEnvConfig program;

  template <class F>
  void fields(F& f) {
    f("env", name, "the environment: see `gradus list envs`, or the path of a program of your own");
    f("max_episode_steps", max_episode_steps, "time limit; 0 = none, -1 = the environment's own");
    f("action_bins", action_bins,
      "an action that is a number between two bounds becomes one of so many, evenly spaced; 0 = as it is");
    f.section("grid", grid);
    f.section("walk", walk);
    f.section("cliff", cliff);
    f.section("windy", windy);
    f.section("blackjack", blackjack);
    f.section("frozenlake", frozenlake);
    f.section("bandit", bandit);
    f.section("lunarlander", lunarlander);
    f.section("program", program);
  }
};

struct NamedEnvironment {
  std::string_view name, description, source;
  std::unique_ptr<Env> (*make)(const EnvConfig& config);
};
const std::vector<NamedEnvironment>& environments();

// Throws invalid_argument on an unknown name, with the nearest, and what the environment throws. A name that holds a
// '/' or ends in ".py" is a program (program_env.h).
std::unique_ptr<Env> make_env(const EnvConfig& config);

}  // namespace gradus::env
