// What a training run in an environment shows: live progress, then values and policy, or JSON lines.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "apps/gradus/output.h"
#include "apps/gradus/output_watch.h"
#include "gradus/rl/train.h"
#include "gradus/run/progress.h"

namespace gradus::app {

// Whether a run folder holds a training in an environment, not one of a language model.
bool is_rl_run(const std::string& directory);

struct RlOutputOptions {
  bool json = false;
  bool follows = false;  // another rank of the job shows everything
  bool quiet = false;    // nothing but the end
};

class RlOutput {
 public:
  RlOutput(Output& out, const RlOutputOptions& options) : out_(out), options_(options) {}

  // As TrainOutput::run.
  int run(const std::function<rl::TrainSummary(const rl::TrainObserver&)>& work);

 private:
  rl::TrainObserver observer();
  void begin_line(int64_t done, int64_t total, rl::Agent::Unit unit);
  void show_report(const rl::Report& report);
  void end_line();
  void show_summary(const rl::TrainSummary& summary);
  void show_summary_json(const rl::TrainSummary& summary);

  Output& out_;
  RlOutputOptions options_;
  OutputWatch watch_;
  std::unique_ptr<run::Progress> line_;
  std::string last_detail_, evaluation_;
  rl::Agent::Unit unit_ = rl::Agent::Unit::episodes;
};

}  // namespace gradus::app
