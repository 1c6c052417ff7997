// What a row may see: windows, full attention, other numbers of keys than of rows, and trees. The causal case and the
// contract's invariances are attention_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/kernels/attention.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/attention.h"
#include "tests/core/expect_error.h"

namespace gradus::kernels {
namespace {

using ::testing::Test;

struct Window {
  int64_t left, right;
};
constexpr Window kWindows[] = {{-1, 0}, {-1, -1}, {0, 0},  {4, 0},  {63, 0},
                               {64, 0}, {100, 0}, {10, 7}, {-1, 5}, {70, -1}};

// Rows and keys of each sequence, both ends aligned.
using Lengths = std::vector<std::pair<int64_t, int64_t>>;
const Lengths kLengths = {{1, 1}, {1, 130}, {130, 1}, {3, 200}, {127, 70}, {0, 5}, {5, 0}, {64, 128}, {65, 64}, {7, 7}};

template <class T>
Tensor normal(Shape shape, uint64_t index) {
  Rng rng(12, Purpose::test, index);
  Tensor x = Tensor::empty(shape, dtype_of<T>::value);
  for (T& value : x.span<T>()) value = static_cast<T>(rng.normal());
  return x;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

// Restores the instruction set that the test found.
class AttentionMask : public Test {
 protected:
  ~AttentionMask() override { set_isa(isa_); }
  static std::vector<Isa> vector_isas() {
    std::vector<Isa> list;
    for (const Isa isa : supported_isas()) {
      if (isa != Isa::ref) list.push_back(isa);
    }
    return list;
  }

 private:
  Isa isa_ = active_isa();
};

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
      for (T& value : x->span<T>()) value = std::numeric_limits<T>::quiet_NaN();
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
            pages.keys.data<T>()[at + d * kKeyBlock + slot] = std::numeric_limits<T>::quiet_NaN();
            pages.values.data<T>()[at + slot * D + d] = std::numeric_limits<T>::quiet_NaN();
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
  return {Tensor::empty(b.q.shape(), b.q.dtype()), Tensor::empty({b.q.dim(0), b.shape.heads}, b.q.dtype()),
          Tensor::empty(b.q.shape(), b.q.dtype()), Tensor::empty(b.k.shape(), b.q.dtype()),
          Tensor::empty(b.v.shape(), b.q.dtype())};
}

template <class T>
Results run(const Batch<T>& b) {
  Results r = empty_results(b);
  attention_forward(b.q, b.pages, b.layout(), b.shape, r.o, r.lse);
  attention_backward(b.q, b.k, b.v, r.o, r.lse, b.d_o, b.layout(), b.shape, r.d_q, r.d_k, r.d_v);
  return r;
}

// The textbook: all weights of a row at once, and the gradient of softmax from them.
Results textbook(const Batch<double>& b) {
  const int64_t H = b.shape.heads, G = b.shape.kv_heads, D = b.shape.head_size;
  Results out = empty_results(b);
  for (Tensor* x : {&out.o, &out.d_q, &out.d_k, &out.d_v}) x->fill_zero();
  b.for_each_row([&](int64_t s, int64_t r) {
    for (int64_t h = 0; h < H; ++h) {
      const int64_t i = (r * H + h) * D, n = b.key_offsets[s + 1] - b.key_offsets[s];
      const auto key = [&](int64_t j) { return ((b.key_offsets[s] + j) * G + h / (H / G)) * D; };
      const auto dot = [&](const Tensor& x, int64_t at, const Tensor& y, int64_t from) {
        return std::inner_product(x.data<double>() + at, x.data<double>() + at + D, y.data<double>() + from, 0.0);
      };
      std::vector<double> p(n, 0.0);
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) {
        if (b.sees(s, r, j)) sum += p[j] = std::exp(b.shape.scale * dot(b.q, i, b.k, key(j)));
      }
      out.lse.data<double>()[r * H + h] = std::log(sum);
      if (sum == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        p[j] /= sum;
        for (int64_t d = 0; d < D; ++d) out.o.data<double>()[i + d] += p[j] * b.v.data<double>()[key(j) + d];
      }
      const double delta = dot(b.d_o, i, out.o, i);
      for (int64_t j = 0; j < n; ++j) {
        const double d_s = p[j] * (dot(b.d_o, i, b.v, key(j)) - delta) * b.shape.scale;
        for (int64_t d = 0; d < D; ++d) {
          out.d_q.data<double>()[i + d] += d_s * b.k.data<double>()[key(j) + d];
          out.d_k.data<double>()[key(j) + d] += d_s * b.q.data<double>()[i + d];
          out.d_v.data<double>()[key(j) + d] += p[j] * b.d_o.data<double>()[i + d];
        }
      }
    }
  });
  return out;
}

AttentionShape shape_of(int64_t heads, int64_t kv_heads, int64_t head_size, Window w = {-1, 0}) {
  return {.heads = heads,
          .kv_heads = kv_heads,
          .head_size = head_size,
          .scale = 1 / std::sqrt(static_cast<double>(head_size)),
          .left = w.left,
          .right = w.right};
}

TEST_F(AttentionMask, EveryMaskIsTheTextbooks) {
  for (const Window w : kWindows) {
    const Batch<double> b(shape_of(4, 2, 16, w), kLengths);
    const Results got = run(b), want = textbook(b);
    const std::pair<const Tensor*, const Tensor*> pairs[] = {
        {&got.o, &want.o}, {&got.lse, &want.lse}, {&got.d_q, &want.d_q}, {&got.d_k, &want.d_k}, {&got.d_v, &want.d_v}};
    for (const auto& [a, c] : pairs) {
      for (int64_t i = 0; i < a->numel(); ++i) {
        const double x = a->span<double>()[i], y = c->span<double>()[i];
        ASSERT_TRUE(x == y || std::abs(x - y) < 1e-12)
            << w.left << ' ' << w.right << " at " << i << ": " << x << ' ' << y;
      }
    }
  }
}

TEST_F(AttentionMask, EveryMaskGivesTheBitsOfTheReference) {
  for (const Window w : kWindows) {
    for (const auto& [heads, kv_heads, head_size] : {std::tuple{2, 2, 40}, {6, 1, 8}, {4, 2, 64}}) {
      const Batch<float> b(shape_of(heads, kv_heads, head_size, w), kLengths);
      for (const Isa isa : vector_isas()) {
        set_isa(isa);
        const Results got = run(b);
        Results want = empty_results(b);
        ref::attention_forward<float>(b.q, b.pages, b.layout(), b.shape, want.o, want.lse);
        ref::attention_backward<float>(b.q, b.k, b.v, want.o, want.lse, b.d_o, b.layout(), b.shape, want.d_q, want.d_k,
                                       want.d_v);
        const auto about = ::testing::Message()
                           << name(isa) << " window " << w.left << ' ' << w.right << " D " << head_size;
        EXPECT_TRUE(same_bits(got.o, want.o)) << about;
        EXPECT_TRUE(same_bits(got.lse, want.lse)) << about;
        EXPECT_TRUE(same_bits(got.d_q, want.d_q)) << about;
        EXPECT_TRUE(same_bits(got.d_k, want.d_k)) << about;
        EXPECT_TRUE(same_bits(got.d_v, want.d_v)) << about;
      }
    }
  }
}

TEST_F(AttentionMask, RowsThatSeeNothingGiveZeros) {
  const Batch<float> b(shape_of(2, 1, 16), {{5, 2}, {3, 0}});
  const Results r = run(b);
  for (const int64_t row : {0, 1, 2, 5, 6, 7}) {
    for (const float o : r.o.rows(row, row + 1).span<float>()) EXPECT_EQ(o, 0.0f);
    for (const float lse : r.lse.rows(row, row + 1).span<float>())
      EXPECT_EQ(lse, -std::numeric_limits<float>::infinity());
    for (const float d : r.d_q.rows(row, row + 1).span<float>()) EXPECT_EQ(d, 0.0f);
  }
}

TEST_F(AttentionMask, KeysThatNoRowSeesChangeNoBit) {
  // 200 keys to the left of every window, and 60 to the right of every causal row.
  const Batch<float> all(shape_of(4, 2, 32, {20, 0}), {{30, 230}});
  Batch<float> fewer = all;
  const Results want = run(all);
  fewer.key_offsets = {0, 290};
  fewer.max_blocks = 5;
  fewer.table.push_back(0);  // the new block's page is never read
  fewer.k = normal<float>({290, 64}, 2);
  fewer.v = normal<float>({290, 64}, 3);
  std::memcpy(fewer.k.raw(), all.k.raw(), all.k.bytes());
  std::memcpy(fewer.v.raw(), all.v.raw(), all.v.bytes());
  Results got = empty_results(fewer);
  attention_forward(fewer.q, fewer.pages, fewer.layout(), fewer.shape, got.o, got.lse);
  attention_backward(fewer.q, fewer.k, fewer.v, got.o, got.lse, fewer.d_o, fewer.layout(), fewer.shape, got.d_q,
                     got.d_k, got.d_v);
  EXPECT_TRUE(same_bits(got.o, want.o));
  EXPECT_TRUE(same_bits(got.d_q, want.d_q));
  EXPECT_TRUE(same_bits(got.d_k.rows(0, 230).clone(), want.d_k));
  for (const float d : got.d_k.rows(230, 290).span<float>()) EXPECT_EQ(d, 0.0f);
}

TEST_F(AttentionMask, AnotherKeyBlockGivesOtherBits) {
  const Batch<float> b(shape_of(2, 2, 32), {{100, 100}});
  Results r = empty_results(b), other = empty_results(b);
  ref::attention_forward<float>(b.q, b.pages, b.layout(), b.shape, r.o, r.lse);
  ref::attention_forward<float>(b.q, b.pages, b.layout(), b.shape, other.o, other.lse, kKeyBlock / 2);
  EXPECT_FALSE(same_bits(r.o, other.o));
  for (int64_t i = 0; i < r.o.numel(); ++i) EXPECT_NEAR(r.o.span<float>()[i], other.o.span<float>()[i], 1e-6);
}

// A random tree below each prefix. Nodes in no order but parents first, as a drafter may list them.
struct RandomTree {
  std::vector<int32_t> prefixes, parents, row_offsets = {0};

