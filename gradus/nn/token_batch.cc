#include "gradus/nn/token_batch.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::nn {

void TokenBatch::clear() {
  ids.clear();
  positions.clear();
  angles.clear();
  row_offsets.assign(1, 0);
  key_rows.clear();
  key_offsets.clear();
  prefixes_.clear();
  block_table.clear();
  max_blocks = 0;
  n_pages = 0;
  tree_offsets.assign(1, 0);
  prefix_lengths.clear();
  parents.clear();
}

kernels::AttentionLayout TokenBatch::tree_layout() const {
  return {.row_offsets = tree_offsets,
          .key_positions = std::span(positions).last(static_cast<size_t>(tree_rows())),
          .block_table = std::span(block_table).subspan(static_cast<size_t>(n_sequences() * max_blocks)),
          .max_blocks = max_blocks};
}

void TokenBatch::append(std::span<const int32_t> tokens, int32_t first_position) {
  GRADUS_CHECK(n_trees() == 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    ids.push_back(tokens[i]);
    positions.push_back(first_position + static_cast<int32_t>(i));
  }
  row_offsets.push_back(static_cast<int32_t>(ids.size()));
}

void TokenBatch::append_tree(std::span<const int32_t> tokens, std::span<const int32_t> parents_in,
                             int32_t prefix_length) {
  GRADUS_CHECK(tokens.size() == parents_in.size());
  const size_t first = positions.size();
  for (size_t i = 0; i < tokens.size(); ++i) {
    GRADUS_CHECK(parents_in[i] < static_cast<int32_t>(i));
    ids.push_back(tokens[i]);
    positions.push_back(parents_in[i] < 0 ? prefix_length : positions[first + static_cast<size_t>(parents_in[i])] + 1);
    parents.push_back(parents_in[i]);
  }
  prefix_lengths.push_back(prefix_length);
  tree_offsets.push_back(tree_offsets.back() + static_cast<int32_t>(tokens.size()));
}

void TokenBatch::append_continuation(std::span<const int32_t> tokens, int64_t prefix) {
  GRADUS_CHECK(prefix >= 0 && prefix < n_sequences());
  prefixes_.resize(static_cast<size_t>(n_sequences()), -1);
  const auto p = static_cast<size_t>(prefix);
  GRADUS_CHECK(prefixes_[p] == -1);
  prefixes_.push_back(prefix);
  append(tokens, row_offsets[p + 1] - row_offsets[p]);
}

void TokenBatch::number_keys() {
  if (prefixes_.empty()) return;
  prefixes_.resize(static_cast<size_t>(n_sequences()), -1);
  key_offsets.assign(1, 0);
  const auto add_rows = [&](size_t s) {
    for (int32_t r = row_offsets[s]; r < row_offsets[s + 1]; ++r) key_rows.push_back(r);
  };
  for (size_t s = 0; s < prefixes_.size(); ++s) {
    if (prefixes_[s] >= 0) add_rows(static_cast<size_t>(prefixes_[s]));
    add_rows(s);
    key_offsets.push_back(static_cast<int32_t>(key_rows.size()));
  }
}

void TokenBatch::number_pages() {
  number_keys();
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
