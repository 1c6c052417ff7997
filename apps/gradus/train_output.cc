#include "apps/gradus/train_output.h"

#include <errno.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/core/error.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::app {

namespace {

using nlohmann::ordered_json;
using posttrain::Evaluation;

double value(const posttrain::Metrics& metrics, std::string_view name) {
  for (const auto& [key, v] : metrics) {
    if (key == name) return v;
  }
  return std::nan("");
}

std::string percent(double x) {
  return std::isnan(x) ? "-" : fmt::format("{:.1f} %", 100 * x);
}

// What matters most stands first: a narrow terminal cuts the end.
std::string detail(const posttrain::Progress& p) {
  if (p.phase == "pretrain") {
    const double bits = value(p.metrics, "held_out_bits_per_byte");
    std::string out = fmt::format("step {}  loss {:.3f}", p.iteration, value(p.metrics, "loss"));
    return std::isnan(bits) ? out : out + fmt::format("  held out {:.3f} bits per byte", bits);
  }
  if (p.phase == "medusa") {
    const double tokens = value(p.metrics, "chain_tokens");
    std::string out = fmt::format("step {}  loss {:.3f}", p.iteration, value(p.metrics, "loss"));
    return std::isnan(tokens) ? out : out + fmt::format("  held out {:.2f} tokens a step", tokens);
  }
  if (p.phase == "sft") return fmt::format("step {}  loss {:.3f}", p.iteration, value(p.metrics, "loss"));
  std::string out = fmt::format("reward {:.3f}  answer {:.1f} tokens  mismatch {}", value(p.metrics, "reward_mean"),
                                value(p.metrics, "response_tokens_mean"), value(p.metrics, "mismatch_max"));
  const double held_out = value(p.metrics, "held_out_accuracy");
  if (!std::isnan(held_out)) out += fmt::format("  held out {}", percent(held_out));
  return out + fmt::format("  {} tokens/s", run::format_count(value(p.metrics, "tokens_per_s")));
}

bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0);
}

// Calls visit(part, character) for each character of bytes of any kind; the character of a byte that is not UTF-8 is
// U+FFFD.
template <class Visit>
void for_each_character(std::string_view bytes, Visit&& visit) {
  while (!bytes.empty()) {
    const lm::CodePoint c = lm::decode_utf8(bytes);
    const size_t n = c.n_bytes > 0 ? static_cast<size_t>(c.n_bytes) : 1;
    visit(bytes.substr(0, n), c.n_bytes > 0 ? c.value : char32_t{0xFFFD});
    bytes.remove_prefix(n);
  }
}

// Text that a model wrote may hold any bytes; none of them is to steer the terminal.
std::string printable(std::string_view bytes) {
  std::string out;
  for_each_character(bytes, [&](std::string_view part, char32_t c) {
    const bool kept = c == '\n' || c == '\t' || (!is_control(c) && c != 0xFFFD);
    out += kept ? part : "\xEF\xBF\xBD";
  });
  return out;
}

// For a shell, with '...' or, where there are control characters or bytes that are not UTF-8, $'...'.
std::string shell_quoted(std::string_view text) {
  bool plain = text.find_first_of("'\\") == text.npos;
  for_each_character(text, [&](std::string_view, char32_t c) { plain = plain && !is_control(c) && c != 0xFFFD; });
  std::string out = plain ? "'" : "$'";
  for_each_character(text, [&](std::string_view part, char32_t c) {
    const char* escaped = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\'' ? "\\'" : nullptr;
    if (escaped != nullptr && !plain) {
      out += escaped;
    } else if (is_control(c) || c == 0xFFFD) {
      for (const char byte : part) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      if (c == '\\') out += '\\';
      out += part;
    }
  });
  return out + "'";
}

// The lines of `text` without the blanks around it, each behind `indent`.
std::string indented(std::string_view text, std::string_view indent) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  std::string out(indent);
  if (first == text.npos) return out + '\n';
  for (const char c : text.substr(first, text.find_last_not_of(kBlank) - first + 1)) {
    out += c;
    if (c == '\n') out += indent;
  }
  return out + '\n';
}

