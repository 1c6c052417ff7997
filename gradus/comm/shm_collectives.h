// Whole collectives in shared memory: each rank puts what others need where they can read it, once, and all read it
// there. Short vectors lie beside the flag that announces them; long ones pass through slots in chunks that stay in the
// caches, so that main memory sees each byte of a rank's vector read once and written once.
//
// All reductions have the canonical order over ranks, and round 16-bit floats once.
// Notation as in schedule.h; c chunks. Costs are those of one rank.
#pragma once

#include <span>

#include "gradus/comm/schedule.h"
#include "gradus/comm/shm_rank.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

class ShmCollectives {
 public:
  // Both outlive the object.
  ShmCollectives(ShmRank& me, Traffic& traffic);

  static std::span<const NativeAlgorithm> algorithms();
  void run(const NativeAlgorithm& algorithm, Job& job);  // one of these very objects

 private:
  // The part of chunk c that belongs to rank k: of its slice of the vector.
  struct Part {
    std::byte* data;
    size_t bytes;
  };

  void one_shot(Job& job);
  void one_shot_reduce(Job& job, int64_t begin, int64_t end);
  const std::byte* note_of(int peer, size_t bytes);

  void mirrored_all_reduce(Job& job);
  void two_shot_all_reduce(Job& job) { two_shot(job, true); }
  void two_shot_reduce_scatter(Job& job) { two_shot(job, false); }
  void two_shot(Job& job, bool for_all);
  void staged_all_gather(Job& job);
  void staged_broadcast(Job& job);

  void stage_parts(Job& job, uint64_t c);
  void reduce_part(Job& job, uint64_t c, bool for_all);
  void collect_parts(Job& job, uint64_t c);
  void put(ShmSlot& slot, uint64_t chunk);  // announces what lies in it
  std::byte* wait_until_put(int peer, ShmSlot& slot, uint64_t chunk);
  void wait_until_passed(uint64_t chunk);  // by all: its slots may be written again
  void pass(uint64_t chunk);

  Part part(const Job& job, int k, uint64_t c) const;
  void cut(size_t longest_slice);  // into chunks whose parts have part_bytes_
  void count_traffic(size_t sent, size_t received);

  ShmRank& me_;
  const ShmSegment& segment_;
  Traffic& traffic_;
  std::vector<const void*> contributions_;  // [P]
  std::vector<uint64_t> passed_;            // by peer, as last seen
  uint64_t first_ = 0;                      // chunk of the collective in hand, counted over all of them
  uint64_t n_chunks_ = 0;
  size_t part_bytes_ = 0;
  uint64_t turn_ = 0;                  // one-shot collectives so far
  std::array<uint64_t, 2> tags_ = {};  // of the last ones, by turn
};

}  // namespace gradus::comm
