#include "gradus/comm/rendezvous.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "gradus/comm/handshake.h"
#include "gradus/comm/interfaces.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus::comm {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kHandshake{2'000};  // one connection may hold up the others for so long
constexpr milliseconds kGrace{1'000};      // for ranks still to come, once the meeting has failed
constexpr milliseconds kLongestNap{200};   // between two attempts to connect
constexpr size_t kMostTable = size_t{64} << 20;

json to_json(const Peer& p) {
  return {{"rank", p.rank}, {"size", p.size},       {"pid", p.pid},         {"version", p.version},
          {"host", p.host}, {"host_id", p.host_id}, {"address", p.address}, {"port", p.port}};
}

Peer peer_of(const json& j) {
  return {.rank = j.at("rank"),
          .size = j.at("size"),
          .pid = j.at("pid"),
          .version = j.at("version"),
          .host = j.at("host"),
          .host_id = j.at("host_id"),
          .address = j.at("address"),
          .port = j.at("port")};
}

Peer parse_peer(const std::string& hello, const std::string& from) {
  try {
    return peer_of(parse_json(hello, from));
  } catch (const json::exception& e) {
    fail(ErrorCode::corrupt, "rendezvous: {} sent no description of a rank: {}", from, e.what());
  }
}

// What rank 0 tells everyone at the end: the table, or why there is none.
std::string write_verdict(const std::vector<Peer>& peers, const std::optional<Error>& error) {
  json verdict;
  if (error) {
    verdict = {{"code", static_cast<int>(error->code())}, {"error", error->what()}};
  } else {
    for (const Peer& p : peers) verdict["peers"].push_back(to_json(p));
  }
  return write_json(verdict);
}

std::vector<Peer> read_verdict(const std::string& text, const std::string& from) {
  std::vector<Peer> peers;
  const json verdict = parse_json(text, from);
  if (verdict.contains("error")) {
    throw Error(static_cast<ErrorCode>(verdict.value("code", 0)), verdict.value("error", ""));
  }
  try {
    for (const json& p : verdict.at("peers")) peers.push_back(peer_of(p));
  } catch (const json::exception& e) {
    fail(ErrorCode::corrupt, "rendezvous: {} sent no table of ranks: {}", from, e.what());
  }
  return peers;
}

Peer myself(const Environment& e, const RendezvousOptions& o) {
  return {.rank = e.rank,
          .size = e.size,
          .pid = ::getpid(),
          .version = o.version.empty() ? std::string("gradus " GRADUS_VERSION) : o.version,
          .host = host_name(),
          .host_id = o.host_id.empty() ? host_id() : o.host_id,
          .address = {}};
}

// The meeting as rank 0 sees it.
class Host {
 public:
  Host(const Environment& e, const RendezvousOptions& o)
      : environment_(e), options_(o), peers_(static_cast<size_t>(e.size)), deadline_(steady_clock::now() + o.timeout) {
    const Address address = listening_address();
    listener_ = listen_at(address);
    if (e.token.empty() && !address.is_loopback()) {
      warn(
          fmt::format("rendezvous: there is no job token: whoever reaches {} can join; set GRADUS_JOB_TOKEN on all "
                      "ranks, as `gradus launch` does",
                      address.text()));
    }
    Peer me = myself(e, o);
    me.address = local_address(listener_).host();
    me.port = local_address(listener_).port();
    peers_[0] = me;
  }

  Meeting run() {
    while (missing() > 0 && admit_one()) {
    }
    if (!error_ && missing() > 0) error_ = Error(ErrorCode::timeout, who_is_missing());
    std::vector<Peer> table;
    for (const auto& p : peers_) {
      if (p) table.push_back(*p);
    }
    if (!error_) error_ = unreachable(table);
    tell_all(write_verdict(table, error_));
    if (error_) throw *error_;
    return {std::move(table), std::move(listener_)};
  }

 private:
  struct Guest {
    Peer peer;
    Descriptor socket;
  };

  Address listening_address() const {
    Address a = resolve(environment_.master_address, environment_.master_port).front();
    if (!environment_.interface.empty()) {
      a = choose_interface(environment_.interface, interfaces());
      a.set_port(environment_.master_port);
    }
    const bool several_hosts = environment_.local_size > 0 && environment_.local_size < environment_.size;
    require(!several_hosts || !a.is_loopback(),
            "rendezvous: {} is {} on this host, where ranks of other hosts cannot reach it; give MASTER_ADDR as an "
            "address that they can, or choose an interface (GRADUS_IFACE)",
            environment_.master_address, a.host());
    return a;
  }

  // Still to come, by everyone's count when the counts differ.
  int missing() const { return environment_.size - 1 - static_cast<int>(guests_.size()); }

  // False at the deadline.
  bool admit_one() {
    if (!wait_ready(listener_.get(), POLLIN, deadline_)) return false;
    std::string from = "a process";
    try {
      Descriptor s = accept_from(listener_, deadline_);
      from = remote_address(s).host();
      const std::string hello = expect_hello(s, environment_.token, steady_clock::now() + kHandshake);
      const Peer guest = parse_peer(hello, from);
      if (const std::optional<Error> problem = judge(guest)) {
        if (!error_) deadline_ = std::min(deadline_, steady_clock::now() + kGrace);
        if (!error_) error_ = problem;
      } else {
        peers_[static_cast<size_t>(guest.rank)] = guest;
      }
      remember(guest, std::move(s));
    } catch (const Error& e) {
      if (warned_.insert(from).second) warn(fmt::format("rendezvous: {} was not let in: {}", from, e.what()));
    }
    return true;
  }

  // One that gave up waiting for an answer comes again.
  static bool same_process(const Peer& a, const Peer& b) {
    return a.pid == b.pid && a.host_id == b.host_id && a.port == b.port && a.rank == b.rank;
  }

  void remember(const Peer& guest, Descriptor s) {
    const auto before = std::ranges::find_if(guests_, [&](const Guest& g) { return same_process(g.peer, guest); });
    if (before != guests_.end()) {
      before->socket = std::move(s);
    } else {
      guests_.push_back({guest, std::move(s)});
    }
  }

  std::optional<Error> judge(const Peer& guest) const {
    const auto problem = [](const std::string& what) { return Error(ErrorCode::invalid_argument, what); };
    const Peer& host = *peers_[0];
    if (guest.version != host.version) {
      return problem(fmt::format("rendezvous: {} runs {}, but {} runs {}; start the same program everywhere",
                                 guest.text(), guest.version, host.text(), host.version));
    }
    if (guest.size != host.size) {
      return problem(fmt::format("rendezvous: {} was told of {} ranks, but {} of {}; give all the same WORLD_SIZE",
                                 guest.text(), guest.size, host.text(), host.size));
    }
    if (guest.rank < 0 || guest.rank >= host.size) {
      return problem(fmt::format("rendezvous: {} is no rank of {}", guest.text(), host.size));
    }
    const auto& other = peers_[static_cast<size_t>(guest.rank)];
    if (other && !same_process(*other, guest)) {
      return problem(fmt::format("rendezvous: {} and {} are both rank {}; give each process its own RANK",
                                 other->text(), guest.text(), guest.rank));
    }
    return std::nullopt;
  }

  // Ranks that other hosts would look for on themselves.
  static std::optional<Error> unreachable(const std::vector<Peer>& table) {
    for (const Peer& p : table) {
      const auto elsewhere = std::ranges::find_if(table, [&](const Peer& q) { return q.host_id != p.host_id; });
      if (elsewhere != table.end() && resolve(p.address, p.port).front().is_loopback()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("rendezvous: {} listens at {}, where {} cannot reach it; give MASTER_ADDR as an "
                                 "address of the network, or choose an interface (GRADUS_IFACE)",
                                 p.text(), p.address, elsewhere->text()));
      }
    }
    return std::nullopt;
  }

  std::string who_is_missing() const {
    std::vector<int> ranks;
    for (size_t r = 0; r < peers_.size(); ++r) {
      if (!peers_[r]) ranks.push_back(static_cast<int>(r));
    }
    return fmt::format("rendezvous: of {} ranks {} did not come to {} within {} s: {}; did all start?",
                       environment_.size, ranks.size(), local_address(listener_).text(),
                       static_cast<double>(options_.timeout.count()) / 1000, fmt::join(ranks, ", "));
  }

  void tell_all(const std::string& verdict) {
    for (const Guest& g : guests_) {
      try {
        send_text(g.socket, verdict, steady_clock::now() + kHandshake);
      } catch (const Error& e) {
        // It went away meanwhile, which the others learn when they connect to it.
        warn(fmt::format("rendezvous: {}", e.what()));
      }
    }
  }

  void warn(const std::string& text) const {
    if (options_.warn) options_.warn(text);
  }

  const Environment& environment_;
  const RendezvousOptions& options_;
  std::vector<std::optional<Peer>> peers_;
  Deadline deadline_;
  Descriptor listener_;
  std::vector<Guest> guests_;  // those who proved the token, welcome or not
  std::set<std::string> warned_;
  std::optional<Error> error_;
};

