#include "gradus/runtime/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "gradus/core/error.h"

namespace gradus::runtime {
namespace {

std::string name_of_this_thread() {
  std::array<char, 16> name = {};
  pthread_getname_np(pthread_self(), name.data(), name.size());
  return name.data();
}

void wait_for_stop(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait(lock, stop, [] { return false; });
}

TEST(Thread, BearsItsNameInsideTheBody) {
  std::string seen;
  Thread thread("writer", 3, [&](std::stop_token) { seen = name_of_this_thread(); });
  thread.join();
  EXPECT_EQ(seen, "writer/3");
  EXPECT_EQ(thread.name(), "writer/3");
}

TEST(Thread, RequestStopEndsAWaitingBody) {
  Thread thread("waiter", 0, wait_for_stop);
  thread.request_stop();
  thread.join();
  EXPECT_FALSE(thread.joinable());
}

TEST(Thread, DestructorStopsAndJoins) {
  std::atomic<bool> ended = false;
  {
    Thread thread("waiter", 0, [&](std::stop_token stop) {
      wait_for_stop(stop);
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

TEST(Thread, JoinRethrowsTheBodysExceptionOnce) {
  Thread thread("failing", 0, [](std::stop_token) { fail(ErrorCode::io, "disk: full"); });
  try {
    thread.join();
    FAIL() << "join() did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_STREQ(e.what(), "disk: full");
  }
  EXPECT_NO_THROW(thread.join());
}

TEST(Thread, DestructorDropsAnExceptionThatNobodyFetched) {
  EXPECT_NO_THROW(Thread("failing", 0, [](std::stop_token) { throw std::runtime_error("unseen"); }));
}

TEST(Thread, MoveAssignmentStopsTheOldThreadAndKeepsTheNew) {
  std::atomic<int> n_ended = 0;
  const auto body = [&](std::stop_token stop) {
    wait_for_stop(stop);
    ++n_ended;
  };
  Thread a("a", 0, body);
  Thread b("b", 0, body);
  a = std::move(b);
  EXPECT_EQ(n_ended, 1);
  EXPECT_EQ(a.name(), "b/0");
  EXPECT_TRUE(a.joinable());
  a.request_stop();
  a.join();
  EXPECT_EQ(n_ended, 2);
}

TEST(Thread, RefusesNamesThatTheSystemWouldCut) {
  const auto nothing = [](std::stop_token) {};
  EXPECT_NO_THROW(Thread("thirteenchars", 0, nothing));
  for (const auto& [role, index] :
       {std::pair{"", 0}, {"a/b", 0}, {"x", -1}, {"fourteen_chars", 0}, {"thirteenchars", 10}}) {
    EXPECT_THROW(Thread(role, index, nothing), Error) << role << " " << index;
    EXPECT_THROW(name_this_thread(role, index), Error) << role << " " << index;
  }
}

}  // namespace
}  // namespace gradus::runtime
