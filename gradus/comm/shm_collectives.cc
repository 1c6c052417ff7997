#include "gradus/comm/shm_collectives.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace gradus::comm {

namespace {

constexpr std::array kAlgorithms = {NativeAlgorithm{"one-shot", Operation::all_reduce, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::reduce_scatter, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::all_gather, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::barrier, true, kOneShotBytes},
                                    NativeAlgorithm{"mirrored", Operation::all_reduce, true},
                                    NativeAlgorithm{"two-shot", Operation::all_reduce, true},
                                    NativeAlgorithm{"two-shot", Operation::reduce_scatter, true},
                                    NativeAlgorithm{"staged", Operation::all_gather, true},
                                    NativeAlgorithm{"staged", Operation::broadcast, true}};

size_t env(const char* n, size_t d) {
  const char* e = std::getenv(n);
  return e ? strtoull(e, nullptr, 10) : d;
}
}  // namespace

ShmCollectives::ShmCollectives(ShmRank& me, Traffic& traffic)
    : me_(me),
      segment_(me.segment()),
      traffic_(traffic),
      contributions_(static_cast<size_t>(me.size())),
      passed_(static_cast<size_t>(me.size())) {}

std::span<const NativeAlgorithm> ShmCollectives::algorithms() {
  return kAlgorithms;
}

void ShmCollectives::run(const NativeAlgorithm& algorithm, Job& job) {
  using Method = void (ShmCollectives::*)(Job&);
  static constexpr std::array<Method, kAlgorithms.size()> kMethods = {// in the order of kAlgorithms
                                                                      &ShmCollectives::one_shot,
                                                                      &ShmCollectives::one_shot,
                                                                      &ShmCollectives::one_shot,
                                                                      &ShmCollectives::one_shot,
                                                                      &ShmCollectives::mirrored_all_reduce,
                                                                      &ShmCollectives::two_shot_all_reduce,
                                                                      &ShmCollectives::two_shot_reduce_scatter,
                                                                      &ShmCollectives::staged_all_gather,
                                                                      &ShmCollectives::staged_broadcast};
  (this->*kMethods[static_cast<size_t>(&algorithm - kAlgorithms.data())])(job);
}

// Every rank gives its whole vector to all, and takes what it needs. Who finds a note of the next turn but one has seen
// all others finish the turn in between, so that two places suffice.
// Cost: alpha + n beta + P n gamma.
void ShmCollectives::one_shot(Job& job) {
  const size_t bytes = job.bytes();
  ShmNote& note = segment_.note(me_.rank(), turn_);
  std::memcpy(bytes <= sizeof note.line ? note.line : note.lines, job.x, bytes);
  note.tag.store(me_.tag(), std::memory_order_release);
  me_.ring_all();
  switch (me_.call().operation) {
    case Operation::all_reduce:
      one_shot_reduce(job, 0, job.count());
      break;
    case Operation::reduce_scatter:
      one_shot_reduce(job, job.bounds[static_cast<size_t>(me_.rank())],
                      job.bounds[static_cast<size_t>(me_.rank()) + 1]);
      break;
    case Operation::all_gather:
      for (int k = 0; k < me_.size(); ++k) {
        if (k == me_.rank()) continue;
        std::memcpy(job.slice_data(k), note_of(k, bytes) + (job.slice_data(k) - job.x), job.slice_bytes(k));
      }
      break;
    default:
      for (int k = 0; k < me_.size(); ++k) {
        if (k != me_.rank()) note_of(k, 0);
      }
  }
  tags_[turn_++ % 2] = me_.tag();
  count_traffic(bytes, bytes);
}

void ShmCollectives::one_shot_reduce(Job& job, int64_t begin, int64_t end) {
  const size_t offset = static_cast<size_t>(begin) * job.element;
  for (int k = 0; k < me_.size(); ++k) {
    contributions_[static_cast<size_t>(k)] = (k == me_.rank() ? job.x : note_of(k, job.bytes())) + offset;
  }
  job.arithmetic.combine_all(contributions_, job.x + offset, end - begin);
}

// The payload of a peer's note, once it is there.
const std::byte* ShmCollectives::note_of(int peer, size_t bytes) {
  ShmNote& note = segment_.note(peer, turn_);
  const uint64_t before = tags_[turn_ % 2];
  uint64_t tag = before;
  me_.wait_for(peer, [&] { return (tag = note.tag.load(std::memory_order_acquire)) != before; });
  if (tag != me_.tag()) me_.fail_mismatch(peer);
  return bytes <= sizeof note.line ? note.line : note.lines;
}

