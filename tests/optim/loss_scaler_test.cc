#include "gradus/optim/loss_scaler.h"

#include <gtest/gtest.h>

namespace gradus::optim {
namespace {

TEST(LossScaler, ByDefaultThereIsNoneAndNothingMaySkip) {
  const LossScaler scaler;
  EXPECT_EQ(scaler.scale(), 1.0);
  EXPECT_FALSE(scaler.active());
  EXPECT_FALSE(scaler.may_skip());
}

TEST(LossScaler, AnOverflowHalvesTheScaleAndCleanStepsDoubleIt) {
  LossScaler scaler(LossScalerConfig::automatic());
  EXPECT_EQ(scaler.scale(), 65536.0);
  scaler.step_skipped();
  EXPECT_EQ(scaler.scale(), 32768.0);
  for (int i = 0; i < 1999; ++i) scaler.step_done();
  EXPECT_EQ(scaler.scale(), 32768.0);
  scaler.step_done();
  EXPECT_EQ(scaler.scale(), 65536.0);
  EXPECT_EQ(scaler.state().skipped, 1);
}

TEST(LossScaler, AnOverflowStartsTheCountOfCleanStepsAgain) {
  LossScaler scaler(LossScalerConfig::automatic());
  for (int i = 0; i < 1999; ++i) scaler.step_done();
  scaler.step_skipped();
  scaler.step_done();
  EXPECT_EQ(scaler.scale(), 32768.0);
}

TEST(LossScaler, AStaticScaleStays) {
  LossScaler scaler(LossScalerConfig::fixed(128));
  scaler.step_skipped();
  for (int i = 0; i < 5000; ++i) scaler.step_done();
  EXPECT_EQ(scaler.scale(), 128.0);
}

TEST(LossScaler, TheScaleStaysBetweenItsBounds) {
  LossScaler scaler(LossScalerConfig::automatic());
  for (int i = 0; i < 100; ++i) scaler.step_skipped();
  EXPECT_EQ(scaler.scale(), LossScaler::kLeastScale);
  for (int i = 0; i < 100 * 2000; ++i) scaler.step_done();
  EXPECT_EQ(scaler.scale(), LossScaler::kGreatestScale);
}

TEST(LossScaler, ARunOfSkippedStepsEndsInAnErrorAndACleanOneForgives) {
  LossScaler scaler(LossScalerConfig::automatic());
  for (int64_t i = 0; i < LossScaler::kMostSkipped; ++i) {
    EXPECT_TRUE(scaler.may_skip());
    scaler.step_skipped();
  }
  EXPECT_FALSE(scaler.may_skip());
  scaler.step_done();
  EXPECT_TRUE(scaler.may_skip());
}

TEST(LossScaler, GoesOnFromItsState) {
  LossScaler a(LossScalerConfig::automatic()), b(LossScalerConfig::automatic());
  a.step_skipped();
  for (int i = 0; i < 1000; ++i) a.step_done();
  b.restore(a.state());
  for (LossScaler* s : {&a, &b}) {
    for (int i = 0; i < 1000; ++i) s->step_done();
    EXPECT_EQ(s->scale(), 65536.0);
    EXPECT_EQ(s->state().skipped, 1);
  }
}

}  // namespace
}  // namespace gradus::optim
