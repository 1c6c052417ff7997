// One training from one seed, and many of them side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "gradus/rl/agent.h"
#include "gradus/rl/tabular/tabular_agent.h"

namespace gradus::rl {

// The same seed gives the same bits, however many trials run beside it and on whatever thread. Movable.
class Trial {
 public:
  Trial(std::unique_ptr<EpisodeAgent> agent, uint64_t seed) : agent_(std::move(agent)), seed_(seed) {}
  // A tabular algorithm. Throws what make_learner throws.
  Trial(env::FiniteEnv env, std::string_view algorithm, const LearnerConfig& config, uint64_t seed)
      : Trial(std::make_unique<TabularAgent>(std::move(env), algorithm, config), seed) {}

  void run(int64_t episodes);

  uint64_t seed() const { return seed_; }
  EpisodeAgent& agent() const { return *agent_; }
  const std::vector<EpisodeStats>& episodes() const { return episodes_; }

  // Forgets the stats of the first `episode` episodes; for one that goes on from a checkpoint, whose agent has the
  // state after them.
  void continue_after(int64_t episode) {
    first_ = episode;
    episodes_.clear();
  }

 private:
  std::unique_ptr<EpisodeAgent> agent_;
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

// Root mean square of V - exact over the states that `exact` has, the first of V.
double rms_error(const std::vector<double>& V, const std::vector<double>& exact);

}  // namespace gradus::rl
