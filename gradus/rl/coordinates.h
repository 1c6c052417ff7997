// Where the states of a finite Markov decision process lie, so that features can be made of them, and a finite
// environment that shows an agent these points instead of numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/env/finite_env.h"
#include "gradus/env/finite_mdp.h"

namespace gradus::rl {

// The points of the states: (column, row) where the picture shows each state once, else the state's number alone.
struct Coordinates {
  env::Box box;                             // what holds them all
  std::vector<std::vector<double>> points;  // [n_states]
  bool on_plane = false;                    // else the points are numbers
};
Coordinates coordinates_of(const env::FiniteMdp& mdp);

// The same environment with points as observations.
class CoordinateEnv final : public env::Env {
 public:
  //   env  outlives this, and is stepped by nobody else
  explicit CoordinateEnv(env::FiniteEnv& env);

  const env::EnvSpec& spec() const override { return spec_; }
  env::Observation reset(std::optional<uint64_t> seed, const env::Options& options) override {
    env_.reset(seed, options);
    return point();
  }
  env::StepResult step(std::span<const double> action) override {
    env::StepResult result = env_.step(action);
    result.observation = point();
    return result;
  }
  env::FiniteEnv* finite() override { return &env_; }

  int32_t state() const { return env_.state(); }
  const Coordinates& coordinates() const { return coordinates_; }

 private:
  env::Observation point() const { return coordinates_.points[static_cast<size_t>(env_.state())]; }
  env::FiniteEnv& env_;
  Coordinates coordinates_;
  env::EnvSpec spec_;
};

}  // namespace gradus::rl
