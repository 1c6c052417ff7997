// One rank gives or takes: broadcast and gather, and the parameter server, whose root carries all the load. It is what
// the ring is compared with.
#pragma once

#include "gradus/comm/schedule.h"

namespace gradus::comm {

// x of `root` to all, down a binomial tree, for short vectors. Cost: ceil(lg P) (alpha + n beta).
void broadcast_binomial(Job& job, int root);

// x of `root` to all, along the chain root, root + 1, ..., in segments, so that all links work at once.
// Cost: (P - 2 + s) (alpha + n/s beta) for s segments of kBroadcastSegment bytes.
inline constexpr size_t kBroadcastSegment = 64 << 10;
void broadcast_pipelined(Job& job, int root);

// Slice k of the root's x becomes that of rank k. Cost at the root: (P - 1) alpha + (P - 1)/P n beta.
void gather_linear(Job& job, int root);

// All send their vectors to the root, which reduces them in canonical order and sends the result back to each.
// Cost: 2 (P - 1) (alpha + n beta) + (P - 1) n gamma, all at the root; scratch there of (P - 1) n bytes.
void all_reduce_parameter_server(Job& job, int root);

}  // namespace gradus::comm
