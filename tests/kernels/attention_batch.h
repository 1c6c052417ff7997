// What the tests of attention share: batches in any dtype whose unseen slots are NaN, the textbook's attention as their
// oracle, and comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/attention.h"
#include "gradus/kernels/flush_denormals.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/attention.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {

template <class T>
T from_double(double x) {
  if constexpr (std::is_same_v<T, BFloat16>) return to_bf16(static_cast<float>(x));
  if constexpr (std::is_same_v<T, Float16>) return to_f16(static_cast<float>(x));
  if constexpr (sizeof(T) >= 4) return static_cast<T>(x);
}
template <class T>
double to_double(T x) {
  if constexpr (sizeof(T) == 2) return to_float(x);
  if constexpr (sizeof(T) >= 4) return x;
}
template <class T>
T quiet_nan() {
  return from_double<T>(std::numeric_limits<double>::quiet_NaN());
}
// The dtype of lse and of gradients beside T.
template <class T>
inline constexpr DType kSums = std::is_same_v<T, double> ? DType::f64 : DType::f32;

// body(T{}) for the dtypes that have vector kernels, or for the 16-bit ones.
template <class Body>
void for_vector_types(Body body) {
  body(float{});
  body(BFloat16{});
  body(Float16{});
}
template <class Body>
void for_half_types(Body body) {
  body(BFloat16{});
  body(Float16{});
}

inline std::vector<Isa> vector_isas() {
  std::vector<Isa> list;
  for (const Isa isa : supported_isas()) {
    if (isa != Isa::ref) list.push_back(isa);
  }
  return list;
}

// Restores the instruction set and the pool's size that the test found.
class Machine {
 public:
  ~Machine() {
    set_isa(isa_);
    set_pool_threads(threads_);
  }

 private:
  Isa isa_ = active_isa();
  int threads_ = pool().size();
};

template <class T>
Tensor normal(Shape shape, uint64_t index) {
  Rng rng(12, Purpose::test, index);
  Tensor x = Tensor::empty(shape, dtype_of<T>::value);
  for (T& value : x.span<T>()) value = from_double<T>(rng.normal());
  return x;
}

// The reference's results, computed once for each way to round a multiply-add.
template <class T, class Compute>
const T& for_rounding(std::optional<T> (&memory)[2], Compute compute) {
  std::optional<T>& result = memory[fused_multiply_add()];
  if (!result) result = compute();
  return *result;
}

struct Window {
  int64_t left, right;
};

inline AttentionShape shape_of(int64_t heads, int64_t kv_heads, int64_t head_size, Window w = {-1, 0}) {
  return {.heads = heads,
          .kv_heads = kv_heads,
          .head_size = head_size,
          .scale = 1 / std::sqrt(static_cast<double>(head_size)),
          .left = w.left,
          .right = w.right};
}

inline std::string title(Isa isa, DType dtype, const AttentionShape& s) {
  return std::string(name(isa)) + " " + std::string(name(dtype)) + " H " + std::to_string(s.heads) + " G " +
         std::to_string(s.kv_heads) + " D " + std::to_string(s.head_size) + " window " + std::to_string(s.left) + " " +
         std::to_string(s.right);
}

// Rows and keys of each sequence, both ends aligned.
using Lengths = std::vector<std::pair<int64_t, int64_t>>;

// A batch with its inputs in T; every slot of the pages that no row sees is NaN.
template <class T>
struct Batch {
  AttentionShape shape;
  std::vector<int32_t> row_offsets = {0}, key_offsets = {0}, positions, key_positions, table;
  int64_t max_blocks = 0;
  Tensor q, k, v, d_o;
  KeyValuePages pages;

