// Around the ring: every rank sends to its right neighbour and receives from its left one, P - 1 times. Reduce-scatter,
// then all-gather, is the ring all-reduce: 2 (P - 1) messages and 2 (P - 1)/P n bytes per rank, which no algorithm over
// single links can undercut. Source: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations", sections 3 and 4.
#pragma once

#include "gradus/comm/schedule.h"

namespace gradus::comm {

// Slice r of x becomes its reduction over all ranks; the other slices are left as partial results. Slice k is reduced
// in the order of ranks k + 1, k + 2, ..., k: the same bits run after run, but another order for each slice. Cost: (P -
// 1) alpha + (P - 1)/P n (beta + gamma).
void reduce_scatter_ring(Job& job);

// Slice k of x becomes that of rank k. Cost: (P - 1) alpha + (P - 1)/P n beta.
void all_gather_ring(Job& job);

// Both. Cost: 2 (P - 1) alpha + 2 (P - 1)/P n beta + (P - 1)/P n gamma.
void all_reduce_ring(Job& job);

}  // namespace gradus::comm
