// Whole collectives in shared memory: each rank puts what others need where they can read it, once, and all read it
// there. Short vectors lie beside the flag that announces them; long ones pass through slots in chunks, so that main
// memory sees each byte of a rank's vector read once and written once.
//
// All reductions have the canonical order over ranks, and round 16-bit floats once.
// Notation as in schedule.h; c chunks.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "gradus/comm/cache_distance.h"
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
  // Some bytes of the vector.
  struct Part {
    std::byte* data;
    size_t bytes;
  };

  void one_shot(Job& job);
  void write_note(const std::byte* x, size_t bytes);
  void claim_note(size_t bytes);
  const std::byte* note_of(int peer, size_t bytes);  // the payload, once it is there

  void two_shot_all_reduce(Job& job) { two_shot(job, true); }
  void two_shot_reduce_scatter(Job& job) { two_shot(job, false); }
  void two_shot(Job& job, bool for_all);
  void staged_all_gather(Job& job);
  void staged_broadcast(Job& job);

  // Of chunk c of the collective in hand.
  void stage_parts(Job& job, uint64_t c);
  void reduce_part(Job& job, uint64_t c, bool for_all);
  void show_part(Job& job, uint64_t c);
  void collect_parts(Job& job, uint64_t c);
  Part part(const Job& job, int k, uint64_t c) const;  // of the slice of rank k

  void cut(size_t longest);  // into chunks, each with at most part_bytes_ of a slice
  size_t longest_slice(const Job& job) const;

  // Of a chunk counted over all collectives.
  void wait_until_passed(uint64_t chunk);  // until its slots may be written again
  void copy_out(std::byte* to, const Part& from);
  void put(ShmSlot& slot, uint64_t chunk);  // announces what lies in it
  std::byte* wait_until_put(int peer, ShmSlot& slot, uint64_t chunk);
  void pass(uint64_t chunk);

  void count_traffic(int64_t messages, size_t sent, size_t received);

  ShmRank& me_;
  const ShmSegment& segment_;
  Traffic& traffic_;
  std::vector<const void*> contributions_;  // [P]
  // Short collectives so far, and the tags of the last ones, by turn.
  uint64_t turn_ = 0;
  std::array<uint64_t, 2> tags_ = {};
  std::vector<std::array<std::byte, ShmNote::kInLines>> payloads_;  // [P] out of their lines
  // Long ones: the first chunk of the one in hand, how many there are, and how many each rank passed when last seen.
  uint64_t first_ = 0, n_chunks_ = 0;
  size_t part_bytes_ = 0;
  std::vector<uint64_t> passed_;
  CacheDistance distance_;  // of the other ranks' cores
};

}  // namespace gradus::comm
