// Reads the one kind of pickle that a file of weights needs: a dict from names to tensors, as torch.save writes a state
// dict. A pickle is a program for a stack machine that may import and call anything; this one knows only the
// instructions that build such a dict and the names below, and calls nothing. What else a pickle asks for is refused.
//   collections.OrderedDict, torch._utils._rebuild_tensor_v2, and torch's classes of storage of the dtypes of dtype.h
// Instructions: the comments of Python's Lib/pickletools.py, protocols 2 to 5. The bytes of the tensors are elsewhere
// (torch_file.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "gradus/core/dtype.h"

namespace gradus {

// What a pickle says of a tensor; none of the numbers is checked against another. The texts are views of the pickle.
struct PickledTensor {
  static constexpr size_t kMaxRank = 4;

  std::string_view name;
  DType dtype = DType::f32;
  std::string_view storage;  // its key
  int64_t storage_numel = 0;
  int64_t offset = 0;  // in elements of the storage
  size_t rank = 0;
  std::array<int64_t, kMaxRank> dims{}, strides{};  // in elements
};

// The tensors in the order of the dict. `origin` names the source in errors. Memory is bounded by the pickle's bytes,
// and these by 16 MiB. Throws
//   corrupt      not a pickle, cut off, a stack machine's mistake, an entry twice
//   unsupported  a name or an instruction that a state dict does not need, an entry that is no tensor, a tensor of more
//                than four dimensions, a pickle beyond the limits
std::vector<PickledTensor> read_state_dict_pickle(std::span<const std::byte> pickle, std::string_view origin);

}  // namespace gradus
