// gradus resume RUN [--json] [--quiet]: goes on with an interrupted run.
#include "apps/gradus/command.h"
#include "apps/gradus/job.h"
#include "apps/gradus/rl_output.h"
#include "apps/gradus/train_output.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

struct ResumeOptions {
  std::string run;
  bool json = false, quiet = false;
};

void declare(CLI::App& command, ResumeOptions& o) {
  command.add_option("RUN", o.run, "run folder")->required();
  command.add_flag("--json", o.json, "as in train");
  command.add_flag("--quiet", o.quiet, "as in train");
}

int resume(const ResumeOptions& o, Output& out) {
  runtime::install_interrupt_handlers();
  std::unique_ptr<comm::Group> group = join_job();
  const bool follows = is_follower(group.get());
  const bool is_rl = as_the_first_rank(group.get(), !follows && is_rl_run(o.run) ? "rl" : "lm") == "rl";
  const std::vector<std::string> words = {"gradus", "resume", o.run};
  if (is_rl) {
    return RlOutput(out, {.json = o.json, .follows = follows, .quiet = o.quiet})
        .run([&](const rl::TrainObserver& observer) { return rl::resume(o.run, words, observer, std::move(group)); });
  }
  return TrainOutput(out, {.json = o.json, .follows = follows, .quiet = o.quiet})
      .run([&](const posttrain::TrainObserver& observer) {
        return posttrain::resume(o.run, words, observer, std::move(group));
      });
}

}  // namespace

void add_resume_command(CLI::App& app, Work& work) {
  add_command(app, work, "resume", "Go on with an interrupted run, bit for bit", declare, resume);
}

}  // namespace gradus::app
