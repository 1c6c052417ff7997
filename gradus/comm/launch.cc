#include "gradus/comm/launch.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <deque>

#include "gradus/comm/handshake.h"
#include "gradus/comm/launched_process.h"
#include "gradus/comm/rendezvous.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kWrongUsage = 2, kInterrupted = 130;  // exit codes of the command line

// SIGINT, SIGTERM and SIGHUP as a descriptor, and not as signals, while it lives.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    struct sigaction hang_up = {};
    ::sigaction(SIGHUP, nullptr, &hang_up);
    for (const int s : {SIGINT, SIGTERM}) sigaddset(&set, s);
    if (hang_up.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    descriptor_ = Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~Signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int get() const { return descriptor_.get(); }
  bool take() {
    signalfd_siginfo info;
    return ::read(descriptor_.get(), &info, sizeof info) == sizeof info;
  }

 private:
  sigset_t before_{};
  Descriptor descriptor_;
};

bool is_here(const std::string& host) {
  return host.empty() || host == "localhost" || host == host_name();
}

std::string new_token() {
  std::string token;
  for (const char c : random_bytes(16)) token += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return token;
}

// How many ranks each host gets.
std::vector<LaunchHost> shares(const LaunchOptions& o) {
  std::vector<LaunchHost> hosts = o.hosts;
  if (hosts.empty()) hosts.push_back({.name = "", .ranks = o.n_ranks});
  int left = o.n_ranks;
  for (const LaunchHost& h : hosts) left -= h.ranks;
  int open = static_cast<int>(std::ranges::count(hosts, 0, &LaunchHost::ranks));
  require(left >= open && (open > 0 || left == 0),
          "launch: {} ranks do not fit {} hosts; give -n as many as the hosts have, and each at least one", o.n_ranks,
          hosts.size());
  for (LaunchHost& h : hosts) {
    if (h.ranks != 0) continue;
    h.ranks = (left + open - 1) / open;
    left -= h.ranks;
    --open;
  }
  return hosts;
}

// One start of all ranks.
class Job {
 public:
  Job(const LaunchOptions& options, Signals& signals, int restart) : options_(options), signals_(signals) {
    const std::vector<LaunchHost> hosts = shares(options);
    const bool all_here = std::ranges::all_of(hosts, [](const LaunchHost& h) { return is_here(h.name); });
    Environment e{.size = options.n_ranks,
                  .master_address = all_here                      ? "127.0.0.1"
                                    : is_here(hosts.front().name) ? host_name()
                                                                  : hosts.front().name,
                  .master_port = options.port,
                  .token = new_token(),
                  .transport = options.transport,
                  .interface = options.interface,
                  .restarts = restart,
                  .timeout = options.timeout};
    if (e.master_port == 0) e.master_port = free_port("127.0.0.1");
    std::vector<std::string> words = {options.program};
    if (options.arguments) std::ranges::move(options.arguments(restart), std::back_inserter(words));
    for (const LaunchHost& h : hosts) {
      e.local_size = h.ranks;
      for (e.local_rank = 0; e.local_rank < h.ranks; ++e.local_rank, ++e.rank) {
        processes_.emplace_back(ProcessToStart{
            .environment = e, .host = is_here(h.name) ? "" : h.name, .words = words, .ssh = options.ssh});
      }
    }
  }

  // Until all have ended.
  int run() {
    while (std::ranges::any_of(processes_, &LaunchedProcess::running)) {
      wait();
      while (signals_.take()) interrupt();
      for (LaunchedProcess& p : processes_) {
        p.reap();
        p.show_lines(options_.show);
      }
      look_for_failures();
      look_for_stopped();
    }
    return interrupts_ > 0 ? kInterrupted : failure_;
  }

  bool interrupted() const { return interrupts_ > 0; }

