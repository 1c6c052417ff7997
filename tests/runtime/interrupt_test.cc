#include "gradus/runtime/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "gradus/core/error.h"

namespace gradus::runtime {
namespace {

// Leaves the process as it found it.
class Interrupt : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) sigaction(kSignals[i], nullptr, &before_[i]);
    clear_interrupt();
  }
  void TearDown() override {
    for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &before_[i], nullptr);
    clear_interrupt();
  }
  static bool is_default(int signal_number) {
    struct sigaction now = {};
    sigaction(signal_number, nullptr, &now);
    return now.sa_handler == SIG_DFL;
  }

 private:
  static constexpr int kSignals[3] = {SIGINT, SIGTERM, SIGPIPE};
  struct sigaction before_[3];
};

TEST_F(Interrupt, EachSignalSetsTheFlag) {
  install_interrupt_handlers();
  for (int signal_number : {SIGINT, SIGTERM}) {
    EXPECT_FALSE(interrupt_requested());
    raise(signal_number);
    EXPECT_TRUE(interrupt_requested());
    EXPECT_FALSE(is_default(signal_number));
    clear_interrupt();
  }
}

TEST_F(Interrupt, TheSecondSignalLetsAThirdOneKill) {
  install_interrupt_handlers();
  raise(SIGINT);
  raise(SIGINT);
  EXPECT_TRUE(interrupt_requested());
  EXPECT_TRUE(is_default(SIGINT));
  EXPECT_TRUE(is_default(SIGTERM));
}

TEST_F(Interrupt, ARequestCountsAsTheFirstSignalOnly) {
  install_interrupt_handlers();
  request_interrupt();
  request_interrupt();
  EXPECT_TRUE(interrupt_requested());
  EXPECT_FALSE(is_default(SIGINT));
}

TEST_F(Interrupt, ThrowsAnErrorThatSaysSo) {
  EXPECT_NO_THROW(throw_if_interrupted("train"));
  request_interrupt();
  try {
    throw_if_interrupted("train");
    FAIL() << "no exception";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::interrupted);
  }
}

TEST_F(Interrupt, AnIgnoredBrokenPipeIsAnOrdinaryError) {
  ignore_write_signals();
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  close(fds[0]);
  EXPECT_EQ(write(fds[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(fds[1]);
}

}  // namespace
}  // namespace gradus::runtime
