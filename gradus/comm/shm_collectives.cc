#include "gradus/comm/shm_collectives.h"

#include <algorithm>
#include <cstring>

#include "gradus/comm/streaming_copy.h"

namespace gradus::comm {

namespace {

constexpr std::array kAlgorithms = {NativeAlgorithm{"one-shot", Operation::all_reduce, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::reduce_scatter, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::all_gather, true, kOneShotBytes},
                                    NativeAlgorithm{"one-shot", Operation::barrier, true, kOneShotBytes},
                                    NativeAlgorithm{"two-shot", Operation::all_reduce, true},
                                    NativeAlgorithm{"two-shot", Operation::reduce_scatter, true},
                                    NativeAlgorithm{"staged", Operation::all_gather, true},
                                    NativeAlgorithm{"staged", Operation::broadcast, true}};

// How many chunks a rank stages before it reads the first one, and reduces before it collects. What was written a while
// ago has moved from its writer's own cache to the one that is shared, where others fetch it twice as fast: 1 MiB
// between two cores takes 55 us with 8 slots of 192 KiB and a lag of 3, 137 us with a fourth of that.
constexpr uint64_t kLag = 3;
static_assert(kStageSlots > 2 * kLag);

constexpr size_t kPayload = sizeof(ShmNote::Line::payload);

// Fetches a line to write to it.
void claim(const void* line) {
#if defined(__x86_64__)
  asm volatile("prefetchw (%0)" : : "r"(line));
#else
  __builtin_prefetch(line, 1);
#endif
}

size_t lines_of(size_t bytes) {
  return (bytes + kPayload - 1) / kPayload;
}

void copy_in(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace

ShmCollectives::ShmCollectives(ShmRank& me, Traffic& traffic)
    : me_(me),
      segment_(me.segment()),
      traffic_(traffic),
      contributions_(static_cast<size_t>(me.size())),
      payloads_(static_cast<size_t>(me.size())),
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
                                                                      &ShmCollectives::two_shot_all_reduce,
                                                                      &ShmCollectives::two_shot_reduce_scatter,
                                                                      &ShmCollectives::staged_all_gather,
                                                                      &ShmCollectives::staged_broadcast};
  (this->*kMethods[static_cast<size_t>(&algorithm - kAlgorithms.data())])(job);
}

// Every rank gives its whole vector to all, and takes what it needs. Two places suffice: who writes for turn t + 2 has
// seen all others' notes of turn t + 1, and so they had read those of turn t.
// Cost: alpha + (P - 1) n beta + P n gamma.
void ShmCollectives::one_shot(Job& job) {
  const int r = me_.rank();
  const size_t bytes = job.bytes();
  write_note(job.x, bytes);
  for (int k = 0; k < me_.size(); ++k) contributions_[static_cast<size_t>(k)] = k == r ? job.x : note_of(k, bytes);
  tags_[turn_++ % 2] = me_.tag();
  claim_note(bytes);
  switch (me_.call().operation) {
    case Operation::all_reduce:
      job.arithmetic.combine_all(contributions_, job.x, job.count());
      break;
    case Operation::reduce_scatter: {
      std::byte* const slice = job.slice_data(r);
      for (const void*& x : contributions_) x = static_cast<const std::byte*>(x) + (slice - job.x);
      job.arithmetic.combine_all(contributions_, slice, job.slice_count(r));
      break;
    }
    default:  // all_gather, or a barrier's no bytes
      for (int k = 0; k < me_.size(); ++k) {
        const auto* x = static_cast<const std::byte*>(contributions_[static_cast<size_t>(k)]);
        if (k != r) copy_in(job.slice_data(k), x + (job.slice_data(k) - job.x), job.slice_bytes(k));
      }
  }
  const size_t others = static_cast<size_t>(me_.size() - 1);
  count_traffic(me_.size() - 1, bytes * others, bytes * others);
}

void ShmCollectives::write_note(const std::byte* x, size_t bytes) {
  ShmNote& note = segment_.note(me_.rank(), turn_);
  if (bytes > ShmNote::kInLines) {
    std::memcpy(note.bytes, x, bytes);
  } else {
    for (size_t i = lines_of(bytes); i-- > 0;) {
      std::memcpy(note.lines[i].payload, x + i * kPayload, std::min(kPayload, bytes - i * kPayload));
      if (i > 0) note.lines[i].tag.store(me_.tag(), std::memory_order_release);
    }
  }
  note.lines[0].tag.store(me_.tag(), std::memory_order_release);
  me_.ring_all();
}

// The lines of the next note lie in its readers' caches. To take them back before they are written saves half of the
// latency between far cores: all have read what they hold.
void ShmCollectives::claim_note(size_t bytes) {
  ShmNote& next = segment_.note(me_.rank(), turn_);
  for (size_t i = 0; bytes <= ShmNote::kInLines && i < std::max<size_t>(1, lines_of(bytes)); ++i) claim(&next.lines[i]);
}

const std::byte* ShmCollectives::note_of(int peer, size_t bytes) {
  const ShmNote& note = segment_.note(peer, turn_);
  const uint64_t before = tags_[turn_ % 2], mine = me_.tag();
  const size_t n_lines = bytes > ShmNote::kInLines ? 1 : lines_of(bytes);
  uint64_t first = before;
  me_.wait_for(peer, [&] {
    bool all = true;  // looked at all together, so that they come together
    for (size_t i = 1; i < n_lines; ++i) all &= note.lines[i].tag.load(std::memory_order_acquire) == mine;
    first = note.lines[0].tag.load(std::memory_order_acquire);
    return first != before && (all || first != mine);
  });
  if (first != mine) me_.fail_mismatch(peer);
  if (bytes > ShmNote::kInLines) return note.bytes;
  if (n_lines <= 1) return note.lines[0].payload;
  std::byte* const payload = payloads_[static_cast<size_t>(peer)].data();
  for (size_t i = 0; i < n_lines; ++i) std::memcpy(payload + i * kPayload, note.lines[i].payload, kPayload);
  return payload;
}

// Each rank stages its contributions to the others' slices, reduces its own one, and collects the results.
// Cost: 2 (1 + c) alpha + 2 (P - 1)/P n beta + n gamma.
void ShmCollectives::two_shot(Job& job, bool for_all) {
  cut(longest_slice(job));
  for (uint64_t step = 0; step < n_chunks_ + 2 * kLag; ++step) {
    if (step < n_chunks_) stage_parts(job, step);
    if (step >= kLag && step - kLag < n_chunks_) reduce_part(job, step - kLag, for_all);
    if (for_all && step >= 2 * kLag) collect_parts(job, step - 2 * kLag);
  }
  first_ += n_chunks_;
  const size_t own = job.slice_bytes(me_.rank()) * static_cast<size_t>(me_.size() - 1);
  const size_t foreign = job.bytes() - job.slice_bytes(me_.rank());
  if (for_all) return count_traffic(2 * (me_.size() - 1), own + foreign, own + foreign);
  count_traffic(me_.size() - 1, foreign, own);
}

// Each rank shows its slice, and collects the others'. Cost: (1 + c) alpha + (P - 1)/P n beta.
void ShmCollectives::staged_all_gather(Job& job) {
  cut(longest_slice(job));
  for (uint64_t step = 0; step < n_chunks_ + kLag; ++step) {
    if (step < n_chunks_) {
      wait_until_passed(first_ + step);
      show_part(job, step);
    }
    if (step >= kLag) collect_parts(job, step - kLag);
  }
  first_ += n_chunks_;
  const size_t own = job.slice_bytes(me_.rank()) * static_cast<size_t>(me_.size() - 1);
  count_traffic(me_.size() - 1, own, job.bytes() - job.slice_bytes(me_.rank()));
}

// The root shows, all others read at once. Cost: (1 + c) alpha + n beta.
void ShmCollectives::staged_broadcast(Job& job) {
  const int root = me_.call().root;
  const bool gives = me_.rank() == root;
  cut(job.bytes());
  // Without a word from the others a root would not learn that they have another one.
  if (!gives) {
    wait_until_passed(first_);
    put(segment_.stage(me_.rank(), first_), first_);
  }
  for (uint64_t c = 0; c < n_chunks_; ++c) {
    const uint64_t chunk = first_ + c;
    const size_t begin = c * part_bytes_;
    const Part p = {job.x + begin, std::min(part_bytes_, job.bytes() - begin)};
    ShmSlot& slot = segment_.result(root, chunk);
    if (gives) {
      wait_until_passed(chunk);
      copy_out(slot.data(), p);
      put(slot, chunk);
    } else {
      copy_in(p.data, wait_until_put(root, slot, chunk), p.bytes);
      pass(chunk);
    }
  }
  if (gives) {
    for (int k = 0; k < me_.size(); ++k) {
      if (k != root) wait_until_put(k, segment_.stage(k, first_), first_);
    }
    pass(first_ + n_chunks_ - 1);
  }
  first_ += n_chunks_;
  const size_t others = static_cast<size_t>(me_.size() - 1);
  count_traffic(gives ? me_.size() - 1 : 0, gives ? job.bytes() * others : 0, gives ? 0 : job.bytes());
}

void ShmCollectives::stage_parts(Job& job, uint64_t c) {
  const uint64_t chunk = first_ + c;
  wait_until_passed(chunk);
  ShmSlot& slot = segment_.stage(me_.rank(), chunk);
  for (int k = 0; k < me_.size(); ++k) {
    if (k != me_.rank()) copy_out(slot.data() + static_cast<size_t>(k) * part_bytes_, part(job, k, c));
  }
  put(slot, chunk);
}

void ShmCollectives::reduce_part(Job& job, uint64_t c, bool for_all) {
  const int r = me_.rank();
  const uint64_t chunk = first_ + c;
  const Part p = part(job, r, c);
  for (int k = 0; k < me_.size(); ++k) {
    const std::byte* x = p.data;
    if (k != r) x = wait_until_put(k, segment_.stage(k, chunk), chunk) + static_cast<size_t>(r) * part_bytes_;
    contributions_[static_cast<size_t>(k)] = x;
  }
  job.arithmetic.combine_all(contributions_, p.data, static_cast<int64_t>(p.bytes / job.element));
  if (for_all) {
    show_part(job, c);
  } else {
    pass(chunk);
  }
}

void ShmCollectives::show_part(Job& job, uint64_t c) {
  ShmSlot& slot = segment_.result(me_.rank(), first_ + c);
  copy_out(slot.data(), part(job, me_.rank(), c));
  put(slot, first_ + c);
}

void ShmCollectives::collect_parts(Job& job, uint64_t c) {
  const uint64_t chunk = first_ + c;
  for (int step = 1; step < me_.size(); ++step) {  // not all from the same rank at once
    const int k = (me_.rank() + step) % me_.size();
    const Part p = part(job, k, c);
    copy_in(p.data, wait_until_put(k, segment_.result(k, chunk), chunk), p.bytes);
  }
  pass(chunk);
}

ShmCollectives::Part ShmCollectives::part(const Job& job, int k, uint64_t c) const {
  const size_t slice = job.slice_bytes(k), begin = std::min(slice, c * part_bytes_);
  return {job.slice_data(k) + begin, std::min(part_bytes_, slice - begin)};
}

// A vector of no bytes has one chunk too: ranks whose calls differ meet there.
void ShmCollectives::cut(size_t longest) {
  part_bytes_ = segment_.part_bytes();
  n_chunks_ = std::max<uint64_t>(1, (longest + part_bytes_ - 1) / part_bytes_);
}

size_t ShmCollectives::longest_slice(const Job& job) const {
  size_t longest = 0;
  for (int k = 0; k < me_.size(); ++k) longest = std::max(longest, job.slice_bytes(k));
  return longest;
}

void ShmCollectives::wait_until_passed(uint64_t chunk) {
  for (int k = 0; k < me_.size(); ++k) {
    uint64_t& seen = passed_[static_cast<size_t>(k)];
    if (k == me_.rank() || seen + kStageSlots > chunk) continue;
    const auto has_moved = [&] {
      const uint64_t before = seen;
      seen = segment_.passed(k).load(std::memory_order_acquire);
      return seen != before;
    };
    distance_.time(has_moved);
    const auto is_passed = [&] { return has_moved(), seen + kStageSlots > chunk; };
    if (seen + kStageSlots <= chunk) me_.wait_for(k, is_passed);
  }
}

void ShmCollectives::copy_out(std::byte* to, const Part& from) {
  if (distance_.far()) {
    streaming_copy(to, from.data, from.bytes);
  } else {
    copy_in(to, from.data, from.bytes);
  }
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

void ShmCollectives::pass(uint64_t chunk) {
  segment_.passed(me_.rank()).store(chunk + 1, std::memory_order_release);
  me_.ring_all();
}

void ShmCollectives::count_traffic(int64_t messages, size_t sent, size_t received) {
  traffic_.messages += messages;
  traffic_.bytes_sent += static_cast<int64_t>(sent);
  traffic_.bytes_received += static_cast<int64_t>(received);
}

}  // namespace gradus::comm
