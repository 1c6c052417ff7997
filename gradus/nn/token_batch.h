// A packed batch of token sequences: what a language model reads, in training and in inference alike.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/kernels/attention.h"

namespace gradus::nn {

// Rows are tokens; sequence s owns rows [row_offsets[s], row_offsets[s + 1]). Vectors keep their capacity over clear().
class TokenBatch {
 public:
  std::vector<int32_t> ids;        // [rows]
  std::vector<int32_t> positions;  // [rows] position in the sequence: the key's slot and, unless `angles` says
                                   // otherwise, the rotary angle
  std::vector<int32_t> angles;     // [rows] or empty: positions for the rotary angles, in training that stretches them
  std::vector<int32_t> row_offsets = {0};
  // In training, whose keys a sequence sees when they are not just its own rows: key i of sequence s is the row
  // key_rows[key_offsets[s] + i]. So sequences share a prefix that is computed once. Both empty: its own rows.
  std::vector<int32_t> key_rows;
  std::vector<int32_t> key_offsets;
  std::vector<int32_t> block_table;  // [n_sequences, max_blocks]
  int64_t max_blocks = 0;
  int64_t n_pages = 0;  // pages that block_table numbers

  // In decoding, after the rows of all sequences, those of trees of drafted tokens: tree t owns the rows
  // [tree_offsets[t], tree_offsets[t + 1]) of them, and has a row of block_table after those of the sequences.
  // kernels::attention_tree.
  std::vector<int32_t> tree_offsets = {0};
  std::vector<int32_t> prefix_lengths;  // [n_trees]
  std::vector<int32_t> parents;         // [tree_rows()]

  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
  int64_t n_sequences() const { return static_cast<int64_t>(row_offsets.size()) - 1; }
  int64_t n_trees() const { return static_cast<int64_t>(prefix_lengths.size()); }
  int64_t tree_rows() const { return tree_offsets.back(); }
  kernels::AttentionLayout layout() const { return {row_offsets, positions, block_table, max_blocks, key_offsets}; }
  kernels::AttentionLayout tree_layout() const;

  void clear();
  // Appends tokens at positions first, first + 1, ...; block_table stays the caller's to fill.
  void append(std::span<const int32_t> tokens, int32_t first_position = 0);
  // Appends a sequence that goes on from `prefix`, one of the batch that starts at position 0 and sees its own rows
  // only.
  void append_continuation(std::span<const int32_t> tokens, int64_t prefix);
  // Appends a tree below a sequence's first prefix_length keys, at positions prefix_length + depth; no sequence
  // follows.
  //   parents  of each token, which is before it; -1: none
  void append_tree(std::span<const int32_t> tokens, std::span<const int32_t> parents, int32_t prefix_length);
  std::span<const int32_t> rotary_positions() const { return angles.empty() ? positions : angles; }
  // For whole sequences: gives each its own consecutive pages, and its keys where some are shared.
  void number_pages();

 private:
  void number_keys();

  std::vector<int64_t> prefixes_;  // [n_sequences] the sequence that each goes on from, -1 for none; empty: none does
};

}  // namespace gradus::nn
