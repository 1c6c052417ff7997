#include "gradus/posttrain/curves.h"

#include <numbers>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/run/chart.h"
#include "gradus/run/database.h"
#include "gradus/run/run_folder.h"

namespace gradus::posttrain {

namespace {

using run::Chart;
using run::Database;

// A metric by the phase's own step, from 1. Steps of a run count on through its phases: `before` of them were
// another's.
std::vector<std::pair<double, double>> points(Database& db, std::string_view phase, std::string_view name,
                                              int64_t before) {
  std::vector<std::pair<double, double>> out;
  for (const run::Metric& m : db.metrics(phase, name)) out.emplace_back(static_cast<double>(m.step - before), m.value);
  return out;
}

Chart reinforcement_chart(Database& db, std::string_view title, int64_t before) {
  const auto of = [&](std::string_view name) { return points(db, "k15", name, before); };
  return {.title = fmt::format("{}: reinforcement learning", title),
          .x = {.label = "iteration", .covers = {0}, .whole = true},
          .y = {.label = "reward, share of answers", .covers = {0, 1}},
          .y_right = {.label = "tokens", .covers = {0}},
          .series = {{.name = "mean reward", .points = of("reward_mean")},
                     {.name = "held-out accuracy", .points = of("held_out_accuracy"), .markers = true},
                     {.name = "share of long answers", .points = of("long_share")},
                     {.name = "answer length (right)", .points = of("response_tokens_mean"), .right_axis = true}}};
}

Chart warm_up_chart(Database& db, std::string_view title) {
  return {.title = fmt::format("{}: supervised warm-up", title),
          .x = {.label = "optimiser step", .covers = {0}, .whole = true},
          .y = {.label = "loss, nats per token", .covers = {0}},
          .series = {{.name = "loss on the demonstrations", .points = points(db, "sft", "loss", 0)}}};
}

Chart pretraining_chart(Database& db, std::string_view title) {
  std::vector<std::pair<double, double>> loss = points(db, "pretrain", "loss", 0);
  for (auto& [step, y] : loss) y /= std::numbers::ln2;  // of tokens, nearly all of which are bytes
  return {
      .title = fmt::format("{}: next-token prediction", title),
      .x = {.label = "optimiser step", .covers = {0}, .whole = true},
      .y = {.label = "bits per byte", .covers = {0}},
      .series = {
          {.name = "windows trained on", .points = std::move(loss)},
          {.name = "held-out text", .points = points(db, "pretrain", "held_out_bits_per_byte", 0), .markers = true}}};
}

// How often each head's first guess is right.
Chart heads_chart(Database& db, std::string_view title) {
  Chart chart{.title = fmt::format("{}: Medusa heads on held-out text", title),
              .x = {.label = "optimiser step", .covers = {0}, .whole = true},
              .y = {.label = "share of first guesses that are right", .covers = {0, 1}},
              .series = {}};
  for (int k = 1; !db.metrics("medusa", fmt::format("head_{}_accuracy", k)).empty(); ++k) {
    chart.series.push_back({.name = fmt::format("head {}: {} tokens ahead", k, k + 1),
                            .points = points(db, "medusa", fmt::format("head_{}_accuracy", k), 0),
                            .markers = true});
  }
  return chart;
}

}  // namespace

std::vector<std::filesystem::path> write_curves(const std::filesystem::path& directory, std::string_view title) {
  Database db(run::RunPaths{directory}.database(), Database::Mode::read);
  std::vector<std::filesystem::path> written;
  const auto write = [&](const char* name, const Chart& chart) {
    written.push_back(directory / name);
    write_file_atomically(written.back(), to_svg(chart));
  };
  if (const auto rewards = db.metrics("k15", "reward_mean"); !rewards.empty()) {
    write("curves.svg", reinforcement_chart(db, title, rewards.front().step - 1));
  }
  if (!db.metrics("pretrain", "loss").empty()) write("curves.svg", pretraining_chart(db, title));
  if (!db.metrics("medusa", "loss").empty()) write("curves.svg", heads_chart(db, title));
  if (!db.metrics("sft", "loss").empty()) write("warm-up.svg", warm_up_chart(db, title));
  return written;
}

}  // namespace gradus::posttrain