  Batch(const AttentionShape& s, const Lengths& lengths) : shape(s) {
    for (const auto& [rows, keys] : lengths) {
      for (int64_t i = 0; i < rows; ++i) positions.push_back(static_cast<int32_t>(keys - rows + i));
      for (int64_t j = 0; j < keys; ++j) key_positions.push_back(static_cast<int32_t>(j));
      row_offsets.push_back(static_cast<int32_t>(positions.size()));
      key_offsets.push_back(static_cast<int32_t>(key_positions.size()));
      max_blocks = std::max(max_blocks, (keys + kKeyBlock - 1) / kKeyBlock);
    }
    table.resize(lengths.size() * static_cast<size_t>(max_blocks));
    std::iota(table.rbegin(), table.rend(), 0);
    const auto n_rows = static_cast<int64_t>(positions.size()), n_keys = static_cast<int64_t>(key_positions.size());
    q = normal<T>({n_rows, s.heads * s.head_size}, 1);
    k = normal<T>({n_keys, s.kv_heads * s.head_size}, 2);
    v = normal<T>({n_keys, s.kv_heads * s.head_size}, 3);
    d_o = normal<T>(q.shape(), 4);
    pages = make_key_value_pages(static_cast<int64_t>(table.size()), s, dtype_of<T>::value);
    for (Tensor* x : {&pages.keys, &pages.values}) {
      for (T& value : x->span<T>()) value = quiet_nan<T>();
    }
    store_keys_values(k, v, keys_layout(), shape, pages);
    poison_unseen();
  }

  AttentionLayout layout() const {
    return {.row_offsets = row_offsets,
            .key_positions = positions,
            .block_table = table,
            .max_blocks = max_blocks,
            .key_offsets = key_offsets};
  }
  AttentionLayout keys_layout() const {
    return {.row_offsets = key_offsets, .key_positions = key_positions, .block_table = table, .max_blocks = max_blocks};
  }
  int64_t n_sequences() const { return static_cast<int64_t>(row_offsets.size()) - 1; }

  template <class Body>  // body(sequence, row)
  void for_each_row(Body body) const {
    for (int64_t s = 0; s < n_sequences(); ++s) {
      for (int64_t r = row_offsets[s]; r < row_offsets[s + 1]; ++r) body(s, r);
    }
  }
  bool sees(int64_t s, int64_t r, int64_t j) const {
    const int64_t p = positions[r];
    return j < key_offsets[s + 1] - key_offsets[s] && (shape.left < 0 || j >= p - shape.left) &&
           (shape.right < 0 || j <= p + shape.right);
  }

 private:
  void poison_unseen() {
    for (int64_t s = 0; s < n_sequences(); ++s) {
      for (int64_t j = 0; j < key_offsets[s + 1] - key_offsets[s]; ++j) {
        bool seen = false;
        for (int64_t r = row_offsets[s]; r < row_offsets[s + 1]; ++r) seen = seen || sees(s, r, j);
        if (seen) continue;
        const int64_t page = table[s * max_blocks + j / kKeyBlock], slot = j % kKeyBlock, D = shape.head_size;
        for (int64_t g = 0; g < shape.kv_heads; ++g) {
          const int64_t at = (page * shape.kv_heads + g) * D * kKeyBlock;
          for (int64_t d = 0; d < D; ++d) {
            pages.keys.data<T>()[at + ref::PageIndex<T>{D}.key(d, slot)] = quiet_nan<T>();
            pages.values.data<T>()[at + ref::PageIndex<T>{D}.value(d, slot)] = quiet_nan<T>();
          }
        }
      }
    }
  }
};

struct Results {
  Tensor o, lse, d_q, d_k, d_v;
};

template <class T>
Results empty_results(const Batch<T>& b) {
  return {Tensor::empty(b.q.shape(), b.q.dtype()), Tensor::empty({b.q.dim(0), b.shape.heads}, kSums<T>),
          Tensor::empty(b.q.shape(), kSums<T>), Tensor::empty(b.k.shape(), kSums<T>),
          Tensor::empty(b.v.shape(), kSums<T>)};
}

template <class T>
Results run(const Batch<T>& b) {
  Results r = empty_results(b);
  attention_forward(b.q, b.pages, b.layout(), b.shape, r.o, r.lse);
  attention_backward(b.q, b.k, b.v, r.o, r.lse, b.d_o, b.layout(), b.shape, r.d_q, r.d_k, r.d_v);
  return r;
}

