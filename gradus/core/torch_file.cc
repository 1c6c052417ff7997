#include "gradus/core/torch_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/pickle.h"
#include "gradus/core/zip.h"

namespace gradus {

namespace {

constexpr std::string_view kPickleName = "/data.pkl";
// Tensors that share a storage are copied each for itself; a head of this many layers that are one module is the most
// that anyone has.
constexpr uint64_t kMostCopies = 8;
// A pickle of protocol 2 with the number that began files before 1.6, torch/serialization.py's MAGIC_NUMBER.
constexpr std::string_view kLegacyStart("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);

class TorchFile {
 public:
  TorchFile(std::span<const std::byte> bytes, std::string_view origin) : bytes_(bytes), origin_(origin) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with(kLegacyStart)) {
      fail(ErrorCode::unsupported,
           "unsupported: {} is a torch file from before version 1.6; where you trust it, write it again: "
           "torch.save(torch.load(path, weights_only=True), path)",
           origin);
    }
    for (const StoredFile& f : read_zip(bytes, origin)) files_.emplace(f.name, f.bytes);
    // One prefix, whatever it is: "archive" in old files, the file's own name in new ones.
    for (const auto& [name, contents] : files_) {
      if (!name.ends_with(kPickleName) || std::ranges::count(name, '/') != 1) continue;
      if (!prefix_.empty()) fail(ErrorCode::corrupt, "{}: has more than one data.pkl", origin);
      prefix_ = std::string_view(name).substr(0, name.size() - kPickleName.size());
    }
    if (prefix_.empty()) fail(ErrorCode::corrupt, "{}: is a zip archive without data.pkl, so no torch file", origin);
    if (const auto* order = find("byteorder")) {
      const std::string_view value(reinterpret_cast<const char*>(order->data()), order->size());
      if (value != "little") {
        fail(ErrorCode::unsupported, "unsupported: {} has numbers in the order {}; only \"little\" can be read", origin,
             quote_text(value));
      }
    }
  }

  // Views of the bytes where `owner` keeps them writable, copies where there is none.
  NamedTensors tensors(const std::shared_ptr<MappedFile>& owner) {
    NamedTensors out;
    for (const PickledTensor& t : read_state_dict_pickle(*find("data.pkl"), origin_)) {
      out.emplace_back(t.name, tensor(t, owner));
    }
    return out;
  }

 private:
  const std::span<const std::byte>* find(std::string_view name) const {
    const auto it = files_.find(fmt::format("{}/{}", prefix_, name));
    return it == files_.end() ? nullptr : &it->second;
  }

  Tensor tensor(const PickledTensor& t, const std::shared_ptr<MappedFile>& owner) {
    const auto element = static_cast<int64_t>(size_of(t.dtype));
    const auto* storage = find(fmt::format("data/{}", t.storage));
    if (storage == nullptr) {
      fail(ErrorCode::corrupt, "{}: tensor {} has the storage {}, which is not there", origin_, quote_text(t.name),
           quote_text(t.storage));
    }
    int64_t bytes = 0;
    if (t.storage_numel < 0 || __builtin_mul_overflow(t.storage_numel, element, &bytes) ||
        static_cast<uint64_t>(bytes) != storage->size()) {
      fail(ErrorCode::corrupt, "{}: tensor {} has a storage of {} numbers of {} bytes, but {} has {} bytes", origin_,
           quote_text(t.name), t.storage_numel, element, quote_text(t.storage), storage->size());
    }
    const int64_t numel = numel_of(t);
    if (t.offset < 0 || t.offset > t.storage_numel || numel > t.storage_numel - t.offset) {
      fail(ErrorCode::corrupt, "{}: tensor {} has {} numbers from {} of a storage of {}", origin_, quote_text(t.name),
           numel, t.offset, t.storage_numel);
    }
    const std::span<const std::byte> data =
        storage->subspan(static_cast<size_t>(t.offset * element), static_cast<size_t>(numel * element));
    const Shape shape(std::span(t.dims).first(t.rank));
    const bool in_order = numel <= 1 || is_dense(t, {0, 1, 2, 3});
    if (!in_order) check_dense(t);
    const bool aligned = reinterpret_cast<std::uintptr_t>(data.data()) % static_cast<size_t>(element) == 0;
    if (owner != nullptr && in_order && aligned) {
      std::byte* const at = owner->writable().data() + (data.data() - bytes_.data());
      return Tensor::over(at, shape, t.dtype, owner);
    }
    copied_ += data.size();
    if (copied_ > kMostCopies * bytes_.size()) {
      fail(ErrorCode::unsupported, "unsupported: {} has tensors that overlap, more than {} times its own {} bytes",
           origin_, kMostCopies, bytes_.size());
    }
    return in_order ? copy(data, shape, t.dtype) : reordered_copy(data, shape, t);
  }

