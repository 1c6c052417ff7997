#include "gradus/comm/peer_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace gradus::comm {

PeerWatch::PeerWatch(std::shared_ptr<const ShmSegment> segment, int rank, std::chrono::milliseconds longest_silence)
    : segment_(std::move(segment)),
      rank_(rank),
      longest_silence_(longest_silence),
      peers_(static_cast<size_t>(segment_->ranks())),
      last_look_(Clock::now()) {}

PeerWatch::~PeerWatch() {
  for (const Peer& p : peers_) {
    if (p.pidfd >= 0) ::close(p.pidfd);
  }
}

std::optional<Error> PeerWatch::look() {
  segment_->state(rank_).beat.fetch_add(1, std::memory_order_relaxed);
  const Clock::time_point now = Clock::now();
  // When this process itself stood still, the silence of others in that time says nothing.
  const bool was_away = now - last_look_ > longest_silence_ / 2;
  last_look_ = now;
  for (int r = 0; r < segment_->ranks(); ++r) {
    const RankState& state = segment_->state(r);
    const int32_t pid = state.pid.load(std::memory_order_acquire);
    if (r == rank_ || pid == 0) continue;
    Peer& peer = peers_[static_cast<size_t>(r)];
    const bool dead = is_dead(peer, pid);
    if (state.left.load(std::memory_order_acquire) != 0) continue;  // what it said before it ended
    if (dead) return loss(r, "ended without a word");
    const uint64_t beat = state.beat.load(std::memory_order_relaxed);
    if (beat != peer.beat || was_away) {
      peer.beat = beat;
      peer.beat_seen = now;
    } else if (beat != 0 && now - peer.beat_seen > longest_silence_) {
      return loss(r, fmt::format("gave no sign of life for {} ms (is it stopped?)",
                                 std::chrono::duration_cast<std::chrono::milliseconds>(now - peer.beat_seen).count()));
    }
  }
  return std::nullopt;
}

bool PeerWatch::is_dead(Peer& peer, int32_t pid) {
  if (pid == ::getpid()) return false;  // a thread's rank
  if (peer.pid != pid) {
    if (peer.pidfd >= 0) ::close(peer.pidfd);
    peer.pid = pid;
    peer.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (peer.pidfd < 0) return errno == ESRCH;
  }
  if (peer.pidfd < 0) return false;  // only its beat tells
  pollfd poll = {peer.pidfd, POLLIN, 0};
  return ::poll(&poll, 1, 0) > 0;
}

Error PeerWatch::loss(int rank, std::string_view how) const {
  const RankState& state = segment_->state(rank);
  const std::optional<Call> call = state.current();
  return {ErrorCode::peer_lost,
          fmt::format("shm: rank {} (process {}) {}; its last call was {}; start again from the last checkpoint", rank,
                      state.pid.load(std::memory_order_relaxed), how, call ? to_string(*call) : "none")};
}

}  // namespace gradus::comm
