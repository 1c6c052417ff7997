// A whole training run of classic RL from a configuration: environment, seeds side by side, metrics, checkpoints,
// pictures. What `gradus train`, `resume`, `eval` and `play` do for environments, for any program.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gradus/comm/group.h"
#include "gradus/env/finite_mdp.h"
#include "gradus/rl/train_config.h"
#include "gradus/rl/trial.h"

namespace gradus::rl {

// Means over the seeds, of what happened since the last report.
struct Report {
  int64_t done = 0;                                            // episodes or steps, as the agent counts
  std::optional<MeanOfSeeds> total_reward{}, length{};         // of the episodes that ended, if any did
  std::optional<MeanOfSeeds> evaluation{};                     // return of the greedy policy, when it was tried
  std::vector<std::pair<std::string, MeanOfSeeds>> metrics{};  // td_error, bellman_residual, value_error, ...
  double steps_per_s = 0;                                      // environment steps of all seeds together

  // Null if it was not measured.
  const MeanOfSeeds* find(std::string_view metric) const;
};

struct TrainObserver {
  std::function<void(const std::string& line)> on_note{};
  // Before the first episode or step of this process; `total` is what the run is to do.
  std::function<void(int64_t done, int64_t total, Agent::Unit unit)> on_begin{};
  std::function<void(const Report&)> on_report{};
  std::function<bool()> should_stop{};
};

struct TrainSummary {
  TrainConfig config;
  std::filesystem::path directory;
  std::optional<Report> last;
  std::shared_ptr<const env::FiniteMdp> mdp;  // of a finite environment, or null; what follows is of the first seed
  std::vector<double> V;                      // [n_states]
  Table Q;                                    // [n_states, n_actions], or pi(a|s), or empty
  std::vector<double> exact_V;  // what V should be: the optimum, or the policy's values; empty where there is none
  std::vector<std::filesystem::path> pictures;
};

// A new run in `directory`. Throws what the parts throw; interrupted when should_stop said so, after a checkpoint.
// Ranks of a group train together, one seed after the other: each calls this, the first one writes the folder and
// observes, all are asked whether to stop. Throws unsupported when the algorithm is not for several ranks.
TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer = {},
                   std::unique_ptr<comm::Group> group = nullptr);

// Goes on with an interrupted run; a finished one only returns its summary. The number of ranks may be another one.
TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& observer = {}, std::unique_ptr<comm::Group> group = nullptr);

TrainConfig config_of_run(const std::filesystem::path& directory);

// The agent of a run's first seed, with what it has learned by the latest checkpoint, or by the one whose evaluation
// was best. Throws not_found, corrupt.
struct Trained {
  TrainConfig config;
  std::unique_ptr<Agent> agent;
};
enum class Which { latest, best };
Trained load_run(const std::filesystem::path& directory, Which which = Which::latest);

}  // namespace gradus::rl
