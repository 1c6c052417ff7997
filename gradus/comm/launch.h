// Starts the ranks of a job as processes, on this host and, through ssh, on others; passes on what they say and the
// user's Ctrl-C; ends all when one fails; and starts all again.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::comm {

struct LaunchHost {
  std::string name;  // as ssh knows it, or "localhost"
  int ranks = 0;     // 0: an even share
};
// "a,b:4": two hosts, the second for four ranks. Throws invalid_argument.
std::vector<LaunchHost> parse_hosts(std::string_view list);

struct LaunchOptions {
  int n_ranks = 1;
  std::vector<LaunchHost> hosts = {};                                   // empty: this one
  int restarts = 0;                                                     // how often a job that failed is started again
  int port = 0;                                                         // where rank 0 listens; 0: a free one
  std::optional<std::chrono::milliseconds> timeout = {};                // of each collective call
  std::string transport = {};                                           // auto, shm, tcp; empty: auto
  std::string interface = {};                                           // as in interfaces.h
  std::string program = {};                                             // path, the same on all hosts
  std::vector<std::string> ssh = {"ssh", "-T", "-o", "BatchMode=yes"};  // followed by the host and a command
  std::chrono::milliseconds grace{3'000};  // from the first failure until what still runs is killed
  // So long a process may be stopped (SIGSTOP). Its peers notice earlier, unless they have not met yet.
  std::chrono::milliseconds longest_stop{4'500};

  // The program's arguments; restart counts from 0. Called before each start.
  std::function<std::vector<std::string>(int restart)> arguments = {};
  // Takes a line for the user: a rank's, as "[rank 2] text", or the launcher's own. Rank 0 writes to this process's
  // stdout and stderr itself.
  std::function<void(const std::string& line)> show = {};
};

// Ranks are given to hosts in order, so that neighbours share one. Each process has a process group of its own, and
// ends when this process does. The token is made here and reaches other hosts through ssh's stdin, never a command
// line. SIGINT, SIGTERM and SIGHUP are the launcher's meanwhile: the first is passed on, the second kills.
// Returns 0 when all ranks ended with 0, else the exit code of the first that did not, 128 + its signal if one ended
// it, 130 after an interrupt. Throws invalid_argument when hosts and ranks do not fit, io or exhausted when the system
// refuses a process.
int launch(const LaunchOptions& options);

}  // namespace gradus::comm
