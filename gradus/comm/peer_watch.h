// Who of the ranks that share a segment still lives: processes by their pidfd, which tells of a death at once, and by
// the beats of their watchdogs, which a stopped process does not raise.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "gradus/comm/shm_segment.h"

namespace gradus::comm {

class PeerWatch {
 public:
  // longest_silence  of a peer that has raised its beat before
  PeerWatch(std::shared_ptr<const ShmSegment> segment, int rank, std::chrono::milliseconds longest_silence);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // Raises this rank's beat and looks at all others. Returns the loss of one, which names it, its process and its call;
  // nothing when all live, or left in order. One thread.
  std::optional<Error> look();

 private:
  using Clock = std::chrono::steady_clock;
  struct Peer {
    int32_t pid = 0;
    int pidfd = -1;
    uint64_t beat = 0;
    Clock::time_point beat_seen{};
  };
  bool is_dead(Peer& peer, int32_t pid);
  Error loss(int rank, std::string_view how) const;

  std::shared_ptr<const ShmSegment> segment_;
  int rank_;
  Clock::duration longest_silence_;
  std::vector<Peer> peers_;
  Clock::time_point last_look_;
};

}  // namespace gradus::comm
