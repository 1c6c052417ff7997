// gradus play RUN [--json]: walks an episode with the greedy policy that a run has learned.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "apps/gradus/rl_output.h"
#include "gradus/rl/train.h"

namespace gradus::app {

namespace {

struct PlayOptions {
  std::string run;
  int64_t seed = 1;
  int64_t steps = 1000;
  bool best = false, json = false;
};

void declare(CLI::App& command, PlayOptions& o) {
  command.add_option("RUN", o.run, "run folder of a training in an environment")->required();
  command.add_option("--seed", o.seed, "of the environment")->check(at_least(0))->capture_default_str();
  command.add_option("--steps", o.steps, "at most so many")->check(at_least(1))->capture_default_str();
  command.add_flag("--best", o.best, "the checkpoint whose evaluation was best, not the latest");
  command.add_flag("--json", o.json, "one JSON object per step");
}

int play(const PlayOptions& o, Output& out) {
  const rl::Trained trained = rl::load_run(o.run, o.best ? rl::Which::best : rl::Which::latest);
  if (!trained.agent->has_policy()) {
    throw UsageError(
        fmt::format("play: {} learns the values of a given policy, and has none of its own to play; take a "
                    "control algorithm, such as q-learning",
                    trained.config.algorithm));
  }
  Rng rng(static_cast<uint64_t>(o.seed), Purpose::held_out);
  const auto steps = trained.agent->play(rng, o.steps);
  double total = 0;
  size_t width = 0;
  for (const rl::PlayedStep& step : steps) width = std::max(width, step.state.size());
  for (const rl::PlayedStep& step : steps) {
    total += step.reward;
    if (o.json) {
      out.json_line({{"state", step.state},
                     {"action", step.action},
                     {"reward", step.reward},
                     {"next", step.next},
                     {"terminated", step.terminated},
                     {"truncated", step.truncated}});
    } else {
      out.text(fmt::format("{:>4}  {:<{}}  {:<8} {:>7.4g}  {}\n", &step - steps.data() + 1, step.state, width,
                           step.action, step.reward, step.next));
    }
  }
  const bool terminated = !steps.empty() && steps.back().terminated;
  if (!o.json) {
    out.text(fmt::format("return {:.6g} after {} steps, {}\n", total, steps.size(),
                         terminated ? "terminated" : "cut there"));
  }
  return kDone;
}

}  // namespace

void add_play_command(CLI::App& app, Work& work) {
  add_command(app, work, "play", "Walk an episode with the policy that a run has learned", declare, play);
}

}  // namespace gradus::app
