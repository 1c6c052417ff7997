#include "gradus/lm/step_times.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/lm/medusa/drafter.h"

namespace gradus::lm {
namespace {

double one(int64_t) {
  return 1.0;
}

// Steps whose times vary by a tenth.
class Machine {
 public:
  explicit Machine(StepTimes& times) : times_(times) {}
  void run(int steps, double plain_ms, double drafted_ms, double share_drafted) {
    for (int i = 0; i < steps; ++i) {
      const bool drafted = rng_.uniform() < share_drafted;
      times_.observe(8, drafted, (drafted ? drafted_ms : plain_ms) * std::exp(0.1 * rng_.normal()));
    }
  }

 private:
  StepTimes& times_;
  Rng rng_{1, Purpose::test};
};

TEST(StepTimes, LearnWhatDraftsCostBesideTheirRows) {
  StepTimes times(one);
  EXPECT_EQ(times.ms(8, true), 1.0);
  Machine(times).run(400, 2.0, 2.6, 0.5);
  EXPECT_NEAR(times.ms(8, false), 2.0, 0.15);
  EXPECT_NEAR(times.ms(8, true) / times.ms(8, false), 1.3, 0.1);
}

TEST(StepTimes, TakeAChangeForOneOfTheMachine) {
  StepTimes times(one);
  Machine machine(times);
  machine.run(200, 1.0, 1.2, 0.5);
  machine.run(200, 0, 2.4, 1.0);  // all is twice as slow, and only drafts are seen
  EXPECT_NEAR(times.ms(8, true), 2.4, 0.2);
  EXPECT_NEAR(times.ms(8, false), 2.0, 0.4);
}

TEST(StepTimes, OneLongStepSaysLittle) {
  StepTimes times(one);
  Machine(times).run(200, 1.0, 1.2, 0.5);
  const double before = times.ms(8, true);
  times.observe(8, true, 500.0);
  EXPECT_LT(times.ms(8, true), 1.1 * before);
  times.observe(8, true, 0.0);  // a clock that stands still says nothing
  EXPECT_LT(times.ms(8, true), 1.1 * before);
}

// Steps of 300 that had drafts. The text repeats itself, so that copies are always right; a step with one takes
// `drafted_ms`, and one without a millisecond, as was said of both.
int steps_with_drafts(double drafted_ms) {
  std::vector<int32_t> text;
  for (int i = 0; i < 64; ++i) text.push_back(i % 8);
  const DraftContext context{.text = text, .deepest = 1};
  MedusaDrafter drafter(nullptr, 0, {.cost = one, .learns_cost = true});
  int with_drafts = 0;
  for (int step = 0; step < 300; ++step) {
    DraftTree tree;
    tree.add(text.back(), -1);
    drafter.propose({}, {&context, 1}, 0, {&tree, 1});
    const int64_t drafts = tree.size() - 1;
    if (drafts > 0) ++with_drafts, drafter.observe(0, tree, std::vector<int32_t>{0, 1}, true);
    drafter.observe_step(1 + drafts, drafts, drafts > 0 ? drafted_ms : 1.0);
  }
  return with_drafts;
}

TEST(MedusaDrafter, LeavesOffDraftsThatTurnOutNotToPay) {
  EXPECT_GE(steps_with_drafts(1.1), 280);
  EXPECT_LT(steps_with_drafts(2.5), 150);  // two tokens in two and a half times as long
}

}  // namespace
}  // namespace gradus::lm
