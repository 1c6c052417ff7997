#include "apps/gradus/train_output.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

using nlohmann::ordered_json;
using posttrain::Evaluation;

// Progress is counted in thousandths of a phase, since a warm-up counts tokens and RL iterations.
constexpr int64_t kParts = 1000;

double value(const posttrain::Metrics& metrics, std::string_view name) {
  for (const auto& [key, v] : metrics) {
    if (key == name) return v;
  }
  return std::nan("");
}

std::string percent(double x) { return std::isnan(x) ? "-" : fmt::format("{:.1f} %", 100 * x); }

std::string detail(const posttrain::Progress& p) {
  if (p.phase == "sft") return fmt::format("step {}  loss {:.3f}  {} tokens/s", p.iteration, value(p.metrics, "loss"),
                                           run::format_count(value(p.metrics, "tokens_per_s")));
  std::string out = fmt::format("iteration {}  reward {:.3f}  answer {:.1f} tokens  mismatch {}  {} tokens/s", p.iteration,
                                value(p.metrics, "reward_mean"), value(p.metrics, "response_tokens_mean"), value(p.metrics, "mismatch_max"),
                                run::format_count(value(p.metrics, "tokens_per_s")));
  if (!std::isnan(value(p.metrics, "held_out_accuracy"))) {
    out += fmt::format("  held out {}", percent(value(p.metrics, "held_out_accuracy")));
  }
  return out;
}

}  // namespace

posttrain::TrainObserver TrainOutput::observer() {
  posttrain::TrainObserver observer;
  observer.should_stop = [] { return runtime::interrupt_requested(); };
  observer.on_note = [this](const std::string& line) {
    if (options_.json) {
      out_.json_line({{"event", "note"}, {"text", line}});
    } else if (!options_.quiet) {
      end_phase();
      out_.text(line + "\n");
    }
  };
  observer.on_step = [this](const posttrain::Progress& p) {
    if (options_.json) {
      show_json(p);
    } else if (!options_.quiet) {
      show(p);
    }
  };
  observer.on_evaluation = [this](std::string_view when, const posttrain::EvaluationPair& e) {
    if (options_.json) {
      out_.json_line({{"event", "evaluation"},
                      {"when", when},
                      {"sampled_accuracy", e.sampled.accuracy},
                      {"greedy_accuracy", e.greedy.accuracy},
                      {"response_tokens_mean", e.sampled.response_tokens_mean},
                      {"long_share", e.sampled.long_share}});
    } else if (!options_.quiet) {
      end_phase();
      out_.text(fmt::format("{:<7} sampled {}  greedy {}  answer {:.1f} tokens\n", when, percent(e.sampled.accuracy), percent(e.greedy.accuracy),
                            e.sampled.response_tokens_mean));
    }
  };
  return observer;
}

void TrainOutput::end_phase() {
  if (line_) line_->finish(last_detail_);
  line_.reset();
  phase_.clear();
}

void TrainOutput::show(const posttrain::Progress& p) {
  const auto done = static_cast<int64_t>(p.fraction * kParts);
  if (phase_ != p.phase) {
    end_phase();
    phase_ = p.phase;
    line_ = std::make_unique<run::Progress>(run::ProgressOptions{.label = phase_,
                                                                 .unit = "",
                                                                 .total = kParts,
                                                                 .first = done,
                                                                 .terminal = out_.terminal(),
                                                                 .columns = 120,
                                                                 .sink = [this](std::string_view text) { out_.text(text); },
                                                                 .now_s = {}});
  }
  last_detail_ = detail(p);
  line_->update(done, last_detail_);
}

void TrainOutput::show_json(const posttrain::Progress& p) {
  ordered_json line = {{"phase", p.phase}, {"iteration", p.iteration}};
  for (const auto& [name, v] : p.metrics) line[name] = v;
  out_.json_line(line);
}

void TrainOutput::finish(const posttrain::TrainSummary& s) {
  const Evaluation &b = s.state.before->sampled, &a = s.state.after->sampled;
  const Evaluation &bg = s.state.before->greedy, &ag = s.state.after->greedy;
  if (options_.json) {
    out_.json_line({{"event", "done"},
                    {"sampled_accuracy_before", b.accuracy},
                    {"sampled_accuracy_after", a.accuracy},
                    {"greedy_accuracy_before", bg.accuracy},
                    {"greedy_accuracy_after", ag.accuracy},
                    {"response_tokens_mean_before", b.response_tokens_mean},
                    {"response_tokens_mean_after", a.response_tokens_mean},
                    {"long_share_before", b.long_share},
                    {"long_share_after", a.long_share},
                    {"long_accuracy_before", b.long_accuracy},
                    {"long_accuracy_after", a.long_accuracy},
                    {"short_accuracy_before", b.short_accuracy},
                    {"short_accuracy_after", a.short_accuracy},
                    {"mismatch_max", s.state.mismatch_max},
                    {"elapsed_s", s.state.elapsed_s},
                    {"run", s.directory.string()}});
    return;
  }
  end_phase();
  std::vector<std::vector<std::string>> rows = {
      {"accuracy, sampled", percent(b.accuracy), percent(a.accuracy)},
      {"accuracy, greedy", percent(bg.accuracy), percent(ag.accuracy)},
      {"answer, mean tokens", fmt::format("{:.1f}", b.response_tokens_mean), fmt::format("{:.1f}", a.response_tokens_mean)}};
  if (!std::isnan(b.long_share) || !std::isnan(a.long_share)) {
    rows.push_back({"share of long answers", percent(b.long_share), percent(a.long_share)});
    rows.push_back({"accuracy of long ones", percent(b.long_accuracy), percent(a.long_accuracy)});
    rows.push_back({"accuracy of short ones", percent(b.short_accuracy), percent(a.short_accuracy)});
  }
  const std::string what = fmt::format("{} held-out problems", a.answers);
  out_.text("\n" + format_table({{what}, {"before", true}, {"after", true}}, rows));
  out_.text(fmt::format("\nmismatch_max {}: the largest difference between the sampler's log-probabilities and the trainer's\n\n",
                        s.state.mismatch_max));
  for (const std::string& example : s.examples) out_.text("  " + example + "\n");
  const std::string run = s.directory.string();
  out_.text(fmt::format("\n{} in {}. Next:\n", run, run::format_duration(s.state.elapsed_s)));
  if (s.config.task == "chain") out_.text(fmt::format("  gradus generate {} --prompt '5*3+2-4#'\n", run));
  out_.text(fmt::format("  gradus eval {}\n  gradus train jsonl/k15 data=problems.jsonl      your own data: docs/data.md\n", run));
}

}  // namespace gradus::app