  int64_t numel_of(const PickledTensor& t) const {
    int64_t product = 1;  // without zeros, as if each were 1: it must not overflow either
    bool any_zero = false;
    for (size_t i = 0; i < t.rank; ++i) {
      if (t.dims[i] < 0 || (t.dims[i] > 0 && __builtin_mul_overflow(product, t.dims[i], &product))) {
        fail(ErrorCode::corrupt, "{}: tensor {} has a size that is negative or more than 2^63", origin_,
             quote_text(t.name));
      }
      any_zero = any_zero || t.dims[i] == 0;
    }
    return any_zero ? 0 : product;
  }

  using Order = std::array<size_t, PickledTensor::kMaxRank>;  // of the dimensions, the innermost last

  // Whether the elements lie side by side when the dimensions are nested in this order. One of size 1 may have any
  // stride.
  static bool is_dense(const PickledTensor& t, const Order& order) {
    int64_t stride = 1;
    for (size_t k = PickledTensor::kMaxRank; k-- > 0;) {
      const size_t d = order[k];
      if (d >= t.rank || t.dims[d] == 1) continue;
      if (t.strides[d] != stride) return false;
      stride *= t.dims[d];
    }
    return true;
  }

  void check_dense(const PickledTensor& t) const {
    Order order{0, 1, 2, 3};
    std::ranges::stable_sort(order, std::greater<>(), [&](size_t d) { return d < t.rank ? t.strides[d] : 0; });
    if (is_dense(t, order)) return;
    fail(ErrorCode::unsupported,
         "unsupported: {} has tensor {} of {} with the strides {}, which repeat numbers or leave some out; save a copy "
         "of "
         "it (clone)",
         origin_, quote_text(t.name), to_string(Shape(std::span(t.dims).first(t.rank))),
         fmt::join(std::span(t.strides).first(t.rank), ", "));
  }

  static Tensor copy(std::span<const std::byte> data, const Shape& shape, DType dtype) {
    Tensor y = Tensor::empty(shape, dtype);
    if (!data.empty()) std::memcpy(y.raw(), data.data(), data.size());
    return y;
  }

  static Tensor reordered_copy(std::span<const std::byte> data, const Shape& shape, const PickledTensor& t) {
    Tensor y = Tensor::empty(shape, t.dtype);
    const size_t element = size_of(t.dtype);
    auto* to = static_cast<std::byte*>(y.raw());
    std::array<int64_t, PickledTensor::kMaxRank> i{};
    for (int64_t n = 0; n < y.numel(); ++n, to += element) {
      int64_t from = 0;
      for (size_t d = 0; d < t.rank; ++d) from += i[d] * t.strides[d];
      std::memcpy(to, data.data() + static_cast<size_t>(from) * element, element);
      for (size_t d = t.rank; d-- > 0;) {
        if (++i[d] < t.dims[d]) break;
        i[d] = 0;
      }
    }
    return y;
  }

  std::span<const std::byte> bytes_;
  std::string_view origin_;
  std::string_view prefix_;
  std::map<std::string, std::span<const std::byte>> files_;
  uint64_t copied_ = 0;
};

}  // namespace

NamedTensors parse_torch_file(std::span<const std::byte> bytes, std::string_view origin) {
  return TorchFile(bytes, origin).tensors(nullptr);
}

NamedTensors map_torch_file(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  const std::string origin = path.string();
  return TorchFile(file->bytes(), origin).tensors(file);
}

}  // namespace gradus