// The same by the reference, with multiply-adds rounded as on the active instruction set.
template <class T>
Results run_reference(const Batch<T>& b) {
  const FlushDenormals flush(std::is_same_v<T, BFloat16>);
  Results r = empty_results(b);
  ref::attention_forward<T>(b.q, b.pages, b.layout(), b.shape, r.o, r.lse);
  ref::attention_backward<T>(b.q, b.k, b.v, r.o, r.lse, b.d_o, b.layout(), b.shape, r.d_q, r.d_k, r.d_v);
  return r;
}

inline void expect_same(const Results& a, const Results& b, const std::string& about) {
  EXPECT_TRUE(same_bits(a.o, b.o)) << "o " << about;
  EXPECT_TRUE(same_bits(a.lse, b.lse)) << "lse " << about;
  EXPECT_TRUE(same_bits(a.d_q, b.d_q)) << "d_q " << about;
  EXPECT_TRUE(same_bits(a.d_k, b.d_k)) << "d_k " << about;
  EXPECT_TRUE(same_bits(a.d_v, b.d_v)) << "d_v " << about;
}

// Every instruction set gives the bits of the reference.
template <class T>
void expect_bits_of_reference(const Batch<T>& b) {
  const Machine restore;
  std::optional<Results> memory[2];
  for (const Isa isa : vector_isas()) {
    set_isa(isa);
    expect_same(run(b), for_rounding(memory, [&] { return run_reference(b); }),
                title(isa, dtype_of<T>::value, b.shape));
  }
}

// The textbook: all weights of a row at once, and the gradient of softmax from them.
inline Results textbook(const Batch<double>& b) {
  const int64_t H = b.shape.heads, G = b.shape.kv_heads, D = b.shape.head_size;
  Results out = empty_results(b);
  for (Tensor* x : {&out.o, &out.d_q, &out.d_k, &out.d_v}) x->fill_zero();
  const double *q = b.q.data<double>(), *k = b.k.data<double>(), *v = b.v.data<double>(), *d_o = b.d_o.data<double>();
  double *o = out.o.data<double>(), *d_q = out.d_q.data<double>(), *d_k = out.d_k.data<double>(),
         *d_v = out.d_v.data<double>();
  const auto dot = [D](const double* x, const double* y) { return std::inner_product(x, x + D, y, 0.0); };
  b.for_each_row([&](int64_t s, int64_t r) {
    for (int64_t h = 0; h < H; ++h) {
      const int64_t i = (r * H + h) * D, n = b.key_offsets[s + 1] - b.key_offsets[s];
      const auto key = [&](int64_t j) { return ((b.key_offsets[s] + j) * G + h / (H / G)) * D; };
      std::vector<double> p(n, 0.0);
      double sum = 0, m = -std::numeric_limits<double>::infinity();
      for (int64_t j = 0; j < n; ++j) {
        if (b.sees(s, r, j)) m = std::max(m, p[j] = b.shape.scale * dot(q + i, k + key(j)));
      }
      for (int64_t j = 0; j < n; ++j) {
        if (b.sees(s, r, j)) sum += p[j] = std::exp(p[j] - m);
      }
      out.lse.data<double>()[r * H + h] = m + std::log(sum);
      if (sum == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        p[j] /= sum;
        for (int64_t d = 0; d < D; ++d) o[i + d] += p[j] * v[key(j) + d];
      }
      const double delta = dot(d_o + i, o + i);
      for (int64_t j = 0; j < n; ++j) {
        const double d_s = p[j] * (dot(d_o + i, v + key(j)) - delta) * b.shape.scale;
        for (int64_t d = 0; d < D; ++d) {
          d_q[i + d] += d_s * k[key(j) + d];
          d_k[key(j) + d] += d_s * q[i + d];
          d_v[key(j) + d] += p[j] * d_o[i + d];
        }
      }
    }
  });
  return out;
}

}  // namespace gradus::kernels
