#include "gradus/kernels/ref/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

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
  T m = std::numeric_limits<T>::lowest();
  T l = 0;
  std::array<T, kMaxHeadSize> u{};
};

// Takes in the slots [begin, end) of one page: keys [D, 64], values [64, D].
template <class T>
void visit_block(const T* q, const T* keys, const T* values, KeyRange slots, const AttentionShape& shape,
                 MultiplyAdd mul_add, Softmax<T>& row) {
  const auto [begin, end] = slots;
  const int64_t D = shape.head_size;
  const T c = static_cast<T>(shape.scale);
  T s[B], e[B] = {};
  T m2 = row.m;
  for (int64_t j = begin; j < end; ++j) {
    s[j] = c * dot(q, keys + j, B, D, mul_add);
    m2 = std::max(m2, s[j]);
  }
  const T alpha = exp(row.m - m2, mul_add);
  for (int64_t j = begin; j < end; ++j) e[j] = exp(s[j] - m2, mul_add);
  row.l = mul_add(row.l, alpha, sum_16_lanes<T>(end, [&](T lane, int64_t j) { return lane + e[j]; }));
  for (int64_t d = 0; d < D; ++d) {
    row.u[d] = mul_add(row.u[d], alpha, dot(e + begin, values + begin * D + d, D, end - begin, mul_add));
  }
  row.m = m2;
}

// The row's o [D] and lse after visiting its keys in blocks of `key_block` positions, a divisor of the page's 64.
// page(base) gives {keys [D, 64], values [64, D]} of the page that starts at position `base`.
template <class T, class Page>
void attend(const T* q, KeyRange visible, const AttentionShape& shape, int64_t key_block, Page page, T* o, T& lse) {
  const MultiplyAdd mul_add;
  Softmax<T> row;
  for (int64_t first = visible.begin / key_block * key_block; first < visible.end; first += key_block) {
    const int64_t base = first / B * B;
    const auto [keys, values] = page(base);
    const KeyRange slots{std::max(visible.begin, first) - base, std::min(visible.end, first + key_block) - base};
    visit_block<T>(q, keys, values, slots, shape, mul_add, row);
  }
  const bool any = visible.begin < visible.end;
  for (int64_t d = 0; d < shape.head_size; ++d) o[d] = any ? row.u[d] / row.l + 0 : 0;
  lse = any ? row.m + std::log(row.l) : -std::numeric_limits<T>::infinity();
}

// Copies slot `to_slot` of a page out of row data k, v [D].
template <class T>
void put_slot(const T* k, const T* v, int64_t D, int64_t to_slot, T* keys, T* values) {
  for (int64_t d = 0; d < D; ++d) {
    keys[d * B + to_slot] = k[d];
    values[to_slot * D + d] = v[d];
  }
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
      const int64_t page = (page_of(layout, sequence, position) * G + g) * D * B, from = (r * G + g) * D;
      put_slot(k.data<T>() + from, v.data<T>() + from, D, slot, pages.keys.data<T>() + page,
               pages.values.data<T>() + page);
    }
  });
}

template <class T>
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse, int64_t key_block) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  for_each_row(layout, [&](int64_t sequence, int64_t r) {
    const KeyRange visible = visible_keys(shape, layout.key_positions[r], layout.n_keys(sequence));
    for (int64_t h = 0; h < H; ++h) {
      const auto page = [&](int64_t base) {
        const int64_t at = (page_of(layout, sequence, base) * G + h / (H / G)) * D * B;
        return std::pair(pages.keys.data<T>() + at, pages.values.data<T>() + at);
      };
      const int64_t i = r * H + h;
      attend<T>(q.data<T>() + i * D, visible, shape, key_block, page, o.data<T>() + i * D, lse.data<T>()[i]);
    }
  });
}

template <class T>
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  std::vector<T> keys(D * B), values(D * B);  // a page as the row's path has it
  for_each_row(layout, [&](int64_t sequence, int64_t r) {
    const int64_t prefix = tree.prefix_lengths[sequence], row0 = layout.row_offsets[sequence];
    std::vector<int64_t> path;  // rows from the prefix down to r
    for (int64_t node = r - row0; node >= 0; node = tree.parents[row0 + node]) path.insert(path.begin(), row0 + node);
    const int64_t n_keys = prefix + static_cast<int64_t>(path.size());
    for (int64_t h = 0; h < H; ++h) {
      const int64_t g = h / (H / G), i = r * H + h;
      const auto page = [&](int64_t base) {
        for (int64_t position = base; position < std::min(base + B, n_keys); ++position) {
          const int64_t slot = position - base;
          if (position >= prefix) {
            const int64_t at = (path[position - prefix] * G + g) * D;
            put_slot(k.data<T>() + at, v.data<T>() + at, D, slot, keys.data(), values.data());
          } else {
            const int64_t at = (page_of(layout, sequence, position) * G + g) * D * B;
            for (int64_t d = 0; d < D; ++d) {
              keys[d * B + slot] = pages.keys.data<T>()[at + d * B + slot];
              values[slot * D + d] = pages.values.data<T>()[at + slot * D + d];
            }
          }
        }
        return std::pair(keys.data(), values.data());
      };
      attend<T>(q.data<T>() + i * D, visible_keys(shape, n_keys - 1, n_keys), shape, B, page, o.data<T>() + i * D,
                lse.data<T>()[i]);
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
      const auto [begin, end] = visible_keys(shape, layout.key_positions[r], layout.n_keys(sequence));
      const int64_t key0 = (layout.key_offsets.empty() ? layout.row_offsets : layout.key_offsets)[sequence];
      for (int64_t position = begin; position < end; ++position) {
        const int64_t j = ((key0 + position) * G + g) * D;
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
                                     const AttentionShape&, Tensor&, Tensor&, int64_t);                               \
  template void attention_tree<T>(const Tensor&, const Tensor&, const Tensor&, const KeyValuePages&,                  \
                                  const AttentionLayout&, const AttentionTree&, const AttentionShape&, Tensor&,       \
                                  Tensor&);                                                                           \
  template void attention_backward<T>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,      \
                                      const Tensor&, const AttentionLayout&, const AttentionShape&, Tensor&, Tensor&, \
                                      Tensor&);
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(double)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::ref
