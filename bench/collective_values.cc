#include "bench/collective_values.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gradus/comm/schedule.h"
#include "gradus/kernels/combine.h"

namespace gradus::bench {

using comm::Operation;

namespace {

constexpr int64_t kBlock = 1 << 16;  // elements checked at once

// 1, 2 or 3; a product of many stays small.
int value(const CollectiveKind& kind, int rank, int64_t i) {
  const auto mixed = (static_cast<uint32_t>(i) * 0x9e3779b1u + static_cast<uint32_t>(rank) * 0x85ebca6bu) >> 16;
  if (kind.op == kernels::ReduceOp::prod) return rank < 4 ? 1 + static_cast<int>(mixed % 2) : 1;
  return 1 + static_cast<int>(mixed % 3);
}

template <class T>
void fill(const CollectiveKind& kind, int rank, int64_t begin, int64_t count, std::byte* x) {
  T* const elements = reinterpret_cast<T*>(x);
  for (int64_t i = 0; i < count; ++i) {
    const int v = value(kind, rank, begin + i);
    if constexpr (std::is_same_v<T, BFloat16>) {
      elements[i] = to_bf16(static_cast<float>(v));
    } else if constexpr (std::is_same_v<T, Float16>) {
      elements[i] = to_f16(static_cast<float>(v));
    } else {
      elements[i] = static_cast<T>(v);
    }
  }
}

// Counts what differs from the elements that expected(begin, count, block) writes.
template <class Expected>
int64_t count_different(const std::byte* got, int64_t count, size_t element, const Expected& expected) {
  std::vector<std::byte> block(static_cast<size_t>(kBlock) * element);
  int64_t wrong = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    expected(begin, n, block.data());
    const std::byte* const here = got + static_cast<size_t>(begin) * element;
    if (std::memcmp(here, block.data(), static_cast<size_t>(n) * element) == 0) continue;
    for (int64_t i = 0; i < n; ++i) {
      const size_t at = static_cast<size_t>(i) * element;
      wrong += std::memcmp(here + at, block.data() + at, element) != 0;
    }
  }
  return wrong;
}

}  // namespace

void fill_input(const CollectiveKind& kind, int rank, int64_t begin, int64_t count, std::byte* x) {
  switch (kind.dtype) {
    case DType::f64:
      return fill<double>(kind, rank, begin, count, x);
    case DType::f32:
      return fill<float>(kind, rank, begin, count, x);
    case DType::bf16:
      return fill<BFloat16>(kind, rank, begin, count, x);
    case DType::f16:
      return fill<Float16>(kind, rank, begin, count, x);
    case DType::i64:
      return fill<int64_t>(kind, rank, begin, count, x);
    case DType::i32:
      return fill<int32_t>(kind, rank, begin, count, x);
    case DType::u8:
      return fill<uint8_t>(kind, rank, begin, count, x);
  }
}

int64_t count_wrong(const CollectiveKind& kind, int rank, const std::byte* result, int64_t count) {
  const size_t element = size_of(kind.dtype);
  const std::vector<int64_t> bounds = comm::even_bounds(count, kind.ranks);
  const auto slice = [&](int k) { return bounds[static_cast<size_t>(k)]; };

  const auto reduction = [&](int64_t begin, int64_t end) {
    std::vector<std::vector<std::byte>> inputs(static_cast<size_t>(kind.ranks));
    std::vector<const void*> pointers;
    for (auto& x : inputs) {
      x.resize(static_cast<size_t>(std::min(kBlock, count)) * element);
      pointers.push_back(x.data());
    }
    return count_different(result + static_cast<size_t>(begin) * element, end - begin, element,
                           [&](int64_t at, int64_t n, std::byte* block) {
                             for (int r = 0; r < kind.ranks; ++r) {
                               fill_input(kind, r, begin + at, n, inputs[static_cast<size_t>(r)].data());
                             }
                             kernels::combine(kind.op, kind.dtype, pointers, block, n, kind.ranks);
                           });
  };
  // Elements [begin, end) of the result are the input of rank `from` from `first` on.
  const auto input = [&](int from, int64_t first, int64_t begin, int64_t end) {
    return count_different(
        result + static_cast<size_t>(begin) * element, end - begin, element,
        [&](int64_t at, int64_t n, std::byte* block) { fill_input(kind, from, first + at, n, block); });
  };

  int64_t wrong = 0;
  switch (kind.operation) {
    case Operation::none:
    case Operation::barrier:
      return 0;
    case Operation::all_reduce:
      return reduction(0, count);
    case Operation::reduce_scatter:
      return reduction(slice(rank), slice(rank + 1));
    case Operation::broadcast:
      return input(0, 0, 0, count);
    case Operation::gather:
      if (rank != 0) return 0;
      [[fallthrough]];
    case Operation::all_gather:
      for (int k = 0; k < kind.ranks; ++k) wrong += input(k, slice(k), slice(k), slice(k + 1));
      return wrong;
    case Operation::all_to_all:
      for (int k = 0; k < kind.ranks; ++k) wrong += input(k, slice(rank), slice(k), slice(k + 1));
      return wrong;
  }
  return wrong;
}

}  // namespace gradus::bench
