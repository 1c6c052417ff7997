#include "gradus/lm/cost_curve.h"

#include "gradus/lm/forward_pass.h"
#include "tests/core/expect_error.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

TEST(CostCurve, RunsStraightBetweenItsPointsAndOnBehindThem) {
  const CostCurve curve({{1, 10.0}, {3, 14.0}, {5, 15.0}});
  EXPECT_EQ(curve.ms(0), 0);
  EXPECT_DOUBLE_EQ(curve.ms(1), 10);
  EXPECT_DOUBLE_EQ(curve.ms(2), 12);
  EXPECT_DOUBLE_EQ(curve.ms(3), 14);
  EXPECT_DOUBLE_EQ(curve.ms(4), 14.5);
  EXPECT_DOUBLE_EQ(curve.ms(9), 17);
  EXPECT_DOUBLE_EQ(curve.ratio(2), 1.2);
}

TEST(CostCurve, NeverFalls) {
  const CostCurve curve({{1, 10.0}, {2, 9.0}, {4, 12.0}, {8, 11.0}});
  for (int64_t rows = 1; rows < 20; ++rows) EXPECT_LE(curve.ms(rows), curve.ms(rows + 1)) << rows;
  EXPECT_DOUBLE_EQ(curve.ms(2), 10);
}

TEST(CostCurve, OfOnePointIsFlat) {
  EXPECT_DOUBLE_EQ(CostCurve({{4, 3.0}}).ms(1), 3);
  EXPECT_DOUBLE_EQ(CostCurve({{4, 3.0}}).ms(9), 3);
}

TEST(CostCurve, RefusesPointsThatAreNone) {
  EXPECT_THROW(CostCurve({}), Error);
  EXPECT_THROW(CostCurve({{0, 1.0}}), Error);
  EXPECT_THROW(CostCurve({{2, 1.0}, {2, 2.0}}), Error);
  EXPECT_THROW(CostCurve({{1, -1.0}}), Error);
}

TEST(CostCurve, IsMeasuredUpToTheRowsAskedFor) {
  Model model = small_model();
  const CostCurve curve = measure_cost_curve(model, 6, {.context = 16, .budget_ms = 1});
  std::vector<int64_t> rows;
  for (const CostCurve::Point& p : curve.points()) {
    rows.push_back(p.rows);
    EXPECT_GT(p.ms, 0);
  }
  EXPECT_EQ(rows, (std::vector<int64_t>{1, 2, 4, 6}));
  EXPECT_EQ(measure_cost_curve(model, 1, {.context = 1 << 30, .budget_ms = 1}).points().size(), 1u);
  EXPECT_THROW(measure_cost_curve(model, 0), Error);
  EXPECT_THROW(measure_cost_curve(model, model.config().max_positions + 1), Error);
}

// Token by token, in pieces, and again after going back.
TEST(ForwardPass, LogitsDoNotDependOnThePieces) {
  Model model = small_model();
  const std::vector<int32_t> ids = {1, 5, 2, 7, 3, 1, 4};
  const std::span<const int32_t> all(ids);
  ForwardPass pass(model.transformer(), 8);
  const Tensor whole = pass.read(all, ForwardPass::Logits::of_all).clone();
  EXPECT_EQ(pass.position(), 7);
  const auto same_row = [&](const Tensor& last, int64_t row) {
    return std::memcmp(last.raw(), whole.rows(row, row + 1).raw(), last.bytes()) == 0;
  };
  pass.move_to(0);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_TRUE(same_row(pass.read(all.subspan(i, 1), ForwardPass::Logits::of_last), static_cast<int64_t>(i))) << i;
  }
  pass.move_to(3);
  EXPECT_TRUE(same_row(pass.read(all.subspan(3), ForwardPass::Logits::of_last), 6));
  EXPECT_THROW(pass.read(all, ForwardPass::Logits::of_last), Error);  // no room
  EXPECT_THROW(pass.read({}, ForwardPass::Logits::of_last), Error);
}

}  // namespace
}  // namespace gradus::lm
