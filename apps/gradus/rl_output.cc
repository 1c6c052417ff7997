#include "apps/gradus/rl_output.h"

#include <errno.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/env/program_env.h"
#include "gradus/rl/picture.h"
#include "gradus/run/config.h"
#include "gradus/run/run_folder.h"

namespace gradus::app {

namespace {

using nlohmann::ordered_json;
using rl::MeanOfSeeds;

std::string with_error(const MeanOfSeeds& m) {
  return m.standard_error > 0 ? fmt::format("{:.2f} +- {:.2f}", m.mean, m.standard_error)
                              : fmt::format("{:.2f}", m.mean);
}

ordered_json to_json(const rl::Report& r, rl::Agent::Unit unit) {
  ordered_json j = {{unit == rl::Agent::Unit::steps ? "step" : "episode", r.done}};
  if (r.total_reward) {
    j["return_mean"] = r.total_reward->mean;
    j["return_standard_error"] = r.total_reward->standard_error;
    j["length_mean"] = r.length->mean;
  }
  if (r.evaluation) j["evaluation"] = r.evaluation->mean;
  for (const auto& [name, m] : r.metrics) j[name] = m.mean;
  j["steps_per_s"] = r.steps_per_s;
  return j;
}

}  // namespace

bool is_rl_run(const std::string& directory) {
  const std::filesystem::path path = run::RunPaths{directory}.config();
  return std::filesystem::exists(path) && run::defines({path.string(), read_file(path)}, "env");
}

int RlOutput::run(const std::function<rl::TrainSummary(const rl::TrainObserver&)>& work) {
  const auto show_end = [&] {
    const rl::TrainSummary summary = work(observer());
    if (options_.follows) return;
    watch_.show([&] { end_line(); });
    options_.json ? show_summary_json(summary) : show_summary(summary);
  };
  return watch_.run(show_end, [&] { end_line(); });
}

rl::TrainObserver RlOutput::observer() {
  rl::TrainObserver observer;
  observer.should_stop = [this] { return watch_.should_stop(); };
  if (options_.quiet || options_.follows) return observer;
  observer.on_note = [this](const std::string& line) {
    watch_.show([&] { options_.json ? out_.json_line({{"event", "note"}, {"text", line}}) : out_.text(line + '\n'); });
  };
  observer.on_begin = [this](int64_t done, int64_t total, rl::Agent::Unit unit) { begin_line(done, total, unit); };
  observer.on_report = [this](const rl::Report& r) { watch_.show([&] { show_report(r); }); };
  return observer;
}

void RlOutput::begin_line(int64_t done, int64_t total, rl::Agent::Unit unit) {
  unit_ = unit;
  if (options_.json) return;
  line_ =
      std::make_unique<run::Progress>(run::ProgressOptions{.label = "train",
                                                           .unit = unit == rl::Agent::Unit::steps ? "" : "episodes",
                                                           .total = total,
                                                           .first = done,
                                                           .terminal = out_.terminal(),
                                                           .columns = out_.columns(),
                                                           .interval_s = 0,
                                                           .sink = [this](std::string_view text) { out_.text(text); },
                                                           .now_s = {}});
}

void RlOutput::show_report(const rl::Report& r) {
  if (options_.json) return out_.json_line(to_json(r, unit_));
  last_detail_.clear();
  if (r.total_reward) {
    last_detail_ = fmt::format("return {}  length {:.1f}  ", with_error(*r.total_reward), r.length->mean);
  }
  if (r.evaluation) evaluation_ = fmt::format("evaluation {}  ", with_error(*r.evaluation));
  last_detail_ += evaluation_;
  last_detail_ += fmt::format("{} steps/s", run::format_count(r.steps_per_s));
  line_->update(r.done, last_detail_);
}

void RlOutput::end_line() {
  if (line_) line_->finish(last_detail_);
  line_.reset();
}

void RlOutput::show_summary_json(const rl::TrainSummary& s) {
  ordered_json j = {{"event", "done"}};
  if (s.last) j.update(to_json(*s.last, unit_));
  if (!s.V.empty()) j["values"] = s.V;
  if (s.Q.n_states() > 0) {
    for (int64_t i = 0; i < s.Q.n_states(); ++i) {
      const auto q = s.Q[i];
      j["policy"].push_back(s.mdp->action_name(std::ranges::max_element(q) - q.begin()));
    }
  }
  j["run"] = s.directory.string();
  out_.json_line(j);
}

void RlOutput::show_summary(const rl::TrainSummary& s) {
  std::string text = "\n";
  const std::string of_seed = s.config.seeds > 1 ? fmt::format(" (seed {})", s.config.seed) : "";
  if (s.mdp != nullptr) {
    text += fmt::format("Values{}{}:\n", s.Q.n_states() > 0 ? " and policy" : "", of_seed);
    text += rl::values_text(*s.mdp, s.V, s.Q) + '\n';
  }
  if (!s.exact_V.empty()) {
    text += fmt::format("Root mean square error of the values: {:.4f}, against {}\n", rl::rms_error(s.V, s.exact_V),
                        s.Q.n_states() > 0 ? "the optimal ones" : "those of the policy");
  }
  if (s.last && s.last->total_reward) {
    text += fmt::format("Return {}, length {} over the last episodes\n", with_error(*s.last->total_reward),
                        with_error(*s.last->length));
  }
  const std::string run = s.directory.string(), program = program_invocation_name;
  text += fmt::format("\nThe run is in {}.", run);
  for (const auto& picture : s.pictures) {
    text += fmt::format("{} {}", &picture == &s.pictures.front() ? " Pictures:" : ",", picture.string());
  }
  text += "\nNext:\n";
  if (rl::find_algorithm(s.config.algorithm).learns == rl::Learns::control) {
    const char* best = s.config.evaluations > 0 ? " --best" : "";
    text += fmt::format("  {0} play {1}{2}\n  {0} eval {1}{2}\n", program, run, best);
  }
  text += env::names_program(s.config.env.name)
              ? fmt::format("  {} train cartpole/HOW env={}", program, s.config.env.name)
              : fmt::format("  {} train {}/HOW", program, s.config.env.name);
  text += fmt::format("    (`{} list algorithms` shows how)\n", program);
  out_.text(text);
}

}  // namespace gradus::app