// The problem with the verdict, and below it what the model wrote.
std::string readable(const posttrain::Example& e) {
  const std::string verdict = e.correct ? "right" : e.ended ? "wrong" : "cut";
  std::string text = indented(e.prompt, "         ");
  text.replace(2, verdict.size(), verdict);
  return text + indented(e.answer, "    ");
}

}  // namespace

int TrainOutput::run(const std::function<posttrain::TrainSummary(const posttrain::TrainObserver&)>& work) {
  const auto show_end = [&] {
    const posttrain::TrainSummary summary = work(observer());
    if (options_.follows) return;
    watch_.show([&] { end_phase(); });
    if (summary.drafting) {
      options_.json ? show_heads_summary_json(summary) : show_heads_summary(summary);
    } else if (summary.continuation) {
      options_.json ? show_text_summary_json(summary) : show_text_summary(summary);
    } else {
      options_.json ? show_summary_json(summary) : show_summary(summary);
    }
  };
  return watch_.run(show_end, [&] { end_phase(); });
}

posttrain::TrainObserver TrainOutput::observer() {
  posttrain::TrainObserver observer;
  observer.should_stop = [this] { return watch_.should_stop(); };
  if (options_.quiet || options_.follows) return observer;
  observer.on_note = [this](const std::string& line) { watch_.show([&] { show_note(line); }); };
  observer.on_memory_plan = [this](std::string_view precision, const posttrain::MemoryPlan& plan,
                                   const posttrain::MemoryPlan& in_fp32) {
    watch_.show([&] { show_memory_plan(precision, plan, in_fp32); });
  };
  observer.on_step = [this](const posttrain::Progress& p) { watch_.show([&] { show_step(p); }); };
  observer.on_evaluation = [this](std::string_view when, const posttrain::EvaluationPair& pair) {
    watch_.show([&] { show_evaluation(when, pair); });
  };
  observer.on_held_out_loss = [this](std::string_view when, const posttrain::HeldOutLoss& loss) {
    watch_.show([&] { show_held_out_loss(when, loss); });
  };
  observer.on_heads = [this](std::string_view when, const posttrain::HeadsQuality& quality) {
    watch_.show([&] { show_heads(when, quality); });
  };
  return observer;
}

void TrainOutput::show_note(const std::string& line) {
  if (options_.json) return out_.json_line({{"event", "note"}, {"text", line}});
  end_phase();
  out_.text(line + "\n");
}

void TrainOutput::show_memory_plan(std::string_view precision, const posttrain::MemoryPlan& plan,
                                   const posttrain::MemoryPlan& in_fp32) {
  const auto parts = [](const posttrain::MemoryPlan& p) {
    return std::vector<std::pair<const char*, int64_t>>{
        {"parameters", p.parameters},   {"gradients", p.gradients}, {"moments", p.moments}, {"master", p.master},
        {"activations", p.activations}, {"workspace", p.workspace}, {"total", p.total()}};
  };
  const auto own = parts(plan), wide = parts(in_fp32);
  if (options_.json) {
    ordered_json line = {{"event", "memory_plan"}, {"precision", precision}, {"shares", plan.shares}};
    for (const auto& [part, bytes] : own) line["bytes"][part] = bytes;
    for (const auto& [part, bytes] : wide) line["fp32_bytes"][part] = bytes;
    return out_.json_line(line);
  }
  end_phase();
  const auto megabytes = [](int64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) * 1e-6); };
  const std::string title =
      plan.shares == 1 ? "memory, MB" : fmt::format("memory of each of {} ranks, MB", plan.shares);
  std::vector<Column> columns = {{title}, {std::string(precision), true}};
  const bool compared = precision != nn::name(nn::Precision::fp32);
  if (compared) columns.push_back({"fp32", true});
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < own.size(); ++i) {
    rows.push_back({own[i].first, megabytes(own[i].second)});
    if (compared) rows.back().push_back(megabytes(wide[i].second));
  }
  out_.text(format_table(columns, rows));
}

