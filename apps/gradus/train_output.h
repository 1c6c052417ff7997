// What a training run shows: live progress, the table before and after, or JSON lines. Shared by `train` and `resume`.
#pragma once

#include <memory>

#include "apps/gradus/output.h"
#include "gradus/posttrain/train.h"
#include "gradus/run/progress.h"

namespace gradus::app {

struct TrainOutputOptions {
  bool json = false;
  bool quiet = false;  // nothing but the final table
};

class TrainOutput {
 public:
  TrainOutput(Output& out, const TrainOutputOptions& options) : out_(out), options_(options) {}

  posttrain::TrainObserver observer();

  // The end of a run: the table, readable rollouts, where everything lies, what to try next; or the JSON object of event "done".
  void finish(const posttrain::TrainSummary& summary);

 private:
  void show(const posttrain::Progress& progress);
  void show_json(const posttrain::Progress& progress);
  void end_phase();

  Output& out_;
  TrainOutputOptions options_;
  std::string phase_;
  std::unique_ptr<run::Progress> line_;
  double first_fraction_ = 0;
  std::string last_detail_;
};

}  // namespace gradus::app