  RandomTree(const std::vector<int32_t>& prefix_lengths, int64_t n_nodes, uint64_t seed) : prefixes(prefix_lengths) {
    Rng rng(13, Purpose::test, seed);
    for (size_t s = 0; s < prefixes.size(); ++s) {
      for (int64_t i = 0; i < n_nodes; ++i) {
        // Half of the nodes lengthen the newest path, so that some are long.
        parents.push_back(static_cast<int32_t>(rng.below(2) == 0 ? i - 1 : rng.below(i + 1) - 1));
      }
      row_offsets.push_back(static_cast<int32_t>(parents.size()));
    }
  }
  std::vector<int64_t> path(int64_t s, int64_t node) const {
    std::vector<int64_t> rows;
    for (; node >= 0; node = parents[row_offsets[s] + node]) rows.insert(rows.begin(), row_offsets[s] + node);
    return rows;
  }
};

TEST_F(AttentionMask, EveryNodeOfATreeHasTheBitsOfItsPath) {
  for (const Window w : {Window{-1, 0}, {30, 0}, {3, 0}}) {
    for (const auto& [heads, kv_heads, head_size, n_nodes] :
         {std::tuple{4, 2, 32, 100}, {3, 1, 40, 13}, {1, 1, 8, 1}}) {
      const AttentionShape shape = shape_of(heads, kv_heads, head_size, w);
      const RandomTree tree({0, 1, 60, 64, 150}, n_nodes, static_cast<uint64_t>(n_nodes));
      const auto rows = static_cast<int64_t>(tree.parents.size()),
                 n_sequences = static_cast<int64_t>(tree.prefixes.size());
      const Tensor q = normal<float>({rows, heads * head_size}, 1), k = normal<float>({rows, kv_heads * head_size}, 2),
                   v = normal<float>({rows, kv_heads * head_size}, 3);
      Lengths lengths;
      for (const int32_t prefix : tree.prefixes) lengths.emplace_back(0, prefix);
      Batch<float> stored(shape, lengths);  // all slots NaN but ...
      store_keys_values(stored.k, stored.v, stored.keys_layout(), shape, stored.pages);
      AttentionLayout layout = stored.layout();
      layout.row_offsets = tree.row_offsets;
      std::vector<Isa> isas = vector_isas();
      isas.push_back(Isa::ref);
      for (const Isa isa : isas) {
        set_isa(isa);
        Tensor o = Tensor::empty(q.shape()), lse = Tensor::empty({rows, heads});
        attention_tree(q, k, v, stored.pages, layout, {tree.prefixes, tree.parents}, shape, o, lse);
        for (int64_t s = 0; s < n_sequences; ++s) {
          for (int64_t node = 0; node < n_nodes; node += 7) {
            // The path as the end of an ordinary sequence, on pages of its own.
            const std::vector<int64_t> path = tree.path(s, node);
            const int64_t prefix = tree.prefixes[s], n_keys = prefix + static_cast<int64_t>(path.size());
            Batch<float> alone(shape, {{1, n_keys}});
            const auto copy = [&](const Tensor& from, int64_t row, Tensor& to, int64_t at) {
              to.rows(at, at + 1).copy_from(from.rows(row, row + 1));
            };
            for (int64_t j = 0; j < n_keys; ++j) {
              const bool in_prefix = j < prefix;
              const int64_t row = in_prefix ? stored.key_offsets[s] + j : path[j - prefix];
              copy(in_prefix ? stored.k : k, row, alone.k, j);
              copy(in_prefix ? stored.v : v, row, alone.v, j);
            }
            copy(q, path.back(), alone.q, 0);
            store_keys_values(alone.k, alone.v, alone.keys_layout(), shape, alone.pages);
            Results want = empty_results(alone);
            attention_forward(alone.q, alone.pages, alone.layout(), shape, want.o, want.lse);
            const int64_t r = path.back();
            ASSERT_TRUE(same_bits(o.rows(r, r + 1).clone(), want.o))
                << name(isa) << " prefix " << prefix << " node " << node;
            ASSERT_TRUE(same_bits(lse.rows(r, r + 1).clone(), want.lse)) << name(isa);
          }
        }
      }
    }
  }
}

TEST_F(AttentionMask, BadMasksAndTreesAreNamed) {
  const AttentionShape shape = shape_of(2, 1, 16);
  Batch<float> b(shape, {{3, 5}});
  Results r = empty_results(b);
  const auto attend = [&](const AttentionLayout& layout, const AttentionShape& s) {
    return [&, layout, s] { attention_forward(b.q, b.pages, layout, s, r.o, r.lse); };
  };
  AttentionLayout layout = b.layout();
  EXPECT_GRADUS_ERROR(attend(layout, shape_of(2, 1, 16, {int64_t{1} << 40, 0}))(), invalid_argument, "a window of");
  const std::vector<int32_t> falling = {0, -1}, two_sequences = {0, 2, 5};
  layout.key_offsets = two_sequences;
  EXPECT_GRADUS_ERROR(attend(layout, shape)(), invalid_argument, "key_offsets has 3 entries for 1 sequences");
  layout.key_offsets = falling;
  EXPECT_GRADUS_ERROR(attend(layout, shape)(), invalid_argument, "key_offsets[0] is 0 but key_offsets[1] is -1");

  const std::vector<int32_t> prefixes = {5}, later = {-1, 2, 0}, parents = {-1, 0, 0}, two = {-1, 0};
  const Tensor k = normal<float>({3, 16}, 2), v = normal<float>({3, 16}, 3);
  const auto tree = [&](const AttentionTree& t, const AttentionShape& s) {
    return [&, t, s] { attention_tree(b.q, k, v, b.pages, b.layout(), t, s, r.o, r.lse); };
  };
  EXPECT_GRADUS_ERROR(tree({prefixes, later}, shape)(), invalid_argument, "node 1 of sequence 0 has the parent 2");
  EXPECT_GRADUS_ERROR(tree({prefixes, two}, shape)(), invalid_argument, "2 parents for 3 rows");
  EXPECT_GRADUS_ERROR(tree({prefixes, parents}, shape_of(2, 1, 16, {-1, -1}))(), invalid_argument, "right is -1");
  tree({prefixes, parents}, shape)();
}

}  // namespace
}  // namespace gradus::kernels
