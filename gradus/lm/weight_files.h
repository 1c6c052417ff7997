// The safetensors files of a Hugging Face model folder, mapped: model.safetensors alone, or the shards that
// model.safetensors.index.json lists. Writing them is here, too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/core/safetensors.h"

namespace gradus::lm {

class WeightFiles {
 public:
  // Maps the files of `folder` (map_safetensors); one file stands before an index, as in `transformers`. Throws
  // not_found when there are neither, unsupported when there are pickles instead, and corrupt what the files and the
  // index give reason for: besides what safetensors.h and parse_weight_index say, a tensor in two shards, in another
  // shard than the index has it, in none, or in one but not in the index.
  explicit WeightFiles(const std::filesystem::path& folder);

  const std::string& origin() const { return origin_; }  // the file or the index, for errors
  const Tensor* find(const std::string& name) const;     // nullptr when there is none of this name
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  int64_t bytes() const;  // of all tensors

 private:
  void add_file(const std::filesystem::path& path, const std::map<std::string, std::string>* shard_of);

  std::string origin_;
  std::map<std::string, Tensor> tensors_;
};

// The map from tensors to files of the text of model.safetensors.index.json. Throws corrupt when it is not JSON or has
// no weight_map, or a name of a file is more than a name: each must end in .safetensors and lie in the folder itself.
std::map<std::string, std::string> parse_weight_index(std::string_view text, std::string_view origin);

// Memory for the tensors of a model that is read: one block, no larger than they are, in large pages where the system
// has such. Decoding reads weights a third faster from it than from a mapped file, whose pages are small.
class WeightBlock {
 public:
  // For tensors of `bytes` together, each rounded up to a multiple of kAlignment. Throws exhausted.
  explicit WeightBlock(int64_t bytes);

  static constexpr int64_t kAlignment = 64;
  static int64_t room_of(int64_t numel, DType dtype) {
    return (numel * static_cast<int64_t>(size_of(dtype)) + kAlignment - 1) / kAlignment * kAlignment;
  }

  // Elements are whatever they are. What has no room left has a block of its own. The block is given back when none of
  // its tensors is left.
  Tensor take(const Shape& shape, DType dtype);

 private:
  std::shared_ptr<std::byte> base_;
  int64_t size_ = 0, used_ = 0;
};

// The numbers of `x`, which lies in a mapped file, in whatever floating-point format. Pages of the file leave this
// process's memory as soon as they are copied.
Tensor read_from_file(const Tensor& x, DType dtype, WeightBlock& block);

// A tensor to be written, converted to `dtype` when its turn comes.
struct StoredTensor {
  std::string name;
  Tensor values;
  DType dtype;
};

// Writes model.safetensors, or shards of at most `shard_bytes` (each at least one tensor) and their index, when all
// together are more; then deletes what an earlier model in `folder` had in the other layout. Files are replaced as
// wholes.
void write_weight_files(const std::filesystem::path& folder, const std::vector<StoredTensor>& tensors,
                        int64_t shard_bytes);

}  // namespace gradus::lm