void ShmCollectives::cut(size_t longest_slice) {
  // TODO tune
  static const size_t most = env("SHM_PART", 32768), div = env("SHM_DIV", 4), least = env("SHM_LEAST", 4096);
  const size_t whole = (longest_slice / div + kLine - 1) / kLine * kLine;
  part_bytes_ = std::min(segment_.part_bytes(), std::clamp(whole, least, most));
  n_chunks_ = std::max<size_t>(1, (longest_slice + part_bytes_ - 1) / part_bytes_);
}

ShmCollectives::Part ShmCollectives::part(const Job& job, int k, uint64_t c) const {
  const size_t slice = job.slice_bytes(k), begin = std::min(slice, c * part_bytes_);
  return {job.slice_data(k) + begin, std::min(part_bytes_, slice - begin)};
}

void ShmCollectives::put(ShmSlot& slot, uint64_t chunk) {
  slot.tag = me_.tag();
  slot.full.store(chunk + 1, std::memory_order_release);
  me_.ring_all();
}

std::byte* ShmCollectives::wait_until_put(int peer, ShmSlot& slot, uint64_t chunk) {
  me_.wait_for(peer, [&] { return slot.full.load(std::memory_order_acquire) == chunk + 1; });
  if (slot.tag != me_.tag()) me_.fail_mismatch(peer);
  return slot.data();
}

void ShmCollectives::wait_until_passed(uint64_t chunk) {
  for (int k = 0; k < me_.size(); ++k) {
    uint64_t& seen = passed_[static_cast<size_t>(k)];
    if (k == me_.rank() || seen + kShmSlots > chunk) continue;
    me_.wait_for(k, [&] {
      seen = segment_.passed(k).load(std::memory_order_acquire);
      return seen + kShmSlots > chunk;
    });
  }
}

void ShmCollectives::pass(uint64_t chunk) {
  segment_.passed(me_.rank()).store(chunk + 1, std::memory_order_release);
  me_.ring_all();
}

void ShmCollectives::stage_parts(Job& job, uint64_t c) {
  const uint64_t chunk = first_ + c;
  wait_until_passed(chunk);
  ShmSlot& slot = segment_.stage(me_.rank(), chunk);
  for (int k = 0; k < me_.size(); ++k) {
    if (k == me_.rank()) continue;
    const Part p = part(job, k, c);
    std::memcpy(slot.data() + static_cast<size_t>(k) * part_bytes_, p.data, p.bytes);
  }
  put(slot, chunk);
}

void ShmCollectives::reduce_part(Job& job, uint64_t c, bool for_all) {
  const int r = me_.rank();
  const uint64_t chunk = first_ + c;
  const Part p = part(job, r, c);
  for (int k = 0; k < me_.size(); ++k) {
    contributions_[static_cast<size_t>(k)] =
        k == r ? p.data : wait_until_put(k, segment_.stage(k, chunk), chunk) + static_cast<size_t>(r) * part_bytes_;
  }
  job.arithmetic.combine_all(contributions_, p.data, static_cast<int64_t>(p.bytes / job.element));
  if (!for_all) return pass(chunk);
  ShmSlot& slot = segment_.result(r, chunk);
  std::memcpy(slot.data(), p.data, p.bytes);
  put(slot, chunk);
}

void ShmCollectives::collect_parts(Job& job, uint64_t c) {
  const uint64_t chunk = first_ + c;
  for (int step = 1; step < me_.size(); ++step) {
    const int k = (me_.rank() + step) % me_.size();
    const Part p = part(job, k, c);
    std::memcpy(p.data, wait_until_put(k, segment_.result(k, chunk), chunk), p.bytes);
  }
  pass(chunk);
}

// Chunk by chunk each rank stages its contributions, then reduces its part of all of them, then collects the others'
// results. What it waits for was begun by the others one step before.
// Cost: 3 c alpha + 2 (P - 1)/P n beta + n gamma.
void ShmCollectives::two_shot(Job& job, bool for_all) {
  size_t longest = 0;
  for (int k = 0; k < me_.size(); ++k) longest = std::max(longest, job.slice_bytes(k));
  cut(longest);
  for (uint64_t step = 0; step < n_chunks_ + 2; ++step) {
    if (step < n_chunks_) stage_parts(job, step);
    if (step >= 1 && step - 1 < n_chunks_) reduce_part(job, step - 1, for_all);
    if (for_all && step >= 2) collect_parts(job, step - 2);
  }
  first_ += n_chunks_;
  const size_t foreign = job.bytes() - job.slice_bytes(me_.rank());
  const size_t own = job.slice_bytes(me_.rank()) * static_cast<size_t>(me_.size() - 1);
  traffic_.messages += (for_all ? 2 : 1) * (me_.size() - 1);
  traffic_.bytes_sent += static_cast<int64_t>(foreign + (for_all ? own : 0));
  traffic_.bytes_received += static_cast<int64_t>(own + (for_all ? foreign : 0));
}