bool may_pass(const Error& e) {
  return e.code() == ErrorCode::io || e.code() == ErrorCode::timeout || e.code() == ErrorCode::peer_lost ||
         e.code() == ErrorCode::not_found;
}

// Connects to rank 0 and introduces `me`, whose address is filled in; again and again until the deadline.
Descriptor come_to_host(const Environment& e, const RendezvousOptions& o, Peer& me, Descriptor& listener) {
  const Deadline deadline = steady_clock::now() + o.timeout;
  std::string last = "no attempt was made";
  milliseconds nap{5};
  do {
    try {
      for (const Address& address : resolve(e.master_address, e.master_port)) {
        try {
          Descriptor s = connect_to(address, std::min(deadline, steady_clock::now() + kHandshake));
          Address own = e.interface.empty() ? local_address(s) : choose_interface(e.interface, interfaces());
          own.set_port(0);
          if (!listener || local_address(listener).host() != own.host()) listener = listen_at(own);
          me.address = own.host();
          me.port = local_address(listener).port();
          introduce(s, e.token, write_json(to_json(me)), std::min(deadline, steady_clock::now() + 4 * kHandshake));
          return s;
        } catch (const Error& error) {
          if (!may_pass(error)) throw;
          last = error.what();
        }
      }
    } catch (const Error& error) {
      if (!may_pass(error)) throw;
      last = error.what();
    }
    ::poll(nullptr, 0, static_cast<int>(nap.count()));
    nap = std::min(2 * nap, kLongestNap);
  } while (steady_clock::now() < deadline);
  fail(ErrorCode::timeout,
       "rendezvous: rank {} of {} did not find rank 0 at {}:{} within {} s ({}); did it start there?", e.rank, e.size,
       e.master_address, e.master_port, static_cast<double>(o.timeout.count()) / 1000, last);
}

