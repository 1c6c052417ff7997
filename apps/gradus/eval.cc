// gradus eval RUN|MODEL [key=value ...] [--json]: accuracy on held-out problems, sampled and greedy, or loss on
// held-out text.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "apps/gradus/rl_output.h"
#include "gradus/posttrain/train.h"
#include "gradus/rl/evaluation.h"
#include "gradus/run/config.h"
#include "gradus/run/presets.h"

namespace gradus::app {

namespace {

struct EvalOptions {
  std::string target;
  std::vector<std::string> overrides;
  std::string task;
  int64_t episodes = 0;
  bool best = false, json = false;
};

void declare(CLI::App& command, EvalOptions& o) {
  command.add_option("RUN|MODEL", o.target, "run folder (its latest checkpoint), or model folder")->required();
  command.add_option("key=value", o.overrides, "settings over those of the run: chain.max_operators=10");
  command.add_option("--task", o.task, "for a model folder: the preset whose task it is asked [chain]");
  command
      .add_option("--episodes", o.episodes, "held-out problems [eval.problems], or episodes of an environment [1000]")
      ->check(at_least(1));
  command.add_flag("--best", o.best, "of a run in an environment: the checkpoint whose evaluation was best");
  command.add_flag("--json", o.json, "one JSON object per kind of sampling");
}

posttrain::TrainConfig config_of(const EvalOptions& o) {
  posttrain::TrainConfig config;
  if (std::filesystem::exists(run::RunPaths{o.target}.config())) {
    if (!o.task.empty()) throw UsageError(fmt::format("eval: --task is for a model folder, but {} is a run", o.target));
    config = posttrain::config_of_run(o.target);
  } else {
    const auto preset = or_usage_error([&] { return run::find_preset(o.task.empty() ? "chain" : o.task).preset; });
    config = run::read_config<posttrain::TrainConfig>(
        {{fmt::format("preset {}", preset.name), std::string(preset.text)}}, {});
  }
  std::vector<std::string> overrides = o.overrides;
  if (o.episodes > 0) overrides.push_back(fmt::format("eval.problems={}", o.episodes));
  return or_usage_error([&] {
    config = run::read_config({}, overrides, config);
    config.check();
    return config;
  });
}

int eval_text(const EvalOptions& o, const posttrain::TrainConfig& config, Output& out) {
  if (o.episodes > 0) throw UsageError("eval: --episodes counts problems; for text, give pretrain.held_out_tokens=N");
  lm::Model model = posttrain::load_model(o.target, config.precision);
  const posttrain::HeldOutLoss loss = posttrain::evaluate_on_text(model, config);
  if (o.json) {
    out.json_line({{"kind", "held_out"},
                   {"tokens", loss.tokens},
                   {"bytes", loss.bytes},
                   {"loss", loss.per_token()},
                   {"bits_per_byte", loss.bits_per_byte()}});
  } else {
    out.text(format_table({{"text"}, {"bytes", true}, {"nats per token", true}, {"bits per byte", true}},
                          {{"held out", fmt::format("{}", loss.bytes), fmt::format("{:.4f}", loss.per_token()),
                            fmt::format("{:.4f}", loss.bits_per_byte())}}));
  }
  return kDone;
}

int eval_rl(const EvalOptions& o, Output& out) {
  if (!o.overrides.empty() || !o.task.empty()) {
    throw UsageError("eval: a run in an environment is evaluated as it was trained, without settings");
  }
  constexpr int64_t kEpisodes = 1000, kMostSteps = 100000;
  const rl::Trained trained = rl::load_run(o.target, o.best ? rl::Which::best : rl::Which::latest);
  const rl::EpisodesOf e = rl::evaluate_greedy(*trained.agent, static_cast<uint64_t>(trained.config.seed),
                                               o.episodes > 0 ? o.episodes : kEpisodes, kMostSteps);
  if (o.json) {
    out.json_line({{"kind", "greedy"},
                   {"episodes", e.episodes},
                   {"return_mean", e.total_reward.mean},
                   {"return_standard_error", e.total_reward.standard_error},
                   {"length_mean", e.length.mean},
                   {"terminated_share", e.terminated_share}});
  } else {
    out.text(
        format_table({{"policy"}, {"episodes", true}, {"return", true}, {"mean length", true}, {"terminated", true}},
                     {{"greedy", fmt::format("{}", e.episodes),
                       fmt::format("{:.4f} +- {:.4f}", e.total_reward.mean, e.total_reward.standard_error),
                       fmt::format("{:.1f}", e.length.mean), fmt::format("{:.1f} %", 100 * e.terminated_share)}}));
  }
  return kDone;
}

int eval(const EvalOptions& o, Output& out) {
  if (is_rl_run(o.target)) return eval_rl(o, out);
  posttrain::model_folder_of(o.target);  // before anything else is asked
  const posttrain::TrainConfig config = config_of(o);
  if (config.pretrains()) return eval_text(o, config, out);
  const auto task = posttrain::make_task(config);
  lm::Model model = posttrain::load_model(o.target, config.precision);
  const posttrain::EvaluationPair pair = posttrain::evaluate_model(model, *task, config);
  std::vector<std::vector<std::string>> rows;
  for (const auto& [kind, e] : {std::pair{"sampled", pair.sampled}, std::pair{"greedy", pair.greedy}}) {
    const auto n = static_cast<double>(e.answers);
    const double error = std::sqrt(e.accuracy * (1 - e.accuracy) / n);
    if (o.json) {
      out.json_line({{"kind", kind},
                     {"problems", e.answers},
                     {"accuracy", e.accuracy},
                     {"standard_error", error},
                     {"response_tokens_mean", e.response_tokens_mean},
                     {"long_share", e.long_share},
                     {"long_accuracy", e.long_accuracy},
                     {"short_accuracy", e.short_accuracy}});
    } else {
      rows.push_back({kind, fmt::format("{}", e.answers), fmt::format("{:.3f} +- {:.3f}", e.accuracy, error),
                      fmt::format("{:.1f}", e.response_tokens_mean)});
    }
  }
  if (!o.json)
    out.text(format_table({{"sampling"}, {"problems", true}, {"accuracy", true}, {"mean tokens", true}}, rows));
  return kDone;
}

}  // namespace

void add_eval_command(CLI::App& app, Work& work) {
  add_command(app, work, "eval", "Measure accuracy on held-out problems, or loss on held-out text", declare, eval);
}

}  // namespace gradus::app
