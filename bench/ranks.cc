#include "bench/ranks.h"

#include <fmt/ranges.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <thread>

#include "gradus/comm/connect.h"
#include "gradus/comm/monitor.h"
#include "gradus/comm/shm_transport.h"
#include "gradus/comm/socket.h"
#include "gradus/comm/thread_transport.h"
#include "gradus/core/error.h"
#include "gradus/core/thread_pool.h"
#include "gradus/runtime/thread.h"

namespace gradus::bench {

using comm::Group;

namespace {

using Body = std::function<void(Group&)>;

// The calling thread on a processor of its own, as mpirun has it, while the object lives: else two ranks may share one
// until the system notices. Nothing when there are more ranks than processors.
class OwnProcessor {
 public:
  OwnProcessor(int rank, int ranks) {
    CPU_ZERO(&before_);
    if (sched_getaffinity(0, sizeof before_, &before_) != 0 || ranks > available_cpus()) return;
    int cpu = 0;
    for (int left = rank; cpu < CPU_SETSIZE && (!CPU_ISSET(cpu, &before_) || left-- > 0);) ++cpu;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    bound_ = cpu < CPU_SETSIZE && sched_setaffinity(0, sizeof own, &own) == 0;
  }
  OwnProcessor(const OwnProcessor&) = delete;
  OwnProcessor& operator=(const OwnProcessor&) = delete;
  ~OwnProcessor() {
    if (bound_) sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  cpu_set_t before_;
  bool bound_ = false;
};

void run_rank(Group& group, const Body& body) {
  try {
    body(group);
  } catch (const Error& e) {
    group.abort(e);
    throw;
  } catch (const std::exception& e) {
    group.abort(Error(ErrorCode::peer_lost, fmt::format("bench: rank {}: {}", group.rank(), e.what())));
    throw;
  }
}

void run_threads(int ranks, const Body& body) {
  const comm::ThreadWorld world(ranks);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  const auto rank = [&](int r) {
    const OwnProcessor own(r, ranks);
    try {
      Group group(world.transport(r));
      run_rank(group, body);
    } catch (...) {
      errors[static_cast<size_t>(r)] = std::current_exception();
    }
  };
  std::vector<runtime::Thread> threads;
  for (int r = 1; r < ranks; ++r) threads.emplace_back("rank", r, [&rank, r](std::stop_token) { rank(r); });
  rank(0);
  for (runtime::Thread& t : threads) t.join();
  for (const std::exception_ptr& e : errors) {
    if (e != nullptr) std::rethrow_exception(e);
  }
}

// The forks of this process. They end with it.
class Forks {
 public:
  // rank(r) in a process of its own, for 1 <= r < ranks.
  template <class Rank>
  Forks(int ranks, const Rank& rank) {
    const pid_t parent = getpid();
    for (int r = 1; r < ranks; ++r) {
      const pid_t pid = fork();
      if (pid < 0) {
        const int error = errno;
        end(std::chrono::seconds(0));
        fail(ErrorCode::exhausted, "bench: process {} of {}: {}; take fewer --ranks", r, ranks, std::strerror(error));
      }
      if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        try {
          rank(r);
        } catch (...) {
          _exit(1);  // rank 0 tells why: the group was aborted
        }
        _exit(0);
      }
      pids_.push_back(pid);
    }
  }
  Forks(const Forks&) = delete;
  Forks& operator=(const Forks&) = delete;
  ~Forks() { end(std::chrono::seconds(5)); }

 private:
  // Those that have not ended by themselves by then are killed.
  void end(std::chrono::seconds most) {
    const auto deadline = std::chrono::steady_clock::now() + most;
    for (const pid_t pid : pids_) {
      while (waitpid(pid, nullptr, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() >= deadline) kill(pid, SIGKILL);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    pids_.clear();
  }

  std::vector<pid_t> pids_;
};

// make(r) forms the group, on each rank after the fork.
template <class Make>
void run_processes(int ranks, const Make& make, const Body& body) {
  set_pool_threads(1);  // forks have no other threads; and each rank gets a processor
  const auto rank = [&](int r) {
    const std::unique_ptr<Group> group = make(r);
    const comm::Monitor monitor(*group);
    const OwnProcessor own(r, ranks);
    run_rank(*group, body);
  };
  const Forks forks(ranks, rank);
  rank(0);
}

void run_shm(int ranks, const Body& body) {
  const auto segment = std::make_shared<const comm::ShmSegment>(comm::ShmSegment::create(ranks));
  run_processes(
      ranks, [&](int r) { return std::make_unique<Group>(comm::shm_transport(segment, r)); }, body);
}

void run_tcp(int ranks, const Body& body) {
  comm::Environment environment{.launcher = "variables", .size = ranks, .local_size = ranks};
  environment.master_address = "127.0.0.1";
  environment.master_port = comm::free_port(environment.master_address);
  environment.token = fmt::format("bench of process {}", getpid());
  const auto make = [&](int r) {
    comm::Environment mine = environment;
    mine.rank = mine.local_rank = r;
    return comm::connect(mine, {}, {.transport = "tcp"});
  };
  run_processes(ranks, make, body);
}

}  // namespace

const std::vector<std::string>& rank_transports() {
  static const std::vector<std::string> names = {"threads", "shm", "tcp"};
  return names;
}

void run_ranks(const std::string& transport, int ranks, const Body& body) {
  require(std::ranges::find(rank_transports(), transport) != rank_transports().end(),
          "bench: there is no transport {}; there are {}", transport, fmt::join(rank_transports(), ", "));
  require(ranks >= 1 && ranks <= 64, "bench: {} ranks are not from 1 to 64", ranks);
  if (transport == "threads") return run_threads(ranks, body);
  if (transport == "shm") return run_shm(ranks, body);
  run_tcp(ranks, body);
}

void run_ranks(const AllreduceOptions& options, const Body& body) {
  if (options.job == nullptr) return run_ranks(options.transport, options.ranks, body);
  require(options.ranks == options.job->size(), "bench: {} ranks were asked for, but the job has {}", options.ranks,
          options.job->size());
  run_rank(*options.job, body);
}

}  // namespace gradus::bench