// Each rank stages its whole vector and reduces all of it: no second trip, more arithmetic.
// Cost: 2 c alpha + (P - 1) n beta + P n gamma.
void ShmCollectives::mirrored_all_reduce(Job& job) {
  const auto P = static_cast<size_t>(me_.size());
  cut((job.bytes() + P - 1) / P);
  const size_t chunk_bytes = part_bytes_ * P;
  n_chunks_ = std::max<size_t>(1, (job.bytes() + chunk_bytes - 1) / chunk_bytes);
  const auto chunk_part = [&](uint64_t c) {
    const size_t begin = c * chunk_bytes;
    return Part{job.x + begin, std::min(chunk_bytes, job.bytes() - begin)};
  };
  for (uint64_t step = 0; step < n_chunks_ + 1; ++step) {
    if (step < n_chunks_) {
      const Part p = chunk_part(step);
      wait_until_passed(first_ + step);
      ShmSlot& slot = segment_.stage(me_.rank(), first_ + step);
      std::memcpy(slot.data(), p.data, p.bytes);
      put(slot, first_ + step);
    }
    if (step == 0) continue;
    const uint64_t chunk = first_ + step - 1;
    const Part p = chunk_part(step - 1);
    for (int k = 0; k < me_.size(); ++k) {
      contributions_[static_cast<size_t>(k)] =
          k == me_.rank() ? p.data : wait_until_put(k, segment_.stage(k, chunk), chunk);
    }
    job.arithmetic.combine_all(contributions_, p.data, static_cast<int64_t>(p.bytes / job.element));
    pass(chunk);
  }
  first_ += n_chunks_;
  count_traffic(job.bytes(), job.bytes());
}

// Cost: 2 c alpha + (P - 1)/P n beta.
void ShmCollectives::staged_all_gather(Job& job) {
  size_t longest = 0;
  for (int k = 0; k < me_.size(); ++k) longest = std::max(longest, job.slice_bytes(k));
  cut(longest);
  for (uint64_t step = 0; step < n_chunks_ + 1; ++step) {
    if (step < n_chunks_) {
      const Part p = part(job, me_.rank(), step);
      wait_until_passed(first_ + step);
      ShmSlot& slot = segment_.result(me_.rank(), first_ + step);
      std::memcpy(slot.data(), p.data, p.bytes);
      put(slot, first_ + step);
    }
    if (step >= 1) collect_parts(job, step - 1);
  }
  first_ += n_chunks_;
  traffic_.messages += me_.size() - 1;
  traffic_.bytes_sent += static_cast<int64_t>(job.slice_bytes(me_.rank())) * (me_.size() - 1);
  traffic_.bytes_received += static_cast<int64_t>(job.bytes() - job.slice_bytes(me_.rank()));
}

// The root stages, all others read at once. Cost: c alpha + n beta.
void ShmCollectives::staged_broadcast(Job& job) {
  const int root = me_.call().root;
  cut(job.bytes());
  if (me_.rank() != root) put(segment_.stage(me_.rank(), first_), first_);  // shows the call
  for (uint64_t c = 0; c < n_chunks_; ++c) {
    const uint64_t chunk = first_ + c;
    const size_t begin = c * part_bytes_, bytes = std::min(part_bytes_, job.bytes() - begin);
    ShmSlot& slot = segment_.result(root, chunk);
    if (me_.rank() == root) {
      wait_until_passed(chunk);
      std::memcpy(slot.data(), job.x + begin, bytes);
      put(slot, chunk);
      for (int k = 0; c == 0 && k < me_.size(); ++k) {
        if (k != root) wait_until_put(k, segment_.stage(k, chunk), chunk);
      }
    } else {
      std::memcpy(job.x + begin, wait_until_put(root, slot, chunk), bytes);
    }
    pass(chunk);
  }
  first_ += n_chunks_;
  if (me_.rank() == root) {
    ++traffic_.messages;
    traffic_.bytes_sent += static_cast<int64_t>(job.bytes()) * (me_.size() - 1);
  } else {
    traffic_.bytes_received += static_cast<int64_t>(job.bytes());
  }
}

void ShmCollectives::count_traffic(size_t sent, size_t received) {
  traffic_.messages += me_.size() - 1;
  traffic_.bytes_sent += static_cast<int64_t>(sent) * (me_.size() - 1);
  traffic_.bytes_received += static_cast<int64_t>(received) * (me_.size() - 1);
}

}  // namespace gradus::comm
