// What a row may see: windows, full attention, other numbers of keys than of rows, and trees. The causal case and the
// contract's invariances are attention_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/core/expect_error.h"
#include "tests/kernels/attention_batch.h"

namespace gradus::kernels {
namespace {

using ::testing::Test;

constexpr Window kWindows[] = {{-1, 0}, {-1, -1}, {0, 0},  {4, 0},  {63, 0},
                               {64, 0}, {100, 0}, {10, 7}, {-1, 5}, {70, -1}};

const Lengths kLengths = {{1, 1}, {1, 130}, {130, 1}, {3, 200}, {127, 70}, {0, 5}, {5, 0}, {64, 128}, {65, 64}, {7, 7}};

class AttentionMask : public Test {
  Machine restore_;
};

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
  for_vector_types([]<class T>(T) {
    for (const Window w : kWindows) expect_bits_of_reference(Batch<T>(shape_of(4, 1, 8, w), kLengths));
    for (const Window w : {Window{-1, 0}, {-1, -1}, {63, 0}, {10, 7}}) {
      expect_bits_of_reference(Batch<T>(shape_of(2, 2, 40, w), kLengths));
    }
  });
}

TEST_F(AttentionMask, RowsThatSeeNothingGiveZeros) {
  for_vector_types([]<class T>(T) {
    const Batch<T> b(shape_of(2, 1, 16), {{5, 2}, {3, 0}});
    const Results r = run(b);
    for (const int64_t row : {0, 1, 2, 5, 6, 7}) {
      for (const T o : r.o.rows(row, row + 1).template span<T>()) EXPECT_EQ(to_double(o), 0);
      for (const float lse : r.lse.rows(row, row + 1).span<float>())
        EXPECT_EQ(lse, -std::numeric_limits<float>::infinity());
      for (const float d : r.d_q.rows(row, row + 1).span<float>()) EXPECT_EQ(d, 0.0f);
    }
  });
}

TEST_F(AttentionMask, KeysThatNoRowSeesChangeNoBit) {
  for_vector_types([]<class T>(T) {
    // Keys to the left of every window, and 60 to the right of every causal row.
    for (const int64_t n_keys : {230, 229}) {
      const Batch<T> all(shape_of(4, 2, 32, {20, 0}), {{30, n_keys}});
      Batch<T> more = all;
      const Results want = run(all);
      more.key_offsets = {0, 290};
      more.max_blocks = 5;
      more.table.push_back(0);  // the new block's page is never read
      more.k = normal<T>({290, 64}, 2);
      more.v = normal<T>({290, 64}, 3);
      std::memcpy(more.k.raw(), all.k.raw(), all.k.bytes());
      std::memcpy(more.v.raw(), all.v.raw(), all.v.bytes());
      const Results got = run(more);
      EXPECT_TRUE(same_bits(got.o, want.o));
      EXPECT_TRUE(same_bits(got.d_q, want.d_q));
      EXPECT_TRUE(same_bits(got.d_k.rows(0, n_keys).clone(), want.d_k));
      for (const float d : got.d_k.rows(n_keys, 290).span<float>()) EXPECT_EQ(d, 0.0f);
    }
  });
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

template <class T>
void expect_nodes_to_have_the_bits_of_their_paths() {
  for (const Window w : {Window{-1, 0}, {30, 0}, {3, 0}}) {
    for (const auto& [heads, kv_heads, head_size, n_nodes] :
         {std::tuple{4, 2, 32, 100}, {3, 1, 40, 13}, {1, 1, 8, 1}}) {
      const AttentionShape shape = shape_of(heads, kv_heads, head_size, w);
      const RandomTree tree({0, 1, 60, 64, 150}, n_nodes, static_cast<uint64_t>(n_nodes));
      const auto rows = static_cast<int64_t>(tree.parents.size()),
                 n_sequences = static_cast<int64_t>(tree.prefixes.size());
      const Tensor q = normal<T>({rows, heads * head_size}, 1), k = normal<T>({rows, kv_heads * head_size}, 2),
                   v = normal<T>({rows, kv_heads * head_size}, 3);
      Lengths lengths;
      for (const int32_t prefix : tree.prefixes) lengths.emplace_back(0, prefix);
      Batch<T> stored(shape, lengths);  // all slots NaN but ...
      store_keys_values(stored.k, stored.v, stored.keys_layout(), shape, stored.pages);
      AttentionLayout layout = stored.layout();
      layout.row_offsets = tree.row_offsets;
      std::vector<Isa> isas = vector_isas();
      isas.push_back(Isa::ref);
      for (const Isa isa : isas) {
        set_isa(isa);
        Tensor o = Tensor::empty(q.shape(), q.dtype()), lse = Tensor::empty({rows, heads});
        attention_tree(q, k, v, stored.pages, layout, {tree.prefixes, tree.parents}, shape, o, lse);
        for (int64_t s = 0; s < n_sequences; ++s) {
          for (int64_t node = 0; node < n_nodes; node += 7) {
            // The path as the end of an ordinary sequence, on pages of its own.
            const std::vector<int64_t> path = tree.path(s, node);
            const int64_t prefix = tree.prefixes[s], n_keys = prefix + static_cast<int64_t>(path.size());
            Batch<T> alone(shape, {{1, n_keys}});
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

TEST_F(AttentionMask, EveryNodeOfATreeHasTheBitsOfItsPath) {
  for_vector_types([]<class T>(T) { expect_nodes_to_have_the_bits_of_their_paths<T>(); });
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
