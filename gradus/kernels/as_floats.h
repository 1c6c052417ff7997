// How float kernels read and write 16-bit tensors: a block is widened into scratch, computed on as float, and rounded
// once when it is stored. So each operator has one kernel, whatever its tensors are stored in. Internal to
// gradus/kernels.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/cpu/convert.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

// body.operator()<T>() for the type that x's dtype is computed in. Throws unsupported on what is no floating format.
template <class Body>
void for_computed_type(std::string_view op, const Tensor& x, Body&& body) {
  require_cpu(op, x);
  if (!is_floating(x.dtype()))
    fail(ErrorCode::unsupported, "{}: no kernel for {}; convert to f32", op, name(x.dtype()));
  if (x.dtype() == DType::f64) return body.template operator()<double>();
  return body.template operator()<float>();
}

// Elements of a block that goes through scratch: a few of them fill half of a first-level cache.
inline constexpr int64_t kScratchBlock = 1024;

// [n], one per slot and thread; keeps its storage.
template <class T>
T* scratch(size_t slot, int64_t n) {
  thread_local std::vector<T> slots[6];
  if (slots[slot].size() < static_cast<size_t>(n)) slots[slot].resize(static_cast<size_t>(n));
  return slots[slot].data();
}

// Reads a tensor's elements as T. Readers and writers of one call have different slots.
template <class T>
class Reader {
 public:
  Reader(const Tensor& x, size_t slot) : data_(x.raw()), dtype_(x.dtype()), slot_(slot) {}

  // Elements [begin, begin + n); valid until the next call on this thread.
  const T* operator()(int64_t begin, int64_t n) const {
    if constexpr (std::is_same_v<T, float>) {
      if (dtype_ == DType::bf16) return widened(static_cast<const BFloat16*>(data_) + begin, n);
      if (dtype_ == DType::f16) return widened(static_cast<const Float16*>(data_) + begin, n);
    }
    return static_cast<const T*>(data_) + begin;
  }

 private:
  template <class From>
  const float* widened(const From* x, int64_t n) const {
    float* y = scratch<float>(slot_, n);
    cpu::widen(x, n, y);
    return y;
  }

  const void* data_;
  DType dtype_;
  size_t slot_;
};

// Where a kernel puts the elements [begin, begin + n) of a tensor; `store` rounds them into it.
template <class T>
class Writer {
 public:
  Writer(Tensor& y, size_t slot) : data_(y.raw()), dtype_(y.dtype()), slot_(slot) {}

  T* operator()(int64_t begin, int64_t n) const {
    return size_of(dtype_) == 2 ? scratch<T>(slot_, n) : static_cast<T*>(data_) + begin;
  }
  void store(int64_t begin, int64_t n) const {
    if constexpr (std::is_same_v<T, float>) {
      if (dtype_ == DType::bf16) cpu::narrow(scratch<T>(slot_, n), n, static_cast<BFloat16*>(data_) + begin);
      if (dtype_ == DType::f16) cpu::narrow(scratch<T>(slot_, n), n, static_cast<Float16*>(data_) + begin);
    }
  }

 private:
  void* data_;
  DType dtype_;
  size_t slot_;
};

// A reader and a writer of one tensor: what a kernel changes in place.
template <class T>
class Editor {
 public:
  Editor(Tensor& x, size_t slot) : read_(x, slot), write_(x, slot) {}

  T* operator()(int64_t begin, int64_t n) const {
    read_(begin, n);  // 16-bit numbers are widened into the writer's scratch
    return write_(begin, n);
  }
  void store(int64_t begin, int64_t n) const { write_.store(begin, n); }

 private:
  Reader<T> read_;
  Writer<T> write_;
};

// body(begin, n) over the elements of x, in parallel: blocks of kScratchBlock where they go through scratch.
template <class Body>
void for_blocks(const Tensor& x, Body&& body) {
  const bool in_scratch = size_of(x.dtype()) == 2;
  for_elements(x.numel(), [&](int64_t begin, int64_t end) {
    const int64_t step = in_scratch ? kScratchBlock : end - begin;
    for (int64_t i = begin; i < end; i += step) body(i, std::min(step, end - i));
  });
}

}  // namespace gradus::kernels
