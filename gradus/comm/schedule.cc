#include "gradus/comm/schedule.h"

#include <array>
#include <cstring>

namespace gradus::comm {

void ElementArithmetic::combine(const void* a, const void* b, void* y, int64_t count) {
  combine_tree(std::array{a, b}, y, count);
}

void ElementArithmetic::combine_tree(std::span<const void* const> xs, void* y, int64_t count) {
  // A mean is a sum until it is whole.
  const kernels::ReduceOp op = op_ == kernels::ReduceOp::mean ? kernels::ReduceOp::sum : op_;
  kernels::combine(op, dtype_, xs, y, count);
}

void ElementArithmetic::combine_all(std::span<const void* const> xs, void* y, int64_t count) {
  kernels::combine(op_, dtype_, xs, y, count, n_mean_);
}

void ElementArithmetic::finish(void* y, int64_t count) {
  if (op_ == kernels::ReduceOp::mean) kernels::divide(dtype_, y, count, n_mean_);
}

void ElementArithmetic::copy(const void* x, void* y, size_t bytes) {
  if (bytes > 0 && x != y) std::memcpy(y, x, bytes);
}

std::byte* Scratch::bytes(size_t n) {
  if (n <= given_.size()) return given_.data();
  constexpr size_t kAlignment = 64;
  if (memory_ == nullptr || size_ < n) {
    memory_.reset();
    memory_ = std::make_unique_for_overwrite<std::byte[]>(n + kAlignment);
    size_ = n;
  }
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  return memory_.get() + (kAlignment - address % kAlignment) % kAlignment;
}

std::vector<int64_t> even_bounds(int64_t count, int n_slices) {
  std::vector<int64_t> bounds;
  even_bounds(count, n_slices, bounds);
  return bounds;
}

void even_bounds(int64_t count, int n_slices, std::vector<int64_t>& bounds) {
  bounds.resize(static_cast<size_t>(n_slices) + 1);
  const int64_t size = count / n_slices, longer = count % n_slices;
  for (int64_t k = 0; k <= n_slices; ++k) bounds[static_cast<size_t>(k)] = k * size + std::min(k, longer);
}

void exchange_copy(Job& job, const Outgoing& out, int from, size_t bytes, std::byte* to) {
  const auto copy = [&](const std::byte* piece, size_t offset, size_t n) {
    job.arithmetic.copy(piece, to + offset, n);
  };
  job.transport.exchange(out, {.from = from, .bytes = bytes, .sink = copy});
}

void exchange_combine(Job& job, const Outgoing& out, int from, size_t bytes, std::byte* to) {
  const auto combine = [&](const std::byte* piece, size_t offset, size_t n) {
    job.arithmetic.combine(piece, to + offset, to + offset, static_cast<int64_t>(n / job.element));
  };
  job.transport.exchange(out, {.from = from, .bytes = bytes, .sink = combine, .reduced = true});
}

}  // namespace gradus::comm
