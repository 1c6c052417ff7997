// A packed batch of token sequences: what a language model reads, in training and in inference alike.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/kernels/attention.h"

namespace gradus::nn {

// Rows are tokens; sequence s owns rows [row_offsets[s], row_offsets[s + 1]). Vectors keep their capacity over clear().
struct TokenBatch {
  std::vector<int32_t> ids;        // [rows]
  std::vector<int32_t> positions;  // [rows] position in the sequence: the key's slot and, unless `angles` says
                                   // otherwise, the rotary angle
  std::vector<int32_t> angles;     // [rows] or empty: positions for the rotary angles, in training that stretches them
  std::vector<int32_t> row_offsets = {0};
  std::vector<int32_t> block_table;  // [n_sequences, max_blocks]
  int64_t max_blocks = 0;
  int64_t n_pages = 0;  // pages that block_table numbers

  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
  int64_t n_sequences() const { return static_cast<int64_t>(row_offsets.size()) - 1; }
  kernels::AttentionLayout layout() const { return {row_offsets, positions, block_table, max_blocks}; }

  void clear();
  // Appends tokens at positions first, first + 1, ...; block_table stays the caller's to fill.
  void append(std::span<const int32_t> tokens, int32_t first_position = 0);
  std::span<const int32_t> rotary_positions() const { return angles.empty() ? positions : angles; }
  // For whole sequences: gives each its own consecutive pages.
  void number_pages();
};

}  // namespace gradus::nn
