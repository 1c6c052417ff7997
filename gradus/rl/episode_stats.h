// What an episode of training brought.
#pragma once

#include <cstdint>

namespace gradus::rl {

struct EpisodeStats {
  double total_reward = 0;  // undiscounted
  int64_t length = 0;       // steps
  bool terminated = false;
  double squared_td_error = 0;  // the sum over its updates
  int64_t updates = 0;

  // A step's result, of an env::Env or of an env::FiniteEnv.
  template <class Step>
  void add(const Step& m) {
    total_reward += m.reward;
    ++length;
    terminated = m.terminated;
  }
  void add_error(double delta) {
    squared_td_error += delta * delta;
    ++updates;
  }
};

}  // namespace gradus::rl
