// What ranks say to each other beside their data: that they live, what they call, why they abort, that they leave.
// Every peer has one connection for it. Any thread may call everything here; nothing waits, but for the_end_of().
#pragma once

#include <poll.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/rendezvous.h"
#include "gradus/comm/shared_state.h"
#include "gradus/comm/socket.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

// The call that a peer described, byte by byte; nothing when these are none.
std::optional<Call> parse_call(std::string_view bytes);

class ControlChannel {
 public:
  // sockets     [P] by rank; empty ones have no say
  // lost_after  a peer that was heard once and is silent for so long is lost
  ControlChannel(std::vector<Peer> peers, std::vector<Descriptor> sockets, std::chrono::milliseconds lost_after);
  ~ControlChannel();  // tells all that this rank leaves

  // Ends the group here and tells all peers. The first error stays.
  void abort(const Error& error) noexcept;
  const Abort& aborted() const { return abort_; }

  // Tells all peers that this rank lives and what it calls; listens; aborts when one was silent for too long.
  void beat(const std::optional<Call>& call);

  // Takes what peers said. Aborts when one is gone without a word, or aborted.
  void listen();

  // Why the data connection to a peer ended: what the peer said last, within a short while.
  Error the_end_of(int peer);

  // The peer's last call that it told of.
  std::optional<Call> call_of(int peer) const;
  const Peer& peer(int rank) const { return peers_[static_cast<size_t>(rank)]; }

  // Appends what a waiting rank must wake up for.
  void append_to(std::vector<pollfd>& polled) const;

 private:
  struct Line {
    Descriptor socket;
    std::string incoming, outgoing;
    std::chrono::steady_clock::time_point heard{};  // epoch: never
    std::optional<Call> call;
    bool left = false, closed = false;
  };
  void say(Line& line, char kind, std::string_view what);
  static void flush(Line& line);
  std::optional<Error> hear(int rank, Line& line);
  std::optional<Error> understand(Line& line);
  std::optional<Error> hear_all();
  void raise(const Error& error) noexcept;

  std::vector<Peer> peers_;
  std::chrono::milliseconds lost_after_;
  std::chrono::steady_clock::time_point last_beat_{};
  mutable std::mutex mutex_;
  std::vector<Line> lines_;
  Descriptor wake_;  // readable from the abort on
  Abort abort_;
};

}  // namespace gradus::comm
