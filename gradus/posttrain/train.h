// A whole training run from a configuration: task, model, warm-up, RL, evaluations, run folder. What `gradus train`,
// `resume` and `eval` do, for any program.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gradus/posttrain/drafting_report.h"
#include "gradus/posttrain/memory_plan.h"
#include "gradus/posttrain/train_config.h"
#include "gradus/posttrain/training.h"

namespace gradus::posttrain {

// What a run tells while it works; each callback may be empty.
struct TrainObserver {
  std::function<void(const std::string& line)> on_note;  // a fact worth a line: how data were read, where the run lies
  std::function<void(const Progress&)> on_step;
  std::function<void(std::string_view when, const EvaluationPair&)> on_evaluation;  // "before", "after"
  std::function<void(std::string_view when, const HeldOutLoss&)> on_held_out_loss;  // the same of a run on plain text
  std::function<void(std::string_view when, const HeadsQuality&)> on_heads;         // the same of Medusa heads
  // Before anything large is there: in another precision than fp32, of a model that was given, and from a gigabyte on.
  std::function<void(std::string_view precision, const MemoryPlan&, const MemoryPlan& in_fp32)> on_memory_plan;
  std::function<bool()> should_stop;
};

// What the trained model answers to a held-out problem, greedily.
struct Example {
  std::string prompt, answer;
  bool correct = false;
  bool ended = true;  // false: cut at k15.max_tokens
};

struct TrainSummary {
  TrainConfig config;
  TrainState state;
  std::filesystem::path directory;
  std::vector<Example> examples;
  std::optional<Continuation> continuation;     // of a run on plain text, which has no examples
  std::optional<DraftingReport> drafting;       // of a run that trained heads
  std::vector<std::filesystem::path> pictures;  // curves.svg, warm-up.svg: gradus/posttrain/curves.h
};

// A new run in `directory`. `command_line` is kept in the record. Ranks of a group train together: each calls this, the
// first one writes the folder and observes. Throws what the parts throw.
TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer = {},
                   std::unique_ptr<comm::Group> group = nullptr);

// Goes on with an interrupted run; a finished one only returns its summary. Warns through on_note when what decides
// bits has changed. The number of ranks may be another one.
TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& observer = {}, std::unique_ptr<comm::Group> group = nullptr);

// Sampled and greedy accuracy of a run's latest checkpoint, or of a model folder on `config`'s task.
EvaluationPair evaluate_model(lm::Model& model, const Task& task, const TrainConfig& config);

// The held-out loss of a model on the plain text of `config`. Reads it.
HeldOutLoss evaluate_on_text(lm::Model& model, const TrainConfig& config);

// Where the model of `path` lies: a model folder itself, or the latest checkpoint of a run folder. Throws not_found.
std::filesystem::path model_folder_of(const std::filesystem::path& path);

// What the model of `path` is computed in: `precision`, or, when that is "", a run's own, or what a model folder's
// weights are stored in. Throws not_found, corrupt, or invalid_argument on a precision that does not exist.
nn::Precision precision_of_model(const std::filesystem::path& path, std::string_view precision = "");

// The model of `path`, to be read only, in precision_of_model. Throws what that and lm::load throw.
lm::Model load_model(const std::filesystem::path& path, std::string_view precision = "");

// The configuration of a run folder, from its config.toml.
TrainConfig config_of_run(const std::filesystem::path& directory);

}  // namespace gradus::posttrain
