#include "gradus/kernels/ref/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

namespace {

constexpr int64_t B = kKeyBlock;

// What numbers of type T are multiplied and added in.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
template <class T>
constexpr bool kPairs = std::is_same_v<T, BFloat16>;

double wide(double x) {
  return x;
}
float wide(float x) {
  return x;
}
float wide(BFloat16 x) {
  return to_float(x);
}
float wide(Float16 x) {
  return to_float(x);
}
template <class T>
T rounded(Wide<T> x) {
  if constexpr (std::is_same_v<T, BFloat16>) return to_bf16(x);
  if constexpr (std::is_same_v<T, Float16>) return to_f16(x);
  if constexpr (sizeof(T) >= 4) return x;
}
// A weight as a product's operand: rounded to bf16 in bf16, else as it is.
template <class T>
Wide<T> operand(Wide<T> x) {
  if constexpr (kPairs<T>) return wide(rounded<T>(x));
  return x;
}

// Calls body(k) for k in [begin, end) in the order of chains: ascending, but in bf16 by pairs (2 i, 2 i + 1) with the
// odd one first.
template <class T, class Body>
void in_chain_order(int64_t begin, int64_t end, Body body) {
  if constexpr (kPairs<T>) {
    for (int64_t i = begin / 2 * 2; i < end; i += 2) {
      if (i + 1 < end) body(i + 1);
      if (i >= begin) body(i);
    }
  } else {
    for (int64_t i = begin; i < end; ++i) body(i);
  }
}

// Calls body(sequence, row) for every row of the batch, in the order of chains.
template <class T, class Body>
void for_each_row(const AttentionLayout& layout, Body body) {
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    const int64_t row0 = layout.row_offsets[s];
    in_chain_order<T>(0, layout.row_offsets[s + 1] - row0, [&](int64_t i) { body(s, row0 + i); });
  }
}

int64_t page_of(const AttentionLayout& layout, int64_t sequence, int64_t position) {
  return layout.block_table[sequence * layout.max_blocks + position / B];
}

// a . b, one chain from 0; b(d) is b's element d.
template <class T, class Element>
Wide<T> dot(const T* a, Element b, int64_t D, MultiplyAdd mul_add) {
  Wide<T> sum = 0;
  in_chain_order<T>(0, D, [&](int64_t d) { sum = mul_add(wide(a[d]), wide(b(d)), sum); });
  return sum;
}

// The softmax of a dtype. e_j = exp(c r_j - m) of a chain r_j; in bf16 2^(c r_j - m), where c holds log2 e and the
// difference is one multiply-add.
template <class T>
struct Weighting {
  using W = Wide<T>;
  W c;
  MultiplyAdd mul_add;

  Weighting(double scale, MultiplyAdd rounding)
      : c(static_cast<W>(kPairs<T> ? scale * Exp2Constants::kLog2E : scale)), mul_add(rounding) {}
  W exponential(W x) const {
    if constexpr (kPairs<T>) return exp2(x, mul_add);
    return exp(x, mul_add);
  }
  W of_score(W r, W m) const {
    if constexpr (kPairs<T>) return exponential(mul_add(r, c, -m));
    return exponential(c * r - m);
  }
  // lse is natural in every dtype.
  W log_sum_exp(W m, W l) const {
    if constexpr (kPairs<T>) return mul_add(m, Exp2Constants::kLn2, std::log(l));
    return m + std::log(l);
  }
  W of_score_and_lse(W r, W lse) const {
    if constexpr (kPairs<T>) return of_score(r, lse * static_cast<W>(Exp2Constants::kLog2E));
    return of_score(r, lse);
  }
};

// What one query row has seen of its sequence so far; o = u / l, lse = m + log l.
template <class T>
struct Softmax {
  Wide<T> m = std::numeric_limits<Wide<T>>::lowest();
  Wide<T> l = 0;
  std::array<Wide<T>, kMaxHeadSize> u{};
};

// Takes in the visible slots of one page.
template <class T>
void visit_block(const T* q, const T* keys, const T* values, KeyRange slots, int64_t D, const Weighting<T>& weights,
                 Softmax<T>& row) {
  using W = Wide<T>;
  const auto [begin, end] = slots;
  const PageIndex<T> at{D};
  const MultiplyAdd mul_add = weights.mul_add;
  W r[B], e[B] = {};
  W m2 = row.m;
  for (int64_t j = begin; j < end; ++j) {
    r[j] = dot(
        q, [&](int64_t d) { return keys[at.key(d, j)]; }, D, mul_add);
    m2 = std::max(m2, weights.c * r[j]);
  }
  const W alpha = weights.exponential(row.m - m2);
  for (int64_t j = begin; j < end; ++j) e[j] = weights.of_score(r[j], m2);
  row.l = mul_add(row.l, alpha, sum_16_lanes<W>(end, [&](W lane, int64_t j) { return lane + e[j]; }));
  for (int64_t d = 0; d < D; ++d) {
    W sum = 0;
    in_chain_order<T>(begin, end,
                      [&](int64_t j) { sum = mul_add(operand<T>(e[j]), wide(values[at.value(d, j)]), sum); });
    row.u[d] = mul_add(row.u[d], alpha, sum);
  }
  row.m = m2;
}