 private:
  void wait() {
    std::vector<pollfd> polled = {{signals_.get(), POLLIN, 0}};
    for (const LaunchedProcess& p : processes_) {
      polled.push_back({p.end_descriptor(), POLLIN, 0});
      polled.push_back({p.words_descriptor(), POLLIN, 0});
    }
    int most_ms = 200;  // nothing tells when a process is stopped
    if (kill_at_) {
      const auto left = std::chrono::ceil<milliseconds>(*kill_at_ - steady_clock::now()).count();
      most_ms = static_cast<int>(std::clamp<int64_t>(left, 0, most_ms));
    }
    ::poll(polled.data(), polled.size(), most_ms);
  }

  void interrupt() {
    ++interrupts_;
    for (LaunchedProcess& p : processes_) interrupts_ == 1 ? p.interrupt() : p.kill();
  }

  // The first process that failed is the one that counts; of several at once, one that a signal ended.
  void look_for_failures() {
    const LaunchedProcess* worst = nullptr;
    for (const LaunchedProcess& p : processes_) {
      if (p.running() || p.exit_code() == 0) continue;
      if (worst == nullptr || (p.ended_by_signal() && !worst->ended_by_signal())) worst = &p;
    }
    if (failure_ == 0 && worst != nullptr) {
      failure_ = worst->exit_code();
      // After an interrupt they save their work, which takes its time.
      if (interrupts_ == 0) {
        kill_at_ = steady_clock::now() + options_.grace;
        say(fmt::format("launch: {} {}; the others end, too", worst->text(), worst->how_ended()));
      }
    }
    if (!kill_at_ || steady_clock::now() < *kill_at_) return;
    kill_at_.reset();
    for (LaunchedProcess& p : processes_) {
      if (!p.running()) continue;
      say(fmt::format("launch: {} did not end by itself and is killed", p.text()));
      p.kill();
    }
  }

  void look_for_stopped() {
    for (const LaunchedProcess& p : processes_) {
      const auto since = p.stopped_since();
      if (failure_ != 0 || !since || steady_clock::now() - *since < options_.longest_stop) continue;
      failure_ = 128 + SIGSTOP;
      say(fmt::format("launch: {} was stopped {} ms ago and does not go on; all are killed", p.text(),
                      options_.longest_stop.count()));
      for (LaunchedProcess& other : processes_) other.kill();
      return;
    }
  }

  void say(const std::string& line) const {
    if (options_.show) options_.show(line);
  }

  const LaunchOptions& options_;
  Signals& signals_;
  std::deque<LaunchedProcess> processes_;  // which stay where they are
  int failure_ = 0, interrupts_ = 0;
  std::optional<steady_clock::time_point> kill_at_;
};

}  // namespace

std::vector<LaunchHost> parse_hosts(std::string_view list) {
  std::vector<LaunchHost> hosts;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view word = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    const size_t colon = std::min(word.rfind(':'), word.size());
    LaunchHost host{.name = std::string(word.substr(0, colon)), .ranks = 0};
    const std::string_view number = word.substr(std::min(colon + 1, word.size()));
    const auto [end, status] = std::from_chars(number.data(), number.data() + number.size(), host.ranks);
    const bool whole = status == std::errc() && end == number.data() + number.size() && host.ranks > 0;
    require(!host.name.empty() && host.name[0] != '-' && (colon == word.size() || whole),
            "launch: {} is no host; write a name, or a name and its ranks like node3:4", word);
    hosts.push_back(std::move(host));
  }
  return hosts;
}

int launch(const LaunchOptions& options) {
  require(options.n_ranks >= 1 && options.n_ranks <= 1024,
          "launch: {} ranks were asked for, but 1 to 1024 are possible", options.n_ranks);
  Signals signals;
  for (int restart = 0;; ++restart) {
    Job job(options, signals, restart);
    const int code = job.run();
    const bool hopeless = code == 0 || code == kWrongUsage || job.interrupted();
    if (hopeless || restart == options.restarts) return code;
    if (options.show) options.show(fmt::format("launch: starting again, {} of {}", restart + 1, options.restarts));
  }
}

}  // namespace gradus::comm
