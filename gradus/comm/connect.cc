#include "gradus/comm/connect.h"

#include <map>

#include "gradus/comm/tcp_transport.h"
#include "gradus/comm/thread_transport.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

// Each rank's host as a number, by first appearance.
std::vector<int> number_hosts(const std::vector<Peer>& peers) {
  std::map<std::string, int> numbers;
  std::vector<int> host_of;
  for (const Peer& p : peers) {
    host_of.push_back(numbers.emplace(p.host_id, static_cast<int>(numbers.size())).first->second);
  }
  return host_of;
}

}  // namespace

std::unique_ptr<Group> connect(const Environment& environment, GroupOptions options, const ConnectOptions& how) {
  require(how.transport == "auto" || how.transport == "tcp",
          "connect: there is no transport {}; there are auto and tcp", how.transport);
  if (environment.size == 1) return std::make_unique<Group>(ThreadWorld(1).transport(0), std::move(options));
  if (environment.timeout) options.timeout = *environment.timeout;
  const auto connect_timeout =
      environment.timeout ? std::min(*environment.timeout, how.connect_timeout) : how.connect_timeout;
  const Meeting meeting = rendezvous(
      environment, {.timeout = connect_timeout, .version = how.version, .host_id = how.host_id, .warn = how.warn});
  options.host_of = number_hosts(meeting.peers);
  std::unique_ptr<Transport> transport = tcp_transport(
      meeting, environment.rank,
      {.token = environment.token, .connect_timeout = connect_timeout, .lost_after = how.lost_after, .wanted = {}});
  return std::make_unique<Group>(std::move(transport), std::move(options));
}

}  // namespace gradus::comm