void TrainOutput::show_evaluation(std::string_view when, const posttrain::EvaluationPair& pair) {
  if (options_.json) {
    return out_.json_line({{"event", "evaluation"},
                           {"when", when},
                           {"sampled_accuracy", pair.sampled.accuracy},
                           {"greedy_accuracy", pair.greedy.accuracy},
                           {"response_tokens_mean", pair.sampled.response_tokens_mean},
                           {"long_share", pair.sampled.long_share}});
  }
  end_phase();
  out_.text(fmt::format("{}  sampled {}  greedy {}  answer {:.1f} tokens\n", when, percent(pair.sampled.accuracy),
                        percent(pair.greedy.accuracy), pair.sampled.response_tokens_mean));
}

void TrainOutput::show_held_out_loss(std::string_view when, const posttrain::HeldOutLoss& loss) {
  if (options_.json) {
    return out_.json_line({{"event", "evaluation"},
                           {"when", when},
                           {"held_out_loss", loss.per_token()},
                           {"held_out_bits_per_byte", loss.bits_per_byte()},
                           {"held_out_tokens", loss.tokens}});
  }
  end_phase();
  out_.text(fmt::format("{}  held out {:.3f} bits per byte\n", when, loss.bits_per_byte()));
}

void TrainOutput::show_heads(std::string_view when, const posttrain::HeadsQuality& quality) {
  std::vector<double> accuracy;
  std::vector<std::string> shown;
  for (size_t k = 0; k < quality.at_rank.size(); ++k) {
    accuracy.push_back(quality.top(k, 1));
    shown.push_back(percent(accuracy.back()));
  }
  if (options_.json) {
    return out_.json_line({{"event", "evaluation"},
                           {"when", when},
                           {"head_accuracy", accuracy},
                           {"chain_tokens", quality.chain_tokens()}});
  }
  end_phase();
  out_.text(fmt::format("{}  first guesses right: {}\n", when, fmt::join(shown, ", ")));
}

void TrainOutput::show_step(const posttrain::Progress& p) {
  if (options_.json) {
    ordered_json line = {{"phase", p.phase}, {"iteration", p.iteration}};
    for (const auto& [name, v] : p.metrics) line[name] = v;
    return out_.json_line(line);
  }
  if (phase_ != p.phase) {
    end_phase();
    phase_ = p.phase;
    line_ =
        std::make_unique<run::Progress>(run::ProgressOptions{.label = phase_,
                                                             .unit = phase_ == "k15" ? "" : "tokens",
                                                             .total = p.total,
                                                             .first = p.done,
                                                             .terminal = out_.terminal(),
                                                             .columns = out_.columns(),
                                                             .interval_s = 0,
                                                             .sink = [this](std::string_view text) { out_.text(text); },
                                                             .now_s = {}});
  }
  last_detail_ = detail(p);
  line_->update(p.done, last_detail_);
}

void TrainOutput::end_phase() {
  if (line_) line_->finish(last_detail_);
  line_.reset();
  phase_.clear();
}

