// Reader and writer of the safetensors format: 8 bytes little-endian header length, a JSON header
// {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {...}}, then the tensors' bytes.
// Format: huggingface/safetensors README, "Format". Hostile files give corrupt, never a crash or an oversized
// allocation.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/core/tensor.h"

namespace gradus {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct SafetensorsFile {
  NamedTensors tensors;                         // in the order of their data
  std::map<std::string, std::string> metadata;  // "__metadata__", strings only

  // nullptr when there is no tensor of this name.
  const Tensor* find(std::string_view name) const;
};

// Parses a whole file's bytes; tensors are copies. `origin` names the source in errors. Throws corrupt (truncated,
// overlapping or out-of-range offsets, size that differs from shape x dtype, more than 4 dimensions, unknown dtype,
// header over 100 MB, holes), invalid JSON included.
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view origin);

SafetensorsFile read_safetensors(const std::filesystem::path& path);

// The same without copies: tensors are views of a mapping of the file, which lives as long as the last of them. Writing
// into one changes this process's copy only (MappedFile). A tensor that does not lie at a multiple of its element size,
// as the format allows, is a copy all the same.
SafetensorsFile map_safetensors(const std::filesystem::path& path);

// Written as a whole (write_file_atomically). Larger elements come first, otherwise in the order given, and the
// header's end is filled with spaces to a multiple of 8, so each tensor starts at a multiple of its element size.
// Throws invalid_argument on two equal names, an undefined tensor, or text that is not UTF-8.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace gradus
