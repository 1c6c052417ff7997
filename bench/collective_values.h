// The vectors that `gradus bench allreduce` sends around, and what must come of them: small whole numbers, so that
// every order of summation gives the same bits in every element type.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/comm/group.h"

namespace gradus::bench {

struct CollectiveKind {
  comm::Operation operation = comm::Operation::all_reduce;
  kernels::ReduceOp op = kernels::ReduceOp::sum;
  DType dtype = DType::f32;
  int ranks = 1;
};

// Elements [begin, begin + count) of what rank `rank` brings.
void fill_input(const CollectiveKind& kind, int rank, int64_t begin, int64_t count, std::byte* x);

// The elements of this rank's result that are not what they must be, after one call; roots are rank 0.
//   result  of `count` elements: x, or y of all_to_all
int64_t count_wrong(const CollectiveKind& kind, int rank, const std::byte* result, int64_t count);

}  // namespace gradus::bench
