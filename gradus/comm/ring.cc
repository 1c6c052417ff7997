#include "gradus/comm/ring.h"

namespace gradus::comm {

void reduce_scatter_ring(Job& job) {
  const int P = job.size(), r = job.rank();
  const int left = (r + P - 1) % P, right = (r + 1) % P;
  for (int step = 0; step < P - 1; ++step) {
    const int sent = r - step - 1, received = r - step - 2;  // slices; what was received is sent next
    exchange_combine(job, {.to = right, .data = job.slice_data(sent), .bytes = job.slice_bytes(sent)}, left,
                     job.slice_bytes(received), job.slice_data(received));
  }
  job.arithmetic.finish(job.slice_data(r), job.slice_count(r));
}

void all_gather_ring(Job& job) {
  const int P = job.size(), r = job.rank();
  const int left = (r + P - 1) % P, right = (r + 1) % P;
  for (int step = 0; step < P - 1; ++step) {
    const int sent = r - step, received = r - step - 1;
    exchange_copy(job, {.to = right, .data = job.slice_data(sent), .bytes = job.slice_bytes(sent)}, left,
                  job.slice_bytes(received), job.slice_data(received));
  }
}

void all_reduce_ring(Job& job) {
  reduce_scatter_ring(job);
  all_gather_ring(job);
}

}  // namespace gradus::comm