void TrainOutput::show_summary_json(const posttrain::TrainSummary& s) {
  const Evaluation &b = s.state.before->sampled, &a = s.state.after->sampled;
  out_.json_line({{"event", "done"},
                  {"sampled_accuracy_before", b.accuracy},
                  {"sampled_accuracy_after", a.accuracy},
                  {"greedy_accuracy_before", s.state.before->greedy.accuracy},
                  {"greedy_accuracy_after", s.state.after->greedy.accuracy},
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
}

void TrainOutput::show_summary(const posttrain::TrainSummary& s) {
  const Evaluation &b = s.state.before->sampled, &a = s.state.after->sampled;
  const Evaluation &bg = s.state.before->greedy, &ag = s.state.after->greedy;
  std::vector<std::vector<std::string>> rows = {{"accuracy, sampled", percent(b.accuracy), percent(a.accuracy)},
                                                {"accuracy, greedy", percent(bg.accuracy), percent(ag.accuracy)},
                                                {"answer, mean tokens", fmt::format("{:.1f}", b.response_tokens_mean),
                                                 fmt::format("{:.1f}", a.response_tokens_mean)}};
  if (!std::isnan(b.long_share) || !std::isnan(a.long_share)) {
    rows.push_back({"share of long answers", percent(b.long_share), percent(a.long_share)});
    rows.push_back({"accuracy of long ones", percent(b.long_accuracy), percent(a.long_accuracy)});
    rows.push_back({"accuracy of short ones", percent(b.short_accuracy), percent(a.short_accuracy)});
  }
  const std::string what = fmt::format("{} held-out problems", a.answers);
  std::string text = '\n' + format_table({{what}, {"before", true}, {"after", true}}, rows);
  text +=
      fmt::format("\nmismatch_max {}: the sampler's log-probabilities against the trainer's\n", s.state.mismatch_max);

  text += "\nGreedy answers to held-out problems:\n";
  for (const posttrain::Example& example : s.examples) text += readable(example);

  const std::string run = s.directory.string(), program = program_invocation_name;
  text += fmt::format("\nThe run is in {} and took {}.", run, run::format_duration(s.state.elapsed_s));
  if (!s.pictures.empty()) text += fmt::format(" A picture of it: {}", s.pictures.front().string());
  text += "\nNext:\n";
  if (s.config.jsonl.chat) {
    text += fmt::format("  {} generate {} --chat --prompt TEXT\n", program, run);
  } else if (!s.examples.empty()) {
    text += fmt::format("  {} generate {} --prompt {}\n", program, run, shell_quoted(s.examples.front().prompt));
  }
  text += fmt::format("  {} eval {}\n", program, run);
  text += fmt::format("  {} resume RUN    (after Ctrl-C or a crash: goes on, bit for bit)\n", program);
  text += fmt::format("  {} train jsonl/k15 data=problems.jsonl    (your own data: docs/data.md)\n", program);
  out_.text(text);
}

void TrainOutput::show_text_summary_json(const posttrain::TrainSummary& s) {
  const posttrain::TextState& text = s.state.text;
  out_.json_line({{"event", "done"},
                  {"held_out_loss_before", text.before->per_token()},
                  {"held_out_loss_after", text.after->per_token()},
                  {"held_out_bits_per_byte_before", text.before->bits_per_byte()},
                  {"held_out_bits_per_byte_after", text.after->bits_per_byte()},
                  {"held_out_tokens", text.after->tokens},
                  {"tokens", text.pretrain.tokens},
                  {"tokens_per_s", static_cast<double>(text.pretrain.tokens) / text.training_s},
                  {"prompt", s.continuation->prompt},
                  {"text", s.continuation->text},
                  {"mismatch_max", s.continuation->mismatch},
                  {"elapsed_s", s.state.elapsed_s},
                  {"run", s.directory.string()}});
}

void TrainOutput::show_text_summary(const posttrain::TrainSummary& s) {
  const posttrain::TextState& state = s.state.text;
  const auto row = [&](const char* what, double before, double after) {
    return std::vector<std::string>{what, fmt::format("{:.3f}", before), fmt::format("{:.3f}", after)};
  };
  const std::string what = fmt::format("{} held-out bytes", run::format_count(static_cast<double>(state.after->bytes)));
  std::string text =
      '\n' + format_table({{what}, {"before", true}, {"after", true}},
                          {row("loss, nats per token", state.before->per_token(), state.after->per_token()),
                           row("bits per byte", state.before->bits_per_byte(), state.after->bits_per_byte())});
  text += fmt::format("\n{} tokens, {} tokens/s without the evaluations\n",
                      run::format_count(static_cast<double>(state.pretrain.tokens)),
                      run::format_count(static_cast<double>(state.pretrain.tokens) / state.training_s));
  text +=
      fmt::format("mismatch_max {}: the sampler's log-probabilities against the trainer's\n", s.continuation->mismatch);

  text += fmt::format("\nHeld-out text, and how the model goes on (sampled at temperature {}):\n",
                      posttrain::kContinuationTemperature);
  std::string given = indented(printable(s.continuation->prompt), "         ");
  text += given.replace(2, 4, "text") + indented(printable(s.continuation->text), "    ");

  const std::string run = s.directory.string(), program = program_invocation_name;
  text += fmt::format("\nThe run is in {} and took {}.", run, run::format_duration(s.state.elapsed_s));
  if (!s.pictures.empty()) text += fmt::format(" A picture of it: {}", s.pictures.front().string());
  text += "\nNext:\n";
  text += fmt::format("  {} generate {} --temperature {} --prompt {}\n", program, run,
                      posttrain::kContinuationTemperature, shell_quoted(s.continuation->prompt));
  text += fmt::format("  {} eval {}\n", program, run);
  text += fmt::format("  {} resume RUN    (after Ctrl-C or a crash: goes on, bit for bit)\n", program);
  text += fmt::format("  {} train text data=PATH model={}    (other text, or more of it)\n", program, run);
  out_.text(text);
}

void TrainOutput::show_heads_summary_json(const posttrain::TrainSummary& s) {
  ordered_json line = {{"event", "done"}};
  for (const auto& [when, quality] : {std::pair{"before", &s.state.heads.before}, {"after", &s.state.heads.after}}) {
    for (size_t k = 0; k < (*quality)->at_rank.size(); ++k) {
      for (const size_t guesses : {1, 5, 10})
        line[fmt::format("head_{}_top_{}_{}", k + 1, guesses, when)] = (*quality)->top(k, guesses);
    }
  }
  line["tokens"] = s.state.heads.medusa.tokens;
  for (const posttrain::DraftingReport::Row& row : s.drafting->rows) {
    line["drafting"].push_back({{"temperature", row.temperature},
                                {"tokens", row.tokens},
                                {"tokens_per_step", row.tokens_per_step},
                                {"plain_tokens_per_s", row.plain_tokens_per_s},
                                {"drafted_tokens_per_s", row.drafted_tokens_per_s},
                                {"speed_up", row.speed_up()},
                                {"same_text", row.same_text}});
  }
  line["elapsed_s"] = s.state.elapsed_s;
  line["run"] = s.directory.string();
  out_.json_line(line);
}

void TrainOutput::show_heads_summary(const posttrain::TrainSummary& s) {
  const posttrain::HeadsQuality &before = *s.state.heads.before, &after = *s.state.heads.after;
  std::vector<std::vector<std::string>> rows;
  for (size_t k = 0; k < after.at_rank.size(); ++k) {
    rows.push_back({fmt::format("head {}: {} tokens ahead", k + 1, k + 2), percent(before.top(k, 1)),
                    percent(after.top(k, 1)), percent(after.top(k, 5)), percent(after.top(k, 10))});
  }
  const std::string what = fmt::format("{} held-out tokens", run::format_count(static_cast<double>(after.tokens)));
  std::string text =
      '\n' + format_table({{what}, {"before", true}, {"after", true}, {"among 5", true}, {"among 10", true}}, rows);
  rows.clear();
  for (const posttrain::DraftingReport::Row& row : s.drafting->rows) {
    rows.push_back({fmt::format("{}", row.temperature), fmt::format("{:.0f}", row.plain_tokens_per_s),
                    fmt::format("{:.0f}", row.drafted_tokens_per_s), fmt::format("{:.2f}", row.speed_up()),
                    fmt::format("{:.2f}", row.tokens_per_step), row.same_text ? "the same" : "ANOTHER"});
  }
  text += "\nHeld-out text continued, one text at a time, tokens/s:\n" + format_table({{"temperature"},
                                                                                       {"without heads", true},
                                                                                       {"with", true},
                                                                                       {"speed-up", true},
                                                                                       {"tokens a step", true},
                                                                                       {"text", true}},
                                                                                      rows);
  const std::string run = s.directory.string(), program = program_invocation_name;
  text += fmt::format("\nThe run is in {} and took {}.", run, run::format_duration(s.state.elapsed_s));
  if (!s.pictures.empty()) text += fmt::format(" A picture of it: {}", s.pictures.front().string());
  text += fmt::format("\nNext:\n  {} generate {} --prompt TEXT    (drafts by itself; --no-drafts does not)\n", program,
                      run);
  out_.text(text);
}

}  // namespace gradus::app
