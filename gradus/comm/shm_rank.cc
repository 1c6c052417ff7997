#include "gradus/comm/shm_rank.h"

#include <sched.h>

#include "gradus/core/thread_pool.h"

namespace gradus::comm {

ShmRank::ShmRank(std::shared_ptr<const ShmSegment> segment, int rank) : segment_(std::move(segment)), rank_(rank) {
  const bool own_processors = have_own_processors(segment_->ranks());
  n_hot_spins_ = own_processors ? 200 : 0;  // some microseconds: a short collective of ranks that come at once
  n_yields_ = own_processors ? 1000 : 20;   // half a millisecond, if nobody else wants the processor
}

void ShmRank::give_way() {
  ::sched_yield();
}

ShmRank::Glimpse ShmRank::glimpse(int peer) const {
  if (peer == kNobody) return {};
  return {.peer = peer, .left = state(peer).left.load(std::memory_order_acquire) != 0, .call = call_of(peer)};
}

// A peer in a later call has done its part of this one, if this one was its own.
void ShmRank::require_company(const Glimpse& before) const {
  if (before.peer == kNobody) return;
  if (before.call) {
    const bool elsewhere = before.call->sequence == call_.sequence && !before.call->matches(call_);
    if (elsewhere || before.call->sequence > call_.sequence) fail_mismatch(before.peer);
  }
  if (before.left) {
    if (segment_->abort().raised()) throw segment_->abort().error();
    fail(ErrorCode::peer_lost, "rank {} left the group, but rank {} waits for it in {}; its last call was {}",
         before.peer, rank_, to_string(call_), before.call ? to_string(*before.call) : "none");
  }
}

void ShmRank::fail_mismatch(int peer) const {
  fail(ErrorCode::invalid_argument, "{}", mismatch(rank_, call_, peer, call_of(peer)));
}

std::string ShmRank::late(std::array<int, 2> peers) const {
  const int peer = peers[0] != kNobody ? peers[0] : peers[1];
  const std::optional<Call> call = call_of(peer);
  return fmt::format("rank {} (process {}) did not come to {}; it is in {}", peer,
                     state(peer).pid.load(std::memory_order_relaxed), to_string(call_),
                     call ? to_string(*call) : "no call yet");
}

}  // namespace gradus::comm
