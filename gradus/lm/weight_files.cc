#include "gradus/lm/weight_files.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/kernels/convert.h"

namespace gradus::lm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = size_t{1} << 28;
constexpr int64_t kChunkBytes = int64_t{1} << 19;  // of a tensor that is read, at once

bool is_plain_name(std::string_view name) {
  const bool printable = std::ranges::all_of(name, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return printable && name.size() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') &&
         name.find_first_of("/\\") == name.npos;
}

// The whole pages of [begin, begin + bytes), a part of a private mapping that nothing was written to, leave memory;
// they come back from the file when read again.
void forget_pages(const void* begin, size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page;
  const auto last = (reinterpret_cast<std::uintptr_t>(begin) + bytes) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // advice: may fail
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) fail(ErrorCode::io, "delete {}: {}", path.string(), error.message());
}

}  // namespace

WeightFiles::WeightFiles(const fs::path& folder) {
  const fs::path single = folder / kSingle, index = folder / kIndex;
  if (fs::exists(single)) {
    origin_ = single.string();
    add_file(single, nullptr);
    return;
  }
  if (!fs::exists(index)) {
    for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"}) {
      if (fs::exists(folder / pickle)) {
        fail(ErrorCode::unsupported, "unsupported: model {} has {}, a pickle, which may run code; convert it to {}",
             folder.string(), pickle, kSingle);
      }
    }
    fail(ErrorCode::not_found, "model {}: neither {} nor {} is there", folder.string(), kSingle, kIndex);
  }
  origin_ = index.string();
  if (fs::file_size(index) > kMaxIndexBytes) {
    fail(ErrorCode::corrupt, "{}: {} bytes are over the limit of {}", origin_, fs::file_size(index), kMaxIndexBytes);
  }
  const std::map<std::string, std::string> shard_of = parse_weight_index(read_file(index), origin_);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    if (!fs::exists(folder / shard))
      fail(ErrorCode::corrupt, "{}: names the file {}, which is not there", origin_, quote_text(shard));
    add_file(folder / shard, &shard_of);
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (find(tensor) == nullptr) {
      fail(ErrorCode::corrupt, "{}: tensor {} is not in {}, where it should be", origin_, quote_text(tensor),
           quote_text(shard));
    }
  }
}

void WeightFiles::add_file(const fs::path& path, const std::map<std::string, std::string>* shard_of) {
  SafetensorsFile file = map_safetensors(path);
  for (auto& [name, tensor] : file.tensors) {
    if (shard_of != nullptr) {
      const auto place = shard_of->find(name);
      if (place == shard_of->end() || place->second != path.filename()) {
        fail(ErrorCode::corrupt, "{}: {} has tensor {}, which the index has {}", origin_, path.filename().string(),
             quote_text(name), place == shard_of->end() ? "nowhere" : "in another file");
      }
    }
    tensors_.emplace(std::move(name), std::move(tensor));
  }
}

const Tensor* WeightFiles::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

int64_t WeightFiles::bytes() const {
  int64_t n = 0;
  for (const auto& [name, tensor] : tensors_) n += static_cast<int64_t>(tensor.bytes());
  return n;
}

std::map<std::string, std::string> parse_weight_index(std::string_view text, std::string_view origin) {
  const json document = parse_json(text, origin);
  const auto found = document.is_object() ? document.find("weight_map") : document.end();
  if (!document.is_object() || found == document.end() || !found->is_object())
    fail(ErrorCode::corrupt, "{}: has no weight_map from tensors to files", origin);
  std::map<std::string, std::string> out;
  for (const auto& [tensor, file] : found->items()) {
    if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
      fail(ErrorCode::corrupt, "{}: tensor {} is said to be in {}, which is not the name of a .safetensors file",
           origin, quote_text(tensor), file.is_string() ? quote_text(file.get_ref<const std::string&>()) : "no text");
    }
    out.emplace(tensor, file.get<std::string>());
  }
  return out;
}

// Blocks of the recycler, and large pages, are rounded up, by a sixth of a small model. Here the whole large pages are
// asked for, and the tail is in usual ones.
WeightBlock::WeightBlock(int64_t bytes) : size_(bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  if (bytes == 0) return;
  const auto wanted = static_cast<size_t>(bytes);
  const size_t reserved = wanted + kLargePage;
  void* const mapped =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) fail(ErrorCode::exhausted, "model: no memory for {} bytes of weights", bytes);
  const auto first = (reinterpret_cast<std::uintptr_t>(mapped) + kLargePage - 1) / kLargePage * kLargePage;
  base_ = {reinterpret_cast<std::byte*>(first), [mapped, reserved](std::byte*) { ::munmap(mapped, reserved); }};
  const size_t whole = wanted / kLargePage * kLargePage;
#ifdef MADV_HUGEPAGE
  ::madvise(base_.get(), whole, MADV_HUGEPAGE);  // advice: may fail
  ::madvise(base_.get() + whole, reserved - kLargePage - whole, MADV_NOHUGEPAGE);
#endif
}

Tensor WeightBlock::take(const Shape& shape, DType dtype) {
  const int64_t room = room_of(shape.numel(), dtype);
  if (room > size_ - used_) {
    WeightBlock own(room);
    return own.take(shape, dtype);
  }
  std::byte* const data = base_.get() + used_;
  used_ += room;
  return Tensor::over(data, shape, dtype, base_);
}

Tensor read_from_file(const Tensor& x, DType dtype, WeightBlock& block) {
  Tensor y = block.take(x.shape(), dtype);
  const Tensor from = x.view({x.numel()}), to = y.view({x.numel()});
  const int64_t chunk = kChunkBytes / static_cast<int64_t>(size_of(x.dtype()));
  for (int64_t begin = 0; begin < x.numel(); begin += chunk) {
    const int64_t end = std::min(x.numel(), begin + chunk);
    Tensor part = to.rows(begin, end);
    kernels::convert(from.rows(begin, end), part);
    // With the chunk before, so that the page that both have a part of goes, too.
    const Tensor done = from.rows(std::max<int64_t>(0, begin - chunk), end);
    forget_pages(done.raw(), done.bytes());
  }
  return y;
}

void write_weight_files(const fs::path& folder, const std::vector<StoredTensor>& tensors, int64_t shard_bytes) {
  const auto bytes_of = [](const StoredTensor& t) { return t.values.numel() * static_cast<int64_t>(size_of(t.dtype)); };
  int64_t total = 0;
  std::vector<std::vector<const StoredTensor*>> shards(1);
  int64_t in_shard = 0;
  for (const StoredTensor& t : tensors) {
    const int64_t n = bytes_of(t);
    if (!shards.back().empty() && in_shard + n > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(&t);
    in_shard += n;
    total += n;
  }
  const auto write = [&](const fs::path& path, const std::vector<const StoredTensor*>& part) {
    NamedTensors stored;
    for (const StoredTensor* t : part) stored.emplace_back(t->name, kernels::converted(t->values, t->dtype));
    write_safetensors(path, stored, {{"format", "pt"}});
  };
  if (shards.size() == 1) {
    write(folder / kSingle, shards.front());
    return remove_file(folder / kIndex);
  }
  json map = json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write(folder / name, shards[i]);
    for (const StoredTensor* t : shards[i]) map[t->name] = name;
  }
  const json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  write_file_atomically(folder / kIndex, write_json(index, 2) + "\n");
  remove_file(folder / kSingle);  // which would stand before the index
}

}  // namespace gradus::lm
