#include "gradus/comm/rooted.h"

#include <algorithm>

namespace gradus::comm {

void broadcast_binomial(Job& job, int root) {
  const int P = job.size(), me = (job.rank() + P - root) % P;  // counted from the root
  int distance = 1;
  while (distance < P && (me & distance) == 0)
    distance *= 2;  // the lowest bit of `me` is the step in which it receives
  if (me != 0) exchange_copy(job, {}, (me - distance + root) % P, job.bytes(), job.x);
  for (distance /= 2; distance >= 1; distance /= 2) {
    if (me + distance < P) {
      job.transport.exchange({.to = (me + distance + root) % P, .data = job.x, .bytes = job.bytes()}, {});
    }
  }
}

void broadcast_pipelined(Job& job, int root) {
  const int P = job.size(), me = (job.rank() + P - root) % P;
  const int left = (job.rank() + P - 1) % P, right = (job.rank() + 1) % P;
  const bool receives = me > 0, sends = me + 1 < P;
  const size_t n = job.bytes(), segments = std::max<size_t>(1, (n + kBroadcastSegment - 1) / kBroadcastSegment);
  const auto begin = [&](size_t s) { return std::min(n, s * kBroadcastSegment); };
  const auto bytes = [&](size_t s) { return begin(s + 1) - begin(s); };
  // Segment s comes in while segment s - 1 goes out; the root has them all already.
  for (size_t step = 0; step < segments + (receives ? 1 : 0); ++step) {
    const bool in = receives && step < segments, out = sends && (!receives || step > 0);
    const size_t sent = receives ? step - 1 : step;
    Outgoing outgoing;
    if (out) outgoing = {.to = right, .data = job.x + begin(sent), .bytes = bytes(sent)};
    if (in) {
      exchange_copy(job, outgoing, left, bytes(step), job.x + begin(step));
    } else if (out) {
      job.transport.exchange(outgoing, {});
    }
  }
}

void gather_linear(Job& job, int root) {
  const int P = job.size(), r = job.rank();
  if (r != root) {
    job.transport.exchange({.to = root, .data = job.slice_data(r), .bytes = job.slice_bytes(r)}, {});
    return;
  }
  for (int step = 1; step < P; ++step) {
    const int from = (root + step) % P;
    exchange_copy(job, {}, from, job.slice_bytes(from), job.slice_data(from));
  }
}

void all_reduce_parameter_server(Job& job, int root) {
  const int P = job.size();
  const size_t n = job.bytes();
  if (job.rank() != root) {
    job.transport.exchange({.to = root, .data = job.x, .bytes = n}, {});
    exchange_copy(job, {}, root, n, job.x);
    return;
  }
  std::byte* const received = job.scratch.bytes(n * static_cast<size_t>(P - 1));
  std::vector<const void*> contributions(static_cast<size_t>(P));
  contributions[static_cast<size_t>(root)] = job.x;
  for (int step = 1; step < P; ++step) {
    const int from = (root + step) % P;
    std::byte* const place = received + n * static_cast<size_t>(step - 1);
    exchange_copy(job, {}, from, n, place);
    contributions[static_cast<size_t>(from)] = place;
  }
  job.arithmetic.combine_all(contributions, job.x, job.count());
  for (int step = 1; step < P; ++step) {
    job.transport.exchange({.to = (root + step) % P, .data = job.x, .bytes = n}, {});
  }
}

}  // namespace gradus::comm
