// gradus train WHAT/HOW|FILE.toml [key=value ...] [--out DIR] [--seed N] [--json] [--quiet]
#include <filesystem>

#include "apps/gradus/command.h"
#include "apps/gradus/train_output.h"
#include "gradus/core/file.h"
#include "gradus/run/config.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

struct TrainOptions {
  std::string what;
  std::vector<std::string> overrides;
  std::string out;
  std::string seed;
  bool json = false, quiet = false;
  bool keys = false;
};

void declare(CLI::App& command, TrainOptions& o) {
  command.add_option("WHAT/HOW|FILE.toml", o.what, "a preset (`gradus list presets`), or a configuration file")
      ->required();
  command.add_option("key=value", o.overrides, "settings, over those of the preset or file: k15.tau=0.3");
  command.add_option("--out", o.out, "run folder [runs/WHAT-HOW-N]");
  command.add_option("--seed", o.seed, "key of all randomness, like seed=N");
  command.add_flag("--json", o.json, "one JSON object per step or iteration, and nothing else on stdout");
  command.add_flag("--quiet", o.quiet, "only the end: the table, or the last JSON object");
  command.add_flag("--keys", o.keys, "print every setting with its value, and stop");
}

// A mistake in a file is a failure, one in the words of the command line a wrong usage.
posttrain::TrainConfig read(const TrainOptions& o) {
  run::ConfigText text;
  std::vector<std::string> overrides = o.overrides;
  if (!o.seed.empty()) overrides.push_back("seed=" + o.seed);
  if (o.what.ends_with(".toml")) {
    text = {o.what, read_file(o.what)};
  } else {
    const auto [preset, algorithm] = or_usage_error([&] { return posttrain::find_preset(o.what); });
    text = {fmt::format("preset {}", preset.name), std::string(preset.text)};
    if (!algorithm.empty()) overrides.insert(overrides.begin(), "algorithm=" + algorithm);
  }
  const auto from_text = run::read_config<posttrain::TrainConfig>({text}, {});
  return or_usage_error([&] { return run::read_config({}, overrides, from_text); });
}

// runs/chain-k15-1, or the next number that is free.
std::filesystem::path free_folder(const posttrain::TrainConfig& config) {
  for (int n = 1;; ++n) {
    std::filesystem::path path = fmt::format("runs/{}-{}-{}", config.task, config.algorithm, n);
    if (!std::filesystem::exists(path)) return path;
  }
}

int train(const TrainOptions& o, Output& out) {
  posttrain::TrainConfig config = read(o);
  if (o.keys) {
    out.text(run::describe_config(run::fields_of(config)));
    return kDone;
  }
  or_usage_error([&] { config.check(); });
  std::vector<std::string> command_line = {"gradus", "train", o.what};
  command_line.insert(command_line.end(), o.overrides.begin(), o.overrides.end());
  if (!o.out.empty()) command_line.insert(command_line.end(), {"--out", o.out});
  if (!o.seed.empty()) command_line.insert(command_line.end(), {"--seed", o.seed});
  runtime::install_interrupt_handlers();
  const std::filesystem::path directory = o.out.empty() ? free_folder(config) : std::filesystem::path(o.out);
  return TrainOutput(out, {.json = o.json, .quiet = o.quiet}).run([&](const posttrain::TrainObserver& observer) {
    return posttrain::train(directory, config, command_line, observer);
  });
}

}  // namespace

void add_train_command(CLI::App& app, Work& work) {
  add_command(app, work, "train", "Train on a task, or on your own data", declare, train);
}

}  // namespace gradus::app
