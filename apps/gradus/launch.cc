// gradus launch -n P [--hosts a,b:2] [--restarts N] [--port N] [--timeout S] [--transport auto|shm|tcp] [--iface NAME]
// [--ssh COMMAND] -- train
// ...
#include "gradus/comm/launch.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>

#include "apps/gradus/command.h"
#include "gradus/run/restart.h"

namespace gradus::app {

namespace {

struct LaunchCommand {
  int n_ranks = 1, restarts = 0, port = 0, timeout_s = 0;
  std::string hosts, transport, interface, ssh;
  std::vector<std::string> words;
};

void declare(CLI::App& command, LaunchCommand& o) {
  command.add_option("-n,--ranks", o.n_ranks, "processes that work together")->required()->check(CLI::Range(1, 1024));
  command.add_option("--hosts", o.hosts, "where: names for ssh, like a,b or a:2,b:6 [this host]");
  command.add_option("--restarts", o.restarts, "start a failed job again so often, from its last checkpoint [0]")
      ->check(CLI::Range(0, 1'000'000));
  command.add_option("--port", o.port, "where rank 0 listens [a free one]")->check(CLI::Range(1, 65535));
  command.add_option("--timeout", o.timeout_s, "seconds that a rank waits for the others [600]")
      ->check(CLI::Range(1, 1'000'000));
  command.add_option("--transport", o.transport, "auto, shm, tcp [auto: shared memory on a host, TCP between hosts]")
      ->check(CLI::IsMember({"auto", "shm", "tcp"}));
  command.add_option("--iface", o.interface, "network interface or network, like eth0, 10.1.0.0/16, ^docker0");
  command.add_option("--ssh", o.ssh, "instead of ssh, like \"ssh -p 2222\"");
  command.add_option("COMMAND", o.words, "after --, what each process does: train ..., resume RUN")->required();
}

// A whole line at once, so that those of several processes do not mix.
void show(const std::string& line) {
  const std::string text = line + '\n';
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

int launch(const LaunchCommand& o, Output&) {
  comm::LaunchOptions options{
      .n_ranks = o.n_ranks, .restarts = o.restarts, .port = o.port, .transport = o.transport, .interface = o.interface};
  options.hosts = or_usage_error([&] { return comm::parse_hosts(o.hosts); });
  if (o.timeout_s > 0) options.timeout = std::chrono::seconds(o.timeout_s);
  options.program = std::filesystem::read_symlink("/proc/self/exe").string();
  options.arguments = [&](int restart) { return restart == 0 ? o.words : run::words_to_restart(o.words); };
  options.show = show;
  if (!o.ssh.empty()) {
    std::istringstream words(o.ssh);
    options.ssh.assign(std::istream_iterator<std::string>(words), {});
  }
  return or_usage_error([&] { return comm::launch(options); });
}

}  // namespace

void add_launch_command(CLI::App& app, Work& work) {
  add_command(app, work, "launch", "Run a command in several processes, on one host or many", declare, launch);
}

}  // namespace gradus::app