// The row's o [D] and lse after visiting its keys in blocks of `key_block` positions, a divisor of the page's 64.
// page(base) gives keys and values of the page that starts at position `base`.
template <class T, class Page>
void attend(const T* q, KeyRange visible, const AttentionShape& shape, int64_t key_block, Page page, T* o,
            Wide<T>& lse) {
  const Weighting<T> weights(shape.scale, MultiplyAdd());
  Softmax<T> row;
  for (int64_t first = visible.begin / key_block * key_block; first < visible.end; first += key_block) {
    const int64_t base = first / B * B;
    const auto [keys, values] = page(base);
    const KeyRange slots{std::max(visible.begin, first) - base, std::min(visible.end, first + key_block) - base};
    visit_block<T>(q, keys, values, slots, shape.head_size, weights, row);
  }
  const bool any = visible.begin < visible.end;
  for (int64_t d = 0; d < shape.head_size; ++d) o[d] = any ? rounded<T>(row.u[d] / row.l + 0) : T{};
  lse = any ? weights.log_sum_exp(row.m, row.l) : -std::numeric_limits<Wide<T>>::infinity();
}

// Copies row data k, v [D] to a slot of a page.
template <class T>
void put_slot(const T* k, const T* v, int64_t D, int64_t slot, T* keys, T* values) {
  const PageIndex<T> at{D};
  for (int64_t d = 0; d < D; ++d) {
    keys[at.key(d, slot)] = k[d];
    values[at.value(d, slot)] = v[d];
  }
}

}  // namespace

template <class T>
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages) {
  const int64_t G = shape.kv_heads, D = shape.head_size;
  for_each_row<T>(layout, [&](int64_t sequence, int64_t r) {
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
  for_each_row<T>(layout, [&](int64_t sequence, int64_t r) {
    const KeyRange visible = visible_keys(shape, layout.key_positions[r], layout.n_keys(sequence));
    for (int64_t h = 0; h < H; ++h) {
      const auto page = [&](int64_t base) {
        const int64_t at = (page_of(layout, sequence, base) * G + h / (H / G)) * D * B;
        return std::pair(pages.keys.data<T>() + at, pages.values.data<T>() + at);
      };
      const int64_t i = r * H + h;
      attend<T>(q.data<T>() + i * D, visible, shape, key_block, page, o.data<T>() + i * D, lse.data<Wide<T>>()[i]);
    }
  });
}

template <class T>
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  std::vector<T> keys(D * B), values(D * B);  // a page as the row's path has it
  for_each_row<T>(layout, [&](int64_t sequence, int64_t r) {
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
            const PageIndex<T> of{D};
            for (int64_t d = 0; d < D; ++d) {
              keys[of.key(d, slot)] = pages.keys.data<T>()[at + of.key(d, slot)];
              values[of.value(d, slot)] = pages.values.data<T>()[at + of.value(d, slot)];
            }
          }
        }
        return std::pair(keys.data(), values.data());
      };
      attend<T>(q.data<T>() + i * D, visible_keys(shape, n_keys - 1, n_keys), shape, B, page, o.data<T>() + i * D,
                lse.data<Wide<T>>()[i]);
    }
  });
}

template <class T>
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  using W = Wide<T>;
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  const W c = static_cast<W>(shape.scale);
  const MultiplyAdd mul_add;
  const Weighting<T> weights(shape.scale, mul_add);
  d_q.fill_zero();
  d_k.fill_zero();
  d_v.fill_zero();
  const auto add_multiple = [&](W* y, W a, const T* x) {  // y += a x
    for (int64_t d = 0; d < D; ++d) y[d] = mul_add(operand<T>(a), wide(x[d]), y[d]);
  };
  for (int64_t h = 0; h < H; ++h) {
    const int64_t g = h / (H / G);
    for_each_row<T>(layout, [&](int64_t sequence, int64_t r) {
      const int64_t i = (r * H + h) * D;
      const T *q_i = q.data<T>() + i, *o_i = o.data<T>() + i, *d_o_i = d_o.data<T>() + i;
      const W delta =
          sum_16_lanes<W>(D, [&](W lane, int64_t d) { return mul_add(wide(d_o_i[d]), wide(o_i[d]), lane); });  // D_i
      const auto [begin, end] = visible_keys(shape, layout.key_positions[r], layout.n_keys(sequence));
      const int64_t key0 = (layout.key_offsets.empty() ? layout.row_offsets : layout.key_offsets)[sequence];
      in_chain_order<T>(begin, end, [&](int64_t position) {
        const int64_t j = ((key0 + position) * G + g) * D;
        const T *k_j = k.data<T>() + j, *v_j = v.data<T>() + j;
        const W s_ij = dot(
            q_i, [&](int64_t d) { return k_j[d]; }, D, mul_add);
        const W p = weights.of_score_and_lse(s_ij, lse.data<W>()[r * H + h]);
        const W d_p = dot(
            d_o_i, [&](int64_t d) { return v_j[d]; }, D, mul_add);
        const W d_s = p * (d_p - delta) * c;
        add_multiple(d_v.data<W>() + j, p, d_o_i);
        add_multiple(d_k.data<W>() + j, d_s, q_i);
        add_multiple(d_q.data<W>() + i, d_s, k_j);
      });
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
GRADUS_INSTANTIATE(BFloat16)
GRADUS_INSTANTIATE(Float16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::ref
