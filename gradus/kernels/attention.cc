#include "gradus/kernels/attention.h"

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/flush_denormals.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/attention.h"

namespace gradus::kernels {

namespace {

void check_shape(std::string_view op, const AttentionShape& s) {
  require(s.heads >= 1 && s.kv_heads >= 1 && s.heads % s.kv_heads == 0,
          "{}: {} heads and {} key/value heads; the second must divide the first", op, s.heads, s.kv_heads);
  require(s.head_size >= 8 && s.head_size <= kMaxHeadSize && s.head_size % 8 == 0,
          "{}: head size is {}, but must be a multiple of 8 from 8 to {}", op, s.head_size, kMaxHeadSize);
  constexpr int64_t kFar = int64_t{1} << 32;  // beyond every position
  require(s.left < kFar && s.right < kFar,
          "{}: a window of {} keys to the left and {} to the right; give less than {}, or -1 for no limit", op, s.left,
          s.right, kFar);
}

// `dtype` is that of the operation's first tensor. Text is made on failure only: these checks run in every step.
void check_place(std::string_view op, std::string_view what, const Tensor& x, Shape wanted, DType dtype) {
  if (!x.defined() || x.shape() != wanted) {
    fail(ErrorCode::invalid_argument, "{}: {} is {} but must be {}", op, what, x.shape(), wanted);
  }
  require(is_floating(dtype), "{}: dtype is {}, but f64, f32, bf16 or f16 is needed; convert it first", op, dtype);
  if (x.device().type != DeviceType::cpu) {
    fail(ErrorCode::unsupported, "{}: {} is on {}, but attention runs on the cpu only; copy it there", op, what,
         name(x.device()));
  }
}

void check_tensor(std::string_view op, std::string_view what, const Tensor& x, Shape wanted, DType dtype) {
  check_place(op, what, x, wanted, dtype);
  require(x.dtype() == dtype, "{}: {} is {} but the first argument is {}; give all in one dtype", op, what, x.dtype(),
          dtype);
}

// One that holds sums: f64 beside f64, else f32.
DType sum_dtype(DType dtype) {
  return dtype == DType::f64 ? dtype : DType::f32;
}
void check_sums(std::string_view op, std::string_view what, const Tensor& x, Shape wanted, DType dtype) {
  check_place(op, what, x, wanted, dtype);
  require(x.dtype() == sum_dtype(dtype), "{}: {} is {} but must be {} beside {}", op, what, x.dtype(), sum_dtype(dtype),
          dtype);
}

void check_overlap(std::string_view op, std::string_view what, const Tensor& out, std::string_view what_in,
                   const Tensor& in) {
  const auto *a = static_cast<const std::byte*>(out.raw()), *b = static_cast<const std::byte*>(in.raw());
  require(a + out.bytes() <= b || b + in.bytes() <= a, "{}: {} overlaps {}; give it its own storage", op, what,
          what_in);
}

// Keys and values of n pages; in bf16 pairs are a part of the last dimension.
struct PageShapes {
  Shape keys, values;
};
PageShapes page_shapes(int64_t n_pages, const AttentionShape& s, DType dtype) {
  const int64_t pair = dtype == DType::bf16 ? 2 : 1;
  return {.keys = {n_pages, s.kv_heads, s.head_size / pair, kKeyBlock * pair},
          .values = {n_pages, s.kv_heads, kKeyBlock / pair, s.head_size * pair}};
}

void check_pages(std::string_view op, const KeyValuePages& pages, const AttentionShape& s, DType dtype) {
  const PageShapes shapes = page_shapes(pages.keys.rank() == 4 ? pages.keys.dim(0) : 0, s, dtype);
  check_tensor(op, "pages.keys", pages.keys, shapes.keys, dtype);
  check_tensor(op, "pages.values", pages.values, shapes.values, dtype);
}

// `offsets` cut `count` rows or keys into sequences.
void check_offsets(std::string_view op, std::string_view what, std::span<const int32_t> offsets, int64_t n_sequences,
                   std::string_view counted, int64_t count) {
  require(static_cast<int64_t>(offsets.size()) == n_sequences + 1 && offsets.front() == 0 && offsets.back() == count,
          "{}: {} has {} entries for {} sequences and must start with 0 and end with the {} {} given", op, what,
          offsets.size(), n_sequences, count, counted);
  for (int64_t s = 0; s < n_sequences; ++s) {
    require(offsets[s] <= offsets[s + 1] && offsets[s + 1] <= count,
            "{}: {}[{}] is {} but {}[{}] is {}; they must ascend to {}", op, what, s, offsets[s], what, s + 1,
            offsets[s + 1], count);
  }
}

void check_row_offsets(std::string_view op, const AttentionLayout& layout, int64_t rows) {
  require(!layout.row_offsets.empty(), "{}: row_offsets has 0 entries, but starts with 0", op);
  check_offsets(op, "row_offsets", layout.row_offsets, layout.n_sequences(), "rows", rows);
}

void check_rows(std::string_view op, const AttentionLayout& layout, int64_t rows) {
  const auto &offsets = layout.row_offsets, &positions = layout.key_positions;
  check_row_offsets(op, layout, rows);
  require(static_cast<int64_t>(positions.size()) == rows, "{}: {} key_positions for {} rows", op, positions.size(),
          rows);
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    for (int64_t r = offsets[s] + 1; r < offsets[s + 1]; ++r) {
      require(positions[r] == positions[r - 1] + 1,
              "{}: row {} of sequence {} is at position {} after {}; positions go up by 1", op, r, s, positions[r],
              positions[r - 1]);
    }
  }
  if (layout.key_offsets.empty()) return;
  check_offsets(op, "key_offsets", layout.key_offsets, layout.n_sequences(), "keys", layout.key_offsets.back());
}

// The table has a page for each of n_keys(sequence) positions.
template <class KeyCount>
void check_blocks(std::string_view op, const AttentionLayout& layout, int64_t n_pages, KeyCount n_keys) {
  require(static_cast<int64_t>(layout.block_table.size()) == layout.n_sequences() * layout.max_blocks,
          "{}: block_table has {} entries, but {} sequences of {} blocks need {}", op, layout.block_table.size(),
          layout.n_sequences(), layout.max_blocks, layout.n_sequences() * layout.max_blocks);
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    if (layout.row_offsets[s] == layout.row_offsets[s + 1]) continue;
    const int64_t keys = n_keys(s), n_blocks = (keys + kKeyBlock - 1) / kKeyBlock;
    require(n_blocks <= layout.max_blocks, "{}: position {} of sequence {} needs {} blocks, but max_blocks is {}", op,
            keys - 1, s, n_blocks, layout.max_blocks);
    for (int64_t b = 0; b < n_blocks; ++b) {
      const int64_t page = layout.block_table[s * layout.max_blocks + b];
      require(page >= 0 && page < n_pages, "{}: block {} of sequence {} is page {}, but there are {} pages", op, b, s,
              page, n_pages);
    }
  }
}

