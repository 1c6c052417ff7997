// Every rank with every other one, P - 1 exchanges: in step s rank r sends to r + s and receives from r - s. As many
// bytes as the ring, over all links instead of the neighbours', and each slice's owner sees all contributions at once:
// it reduces them in the canonical order of kernels::combine, 16-bit floats with a single rounding.
#pragma once

#include "gradus/comm/schedule.h"

namespace gradus::comm {

// Slice r of x becomes its reduction over all ranks, in the canonical order; other slices stay as they are.
// Cost: (P - 1) alpha + (P - 1)/P n beta + n gamma; scratch of (P - 1)/P n bytes.
void reduce_scatter_pairwise(Job& job);

// The reduction above, then around the ring. Cost: 2 (P - 1) alpha + 2 (P - 1)/P n beta + n gamma.
void all_reduce_pairwise(Job& job);

// Slice k of job.y becomes slice r of rank k's x: a transposition. All slices have one size.
// Cost: (P - 1) alpha + (P - 1)/P n beta.
void all_to_all_pairwise(Job& job);

}  // namespace gradus::comm
