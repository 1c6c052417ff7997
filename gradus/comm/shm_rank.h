// One rank's place in a segment: the call in hand, how it waits for others, and what it says when it waits in vain.
// Internal to the shared-memory transport.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "gradus/comm/shared_state.h"
#include "gradus/comm/shm_segment.h"

namespace gradus::comm {

class ShmRank {
 public:
  ShmRank(std::shared_ptr<const ShmSegment> segment, int rank);

  int rank() const { return rank_; }
  int size() const { return segment_->ranks(); }
  const ShmSegment& segment() const { return *segment_; }
  RankState& state(int r) const { return segment_->state(r); }
  RankState& mine() const { return state(rank_); }

  void begin(const Call& call, std::chrono::milliseconds timeout) {
    call_ = call;
    tag_ = call.tag();
    timeout_ = timeout;
    mine().publish(call);
  }
  const Call& call() const { return call_; }
  uint64_t tag() const { return tag_; }

  // Returns when ready(), which `peer` brings about in the call in hand, or one of two peers (either may be kNobody).
  // Throws the group's error when it was aborted; invalid_argument when a peer makes another call; peer_lost when one
  // left the group; timeout.
  template <class Ready>
  void wait_for(int peer, Ready&& ready) {
    wait_for({peer, kNobody}, ready);
  }
  template <class Ready>
  void wait_for(std::array<int, 2> peers, Ready&& ready) {
    for (int spin = 0; spin < n_hot_spins_; ++spin) {  // a pause would take as long as a line between two cores
      if (ready()) return;
    }
    for (int turn = 0; turn < n_yields_; ++turn) {
      for (int spin = 0; spin < kSpinsPerYield; ++spin) {
        if (ready()) return;
        pause();
      }
      give_way();
    }
    const auto is_ready = [&] {
      const std::array before = {glimpse(peers[0]), glimpse(peers[1])};
      if (ready()) return true;
      for (const Glimpse& g : before) require_company(g);
      return false;
    };
    Waiter(mine().bell, segment_->abort(), 0).until(timeout_, is_ready, [&] { return late(peers); });
  }

  void ring(int peer) { state(peer).bell.ring(); }
  void ring_all() {
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) ring(r);
    }
  }

  std::optional<Call> call_of(int peer) const { return state(peer).current(); }
  [[noreturn]] void fail_mismatch(int peer) const;

 private:
  // What a peer was about at some moment.
  struct Glimpse {
    int peer = kNobody;
    bool left = false;
    std::optional<Call> call{};
  };
  Glimpse glimpse(int peer) const;
  // Throws when the peer will not do what was still missing after the glimpse.
  void require_company(const Glimpse& before) const;
  std::string late(std::array<int, 2> peers) const;
  static void give_way();  // to whatever else wants this processor, which may be the one waited for
  static constexpr int kSpinsPerYield = 16;

  std::shared_ptr<const ShmSegment> segment_;
  int rank_;
  int n_hot_spins_ = 0, n_yields_ = 0;
  Call call_;
  uint64_t tag_ = 0;
  std::chrono::milliseconds timeout_{0};
};

}  // namespace gradus::comm