void check_blocks(std::string_view op, const AttentionLayout& layout, int64_t n_pages) {
  check_blocks(op, layout, n_pages, [&](int64_t s) { return layout.n_keys(s); });
}

void check_tree(std::string_view op, const AttentionLayout& layout, const AttentionTree& tree, int64_t rows) {
  require(static_cast<int64_t>(tree.prefix_lengths.size()) == layout.n_sequences(),
          "{}: {} prefix_lengths for {} sequences", op, tree.prefix_lengths.size(), layout.n_sequences());
  require(static_cast<int64_t>(tree.parents.size()) == rows, "{}: {} parents for {} rows", op, tree.parents.size(),
          rows);
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    const int64_t begin = layout.row_offsets[s], n = layout.row_offsets[s + 1] - begin;
    require(n <= kMaxTreeNodes, "{}: the tree of sequence {} has {} nodes, but {} are possible", op, s, n,
            kMaxTreeNodes);
    require(tree.prefix_lengths[s] >= 0, "{}: the prefix of sequence {} has length {}", op, s, tree.prefix_lengths[s]);
    for (int64_t i = 0; i < n; ++i) {
      require(tree.parents[begin + i] >= -1 && tree.parents[begin + i] < i,
              "{}: node {} of sequence {} has the parent {}; a parent comes before its child, or is -1", op, i, s,
              tree.parents[begin + i]);
    }
  }
}

// body.operator()<T>(vector): T is the dtype's, already checked; `vector` whether its vector kernel runs, or the
// reference.
template <class Body>
void for_attention_type(DType dtype, Body body) {
  const bool vector = active_isa() != Isa::ref;
  if (dtype == DType::f64) return body.template operator()<double>(std::false_type{});
  const auto either = [&]<class T>(T) {
    if (vector) return body.template operator()<T>(std::true_type{});
    const FlushDenormals flush(cpu::kFlushes<T>);
    body.template operator()<T>(std::false_type{});
  };
  if (dtype == DType::f32) return either(float{});
  if (dtype == DType::bf16) return either(BFloat16{});
  either(Float16{});
}

}  // namespace

KeyValuePages make_key_value_pages(int64_t n_pages, const AttentionShape& shape, DType dtype) {
  constexpr std::string_view op = "make_key_value_pages";
  check_shape(op, shape);
  require(n_pages >= 0, "{}: {} pages asked for, but the number must not be negative", op, n_pages);
  require(is_floating(dtype), "{}: dtype is {}, but f64, f32, bf16 or f16 is needed", op, dtype);
  const PageShapes shapes = page_shapes(n_pages, shape, dtype);
  return {.keys = Tensor::empty(shapes.keys, dtype), .values = Tensor::empty(shapes.values, dtype)};
}

int64_t attention_workspace_bytes(int64_t rows, const AttentionShape& shape, int64_t threads) {
  check_shape("attention_workspace_bytes", shape);
  return rows * shape.heads * 2 * static_cast<int64_t>(sizeof(float)) +
         threads * std::max(cpu::forward_scratch_bytes(), cpu::backward_scratch_bytes());
}

