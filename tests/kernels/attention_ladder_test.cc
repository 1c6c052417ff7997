#include "gradus/kernels/ref/attention_ladder.h"

#include <gtest/gtest.h>

#include <numeric>

#include "gradus/core/rng.h"
#include "gradus/kernels/attention.h"

namespace gradus::kernels::ref {
namespace {

std::vector<double> normal(int64_t n, uint64_t index, double size = 1) {
  Rng rng(14, Purpose::test, index);
  std::vector<double> x(static_cast<size_t>(n));
  for (double& value : x) value = size * rng.normal();
  return x;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-14);
}

TEST(AttentionLadder, EveryRungIsTheTextbook) {
  for (const int64_t n : {1, 2, 64, 150}) {
    for (const double size : {1.0, 1e4}) {  // scores of +-1e4 overflow e^x
      const int64_t D = 24;
      const std::vector<double> q = normal(D, 1, size), k = normal(n * D, 2), v = normal(n * D, 3);
      const KeysAndValues<double> kv{.n = n, .D = D, .scale = 0.2, .keys = k.data(), .values = v.data()};
      std::vector<double> scores(static_cast<size_t>(n)), want(D), one_pass(D), tiles(D);
      for (int64_t j = 0; j < n; ++j) scores[static_cast<size_t>(j)] = kv.score(q.data(), j);
      const auto p = softmax_in_three_passes<double>(scores);
      EXPECT_NEAR(std::accumulate(p.begin(), p.end(), 0.0), 1, 1e-14);
      expect_near(softmax_in_two_passes<double>(scores), p);
      attention_from_softmax(q.data(), kv, want.data());
      attention_in_one_pass(q.data(), kv, one_pass.data());
      expect_near(one_pass, want);
      for (const int64_t block : {1, 7, 64}) {
        attention_in_tiles(q.data(), kv, block, tiles.data());
        expect_near(tiles, want);
      }
    }
  }
}

TEST(AttentionLadder, MergedPartsAreTheWholeWhateverTheOrder) {
  const int64_t n = 90, D = 8;
  const std::vector<double> q = normal(D, 4, 3), k = normal(n * D, 5), v = normal(n * D, 6);
  const KeysAndValues<double> kv{.n = n, .D = D, .scale = 0.5, .keys = k.data(), .values = v.data()};
  const auto part = [&](int64_t begin, int64_t end) { return state_of(q.data(), kv, begin, end); };
  const auto same = [&](const SoftmaxState<double>& a, const SoftmaxState<double>& b) {
    EXPECT_NEAR(a.m + std::log(a.l), b.m + std::log(b.l), 1e-13);
    for (size_t d = 0; d < a.u.size(); ++d) EXPECT_NEAR(a.u[d] / a.l, b.u[d] / b.l, 1e-13);
  };
  const auto whole = part(0, n), a = part(0, 20), b = part(20, 64), c = part(64, n);
  same(merge(merge(a, b), c), whole);
  same(merge(a, merge(b, c)), whole);
  same(merge(c, merge(b, a)), whole);
  same(merge({}, whole), whole);
  same(merge(whole, {}), whole);
}

TEST(AttentionLadder, SoftmaxIgnoresAShift) {
  const std::vector<double> x = normal(50, 7);
  std::vector<double> shifted = x;
  for (double& value : shifted) value += 300;
  expect_near(softmax_in_two_passes<double>(shifted), softmax_in_two_passes<double>(x));
}

// The operator that runs, against the first rung in double.
TEST(AttentionLadder, TheOperatorStandsOnIt) {
  const int64_t n = 131, D = 40;
  const AttentionShape shape{.heads = 1, .kv_heads = 1, .head_size = D, .scale = 0.15};
  const std::vector<double> q = normal(n * D, 8), k = normal(n * D, 9), v = normal(n * D, 10);
  const auto tensor = [&](const std::vector<double>& x) {
    Tensor t = Tensor::empty({n, D});
    std::copy(x.begin(), x.end(), t.data<float>());
    return t;
  };
  std::vector<int32_t> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(n)}, table = {2, 0, 1};
  const AttentionLayout layout{
      .row_offsets = offsets, .key_positions = positions, .block_table = table, .max_blocks = 3};
  KeyValuePages pages = make_key_value_pages(3, shape, DType::f32);
  store_keys_values(tensor(k), tensor(v), layout, shape, pages);
  Tensor o = Tensor::empty({n, D}), lse = Tensor::empty({n, 1});
  attention_forward(tensor(q), pages, layout, shape, o, lse);
  for (int64_t i = 0; i < n; ++i) {
    const KeysAndValues<double> seen{.n = i + 1, .D = D, .scale = shape.scale, .keys = k.data(), .values = v.data()};
    std::vector<double> want(D);
    attention_from_softmax(q.data() + i * D, seen, want.data());
    for (int64_t d = 0; d < D; ++d) EXPECT_NEAR(o.data<float>()[i * D + d], want[static_cast<size_t>(d)], 1e-6);
  }
}

}  // namespace
}  // namespace gradus::kernels::ref
