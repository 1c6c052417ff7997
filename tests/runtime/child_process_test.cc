#include "gradus/runtime/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/core/file.h"

namespace gradus::runtime {
namespace {

using ::testing::HasSubstr;

// Far enough that only a defect reaches it.
ChildProcess::Deadline far_away() {
  return std::chrono::steady_clock::now() + std::chrono::minutes(1);
}
ChildProcess::Deadline passed() {
  return std::chrono::steady_clock::time_point::min();
}

std::vector<std::string> shell(const std::string& script) {
  return {"/bin/sh", "-c", script};
}

void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& act) {
  try {
    act();
    FAIL() << "no error; expected " << name(code);
  } catch (const Error& e) {
    EXPECT_EQ(name(e.code()), name(code)) << e.what();
    EXPECT_THAT(e.what(), HasSubstr(part));
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  }
}

TEST(ChildProcess, CatReturnsTheLinesInOrder) {
  ChildProcess cat({"/bin/cat"});
  RC_ASSERT(rc::check("exchange through cat is the identity", [&cat](std::vector<std::string> lines) {
    for (std::string& line : lines) std::erase(line, '\n');
    RC_ASSERT(cat.exchange(lines, far_away()) == lines);
  }));
}

TEST(ChildProcess, ManyLongLinesDoNotBlockEitherSide) {
  ChildProcess cat({"/bin/cat"});
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i) lines.emplace_back(static_cast<std::size_t>(i) * 37, static_cast<char>('a' + i % 26));
  EXPECT_EQ(cat.exchange(lines, far_away()), lines);
}

TEST(ChildProcess, AProgramThatWritesMuchBeforeItReadsDoesNotBlock) {
  // 1 MB on stdout and 1 MB on stderr before the first read: more than any pipe holds.
  ChildProcess child(shell("head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 1000000 /dev/zero >&2; cat"));
  const std::string big(1000000, 'y');
  child.write_line(big, far_away());
  EXPECT_EQ(child.read_line(far_away()).size(), 1000000u);
  EXPECT_EQ(child.read_line(far_away()), big);
  EXPECT_EQ(child.stderr_tail().size(), ChildProcess::kKeptStderrBytes);
}

TEST(ChildProcess, LinesAreReadOneByOne) {
  ChildProcess cat({"cat"});  // found through PATH
  cat.write_line("one", far_away());
  cat.write_line("", far_away());
  cat.write_line("three", far_away());
  EXPECT_EQ(cat.read_line(far_away()), "one");
  EXPECT_EQ(cat.read_line(far_away()), "");
  EXPECT_EQ(cat.read_line(far_away()), "three");
}

TEST(ChildProcess, ADeadProgramIsNamedWithItsExitCodeAndLastWords) {
  ChildProcess child(shell("read line; echo half; echo 'Traceback' >&2; echo 'ValueError: no answer' >&2; exit 3"));
  const std::vector<std::string> lines = {"a", "b"};
  expect_error(ErrorCode::peer_lost,
               "program /bin/sh: exited with code 3 after 1 of 2 replies; it said: Traceback | ValueError: no answer; ",
               [&] { child.exchange(lines, far_away()); });
  expect_error(ErrorCode::peer_lost, "start it again", [&] { child.exchange(lines, far_away()); });
  expect_error(ErrorCode::peer_lost, "start it again", [&] { child.read_line(far_away()); });
}

TEST(ChildProcess, AProgramEndedByASignalIsReportedAsSuch) {
  ChildProcess child(shell("kill -SEGV $$"));
  expect_error(ErrorCode::peer_lost, "was ended by signal 11", [&] { child.read_line(far_away()); });
}

TEST(ChildProcess, ALastLineWithoutItsEndIsNotALine) {
  ChildProcess child(shell("printf 'whole\\nhalf'"));
  EXPECT_EQ(child.read_line(far_away()), "whole");
  expect_error(ErrorCode::peer_lost, "exited with code 0", [&] { child.read_line(far_away()); });
}

TEST(ChildProcess, WritingToAProgramThatReadsNoMoreIsNotASignal) {
  ChildProcess child(shell("exec <&-; echo closed; exec sleep 1000"));
  ASSERT_EQ(child.read_line(far_away()), "closed");
  expect_error(ErrorCode::peer_lost, "program /bin/sh", [&] { child.write_line("x", far_away()); });
}

