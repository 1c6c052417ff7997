// A whole training run of classic RL from a configuration: environment, seeds side by side, metrics, checkpoints,
// pictures. What `gradus train`, `resume`, `eval` and `play` do for environments, for any program.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/train_config.h"
#include "gradus/rl/trial.h"

namespace gradus::rl {

// Means over the seeds, and over the episodes since the last report.
struct Report {
  int64_t episode = 0;                            // so many are done
  MeanOfSeeds total_reward, length, td_error;     // td_error: root mean square
  std::optional<MeanOfSeeds> bellman_residual{};  // of the values (dynamic_programming.h), in a finite environment
  std::optional<MeanOfSeeds> value_error{};       // against the exact values, where there are any
  double steps_per_s = 0;                         // environment steps of all seeds together
};

struct TrainObserver {
  std::function<void(const std::string& line)> on_note{};
  std::function<void(int64_t done, int64_t episodes)> on_begin{};  // before the first episode of this process
  std::function<void(const Report&, int64_t episodes)> on_report{};
  std::function<bool()> should_stop{};
};

struct TrainSummary {
  TrainConfig config;
  std::filesystem::path directory;
  std::optional<Report> last;
  std::shared_ptr<const env::FiniteMdp> mdp;  // of a finite environment, or null; what follows is of the first seed
  std::vector<double> V;                      // [n_states]
  Table Q;                                    // [n_states, n_actions], or empty
  std::vector<double> exact_V;  // what V should be: the optimum, or the policy's values; empty where there is none
  std::vector<std::filesystem::path> pictures;
};

// A new run in `directory`. Throws what the parts throw; interrupted when should_stop said so, after a checkpoint.
TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer = {});

// Goes on with an interrupted run; a finished one only returns its summary.
TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& observer = {});

TrainConfig config_of_run(const std::filesystem::path& directory);

// The agent of a run's first seed, with what it has learned by the latest checkpoint. Throws not_found, corrupt.
struct Trained {
  TrainConfig config;
  std::unique_ptr<Agent> agent;
};
Trained load_run(const std::filesystem::path& directory);

}  // namespace gradus::rl