Meeting visit(const Environment& e, const RendezvousOptions& o) {
  Peer me = myself(e, o);
  Meeting meeting;
  const Descriptor s = come_to_host(e, o, me, meeting.listener);
  try {
    // Rank 0 may have started later than this one, and waits as long.
    const Deadline deadline = steady_clock::now() + o.timeout + 2 * kGrace + kHandshake;
    meeting.peers = read_verdict(receive_text(s, kMostTable, deadline), remote_address(s).text());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::peer_lost) throw;
    fail(ErrorCode::peer_lost, "rendezvous: rank 0 at {}:{} left before all {} ranks had come; see what it said",
         e.master_address, e.master_port, e.size);
  }
  require(static_cast<int>(meeting.peers.size()) == e.size, "rendezvous: rank 0 lists {} ranks, but there are {}",
          meeting.peers.size(), e.size);
  return meeting;
}

std::string first_line(const char* path) {
  try {
    const std::string text = read_file(path);
    return text.substr(0, text.find('\n'));
  } catch (const Error&) {
    return "";
  }
}

}  // namespace

std::string Peer::text() const {
  return fmt::format("rank {} (process {} on {})", rank, pid, host);
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string host_id() {
  struct stat netns {};
  const bool known = ::stat("/proc/self/ns/net", &netns) == 0;
  return fmt::format("{}/{}/{}", first_line("/proc/sys/kernel/random/boot_id"), known ? netns.st_ino : 0, host_name());
}

Meeting rendezvous(const Environment& environment, const RendezvousOptions& options) {
  require(!environment.master_address.empty() && environment.master_port > 0,
          "rendezvous: rank {} of {} needs MASTER_ADDR and MASTER_PORT, where rank 0 listens", environment.rank,
          environment.size);
  return environment.rank == 0 ? Host(environment, options).run() : visit(environment, options);
}

}  // namespace gradus::comm
