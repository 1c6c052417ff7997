// What a training run shows: live progress, the table before and after, or JSON lines. Shared by `train` and `resume`.
#pragma once

#include <functional>
#include <memory>

#include "apps/gradus/output.h"
#include "apps/gradus/output_watch.h"
#include "gradus/posttrain/train.h"
#include "gradus/run/progress.h"

namespace gradus::app {

struct TrainOutputOptions {
  bool json = false;
  bool follows = false;  // another rank of the job shows everything
  bool quiet = false;    // nothing but the end: the table, or the JSON object of event "done"
};

class TrainOutput {
 public:
  TrainOutput(Output& out, const TrainOutputOptions& options) : out_(out), options_(options) {}

  // Runs `work` with an observer that shows what happens, then shows its summary; returns the exit code. Ctrl-C is
  // asked for an end (the handlers must be installed). So is an output that can no longer be written: the run saves a
  // checkpoint and leaves, quietly with kInterrupted when nobody reads any more, else with the output's error.
  int run(const std::function<posttrain::TrainSummary(const posttrain::TrainObserver&)>& work);

 private:
  posttrain::TrainObserver observer();
  void show_note(const std::string& line);
  void show_memory_plan(std::string_view precision, const posttrain::MemoryPlan& plan,
                        const posttrain::MemoryPlan& in_fp32);
  void show_evaluation(std::string_view when, const posttrain::EvaluationPair& pair);
  void show_held_out_loss(std::string_view when, const posttrain::HeldOutLoss& loss);
  void show_heads(std::string_view when, const posttrain::HeadsQuality& quality);
  void show_step(const posttrain::Progress& progress);
  void end_phase();

  // The end of a run: the table, readable rollouts, where everything lies, what to try next.
  void show_summary(const posttrain::TrainSummary& summary);
  void show_summary_json(const posttrain::TrainSummary& summary);
  // The same of a run on plain text.
  void show_text_summary(const posttrain::TrainSummary& summary);
  void show_text_summary_json(const posttrain::TrainSummary& summary);
  // And of one that trained Medusa heads.
  void show_heads_summary(const posttrain::TrainSummary& summary);
  void show_heads_summary_json(const posttrain::TrainSummary& summary);

  Output& out_;
  TrainOutputOptions options_;
  OutputWatch watch_;
  std::string phase_;
  std::unique_ptr<run::Progress> line_;
  std::string last_detail_;
};

}  // namespace gradus::app