TEST(ChildProcess, AReadDeadlineThatPassedLosesNothing) {
  ChildProcess cat({"/bin/cat"});
  expect_error(ErrorCode::timeout, "no line before the deadline", [&] { cat.read_line(passed()); });
  cat.write_line("later", far_away());
  EXPECT_EQ(cat.read_line(far_away()), "later");
}

TEST(ChildProcess, AWriteDeadlineThatPassedIsATimeout) {
  ChildProcess deaf(shell("exec sleep 1000"));
  const std::string more_than_a_pipe_holds(4 << 20, 'x');
  expect_error(ErrorCode::timeout, "did not read its input",
               [&] { deaf.write_line(more_than_a_pipe_holds, passed()); });
}

TEST(ChildProcess, AMissedExchangeEndsTheProgramSoThatNoLateReplyIsMistaken) {
  ChildProcess child(shell("read line; echo first; exec sleep 1000"));
  const pid_t pid = child.pid();
  child.write_line("a", far_away());
  ASSERT_EQ(child.read_line(far_away()), "first");
  expect_error(ErrorCode::timeout, "0 of 1 replies", [&] { child.exchange(std::vector<std::string>{"b"}, passed()); });
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  expect_error(ErrorCode::peer_lost, "start it again",
               [&] { child.exchange(std::vector<std::string>{"c"}, far_away()); });
}

TEST(ChildProcess, LinesNobodyAskedForAreAnError) {
  ChildProcess child(shell("read line; printf '1\\n2\\n'; exec sleep 1000"));
  expect_error(ErrorCode::corrupt, "more lines than it was asked for",
               [&] { child.exchange(std::vector<std::string>{"a"}, far_away()); });
}

TEST(ChildProcess, ARequestWithALineBreakIsRefusedAndNothingIsSent) {
  ChildProcess cat({"/bin/cat"});
  expect_error(ErrorCode::invalid_argument, "line break", [&] { cat.write_line("a\nb", far_away()); });
  expect_error(ErrorCode::invalid_argument, "line break", [&] {
    cat.exchange(std::vector<std::string>{"ok", "a\nb"}, far_away());
  });
  EXPECT_EQ(cat.exchange(std::vector<std::string>{"c"}, far_away()), std::vector<std::string>{"c"});
}

TEST(ChildProcess, AnEndlessLineIsAnError) {
  ChildProcess child(shell("exec tr '\\0' x </dev/zero"));
  expect_error(ErrorCode::exhausted, "line longer than", [&] { child.read_line(far_away()); });
}

TEST(ChildProcess, TheDestructorEndsTheWholeGroup) {
  pid_t grandchild = 0;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);  // its write end is inherited, and closes when the last of them has ended
  {
    ChildProcess child(shell("sleep 1000 & echo $!; wait"));
    grandchild = std::stoi(child.read_line(far_away()));
    close(fds[1]);
    EXPECT_EQ(::kill(grandchild, 0), 0);
  }
  char byte;
  EXPECT_EQ(read(fds[0], &byte, 1), 0);
  close(fds[0]);
}

class ProgramFile : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& text, mode_t mode) {
    const auto path = folder_ / "program";
    write_file_atomically(path, text);
    ::chmod(path.c_str(), mode);
    return path.string();
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("gradus_program_" + std::to_string(::getpid()));
};

TEST_F(ProgramFile, MistakesAreToldApart) {
  const auto start = [](const std::string& path) { return [path] { ChildProcess({path}); }; };
  expect_error(ErrorCode::invalid_argument, "no program is given", start(""));
  expect_error(ErrorCode::not_found, "no such program", start((folder_ / "none").string()));
  expect_error(ErrorCode::not_found, "no such program", start("gradus-no-such-program"));
  expect_error(ErrorCode::invalid_argument, "a folder", start(folder_.string()));
  expect_error(ErrorCode::invalid_argument, "chmod +x", start(write("#!/bin/sh\n", 0644)));
  expect_error(ErrorCode::invalid_argument, "begin a script with", start(write("echo 1\n", 0755)));
  expect_error(ErrorCode::invalid_argument, "interpreter", start(write("#!/no/such/interpreter\n", 0755)));
}

}  // namespace
}  // namespace gradus::runtime
