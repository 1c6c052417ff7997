#include "gradus/comm/pairwise.h"

#include "gradus/comm/ring.h"

namespace gradus::comm {

void reduce_scatter_pairwise(Job& job) {
  const int P = job.size(), r = job.rank();
  const size_t bytes = job.slice_bytes(r);
  std::byte* const received = job.scratch.bytes(bytes * static_cast<size_t>(P - 1));
  std::vector<const void*> contributions(static_cast<size_t>(P));
  contributions[static_cast<size_t>(r)] = job.slice_data(r);
  for (int step = 1; step < P; ++step) {
    const int to = (r + step) % P, from = (r + P - step) % P;
    std::byte* const place = received + bytes * static_cast<size_t>(step - 1);
    exchange_copy(job, {.to = to, .data = job.slice_data(to), .bytes = job.slice_bytes(to)}, from, bytes, place);
    contributions[static_cast<size_t>(from)] = place;
  }
  job.arithmetic.combine_all(contributions, job.slice_data(r), job.slice_count(r));
}

void all_reduce_pairwise(Job& job) {
  reduce_scatter_pairwise(job);
  all_gather_ring(job);
}

void all_to_all_pairwise(Job& job) {
  const int P = job.size(), r = job.rank();
  const size_t bytes = job.slice_bytes(r);
  job.arithmetic.copy(job.slice_data(r), job.y + bytes * static_cast<size_t>(r), bytes);
  for (int step = 1; step < P; ++step) {
    const int to = (r + step) % P, from = (r + P - step) % P;
    exchange_copy(job, {.to = to, .data = job.slice_data(to), .bytes = bytes}, from, bytes,
                  job.y + bytes * static_cast<size_t>(from));
  }
}

}  // namespace gradus::comm
