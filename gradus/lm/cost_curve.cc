#include "gradus/lm/cost_curve.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "gradus/lm/forward_pass.h"

namespace gradus::lm {

CostCurve::CostCurve(std::vector<Point> points) : points_(std::move(points)) {
  require(!points_.empty(), "cost curve: there are no points; give at least one");
  int64_t rows = 0;
  double ms = 0;
  for (Point& p : points_) {
    require(p.rows > rows && p.ms >= 0, "cost curve: {} rows in {} ms after {} rows; rows must rise from 1", p.rows,
            p.ms, rows);
    rows = p.rows;
    ms = p.ms = std::max(ms, p.ms);
  }
}

double CostCurve::ms(int64_t rows) const {
  if (rows <= 0) return 0;
  if (points_.size() == 1 || rows <= points_.front().rows) return points_.front().ms;
  const auto at = [&](const Point& p, int64_t r) { return p.rows < r; };
  auto right = std::lower_bound(points_.begin() + 1, points_.end(), rows, at);
  if (right == points_.end()) --right;
  const Point &a = *(right - 1), &b = *right;
  return a.ms + (b.ms - a.ms) * static_cast<double>(rows - a.rows) / static_cast<double>(b.rows - a.rows);
}

double CostCurve::ratio(int64_t rows) const {
  return ms(rows) / std::max(points_.front().ms, std::numeric_limits<double>::min());
}

CostCurve measure_cost_curve(nn::Transformer& model, int64_t max_rows, const CostCurveOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) {
    return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
  };
  const int64_t positions = model.config().max_positions;
  require(max_rows >= 1 && max_rows <= positions,
          "cost curve: max_rows is {}, but must be 1 to the model's {} positions", max_rows, positions);
  const int64_t context = std::clamp<int64_t>(options.context, 0, positions - max_rows);
  ForwardPass pass(model, context + max_rows);
  std::vector<int32_t> ids(static_cast<size_t>(max_rows));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) % model.config().n_vocab);
  const auto time = [&](int64_t rows) {
    pass.move_to(context);
    const Clock::time_point start = Clock::now();
    pass.read(std::span(ids).first(static_cast<size_t>(rows)), ForwardPass::Logits::of_all);
    return since(start);
  };

  std::vector<CostCurve::Point> points;
  for (int64_t rows = 1; rows < max_rows; rows *= 2) points.push_back({rows, 0});
  points.push_back({max_rows, 0});
  const Clock::time_point start = Clock::now();
  time(1);  // finds the weights in no cache, and makes what is made once
  for (CostCurve::Point& p : points) p.ms = time(p.rows);
  double round_ms = since(start);
  while (since(start) + round_ms < options.budget_ms) {
    const Clock::time_point round = Clock::now();
    for (CostCurve::Point& p : points) p.ms = std::min(p.ms, time(p.rows));
    round_ms = since(round);
  }
  return CostCurve(std::move(points));
}

CostCurve measure_cost_curve(Model& model, int64_t max_rows, const CostCurveOptions& options) {
  return measure_cost_curve(model.transformer(), max_rows, options);
}

}  // namespace gradus::lm
