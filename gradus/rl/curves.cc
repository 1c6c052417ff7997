#include "gradus/rl/curves.h"

#include <fmt/format.h>

#include "gradus/core/file.h"
#include "gradus/run/chart.h"
#include "gradus/run/database.h"
#include "gradus/run/run_folder.h"

namespace gradus::rl {

namespace {

run::Series series(run::Database& db, const std::string& metric, std::string name) {
  run::Series s{.name = std::move(name)};
  for (const run::Metric& m : db.metrics("train", metric + "_mean")) {
    s.points.emplace_back(static_cast<double>(m.step), m.value);
  }
  for (const run::Metric& m : db.metrics("train", metric + "_standard_error")) s.band.push_back(m.value);
  return s;
}

std::filesystem::path write(const std::filesystem::path& path, const run::Chart& chart) {
  write_file_atomically(path, run::to_svg(chart));
  return path;
}

}  // namespace

std::vector<std::filesystem::path> write_curves(const std::filesystem::path& directory, std::string_view title,
                                                std::string_view counted_in) {
  run::Database db(run::RunPaths{directory}.database(), run::Database::Mode::read);
  const run::Axis x{.label = std::string(counted_in), .covers = {0}, .whole = true};
  run::Series returns = series(db, "return", "return"), evaluations = series(db, "evaluation", "greedy policy"),
              lengths = series(db, "length", "episode length (right)");
  if (returns.points.empty()) return {};
  lengths.right_axis = true;
  const run::Chart chart{.title = fmt::format("{}: learning", title),
                         .x = x,
                         .y = {.label = "return, mean and standard error over seeds"},
                         .y_right = {.label = "steps", .covers = {0}},
                         .series = {std::move(returns), std::move(evaluations), std::move(lengths)}};
  // Means alone: on this scale a band around a mean is not symmetric.
  std::vector<run::Series> errors;
  for (const auto& [metric, name] : {std::pair{"td_error", "TD error of the updates"},
                                     {"value_loss", "error of the critic"},
                                     {"bellman_residual", "Bellman residual"},
                                     {"value_error", "error of the values"},
                                     {"policy_error", "loss of the policy"}}) {
    errors.push_back(series(db, metric, name));
    errors.back().band.clear();
  }
  const run::Chart error_chart{.title = fmt::format("{}: errors", title),
                               .x = x,
                               .y = {.label = "root mean square, mean over seeds", .log_base = 10},
                               .series = std::move(errors)};
  return {write(directory / "curves.svg", chart), write(directory / "errors.svg", error_chart)};
}

}  // namespace gradus::rl
