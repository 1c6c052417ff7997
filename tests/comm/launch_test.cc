// Jobs of small shell programs, as the launcher starts, follows and ends them.
#include "gradus/comm/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "gradus/comm/launched_process.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "tests/core/temporary_folder.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

struct Launched {
  int code = 0;
  std::vector<std::string> lines;
};

Launched run_job(const std::string& script, LaunchOptions options) {
  Launched l;
  options.program = "/bin/sh";
  options.arguments = [&](int) { return std::vector<std::string>{"-c", script}; };
  options.show = [&](const std::string& line) { l.lines.push_back(line); };
  l.code = launch(options);
  return l;
}

TEST(Launch, TellsEachProcessItsRankAndShowsItsLines) {
  const Launched l = run_job(
      "test $RANK = 0 || echo $RANK of $WORLD_SIZE, $LOCAL_RANK of $LOCAL_WORLD_SIZE at $MASTER_ADDR, "
      "${#GRADUS_JOB_TOKEN} "
      "$GRADUS_TIMEOUT_S",
      {.n_ranks = 3, .timeout = milliseconds(30'000)});
  EXPECT_EQ(l.code, 0);
  EXPECT_THAT(l.lines, UnorderedElementsAre("[rank 1] 1 of 3, 1 of 3 at 127.0.0.1, 32 30",
                                            "[rank 2] 2 of 3, 2 of 3 at 127.0.0.1, 32 30"));
}

TEST(Launch, ALastLineWithoutEndIsShown) {
  EXPECT_THAT(run_job("test $RANK = 0 || printf 'a\\nb'", {.n_ranks = 2}).lines,
              ElementsAre("[rank 1] a", "[rank 1] b"));
}

TEST(Launch, TheFirstRankThatFailsGivesTheExitCodeAndIsNamed) {
  const Launched l = run_job("test $RANK != 1 || exit 7", {.n_ranks = 3});
  EXPECT_EQ(l.code, 7);
  EXPECT_THAT(l.lines, ElementsAre(AllOf(HasSubstr("rank 1"), HasSubstr("exit code 7"))));
}

TEST(Launch, ASignalIsNamedAndStragglersAreKilledAfterTheGrace) {
  const auto begin = steady_clock::now();
  const Launched l =
      run_job("test $RANK != 1 || kill -9 $$; exec sleep 600", {.n_ranks = 2, .grace = milliseconds(50)});
  EXPECT_EQ(l.code, 137);
  EXPECT_THAT(l.lines, ElementsAre(AllOf(HasSubstr("rank 1"), HasSubstr("signal 9")),
                                   AllOf(HasSubstr("rank 0"), HasSubstr("is killed"))));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(20'000));
}

TEST(Launch, StartsAgainUntilItWorks) {
  const Launched l = run_job("test $GRADUS_RESTART = 2 || exit 3", {.n_ranks = 2, .restarts = 5});
  EXPECT_EQ(l.code, 0);
  EXPECT_THAT(l.lines, Contains(HasSubstr("starting again, 2 of 5")));
  EXPECT_EQ(run_job("exit 3", {.n_ranks = 1, .restarts = 1}).code, 3);
}

TEST(Launch, WrongUsageIsNotTriedAgain) {
  const Launched l = run_job("exit 2", {.n_ranks = 1, .restarts = 5});
  EXPECT_EQ(l.code, 2);
  EXPECT_THAT(l.lines, ElementsAre(HasSubstr("exit code 2")));
}

TEST(Launch, AnInterruptIsPassedOnOnce) {
  const gradus::testing::TemporaryFolder folder;
  const std::string script =
      "trap 'exit 130' INT; echo > " + (folder / "started-").string() + "$RANK; while :; do sleep 0.05; done";
  // The signal is for the launcher, which waits for it; no thread may take it.
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  std::thread user([&] {
    while (!std::filesystem::exists(folder / "started-0") || !std::filesystem::exists(folder / "started-1")) {
      std::this_thread::yield();
    }
    ::kill(::getpid(), SIGINT);
  });
  const Launched l = run_job(script, {.n_ranks = 2, .restarts = 3});
  user.join();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(l.code, 130);
}

// A stand-in for ssh: forgets the host and gives the command to a shell, as sshd does.
LaunchOptions over_ssh(int n_ranks, const std::string& hosts) {
  return {.n_ranks = n_ranks,
          .hosts = parse_hosts(hosts),
          .ssh = {"/bin/sh", "-c", "shift; exec /bin/sh -c \"$*\"", "ssh"}};
}

TEST(Launch, ReachesOtherHostsThroughSshWithoutTheTokenOnACommandLine) {
  const gradus::testing::TemporaryFolder folder;
  LaunchOptions options = over_ssh(4, "a,b:1");
  const std::string script =
      "echo \"$RANK of $WORLD_SIZE, $LOCAL_RANK of $LOCAL_WORLD_SIZE at $MASTER_ADDR, ${#GRADUS_JOB_TOKEN}\" > " +
      (folder / "rank-").string() + "$RANK; tr '\\0' ' ' < /proc/$PPID/cmdline | grep -c \"$GRADUS_JOB_TOKEN\" >&2";
  const Launched l = run_job(script + "; true", options);
  EXPECT_EQ(l.code, 0);
  EXPECT_EQ(read_file(folder / "rank-0"), "0 of 4, 0 of 3 at a, 32\n");
  EXPECT_EQ(read_file(folder / "rank-2"), "2 of 4, 2 of 3 at a, 32\n");
  EXPECT_EQ(read_file(folder / "rank-3"), "3 of 4, 0 of 1 at a, 32\n");
  EXPECT_THAT(l.lines, UnorderedElementsAre("[rank 1] 0", "[rank 2] 0", "[rank 3] 0"));
}

TEST(Launch, AProgramOfAnotherHostEndsWithTheJob) {
  LaunchOptions options = over_ssh(2, "a");
  options.grace = milliseconds(50);
  const auto begin = steady_clock::now();
  EXPECT_EQ(run_job("test $RANK = 0 || exit 5; exec sleep 600", options).code, 5);
  EXPECT_LT(steady_clock::now() - begin, milliseconds(20'000));
}

TEST(Launch, HostsAndRanksMustFit) {
  EXPECT_EQ(parse_hosts("a,b:4")[1].ranks, 4);
  EXPECT_EQ(parse_hosts("a,b:4")[0].name, "a");
  for (const char* list : {"a,,b", "a:", "a:x", ":3", "-oProxyCommand=x", "a:0"}) {
    EXPECT_THROW(parse_hosts(list), Error) << list;
  }
  EXPECT_THROW(run_job("true", {.n_ranks = 3, .hosts = parse_hosts("a:1,b:1")}), Error);
  EXPECT_THROW(run_job("true", {.n_ranks = 1, .hosts = parse_hosts("a,b")}), Error);
}

TEST(Launch, AProgramThatIsNotThereIsAnError) {
  LaunchOptions options{.n_ranks = 2, .program = "/no/such/program"};
  EXPECT_THROW(launch(options), Error);
}

TEST(Launch, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(quoted_for_shell("it's $HOME"), "'it'\\''s $HOME'");
}

}  // namespace
}  // namespace gradus::comm
