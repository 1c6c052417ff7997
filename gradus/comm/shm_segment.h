// The memory that processes of one host share: a memfd, so that it has no name, leaves nothing behind, and is not bound
// by the size of /dev/shm. What lies in it where, and nothing about how it is used (shm_transport.cc,
// shm_collectives.cc). Zeros are the initial state of all of it.
//
// Bytes for P ranks: 4 P (P - 1) c + 8 P (P + 1) s + 2 P o and some lines, where c, of a channel's slot, and s, of a
// part, are what create() is told at most and shrink as P grows so that neither sum exceeds kShmBudget, and
// o = kOneShotBytes: 3.5 MiB for 2 ranks, 46 MiB for 8, 66 MiB for 64.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gradus/comm/shared_state.h"

namespace gradus::comm {

inline constexpr int kShmMostRanks = 64;
inline constexpr uint64_t kChannelSlots = 4;
inline constexpr uint64_t kStageSlots = 8;
inline constexpr size_t kShmBudget = 32 << 20;
inline constexpr size_t kOneShotBytes = 8 << 10;

// One piece of a message or of a vector. Written by one rank while nobody reads it, then marked.
struct alignas(kLinePair) ShmSlot {
  std::atomic<uint64_t> full{0};  // the number, from 1, of the piece that lies here whole
  uint64_t tag = 0;               // of the call that it belongs to
  uint64_t bytes = 0;             // of the whole message

  std::byte* data() { return reinterpret_cast<std::byte*>(this) + kLine; }  // aligned to a line
};

// What one rank gives to a short collective. A few lines carry a tag each, so that their way to a reader is one way at
// once and not that of a flag, then that of what it announces; more bytes lie behind them, and the first tag tells.
struct alignas(kLinePair) ShmNote {
  struct Line {
    std::atomic<uint64_t> tag{0};  // of the call that the payload belongs to
    std::byte payload[kLine - sizeof(uint64_t)];
  };
  static constexpr size_t kLines = 5, kInLines = kLines * sizeof(Line::payload);

  Line lines[kLines];
  alignas(kLinePair) std::byte bytes[kOneShotBytes];
};

// Where things begin, in bytes from the beginning of the segment, for P ranks.
struct ShmLayout {
  ShmLayout(int ranks, size_t most_slot_bytes);

  size_t ranks;
  size_t channel_bytes;                                          // of a slot of a channel, without its head
  size_t part_bytes;                                             // of a result; a stage has P parts of that
  size_t channel_slot, stage_slot, result_slot, channel, stage;  // from one to the next
  size_t abort, states, passed, notes, channels, stages, end;
};

struct ShmSegmentOptions {
  uint64_t generation = 0;            // tells segments apart
  size_t most_slot_bytes = 64 << 10;  // whole lines
};

class ShmSegment {
 public:
  // A new segment for `ranks` ranks. All its memory is taken at once, so that what is missing is missed here.
  // Throws invalid_argument unless 1 <= ranks <= kShmMostRanks, exhausted when there is not so much memory, io.
  static ShmSegment create(int ranks, const ShmSegmentOptions& options = {});

  // The segment that `fd` stands for, made by another process; the descriptor stays the caller's.
  // Throws corrupt unless it is one, whole and of this program's version.
  static ShmSegment attach(int fd);

  ShmSegment(ShmSegment&& other) noexcept;
  ShmSegment& operator=(ShmSegment&& other) noexcept;
  ~ShmSegment();

  // Closed on exec: duplicate it for a program that is to attach.
  int fd() const { return fd_; }
  int ranks() const { return static_cast<int>(layout_.ranks); }
  size_t bytes() const { return layout_.end; }
  uint64_t generation() const;  // what create() was given

  Abort& abort() const { return at<Abort>(layout_.abort); }
  RankState& state(int rank) const { return at<RankState>(layout_.states + index(rank) * sizeof(RankState)); }

  // For short collectives: what a rank gives, in two places by turns.
  ShmNote& note(int rank, uint64_t turn) const {
    return at<ShmNote>(layout_.notes + (index(rank) * 2 + turn % 2) * sizeof(ShmNote));
  }

  // For messages, from one rank to another one, not itself: slots that are filled and emptied in turn.
  size_t channel_bytes() const { return layout_.channel_bytes; }
  ShmSlot& channel_slot(int from, int to, uint64_t piece) const {
    return at<ShmSlot>(channel(from, to) + kLinePair + piece % kChannelSlots * layout_.channel_slot);
  }
  std::atomic<uint64_t>& channel_taken(int from, int to) const {  // pieces so far
    return at<std::atomic<uint64_t>>(channel(from, to));
  }

  // For collectives in chunks: what a rank gives, a part for each one, and the part that it reduced.
  size_t part_bytes() const { return layout_.part_bytes; }
  ShmSlot& stage(int rank, uint64_t chunk) const {
    return at<ShmSlot>(stages(rank) + chunk % kStageSlots * layout_.stage_slot);
  }
  ShmSlot& result(int rank, uint64_t chunk) const {
    return at<ShmSlot>(stages(rank) + kStageSlots * layout_.stage_slot + chunk % kStageSlots * layout_.result_slot);
  }
  std::atomic<uint64_t>& passed(int rank) const {  // chunks so far of which this rank needs nothing more
    return at<std::atomic<uint64_t>>(layout_.passed + index(rank) * kLinePair);
  }

 private:
  ShmSegment(int fd, std::byte* memory, const ShmLayout& layout) : fd_(fd), memory_(memory), layout_(layout) {}
  void release() noexcept;

  static size_t index(int rank) { return static_cast<size_t>(rank); }
  template <class T>
  T& at(size_t offset) const {
    return *reinterpret_cast<T*>(memory_ + offset);
  }
  size_t channel(int from, int to) const {
    const size_t other = index(to < from ? to : to - 1);
    return layout_.channels + (index(from) * (layout_.ranks - 1) + other) * layout_.channel;
  }
  size_t stages(int rank) const { return layout_.stages + index(rank) * layout_.stage; }

  int fd_ = -1;
  std::byte* memory_ = nullptr;
  ShmLayout layout_;
};

}  // namespace gradus::comm
