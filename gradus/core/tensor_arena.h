// Tensors of one dtype that live together, such as a model's matrices: side by side in a few large blocks. So the
// machine maps them by large pages, from which it reads up to half as fast again, and none wastes what a block of its
// own is rounded up by.
#pragma once

#include <algorithm>

#include "gradus/core/tensor.h"

namespace gradus {

class TensorArena {
 public:
  explicit TensorArena(DType dtype) : dtype_(dtype), alignment_(64 / static_cast<int64_t>(size_of(dtype))) {}

  // Elements are 0; aligned to 64 bytes. A block is given back when none of its tensors is left.
  Tensor zeros(const Shape& shape) {
    const int64_t n = shape.numel(), room = (n + alignment_ - 1) / alignment_ * alignment_;
    if (!block_.defined() || used_ + room > block_.numel()) {
      block_ = Tensor::empty({std::max(room, next_block_)}, dtype_);
      next_block_ = std::min(2 * next_block_, kLargestBlock);
      used_ = 0;
    }
    Tensor t = block_.rows(used_, used_ + n).view(shape);
    used_ += room;
    t.fill_zero();
    return t;
  }

 private:
  static constexpr int64_t kLargestBlock = int64_t{32} << 20;  // elements

  DType dtype_;
  int64_t alignment_;  // elements
  Tensor block_;
  int64_t used_ = 0, next_block_ = 4096;
};

}  // namespace gradus
