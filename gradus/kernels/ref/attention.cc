#include "gradus/kernels/ref/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

namespace {

constexpr int64_t B = kKeyBlock;

// Calls body(sequence, row) for every row of the batch, in order.
template <class Body>
void for_each_row(const AttentionLayout& layout, Body body) {
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    for (int64_t r = layout.row_offsets[s]; r < layout.row_offsets[s + 1]; ++r) body(s, r);
  }
}

int64_t page_of(const AttentionLayout& layout, int64_t sequence, int64_t position) {
  return layout.block_table[sequence * layout.max_blocks + position / B];
}

// sum_d a[d] b[d * b_step], one chain over d ascending from 0.
template <class T>
T dot(const T* a, const T* b, int64_t b_step, int64_t D, MultiplyAdd mul_add) {
  T sum = 0;
  for (int64_t d = 0; d < D; ++d) sum = mul_add(a[d], b[d * b_step], sum);
  return sum;
}

// What one query row has seen of its sequence so far; o = u / l, lse = m + log l.
template <class T>
struct Softmax {
  T m = -std::numeric_limits<T>::infinity();
  T l = 0;
  std::array<T, kMaxHeadSize> u{};
};

// Takes in the first n slots of one page: keys [D, 64], values [64, D].
template <class T>
void visit_block(const T* q, const T* keys, const T* values, int64_t n, const AttentionShape& shape,
                 MultiplyAdd mul_add, Softmax<T>& row) {
  const int64_t D = shape.head_size;
  const T c = static_cast<T>(shape.scale);
  T s[B], e[B];
  T m2 = row.m;
  for (int64_t j = 0; j < n; ++j) {
    s[j] = c * dot(q, keys + j, B, D, mul_add);
    m2 = std::max(m2, s[j]);
  }
  const T alpha = exp(row.m - m2, mul_add);
  for (int64_t j = 0; j < n; ++j) e[j] = exp(s[j] - m2, mul_add);
  row.l = mul_add(row.l, alpha, sum_16_lanes<T>(n, [&](T lane, int64_t j) { return lane + e[j]; }));
  for (int64_t d = 0; d < D; ++d) row.u[d] = mul_add(row.u[d], alpha, dot(e, values + d, D, n, mul_add));
  row.m = m2;
}

}  // namespace

template <class T>
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages) {
  const int64_t G = shape.kv_heads, D = shape.head_size;
  for_each_row(layout, [&](int64_t sequence, int64_t r) {
    const int64_t position = layout.key_positions[r], slot = position % B;
    if (position < 0) return;
    for (int64_t g = 0; g < G; ++g) {
      const int64_t page = (page_of(layout, sequence, position) * G + g) * D * B;
      for (int64_t d = 0; d < D; ++d) {
        pages.keys.data<T>()[page + d * B + slot] = k.data<T>()[(r * G + g) * D + d];
        pages.values.data<T>()[page + slot * D + d] = v.data<T>()[(r * G + g) * D + d];
      }
    }
  });
}

template <class T>
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  const MultiplyAdd mul_add;
  for_each_row(layout, [&](int64_t sequence, int64_t r) {
    const int64_t n_keys = layout.key_positions[r] + 1;
    for (int64_t h = 0; h < H; ++h) {
      Softmax<T> row;
      for (int64_t first = 0; first < n_keys; first += B) {
        const int64_t page = (page_of(layout, sequence, first) * G + h / (H / G)) * D * B;
        visit_block(q.data<T>() + (r * H + h) * D, pages.keys.data<T>() + page, pages.values.data<T>() + page,
                    std::min(B, n_keys - first), shape, mul_add, row);
      }
      for (int64_t d = 0; d < D; ++d) o.data<T>()[(r * H + h) * D + d] = n_keys > 0 ? row.u[d] / row.l + 0 : 0;
      lse.data<T>()[r * H + h] = row.m + std::log(row.l);
    }
  });
}

template <class T>
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  const T c = static_cast<T>(shape.scale);
  const MultiplyAdd mul_add;
  d_q.fill_zero();
  d_k.fill_zero();
  d_v.fill_zero();
  const auto add_multiple = [&](T* y, T a, const T* x) {  // y += a x
    for (int64_t d = 0; d < D; ++d) y[d] = mul_add(a, x[d], y[d]);
  };
  for (int64_t h = 0; h < H; ++h) {
    const int64_t g = h / (H / G);
    for_each_row(layout, [&](int64_t sequence, int64_t r) {
      const int64_t i = (r * H + h) * D;
      const T *q_i = q.data<T>() + i, *o_i = o.data<T>() + i, *d_o_i = d_o.data<T>() + i;
      const T delta = sum_16_lanes<T>(D, [&](T lane, int64_t d) { return mul_add(d_o_i[d], o_i[d], lane); });  // D_i
      for (int64_t r_j = layout.row_offsets[sequence]; r_j <= r; ++r_j) {
        const int64_t j = (r_j * G + g) * D;
        const T *k_j = k.data<T>() + j, *v_j = v.data<T>() + j;
        const T p = exp(c * dot(q_i, k_j, 1, D, mul_add) - lse.data<T>()[r * H + h], mul_add);
        const T d_s = p * (dot(d_o_i, v_j, 1, D, mul_add) - delta) * c;
        add_multiple(d_v.data<T>() + j, p, d_o_i);
        add_multiple(d_k.data<T>() + j, d_s, q_i);
        add_multiple(d_q.data<T>() + i, d_s, k_j);
      }
    });
  }
}

#define GRADUS_INSTANTIATE(T)                                                                                         \
  template void store_keys_values<T>(const Tensor&, const Tensor&, const AttentionLayout&, const AttentionShape&,     \
                                     KeyValuePages&);                                                                 \
  template void attention_forward<T>(const Tensor&, const KeyValuePages&, const AttentionLayout&,                     \
                                     const AttentionShape&, Tensor&, Tensor&);                                        \
  template void attention_backward<T>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,      \
                                      const Tensor&, const AttentionLayout&, const AttentionShape&, Tensor&, Tensor&, \
                                      Tensor&);
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(double)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::ref
