// One training of a tabular algorithm from one seed, and many of them side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradus/env/finite_env.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

// The same seed gives the same bits, however many trials run beside it and on whatever thread. Movable.
class Trial {
 public:
  // Throws what make_learner throws.
  Trial(env::FiniteEnv env, std::string_view algorithm, const TabularConfig& config, uint64_t seed);

  void run(int64_t episodes);

  uint64_t seed() const { return seed_; }
  Learner& learner() { return *learner_; }
  const Learner& learner() const { return *learner_; }
  env::FiniteEnv& env() { return env_; }
  const std::vector<EpisodeStats>& episodes() const { return episodes_; }

  // Forgets the stats of the first `episode` episodes; for one that goes on from a checkpoint, whose learner's tables
  // are those after them.
  void continue_after(int64_t episode) {
    first_ = episode;
    episodes_.clear();
  }

 private:
  env::FiniteEnv env_;
  std::unique_ptr<Learner> learner_;
  uint64_t seed_;
  int64_t first_ = 0;
  std::vector<EpisodeStats> episodes_;  // from first_ on
};

// `episodes` more of each, in parallel on pool(). The first error of a trial is thrown after all have stopped.
void run_trials(std::vector<Trial>& trials, int64_t episodes);

// A mean over seeds and its standard error, the sample's deviation by the root of their number (0 for one).
struct MeanOfSeeds {
  double mean = 0, standard_error = 0;
};
MeanOfSeeds mean_of_seeds(const std::vector<double>& values);

}  // namespace gradus::rl