void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages) {
  constexpr std::string_view op = "store_keys_values";
  check_shape(op, shape);
  const int64_t rows = k.rank() == 2 ? k.dim(0) : 0;
  check_tensor(op, "k", k, {rows, shape.kv_heads * shape.head_size}, k.dtype());
  check_tensor(op, "v", v, k.shape(), k.dtype());
  check_pages(op, pages, shape, k.dtype());
  check_rows(op, layout, rows);
  check_blocks(op, layout, pages.keys.dim(0),
               [&](int64_t s) { return layout.key_positions[layout.row_offsets[s + 1] - 1] + 1; });
  for_attention_type(k.dtype(), [&]<class T>(auto vector) {
    if constexpr (vector) {
      cpu::store_keys_values<T>(k, v, layout, shape, pages);
    } else {
      ref::store_keys_values<T>(k, v, layout, shape, pages);
    }
  });
}

void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  constexpr std::string_view op = "attention_forward";
  check_shape(op, shape);
  const int64_t rows = q.rank() == 2 ? q.dim(0) : 0;
  check_tensor(op, "q", q, {rows, shape.heads * shape.head_size}, q.dtype());
  check_tensor(op, "o", o, q.shape(), q.dtype());
  check_sums(op, "lse", lse, {rows, shape.heads}, q.dtype());
  check_pages(op, pages, shape, q.dtype());
  check_overlap(op, "o", o, "q", q);
  check_rows(op, layout, rows);
  check_blocks(op, layout, pages.keys.dim(0));
  for_attention_type(q.dtype(), [&]<class T>(auto vector) {
    if constexpr (vector) {
      cpu::attention_forward<T>(q, pages, layout, shape, o, lse);
    } else {
      ref::attention_forward<T>(q, pages, layout, shape, o, lse);
    }
  });
}

void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse) {
  constexpr std::string_view op = "attention_tree";
  check_shape(op, shape);
  require(shape.right == 0, "{}: right is {}, but a tree is causal: 0", op, shape.right);
  const int64_t rows = q.rank() == 2 ? q.dim(0) : 0;
  check_tensor(op, "q", q, {rows, shape.heads * shape.head_size}, q.dtype());
  check_tensor(op, "k", k, {rows, shape.kv_heads * shape.head_size}, q.dtype());
  check_tensor(op, "v", v, k.shape(), q.dtype());
  check_tensor(op, "o", o, q.shape(), q.dtype());
  check_sums(op, "lse", lse, {rows, shape.heads}, q.dtype());
  check_pages(op, pages, shape, q.dtype());
  check_overlap(op, "o", o, "q", q);
  check_row_offsets(op, layout, rows);
  check_tree(op, layout, tree, rows);
  check_blocks(op, layout, pages.keys.dim(0), [&](int64_t s) { return tree.prefix_lengths[s]; });
  for_attention_type(q.dtype(), [&]<class T>(auto vector) {
    if constexpr (vector) {
      cpu::attention_tree<T>(q, k, v, pages, layout, tree, shape, o, lse);
    } else {
      ref::attention_tree<T>(q, k, v, pages, layout, tree, shape, o, lse);
    }
  });
}

void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  constexpr std::string_view op = "attention_backward";
  check_shape(op, shape);
  const int64_t rows = q.rank() == 2 ? q.dim(0) : 0;
  const int64_t n_keys = layout.key_offsets.empty() ? rows : layout.key_offsets.back();
  const Shape queries{rows, shape.heads * shape.head_size}, keys{n_keys, shape.kv_heads * shape.head_size};
  const struct {
    std::string_view what;
    const Tensor& x;
    Shape shape;
    bool written;
  } tensors[] = {{"q", q, queries, false},    {"k", k, keys, false},        {"v", v, keys, false},
                 {"o", o, queries, false},    {"d_o", d_o, queries, false}, {"lse", lse, {rows, shape.heads}, false},
                 {"d_q", d_q, queries, true}, {"d_k", d_k, keys, true},     {"d_v", d_v, keys, true}};
  for (const auto& t : tensors) {
    const bool sums = t.written || &t.x == &lse;
    (sums ? check_sums : check_tensor)(op, t.what, t.x, t.shape, q.dtype());
  }
  for (const auto& out : tensors) {
    for (const auto& other : tensors) {
      if (out.written && &out != &other) check_overlap(op, out.what, out.x, other.what, other.x);
    }
  }
  check_rows(op, layout, rows);
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    const int64_t begin = layout.row_offsets[s];
    if (begin == layout.row_offsets[s + 1] || !layout.key_offsets.empty()) continue;
    require(layout.key_positions[begin] == 0,
            "{}: sequence {} starts at position {}; without key_offsets gradients need whole sequences, from 0", op, s,
            layout.key_positions[begin]);
  }
  for_attention_type(q.dtype(), [&]<class T>(auto vector) {
    if constexpr (vector) {
      cpu::attention_backward<T>(q, k, v, o, lse, d_o, layout, shape, d_q, d_k, d_v);
    } else {
      ref::attention_backward<T>(q, k, v, o, lse, d_o, layout, shape, d_q, d_k, d_v);
    }
  });
}

}  // namespace gradus::kernels
