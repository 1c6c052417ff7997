// gradus play RUN [--svg FILE] [--json]: episodes with the greedy policy that a run has learned, to be watched on a
// terminal or as a picture, or read as a table of steps.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "apps/gradus/animation.h"
#include "apps/gradus/command.h"
#include "apps/gradus/rl_output.h"
#include "gradus/core/file.h"
#include "gradus/env/frame_svg.h"
#include "gradus/rl/train.h"

namespace gradus::app {

namespace {

namespace fs = std::filesystem;

struct PlayOptions {
  std::string run, svg;
  int64_t seed = 1;
  int64_t episodes = 1, steps = 1000;
  double speed = 1;
  bool best = false, json = false;
};

void declare(CLI::App& command, PlayOptions& o) {
  command.add_option("RUN", o.run, "run folder of a training in an environment")->required();
  command.add_option("--seed", o.seed, "of the environment")->check(at_least(0))->capture_default_str();
  command.add_option("--episodes", o.episodes, "one after another")->check(at_least(1))->capture_default_str();
  command.add_option("--steps", o.steps, "of an episode at most so many")->check(at_least(1))->capture_default_str();
  command.add_option("--svg", o.svg, "write an animated picture to this file, for any browser");
  command.add_option("--speed", o.speed, "of an animation on a terminal; 1 = real time, 0 = as fast as it goes")
      ->check(at_least(0))
      ->capture_default_str();
  command.add_flag("--best", o.best, "the checkpoint whose evaluation was best, not the latest");
  command.add_flag("--json", o.json, "one JSON object per step");
}

// Before anything is played for it.
void check_svg(const fs::path& file) {
  std::error_code ignored;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (!fs::is_directory(folder, ignored)) {
    throw UsageError(
        fmt::format("play: --svg {}: there is no folder {}; make it first", file.string(), folder.string()));
  }
  if (fs::exists(file, ignored) && !fs::is_regular_file(file, ignored)) {
    throw UsageError(fmt::format("play: --svg {} is no file; give a name such as episode.svg", file.string()));
  }
}

// Whether the reader of `out` wants to see pictures and not text.
bool animates(const PlayOptions& o, const Output& out) {
  const char* kind = std::getenv("TERM");
  return !o.json && o.svg.empty() && out.terminal() && kind != nullptr && std::string_view(kind) != "dumb";
}

struct Episode {
  std::vector<rl::PlayedStep> steps;
  std::vector<env::Frame> frames;  // [steps + 1], or none where the environment does not draw itself
};

Episode play_episode(rl::Agent& agent, const PlayOptions& o, int64_t k, bool watched) {
  Rng rng(static_cast<uint64_t>(o.seed), Purpose::held_out, static_cast<uint64_t>(k));
  Episode e;
  const auto watch = [&](const env::Env& env) {
    if (auto frame = env.frame()) e.frames.push_back(std::move(*frame));
  };
  e.steps = agent.play(rng, o.steps, watched ? rl::Watch(watch) : rl::Watch());
  return e;
}

void print_json(const Episode& e, Output& out) {
  for (const rl::PlayedStep& step : e.steps) {
    out.json_line({{"state", step.state},
                   {"action", step.action},
                   {"reward", step.reward},
                   {"next", step.next},
                   {"terminated", step.terminated},
                   {"truncated", step.truncated}});
  }
}

void print_table(const Episode& e, Output& out) {
  size_t width = 0;
  for (const rl::PlayedStep& step : e.steps) width = std::max(width, step.state.size());
  for (const rl::PlayedStep& step : e.steps) {
    out.text(fmt::format("{:>4}  {:<{}}  {:<8} {:>7.4g}  {}\n", &step - e.steps.data() + 1, step.state, width,
                         step.action, step.reward, step.next));
  }
}

void print_end(const Episode& e, Output& out) {
  double total = 0;
  for (const rl::PlayedStep& step : e.steps) total += step.reward;
  const bool terminated = !e.steps.empty() && e.steps.back().terminated;
  out.text(fmt::format("return {:.6g} after {} steps, {}\n", total, e.steps.size(),
                       terminated ? "terminated" : "cut there"));
}

// Returns false when Ctrl-C ended it.
bool animate_episode(const Episode& e, double speed, Output& out) {
  double total = 0;  // of the steps before the frame
  const auto caption = [&](size_t t) {
    if (t == 0) return std::string("step 0");
    const rl::PlayedStep& step = e.steps[t - 1];
    total += step.reward;
    return fmt::format("step {}  action {}  reward {:.4g}  return {:.6g}", t, step.action, step.reward, total);
  };
  return animate(e.frames, {.speed = speed, .caption = caption}, out);
}

void write_svg(const std::string& file, const std::vector<std::vector<env::Frame>>& films, const PlayOptions& o,
               Output& out) {
  constexpr size_t kMostBytes = 300'000;  // what a page loads at once
  const std::string svg = env::animated_svg(films, kMostBytes);
  try {
    write_file_atomically(file, svg);
  } catch (const Error& e) {
    fail(e.code(), "play: {}; give --svg another file", e.what());
  }
  if (!o.json) out.text(fmt::format("{}: {} kB, for any browser\n", file, (svg.size() + 999) / 1000));
}

int play(const PlayOptions& o, Output& out) {
  if (!o.svg.empty()) check_svg(o.svg);
  const rl::Trained trained = rl::load_run(o.run, o.best ? rl::Which::best : rl::Which::latest);
  if (!trained.agent->has_policy()) {
    throw UsageError(
        fmt::format("play: {} learns the values of a given policy, and has none of its own to play; take a "
                    "control algorithm, such as q-learning",
                    trained.config.algorithm));
  }
  const bool animated = animates(o, out);
  std::vector<std::vector<env::Frame>> films;
  for (int64_t k = 0; k < o.episodes; ++k) {
    Episode e = play_episode(*trained.agent, o, k, animated || !o.svg.empty());
    if (!o.svg.empty() && e.frames.empty()) {
      throw UsageError(
          fmt::format("play: the environment {} draws no pictures of itself; leave out --svg for a table of its steps",
                      trained.config.env.name));
    }
    const bool seen = animated && !e.frames.empty();
    if (seen && !animate_episode(e, o.speed, out)) return kInterrupted;
    if (o.json) print_json(e, out);
    if (!o.json && !seen && o.svg.empty()) print_table(e, out);
    if (!o.json) print_end(e, out);
    if (!o.svg.empty()) films.push_back(std::move(e.frames));
  }
  if (!o.svg.empty()) write_svg(o.svg, films, o, out);
  return kDone;
}

}  // namespace

void add_play_command(CLI::App& app, Work& work) {
  add_command(app, work, "play", "Watch episodes of the policy that a run has learned", declare, play);
}

}  // namespace gradus::app
