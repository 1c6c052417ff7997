#include "gradus/comm/doubling.h"

#include <bit>

namespace gradus::comm {

namespace {

// `mine` and `theirs` in the order of the ranks, the lower one's first: both partners compute the same.
void combine_with(Job& job, bool partner_is_lower, const void* theirs, void* mine, int64_t count) {
  if (partner_is_lower) {
    job.arithmetic.combine(theirs, mine, mine, count);
  } else {
    job.arithmetic.combine(mine, theirs, mine, count);
  }
}

// Sends the whole vector to `partner`, which does so too, and combines.
void exchange_whole(Job& job, int partner, std::byte* received) {
  exchange_copy(job, {.to = partner, .data = job.x, .bytes = job.bytes()}, partner, job.bytes(), received);
  combine_with(job, partner < job.rank(), received, job.x, job.count());
}

}  // namespace

void all_reduce_doubling(Job& job) {
  const int P = job.size(), r = job.rank();
  std::byte* const received = job.scratch.bytes(job.bytes());
  const int folded = P - static_cast<int>(std::bit_floor(static_cast<unsigned>(P)));  // pairs that act as one rank
  const bool in_pair = r < 2 * folded;
  if (in_pair && r % 2 == 1) {
    job.transport.exchange({.to = r - 1, .data = job.x, .bytes = job.bytes()}, {});
    exchange_copy(job, {}, r - 1, job.bytes(), job.x);
    return;
  }
  if (in_pair) {
    exchange_copy(job, {}, r + 1, job.bytes(), received);
    combine_with(job, false, received, job.x, job.count());
  }
  const int me = in_pair ? r / 2 : r - folded;  // of P' ranks
  for (int distance = 1; distance < P - folded; distance *= 2) {
    const int partner = me ^ distance;
    exchange_whole(job, partner < folded ? 2 * partner : partner + folded, received);
  }
  job.arithmetic.finish(job.x, job.count());
  if (in_pair) job.transport.exchange({.to = r + 1, .data = job.x, .bytes = job.bytes()}, {});
}

void all_reduce_rabenseifner(Job& job) {
  const int P = job.size(), r = job.rank();
  if (!std::has_single_bit(static_cast<unsigned>(P))) {
    fail(ErrorCode::unsupported,
         "all_reduce: rabenseifner is for 2, 4, 8, ... ranks, but there are {}; take ring or pairwise", P);
  }
  // 1. The part [begin, end) that is still this rank's halves at every distance.
  struct Part {
    int64_t begin, end;
  };
  std::vector<Part> parts{{0, job.count()}};
  const auto at = [&](int64_t i) { return job.x + static_cast<size_t>(i) * job.element; };
  const auto bytes = [&](Part p) { return static_cast<size_t>(p.end - p.begin) * job.element; };
  for (int distance = 1; distance < P; distance *= 2) {
    const auto [begin, end] = parts.back();
    const Part low{begin, begin + (end - begin) / 2}, high{low.end, end};
    const int partner = r ^ distance;
    const Part kept = r < partner ? low : high, given = r < partner ? high : low;
    std::byte* const to = at(kept.begin);
    const auto combine = [&](const std::byte* piece, size_t offset, size_t n) {
      combine_with(job, partner < r, piece, to + offset, static_cast<int64_t>(n / job.element));
    };
    job.transport.exchange({.to = partner, .data = at(given.begin), .bytes = bytes(given)},
                           {.from = partner, .bytes = bytes(kept), .sink = combine, .reduced = true});
    parts.push_back(kept);
  }
  job.arithmetic.finish(at(parts.back().begin), parts.back().end - parts.back().begin);
  // 2. And doubles on the way back.
  for (int distance = P / 2; distance >= 1; distance /= 2) {
    const Part have = parts.back();
    parts.pop_back();
    const Part whole = parts.back();
    const Part missing = have.begin == whole.begin ? Part{have.end, whole.end} : Part{whole.begin, have.begin};
    const int partner = r ^ distance;
    exchange_copy(job, {.to = partner, .data = at(have.begin), .bytes = bytes(have)}, partner, bytes(missing),
                  at(missing.begin));
  }
}

void barrier_dissemination(Job& job) {
  const int P = job.size(), r = job.rank();
  for (int distance = 1; distance < P; distance *= 2) {
    exchange_copy(job, {.to = (r + distance) % P, .data = job.x, .bytes = 0}, (r + P - distance) % P, 0, job.x);
  }
}

}  // namespace gradus::comm
