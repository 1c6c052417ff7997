// gradus train WHAT/HOW|FILE.toml [key=value ...] [--out DIR] [--seed N] [--json] [--quiet]
#include <filesystem>

#include "apps/gradus/command.h"
#include "apps/gradus/job.h"
#include "apps/gradus/rl_output.h"
#include "apps/gradus/train_output.h"
#include "gradus/core/file.h"
#include "gradus/run/config.h"
#include "gradus/run/presets.h"
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

// The texts of what is to be trained, a later one over an earlier one, and the overrides of the command line.
struct Wish {
  std::vector<run::ConfigText> texts;
  std::vector<std::string> overrides;
  bool is_rl = false;  // an environment, not a task of a language model
};

Wish wish_of(const TrainOptions& o) {
  Wish wish;
  wish.overrides = o.overrides;
  if (!o.seed.empty()) wish.overrides.push_back("seed=" + o.seed);
  if (o.what.ends_with(".toml")) {
    wish.texts = {{o.what, read_file(o.what)}};
    wish.is_rl = run::defines(wish.texts.front(), "env");
    return wish;
  }
  const auto [preset, algorithm, own] = or_usage_error([&] { return run::find_preset(o.what); });
  const auto text_of = [](const run::Preset& p) {
    return run::ConfigText{fmt::format("preset {}", p.name), std::string(p.text)};
  };
  wish.texts = {text_of(preset)};
  if (own) wish.texts.push_back(text_of(*own));
  wish.is_rl = preset.room == "rl";
  if (algorithm.empty()) return wish;
  or_usage_error(
      [&] { wish.is_rl ? static_cast<void>(rl::find_algorithm(algorithm)) : posttrain::check_algorithm(algorithm); });
  const std::string_view how = wish.is_rl ? algorithm : posttrain::algorithm_on(preset.name, algorithm);
  wish.overrides.insert(wish.overrides.begin(), fmt::format("algorithm={}", how));
  return wish;
}

// A mistake in a file is a failure, one in the words of the command line a wrong usage.
template <class Config>
Config read(const Wish& wish) {
  const auto from_text = run::read_config<Config>(wish.texts, {});
  return or_usage_error([&] { return run::read_config({}, wish.overrides, from_text); });
}

// runs/chain-k15-1, or the next number that is free.
std::filesystem::path free_folder(std::string_view what, std::string_view how) {
  for (int n = 1;; ++n) {
    std::filesystem::path path = fmt::format("runs/{}-{}-{}", what, how, n);
    if (!std::filesystem::exists(path)) return path;
  }
}

std::vector<std::string> command_line_of(const TrainOptions& o) {
  std::vector<std::string> words = {"gradus", "train", o.what};
  words.insert(words.end(), o.overrides.begin(), o.overrides.end());
  if (!o.out.empty()) words.insert(words.end(), {"--out", o.out});
  if (!o.seed.empty()) words.insert(words.end(), {"--seed", o.seed});
  return words;
}

// Config, task name and Train differ between language models and environments, and nothing else does.
template <class Show, class Config, class Train>
int train_with(const TrainOptions& o, Output& out, const Config& config, std::string_view what, Train train) {
  if (o.keys) {
    Config shown = config;
    out.text(run::describe_config(run::fields_of(shown)));
    return kDone;
  }
  or_usage_error([&] { config.check(); });
  runtime::install_interrupt_handlers();
  std::unique_ptr<comm::Group> group = join_job();
  const std::filesystem::path directory =
      as_the_first_rank(group.get(), o.out.empty() ? free_folder(what, config.algorithm).string() : o.out);
  return Show(out, {.json = o.json, .follows = is_follower(group.get()), .quiet = o.quiet})
      .run([&](const auto& observer) {
        return train(directory, config, command_line_of(o), observer, std::move(group));
      });
}

int train(const TrainOptions& o, Output& out) {
  const Wish wish = wish_of(o);
  if (wish.is_rl) {
    const auto config = read<rl::TrainConfig>(wish);
    return train_with<RlOutput>(o, out, config, config.env.name, rl::train);
  }
  const auto config = read<posttrain::TrainConfig>(wish);
  return train_with<TrainOutput>(o, out, config, config.task, posttrain::train);
}

}  // namespace

void add_train_command(CLI::App& app, Work& work) {
  add_command(app, work, "train", "Train on a task, in an environment, or on your own data", declare, train);
}

}  // namespace gradus::app
