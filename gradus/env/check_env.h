// Whether an environment keeps the rules that learners rely on: `gradus check-env`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "gradus/env/vec_env.h"

namespace gradus::env {

struct CheckConfig {
  int64_t steps = 1000;  // of each check, by random actions; as many as it takes to reach a time limit
  uint64_t seed = 1;
};

enum class Verdict { passed, failed, not_seen };  // not_seen: nothing happened that could be judged
std::string_view name(Verdict verdict);

struct Finding {
  std::string check;
  Verdict verdict = Verdict::passed;
  std::string detail;  // what was seen; of a failure: what is wrong, and where
};

// Calls on_finding once for each check, as soon as it is done:
//   spaces       bounds are in order, sizes above 0, whole numbers exact as float32
//   reset        first observations are within their space, and finite as float32
//   step         so are all others; rewards are finite
//   seed         a seed gives the same episodes, here and in another copy; another seed others, if starts differ at all
//   determinism  same seed and actions, same bits: observations, rewards, ends
//   time limit   no episode is longer than max_episode_steps, and at the limit it is truncated
//   after end    a step after an episode's end is refused, until a reset
//   actions      an action outside its space is refused, and the environment goes on
//   autoreset    many copies (VecEnv, two threads) see in each mode what a plain loop sees, row by row
//   resume       replaying an episode's seed and actions leads to the same place and the same future
// The first failure of `spaces` ends it, since nothing else can be judged. Returns whether none failed. Throws what
// `make` throws; what an environment throws later is a finding.
bool check_env(const EnvFactory& make, const CheckConfig& config,
               const std::function<void(const Finding&)>& on_finding);

}  // namespace gradus::env
