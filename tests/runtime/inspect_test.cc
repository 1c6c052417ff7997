#include "gradus/runtime/inspect.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/runtime/thread.h"

namespace gradus::runtime {
namespace {

using ::testing::HasSubstr;

void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& act) {
  try {
    act();
    FAIL() << "no error; expected " << name(code);
  } catch (const Error& e) {
    EXPECT_EQ(name(e.code()), name(code)) << e.what();
    EXPECT_THAT(e.what(), HasSubstr(part));
  }
}

// A child that runs `body` and is ended with its owner.
class Forked {
 public:
  explicit Forked(const std::function<void()>& body) : pid_(::fork()) {
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  ~Forked() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void wait_until_stopped() const {
    int status = 0;
    ASSERT_EQ(::waitpid(pid_, &status, WUNTRACED), pid_);
    ASSERT_TRUE(WIFSTOPPED(status));
  }

 private:
  pid_t pid_;
};

// A sanitizer brings threads of its own, so that tests look for theirs and do not count.
std::vector<ThreadInfo> named(const std::vector<ThreadInfo>& threads, const std::string& name) {
  std::vector<ThreadInfo> found;
  std::copy_if(threads.begin(), threads.end(), std::back_inserter(found),
               [&](const ThreadInfo& t) { return t.name == name; });
  return found;
}

TEST(ListThreads, ShowsEveryThreadOfAStoppedProcess) {
  const Forked child([] {
    name_this_thread("main", 0);
    Thread writer("writer", 2, [](std::stop_token) { ::pause(); });
    std::thread unnamed([] { ::pause(); });  // bears its creator's name
    ::raise(SIGSTOP);
  });
  child.wait_until_stopped();
  const auto threads = list_threads(child.pid());
  ASSERT_GE(threads.size(), 3u);
  EXPECT_EQ(threads[0].id, child.pid());
  EXPECT_EQ(threads[0].name, "main/0");
  EXPECT_EQ(threads[0].role, "main");
  ASSERT_EQ(named(threads, "writer/2").size(), 1u);
  EXPECT_EQ(named(threads, "writer/2")[0].role, "writer");
  const auto inherited = named(threads, "main/0");
  ASSERT_GE(inherited.size(), 2u);
  for (std::size_t i = 1; i < inherited.size(); ++i) EXPECT_EQ(inherited[i].role, "other");
  for (const ThreadInfo& thread : threads) {
    EXPECT_EQ(thread.state, "stopped");
    EXPECT_GE(thread.cpu_time_ms, 0);
  }
}

TEST(ListThreads, ReadsNamesWithBracketsAndSpaces) {
  const Forked child([] {
    name_this_thread("main", 0);
    std::thread odd([] {
      pthread_setname_np(pthread_self(), ") R (1 /2");
      ::raise(SIGSTOP);
    });
    odd.join();
  });
  child.wait_until_stopped();
  const auto threads = list_threads(child.pid());
  ASSERT_EQ(named(threads, ") R (1 /2").size(), 1u);
  EXPECT_EQ(named(threads, ") R (1 /2")[0].state, "stopped");
}

TEST(ListThreads, TellsWhatIsWrongWithAProcessId) {
  expect_error(ErrorCode::invalid_argument, "1 or more", [] { list_threads(0); });
  expect_error(ErrorCode::invalid_argument, "1 or more", [] { list_threads(-5); });
  expect_error(ErrorCode::not_found, "no such process", [] { list_threads(INT_MAX); });
  const Forked stranger([] { ::pause(); });
  expect_error(ErrorCode::invalid_argument, "not a Gradus process", [&] { list_threads(stranger.pid()); });
}

TEST(ListThreads, AThreadIdIsToldFromAProcessId) {
  const Forked child([] {
    name_this_thread("main", 0);
    Thread writer("writer", 0, [](std::stop_token) { ::pause(); });
    ::raise(SIGSTOP);
  });
  child.wait_until_stopped();
  const pid_t thread = named(list_threads(child.pid()), "writer/0").at(0).id;
  expect_error(ErrorCode::invalid_argument, std::to_string(child.pid()), [&] { list_threads(thread); });
}

class PidOfRun : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(run_); }
  void TearDown() override { std::filesystem::remove_all(run_); }
  void lock(const std::string& text) { write_file_atomically(run_ / "lock", text); }
  std::filesystem::path run_ =
      std::filesystem::temp_directory_path() / ("gradus_inspect_" + std::to_string(::getpid()));
};

TEST_F(PidOfRun, FindsTheProcessThatKeepsTheLockOpen) {
  lock("");
  const Forked owner([this] {
    name_this_thread("main", 0);
    [[maybe_unused]] const int held = ::open((run_ / "lock").c_str(), O_RDWR);
    ::raise(SIGSTOP);
  });
  owner.wait_until_stopped();
  std::ofstream(run_ / "lock") << nlohmann::json{{"pid", owner.pid()}} << "\n";
  EXPECT_EQ(pid_of_run(run_), owner.pid());
}

TEST_F(PidOfRun, AnIdThatAnotherGradusBearsByNowIsNotTheRun) {
  const Forked other([] {
    name_this_thread("main", 0);
    ::raise(SIGSTOP);
  });
  other.wait_until_stopped();
  lock(write_json(nlohmann::json{{"pid", other.pid()}}));
  expect_error(ErrorCode::not_found, "it is not running", [&] { pid_of_run(run_); });
}

TEST_F(PidOfRun, AFolderWithoutALivingGradusIsNotRunning) {
  expect_error(ErrorCode::not_found, "it is not running", [&] { pid_of_run(run_); });
  const Forked stranger([] { ::pause(); });
  for (const int64_t pid : {int64_t{stranger.pid()}, int64_t{INT_MAX}, int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
    lock(write_json(nlohmann::json{{"pid", pid}}));
    expect_error(ErrorCode::not_found, "it is not running", [&] { pid_of_run(run_); });
  }
}

TEST_F(PidOfRun, BadLocksAndFoldersAreNamed) {
  expect_error(ErrorCode::not_found, "no such folder", [&] { pid_of_run(run_ / "none"); });
  for (const char* text : {"{\"pid\": ", "[]", "{}", "{\"pid\": \"7\"}", "12"}) {
    lock(text);
    expect_error(ErrorCode::corrupt, "lock file", [&] { pid_of_run(run_); });
  }
  lock(R"({"pid": 1, "host": "a host that is not this one"})");
  expect_error(ErrorCode::unsupported, "a host that is not this one", [&] { pid_of_run(run_); });
}

}  // namespace
}  // namespace gradus::runtime
