// Reader of the weights that torch.save writes: a zip archive with a pickle that says which tensors there are
// (PREFIX/data.pkl) and a file for the bytes of each storage (PREFIX/data/KEY). Nothing in the file is run (pickle.h).
// Format: pytorch, torch/serialization.py, _save and _load, since version 1.6.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "gradus/core/safetensors.h"

namespace gradus {

// The tensors of a state dict, in its order, as copies. `origin` names the source in errors. Throws
//   corrupt      what read_zip and read_state_dict_pickle say, and a tensor outside its storage, a storage that is
//                missing or has another size than the pickle says
//   unsupported  what these say, and files of before version 1.6, numbers in big-endian order, tensors whose elements
//                repeat or leave gaps, copies of one storage that together are far more than the file
NamedTensors parse_torch_file(std::span<const std::byte> bytes, std::string_view origin);

// The same without copies where that can be: tensors are views of a mapping of the file, which lives as long as the
// last of them (as in map_safetensors). A transposed tensor is a copy, and so is one that does not lie at a multiple of
// its element size.
NamedTensors map_torch_file(const std::filesystem::path& path);

}  // namespace gradus
