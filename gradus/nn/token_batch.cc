#include "gradus/nn/token_batch.h"

#include <algorithm>

namespace gradus::nn {

void TokenBatch::clear() {
  ids.clear();
  positions.clear();
  angles.clear();
  row_offsets.assign(1, 0);
  block_table.clear();
  max_blocks = 0;
  n_pages = 0;
}

void TokenBatch::append(std::span<const int32_t> tokens, int32_t first_position) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    ids.push_back(tokens[i]);
    positions.push_back(first_position + static_cast<int32_t>(i));
  }
  row_offsets.push_back(static_cast<int32_t>(ids.size()));
}

void TokenBatch::number_pages() {
  const auto blocks_of = [&](int64_t s) {
    const auto i = static_cast<size_t>(s);
    const int64_t n = row_offsets[i + 1] - row_offsets[i];
    const int64_t last = n == 0 ? -1 : positions[static_cast<size_t>(row_offsets[i + 1]) - 1];
    return last / kernels::kKeyBlock + (last >= 0 ? 1 : 0);
  };
  max_blocks = 0;
  for (int64_t s = 0; s < n_sequences(); ++s) max_blocks = std::max(max_blocks, blocks_of(s));
  block_table.assign(static_cast<size_t>(n_sequences() * max_blocks), -1);
  n_pages = 0;
  for (int64_t s = 0; s < n_sequences(); ++s) {
    for (int64_t b = 0; b < blocks_of(s); ++b)
      block_table[static_cast<size_t>(s * max_blocks + b)] = static_cast<int32_t>(n_pages++);
  }
}

}  // namespace gradus::nn
