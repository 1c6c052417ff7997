#include "gradus/core/tensor.h"

#include <bit>
#include <cstring>
#include <mutex>

namespace gradus {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  require(dims.size() <= kMaxRank, "shape: {} dimensions, but a tensor has at most {}", dims.size(), kMaxRank);
  for (size_t i = 0; i < dims.size(); ++i) {
    require(dims[i] >= 0, "shape: dimension {} is {}, but must not be negative", i, dims[i]);
    dims_[i] = dims[i];
  }
}

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (int i = 0; i < shape.rank(); ++i) out += fmt::format("{}{}", i ? ", " : "", shape[i]);
  return out + "]";
}

namespace detail {

namespace {

constexpr int kForeign = -1;  // the size class of a block that is another's

// Free blocks by size class. Classes step by a quarter of a power of two, so that a block wastes at most a fifth.
// The process has one, like it has one heap.
class StorageCache {
 public:
  static constexpr int kClasses = 4 * 48;

  static int class_of(std::size_t bytes) {
    if (bytes <= 256) return 0;
    const int log2 = std::bit_width(bytes - 1) - 1;  // bytes in (2^log2, 2^(log2+1)]
    const std::size_t quarter = std::size_t{1} << (log2 - 2);
    const auto step = static_cast<int>((bytes - (std::size_t{1} << log2) + quarter - 1) / quarter);  // 1..4
    return (log2 - 8) * 4 + step;
  }
  static std::size_t bytes_of(int size_class) {
    if (size_class == 0) return 256;
    const int log2 = (size_class - 1) / 4 + 8;
    return (std::size_t{1} << log2) +
           static_cast<std::size_t>((size_class - 1) % 4 + 1) * (std::size_t{1} << (log2 - 2));
  }

  Storage* take(std::size_t bytes, Device device) {
    const int c = class_of(bytes);
    if (device == Device{}) {
      std::lock_guard lock(mutex_);
      if (Storage* s = free_[c]) {
        free_[c] = s->next_free;
        s->references.store(1, std::memory_order_relaxed);
        return s;
      }
    }
    void* address = device_allocate(device, bytes_of(c));
    created_.fetch_add(1, std::memory_order_relaxed);
    auto* s = new Storage;
    s->size_class = c;
    s->device = device;
    s->address = address;
    return s;
  }

  void give(Storage* s) noexcept {
    if (s->size_class == kForeign) {
      delete s;
      return;
    }
    if (s->device == Device{}) {
      std::lock_guard lock(mutex_);
      s->next_free = free_[s->size_class];
      free_[s->size_class] = s;
      return;
    }
    destroy(s);
  }

  void trim() {
    std::lock_guard lock(mutex_);
    for (Storage*& head : free_) {
      while (head != nullptr) destroy(std::exchange(head, head->next_free));
    }
  }

  int64_t created() const { return created_.load(std::memory_order_relaxed); }

  ~StorageCache() { trim(); }

 private:
  static void destroy(Storage* s) noexcept {
    device_free(s->device, s->address);
    delete s;
  }

  std::mutex mutex_;
  std::array<Storage*, kClasses> free_{};
  std::atomic<int64_t> created_{0};
};

StorageCache& cache() {
  static StorageCache c;
  return c;
}

}  // namespace

void recycle(Storage* s) noexcept {
  cache().give(s);
}

}  // namespace detail

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  Tensor t;
  t.storage_ = detail::cache().take(static_cast<std::size_t>(shape.numel()) * size_of(dtype), device);
  t.data_ = t.storage_->address;
  t.shape_ = shape;
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill_zero();
  return t;
}

Tensor Tensor::over(void* elements, Shape shape, DType dtype, std::shared_ptr<const void> owner) {
  Tensor t;
  t.storage_ = new detail::Storage;
  t.storage_->size_class = detail::kForeign;
  t.storage_->address = t.data_ = elements;
  t.storage_->owner = std::move(owner);
  t.shape_ = shape;
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::view(Shape shape) const {
  require(shape.numel() == numel(), "view: {} has {} elements but {} has {}", shape_, numel(), shape, shape.numel());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  require(rank() >= 1 && 0 <= begin && begin <= end && end <= dim(0), "rows: [{}, {}) is not inside {}", begin, end,
          shape_);
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < rank(); ++i) dims[static_cast<size_t>(i)] = dim(i);
  const int64_t stride = dim(0) == 0 ? 0 : numel() / dim(0);
  dims[0] = end - begin;
  Tensor t = *this;
  t.shape_ = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank())));
  t.data_ = static_cast<std::byte*>(data_) + begin * stride * static_cast<int64_t>(size_of(dtype_));
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t = empty(shape_, dtype_, device());
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& source) {
  require(source.shape_ == shape_ && source.dtype_ == dtype_, "copy: destination is {} {} but source is {} {}", shape_,
          name(dtype_), source.shape_, name(source.dtype_));
  std::memcpy(data_, source.data_, bytes());
}

void Tensor::fill_zero() {
  std::memset(data_, 0, bytes());
}

bool Tensor::is_unique() const {
  return storage_ != nullptr && storage_->references.load(std::memory_order_acquire) == 1;
}

void Tensor::wrong_dtype(DType wanted) const {
  fail(ErrorCode::invalid_argument, "tensor: elements are {} but were asked for as {}", name(dtype_), name(wanted));
}

int64_t tensor_storages_created() {
  return detail::cache().created();
}

void trim_tensor_storage() {
  detail::cache().trim();
}

}  // namespace gradus

auto fmt::formatter<gradus::Shape>::format(const gradus::Shape& shape, fmt::format_context& out) const
    -> fmt::format_context::iterator {
  return formatter<fmt::string_view>::format(gradus::to_string(shape), out);
}

auto fmt::formatter<gradus::DType>::format(gradus::DType dtype, fmt::format_context& out) const
    -> fmt::format_context::iterator {
  const std::string_view name = gradus::name(dtype);
  return formatter<fmt::string_view>::format({name.data(), name.size()}, out);
}
