// What the schedules of this room (ring.h, pairwise.h, doubling.h, ...) work on. A schedule is a function that says
// which rank sends what to whom, step by step; it touches elements only through `Arithmetic`, so that the simulator can
// run the same code over memory that is not there.
//
// Notation, here and in the schedules: P ranks, r this one, n bytes of the whole vector; alpha seconds per message,
// beta per byte sent, gamma per byte reduced. Slice k of the vector is elements [bounds[k], bounds[k + 1]).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gradus/comm/transport.h"
#include "gradus/kernels/combine.h"

namespace gradus::comm {

// The element work of a reduction. 16-bit floats that travel as partial results are widened by the caller (group.cc).
class Arithmetic {
 public:
  virtual ~Arithmetic() = default;
  // y[i] = a[i] op b[i] for `count` elements; y may be a or b. No division, even for mean.
  virtual void combine(const void* a, const void* b, void* y, int64_t count) = 0;
  // y = the canonical tree over xs (kernels::combine); combine_all also divides for mean.
  virtual void combine_tree(std::span<const void* const> xs, void* y, int64_t count) = 0;
  virtual void combine_all(std::span<const void* const> xs, void* y, int64_t count) = 0;
  // What is left to do for a mean once a sum is whole.
  virtual void finish(void* y, int64_t count) = 0;
  virtual void copy(const void* x, void* y, size_t bytes) = 0;
};

// The arithmetic of real memory.
class ElementArithmetic final : public Arithmetic {
 public:
  ElementArithmetic(kernels::ReduceOp op, DType dtype, int64_t n_mean) : op_(op), dtype_(dtype), n_mean_(n_mean) {}
  void combine(const void* a, const void* b, void* y, int64_t count) override;
  void combine_tree(std::span<const void* const> xs, void* y, int64_t count) override;
  void combine_all(std::span<const void* const> xs, void* y, int64_t count) override;
  void finish(void* y, int64_t count) override;
  void copy(const void* x, void* y, size_t bytes) override;

 private:
  kernels::ReduceOp op_;
  DType dtype_;
  int64_t n_mean_;
};

// Memory that schedules use between steps; grows to what was needed most and stays. Aligned to 64 bytes. What it holds
// is undefined.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(std::span<std::byte> memory) : given_(memory) {}  // used as long as it suffices; aligned

  std::byte* bytes(size_t n);

 private:
  std::span<std::byte> given_;
  std::unique_ptr<std::byte[]> memory_;
  size_t size_ = 0;
};

// One collective of one rank.
struct Job {
  Transport& transport;
  Arithmetic& arithmetic;
  Scratch& scratch;
  std::byte* x = nullptr;           // the whole vector, bounds.back() elements
  size_t element = 1;               // bytes of an element
  std::span<const int64_t> bounds;  // [P + 1], ascending from 0
  std::byte* y = nullptr;           // of all_to_all: as large as x

  int rank() const { return transport.rank(); }
  int size() const { return transport.size(); }
  int64_t count() const { return bounds.back(); }
  size_t bytes() const { return static_cast<size_t>(count()) * element; }

  // Slice k, any k: taken modulo P.
  int slice(int k) const { return ((k % size()) + size()) % size(); }
  int64_t slice_count(int k) const {
    return bounds[static_cast<size_t>(slice(k)) + 1] - bounds[static_cast<size_t>(slice(k))];
  }
  size_t slice_bytes(int k) const { return static_cast<size_t>(slice_count(k)) * element; }
  std::byte* slice_data(int k) const {
    return x + static_cast<size_t>(bounds[static_cast<size_t>(slice(k))]) * element;
  }
};

// The slices 0, n/P, 2n/P, ...: sizes differ by at most one.
std::vector<int64_t> even_bounds(int64_t count, int n_slices);
void even_bounds(int64_t count, int n_slices, std::vector<int64_t>& bounds);  // the same, in memory that is there

// exchange() whose incoming bytes are copied to `to`, or combined there as op(incoming, present).
void exchange_copy(Job& job, const Outgoing& out, int from, size_t bytes, std::byte* to);
void exchange_combine(Job& job, const Outgoing& out, int from, size_t bytes, std::byte* to);

}  // namespace gradus::comm
