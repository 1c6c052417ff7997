// What a forward pass of few rows costs on this machine, by the number of rows: what a drafter weighs its nodes
// against.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/lm/model.h"

namespace gradus::lm {

// Milliseconds over rows, never falling: straight between the points, beyond the last one as steep as before it.
class CostCurve {
 public:
  struct Point {
    int64_t rows;
    double ms;
  };
  // Points by rising `rows` >= 1, at least one. A point below the one before it is raised to it. Throws
  // invalid_argument.
  explicit CostCurve(std::vector<Point> points);

  double ms(int64_t rows) const;     // 0 for no rows
  double ratio(int64_t rows) const;  // to the first point
  const std::vector<Point>& points() const { return points_; }

 private:
  std::vector<Point> points_;
};

struct CostCurveOptions {
  int64_t context = 128;   // keys before the rows; fewer where the model has no more positions
  double budget_ms = 250;  // measurements are repeated until it is spent; each point is measured once at least
};

// Times forward passes of 1, 2, 4, ... and max_rows >= 1 rows that follow one context, and all their logits, on pool(),
// and keeps the least time of each. Nothing of the model changes. Throws invalid_argument when it has no room for them.
CostCurve measure_cost_curve(Model& model, int64_t max_rows, const CostCurveOptions& options = {});
CostCurve measure_cost_curve(nn::Transformer& model, int64_t max_rows, const CostCurveOptions& options = {});

}  // namespace gradus::lm
