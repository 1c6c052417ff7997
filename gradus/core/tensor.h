// A dense row-major tensor: a shape, a dtype, and a share in a block of storage. Copying a Tensor shares its elements;
// `clone` copies them. Storage blocks are recycled: after the first step of a training loop, creating a tensor neither
// allocates memory nor calls operator new.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "gradus/core/device.h"
#include "gradus/core/dtype.h"
#include "gradus/core/error.h"

namespace gradus {

// Up to four dimensions, each >= 0.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<size_t>(i)];
    return n;
  }
  bool operator==(const Shape& other) const {  // in words: to call memcmp costs more than to compare
    int64_t different = rank_ ^ other.rank_;
    for (size_t i = 0; i < dims_.size(); ++i) different |= dims_[i] ^ other.dims_[i];
    return different == 0;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[4, 8]"

namespace detail {

// A block of elements and how many tensors share it.
struct Storage {
  std::atomic<int> references{1};
  int size_class = 0;  // of the recycler in tensor.cc
  Device device;
  void* address = nullptr;
  Storage* next_free = nullptr;
  std::shared_ptr<const void> owner;  // of a block that is another's: who keeps it
};
void recycle(Storage* s) noexcept;

inline void retain(Storage* s) noexcept {
  if (s != nullptr) s->references.fetch_add(1, std::memory_order_relaxed);
}
inline void release(Storage* s) noexcept {
  if (s != nullptr && s->references.fetch_sub(1, std::memory_order_acq_rel) == 1) recycle(s);
}

}  // namespace detail

class Tensor {
 public:
  Tensor() = default;  // undefined: no elements, no shape
  Tensor(const Tensor& other) noexcept
      : storage_(other.storage_), data_(other.data_), shape_(other.shape_), dtype_(other.dtype_) {
    detail::retain(storage_);
  }
  Tensor(Tensor&& other) noexcept
      : storage_(std::exchange(other.storage_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        shape_(std::exchange(other.shape_, Shape{})),
        dtype_(other.dtype_) {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(data_, other.data_);
    std::swap(shape_, other.shape_);
    std::swap(dtype_, other.dtype_);
    return *this;
  }
  ~Tensor() { detail::release(storage_); }

  // Elements are uninitialised / zero. Throws exhausted when memory is.
  static Tensor empty(Shape shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = {});
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape);
  // Elements that lie elsewhere in memory, aligned for the dtype. They outlive all tensors that share them, or `owner`
  // keeps them and is let go with the last of these.
  static Tensor over(void* elements, Shape shape, DType dtype = DType::f32, std::shared_ptr<const void> owner = {});

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ != nullptr ? storage_->device : Device{}; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  // Typed access; throws invalid_argument when T is not the tensor's dtype.
  template <class T>
  T* data() {
    check_dtype(dtype_of<T>::value);
    return static_cast<T*>(raw());
  }
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>::value);
    return static_cast<const T*>(raw());
  }
  template <class T>
  std::span<T> span() {
    return {data<T>(), static_cast<size_t>(numel())};
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(numel())};
  }
  void* raw() { return data_; }
  const void* raw() const { return data_; }

  Tensor view(Shape shape) const;                 // the same elements under another shape of equal numel
  Tensor rows(int64_t begin, int64_t end) const;  // elements [begin, end) of the first dimension, shared
  Tensor clone() const;                           // own copy
  void copy_from(const Tensor& source);           // same shape and dtype
  void fill_zero();
  bool is_unique() const;  // no other tensor shares the storage

 private:
  void check_dtype(DType wanted) const {
    if (dtype_ != wanted) [[unlikely]]
      wrong_dtype(wanted);
  }
  [[noreturn]] void wrong_dtype(DType wanted) const;

  detail::Storage* storage_ = nullptr;
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::f32;
};

template <class T>
Tensor Tensor::from(std::span<const T> values, Shape shape) {
  require(static_cast<int64_t>(values.size()) == shape.numel(), "tensor: {} values do not fill the shape {}",
          values.size(), shape);
  Tensor t = empty(shape, dtype_of<T>::value);
  for (size_t i = 0; i < values.size(); ++i) t.data<T>()[i] = values[i];
  return t;
}

// Blocks of storage created from the system since the program began; constant in the steady state of a training loop.
int64_t tensor_storages_created();

// Gives every block that no tensor uses back to the system.
void trim_tensor_storage();

}  // namespace gradus

// Messages print shapes and dtypes as they are, so that a check that passes formats nothing.
template <>
struct fmt::formatter<gradus::Shape> : fmt::formatter<fmt::string_view> {
  auto format(const gradus::Shape& shape, fmt::format_context& out) const -> fmt::format_context::iterator;
};
template <>
struct fmt::formatter<gradus::DType> : fmt::formatter<fmt::string_view> {
  auto format(gradus::DType dtype, fmt::format_context& out) const -> fmt::format_context::iterator;
};
