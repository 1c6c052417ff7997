#include "gradus/comm/connect.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "gradus/comm/mixed_transport.h"
#include "gradus/comm/mpi_transport.h"
#include "gradus/comm/shm_sharing.h"
#include "gradus/comm/shm_transport.h"
#include "gradus/comm/tcp_transport.h"
#include "gradus/comm/thread_transport.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;

// Each rank's host as a number, by first appearance.
std::vector<int> number_hosts(const std::vector<std::string>& ids) {
  std::map<std::string, int> numbers;
  std::vector<int> host_of;
  for (const std::string& id : ids) {
    host_of.push_back(numbers.emplace(id, static_cast<int>(numbers.size())).first->second);
  }
  return host_of;
}

constexpr std::array<std::string_view, 4> kTransports = {"auto", "shm", "tcp", "mpi"};

struct Joining {
  const Environment& environment;
  const ConnectOptions& how;
  const Meeting& meeting;
  milliseconds connect_timeout;
  std::string_view transport;

  int rank() const { return environment.rank; }
  size_t size() const { return meeting.peers.size(); }
};

std::unique_ptr<Transport> over_tcp(const Joining& job, const std::vector<bool>& wanted) {
  return tcp_transport(job.meeting, job.rank(),
                       {.token = job.environment.token,
                        .connect_timeout = job.connect_timeout,
                        .lost_after = job.how.lost_after,
                        .wanted = wanted});
}

// Shared memory as far as it goes, TCP for the rest.
std::unique_ptr<Transport> over_what_fits(const Joining& job, const std::vector<int>& host_of) {
  const bool one_host = std::ranges::count(host_of, host_of[0]) == static_cast<ptrdiff_t>(host_of.size());
  const bool only_shm = job.transport == "shm";
  require(one_host || !only_shm, "connect: shm is for ranks of one host, but these are on {}; take auto or tcp",
          1 + *std::ranges::max_element(host_of));
  const SharedMemory memory = share_memory(job.meeting.peers, job.rank(), job.environment.token, job.connect_timeout);
  if (!memory.segment && only_shm) fail(ErrorCode::exhausted, "connect: {}; take tcp instead", memory.why_not);
  if (!memory.why_not.empty() && job.how.warn) {
    job.how.warn(fmt::format("connect: {}; ranks of this host talk over TCP", memory.why_not));
  }
  if (!memory.segment) return over_tcp(job, {});
  std::unique_ptr<Transport> local = shm_transport(memory.segment, job.rank(), {.longest_silence = job.how.lost_after});
  if (one_host) return local;
  std::vector<bool> near(job.size()), far(job.size());
  for (size_t r = 0; r < near.size(); ++r) {
    near[r] = host_of[r] == host_of[static_cast<size_t>(job.rank())];
    far[r] = !near[r];
  }
  return mixed_transport(std::move(local), over_tcp(job, far), near);
}

// MPI's own network between hosts; on one host shared memory is faster, and needs nothing of MPI.
bool takes_mpi(const Environment& e, std::string_view transport) {
  return transport == "mpi" || (transport == "auto" && e.launcher == "Open MPI" && e.local_size != e.size && has_mpi());
}

std::unique_ptr<Group> over_mpi(const Environment& environment, GroupOptions options, const ConnectOptions& how) {
  std::unique_ptr<Transport> transport = mpi_transport(how.lost_after);
  require(transport->rank() == environment.rank && transport->size() == environment.size,
          "connect: this is rank {} of {}, but MPI says {} of {}; start all ranks with mpirun", environment.rank,
          environment.size, transport->rank(), transport->size());
  options.host_of = number_hosts(mpi_all_gather(how.host_id.empty() ? host_id() : how.host_id));
  return std::make_unique<Group>(std::move(transport), std::move(options));
}

}  // namespace

std::unique_ptr<Group> connect(const Environment& environment, GroupOptions options, const ConnectOptions& how) {
  const std::string& transport_name = environment.transport.empty() ? how.transport : environment.transport;
  require(std::ranges::find(kTransports, transport_name) != kTransports.end(),
          "connect: there is no transport {}; there are {}", transport_name, fmt::join(kTransports, ", "));
  if (environment.size == 1) return std::make_unique<Group>(ThreadWorld(1).transport(0), std::move(options));
  if (environment.timeout) options.timeout = *environment.timeout;
  options.restarts = environment.restarts;
  if (takes_mpi(environment, transport_name)) return over_mpi(environment, std::move(options), how);
  const auto connect_timeout =
      environment.timeout ? std::min(*environment.timeout, how.connect_timeout) : how.connect_timeout;
  const Meeting meeting = rendezvous(
      environment, {.timeout = connect_timeout, .version = how.version, .host_id = how.host_id, .warn = how.warn});
  std::vector<std::string> host_ids;
  for (const Peer& p : meeting.peers) host_ids.push_back(p.host_id);
  options.host_of = number_hosts(host_ids);
  const Joining job{environment, how, meeting, connect_timeout, transport_name};
  std::unique_ptr<Transport> transport =
      transport_name == "tcp" ? over_tcp(job, {}) : over_what_fits(job, options.host_of);
  return std::make_unique<Group>(std::move(transport), std::move(options));
}

}  // namespace gradus::comm
