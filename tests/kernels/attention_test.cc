#include "gradus/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/attention.h"
#include "tests/kernels/attention_batch.h"

namespace gradus::kernels {
namespace {

constexpr int64_t kHeads[][2] = {{1, 1}, {4, 4}, {4, 2}, {6, 1}};
const std::vector<int64_t> kLengths = {1, 2, 7, 31, 63, 64, 65, 130, 257};

// Rows at positions [first, first + n) of each sequence; sequence s owns its pages from s * max_blocks, in mixed order.
struct Rows {
  std::vector<int32_t> offsets = {0}, positions, table;
  int64_t max_blocks = 0;

  static Rows slice(const std::vector<int64_t>& first, const std::vector<int64_t>& n, int64_t max_blocks) {
    Rows rows;
    rows.max_blocks = max_blocks;
    for (size_t s = 0; s < n.size(); ++s) {
      for (int64_t i = 0; i < n[s]; ++i) rows.positions.push_back(static_cast<int32_t>(first[s] + i));
      rows.offsets.push_back(static_cast<int32_t>(rows.positions.size()));
      for (int64_t b = 0; b < max_blocks; ++b) {
        rows.table.push_back(static_cast<int32_t>(static_cast<int64_t>(s) * max_blocks + (max_blocks - 1 - b)));
      }
    }
    return rows;
  }
  static Rows whole(const std::vector<int64_t>& lengths) {
    const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    return slice(std::vector<int64_t>(lengths.size(), 0), lengths, (longest + kKeyBlock - 1) / kKeyBlock);
  }
  int64_t count() const { return offsets.back(); }
  int64_t n_pages() const { return static_cast<int64_t>(table.size()); }
  AttentionLayout layout() const {
    return {.row_offsets = offsets, .key_positions = positions, .block_table = table, .max_blocks = max_blocks};
  }
};

template <class T>
KeyValuePages poisoned_pages(int64_t n_pages, const AttentionShape& shape) {
  KeyValuePages pages = make_key_value_pages(n_pages, shape, dtype_of<T>::value);
  for (T& x : pages.keys.template span<T>()) x = quiet_nan<T>();
  for (T& x : pages.values.template span<T>()) x = quiet_nan<T>();
  return pages;
}

struct Inputs {
  Tensor q, k, v;
};

template <class T>
Inputs inputs(int64_t rows, const AttentionShape& s) {
  return {normal<T>({rows, s.heads * s.head_size}, 1), normal<T>({rows, s.kv_heads * s.head_size}, 2),
          normal<T>({rows, s.kv_heads * s.head_size}, 3)};
}

struct Outputs {
  Tensor o, lse;
};

DType sums_beside(const Tensor& q) {
  return q.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

Outputs outputs_like(const Tensor& q, const AttentionShape& shape) {
  return {Tensor::empty(q.shape(), q.dtype()), Tensor::empty({q.dim(0), shape.heads}, sums_beside(q))};
}

// Stores and attends in one call, from pages whose other slots are NaN.
template <class T>
Outputs forward(const Inputs& x, const Rows& rows, const AttentionShape& shape) {
  KeyValuePages pages = poisoned_pages<T>(rows.n_pages(), shape);
  store_keys_values(x.k, x.v, rows.layout(), shape, pages);
  Outputs out = outputs_like(x.q, shape);
  attention_forward(x.q, pages, rows.layout(), shape, out.o, out.lse);
  return out;
}

struct Gradients {
  Tensor d_q, d_k, d_v;
};

Gradients backward(const Inputs& x, const Outputs& y, const Tensor& d_o, const Rows& rows,
                   const AttentionShape& shape) {
  const DType sums = sums_beside(x.q);
  Gradients d{Tensor::empty(x.q.shape(), sums), Tensor::empty(x.k.shape(), sums), Tensor::empty(x.v.shape(), sums)};
  attention_backward(x.q, x.k, x.v, y.o, y.lse, d_o, rows.layout(), shape, d.d_q, d.d_k, d.d_v);
  return d;
}

template <class A, class B>
double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double difference = std::abs(double(a.span<A>()[i]) - double(b.span<B>()[i]));
    if (!(difference <= largest)) largest = difference;  // NaN counts
  }
  return largest;
}

// Three-pass softmax over all keys at once, in double: another formula than the blocks of the reference.
Outputs naive(const Inputs& x, const Rows& rows, const AttentionShape& shape) {
  const int64_t H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  const auto q = x.q.span<double>(), k = x.k.span<double>(), v = x.v.span<double>();
  Outputs out{Tensor::zeros(x.q.shape(), DType::f64), Tensor::zeros({x.q.dim(0), H}, DType::f64)};
  for (size_t s = 0; s + 1 < rows.offsets.size(); ++s) {
    for (int64_t i = rows.offsets[s]; i < rows.offsets[s + 1]; ++i) {
      for (int64_t h = 0; h < H; ++h) {
        std::vector<double> w;
        for (int64_t j = rows.offsets[s]; j <= i; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < D; ++d) dot += q[(i * H + h) * D + d] * k[(j * G + h * G / H) * D + d];
          w.push_back(shape.scale * dot);
        }
        const double m = *std::max_element(w.begin(), w.end());
        double sum = 0;
        for (double& e : w) sum += (e = std::exp(e - m));
        for (size_t j = 0; j < w.size(); ++j) {
          for (int64_t d = 0; d < D; ++d) {
            const int64_t row = rows.offsets[s] + static_cast<int64_t>(j);
            out.o.span<double>()[(i * H + h) * D + d] += w[j] / sum * v[(row * G + h * G / H) * D + d];
          }
        }
        out.lse.span<double>()[i * H + h] = m + std::log(sum);
      }
    }
  }
  return out;
}

TEST(Attention, DoubleAgreesWithThreePassSoftmax) {
  for (const auto& heads : kHeads) {
    const AttentionShape shape = shape_of(heads[0], heads[1], 40);
    const Rows rows = Rows::whole({1, 2, 7, 63, 64, 65, 130});
    const Inputs x = inputs<double>(rows.count(), shape);
    const Outputs got = forward<double>(x, rows, shape), want = naive(x, rows, shape);
    EXPECT_LT((largest_difference<double, double>(got.o, want.o)), 1e-14);
    EXPECT_LT((largest_difference<double, double>(got.lse, want.lse)), 1e-14);
  }
}

template <class T>
void expect_bits_of_reference(const AttentionShape& shape, const Rows& rows) {
  const Machine restore;
  const Inputs x = inputs<T>(rows.count(), shape);
  std::optional<Outputs> memory[2];
  for (const Isa isa : vector_isas()) {
    set_isa(isa);
    const Outputs& want = for_rounding(memory, [&] {
      const FlushDenormals flush(std::is_same_v<T, BFloat16>);
      KeyValuePages pages = poisoned_pages<T>(rows.n_pages(), shape);
      ref::store_keys_values<T>(x.k, x.v, rows.layout(), shape, pages);
      Outputs out = outputs_like(x.q, shape);
      ref::attention_forward<T>(x.q, pages, rows.layout(), shape, out.o, out.lse);
      return out;
    });
    const Outputs got = forward<T>(x, rows, shape);
    EXPECT_TRUE(same_bits(got.o, want.o)) << title(isa, x.q.dtype(), shape);
    EXPECT_TRUE(same_bits(got.lse, want.lse)) << title(isa, x.q.dtype(), shape);
  }
}

TEST(Attention, EveryInstructionSetGivesTheBitsOfTheReference) {
  for (const auto& heads : kHeads) {
    for (const int64_t head_size : {8, 40, 64}) {
      expect_bits_of_reference<float>(shape_of(heads[0], heads[1], head_size), Rows::whole(kLengths));
    }
  }
  for_vector_types([]<class T>(T) {
    for (const int64_t head_size : {8, 40, 128}) {
      expect_bits_of_reference<T>(shape_of(4, 2, head_size), Rows::whole(kLengths));
    }
  });
}

TEST(Attention, EveryHeadSizeGivesTheBitsOfTheReference) {
  for_vector_types([]<class T>(T) {
    for (int64_t head_size = 8; head_size <= kMaxHeadSize; head_size += 8) {
      expect_bits_of_reference<T>(shape_of(2, 1, head_size), Rows::whole({20, 3}));
    }
  });
}

TEST(Attention, ReferenceIsReachedThroughTheDispatch) {
  if (supported_isas().back() == Isa::sse4) GTEST_SKIP() << "sse4 rounds twice, ref once";
  const Machine restore;
  const AttentionShape shape = shape_of(4, 2, 40);
  const Rows rows = Rows::whole({65, 7});
  for_vector_types([&]<class T>(T) {
    const Inputs x = inputs<T>(rows.count(), shape);
    const Tensor d_o = normal<T>(x.q.shape(), 4);
    set_isa(supported_isas().back());
    const Outputs want = forward<T>(x, rows, shape);
    const Gradients d_want = backward(x, want, d_o, rows, shape);
    set_isa(Isa::ref);
    const Outputs got = forward<T>(x, rows, shape);
    const Gradients d_got = backward(x, got, d_o, rows, shape);
    EXPECT_TRUE(same_bits(got.o, want.o));
    EXPECT_TRUE(same_bits(d_got.d_k, d_want.d_k));
  });
}

TEST(Attention, GradientsHaveTheBitsOfTheReference) {
  const Machine restore;
  const Rows rows = Rows::whole({1, 2, 7, 31, 63, 64, 65, 130});
  for (const auto& heads : kHeads) {
    for (const int64_t head_size : {8, 40, 64}) {
      const AttentionShape shape = shape_of(heads[0], heads[1], head_size);
      const Inputs x = inputs<float>(rows.count(), shape);
      const Tensor d_o = normal<float>(x.q.shape(), 4);
      std::optional<Gradients> memory[2];
      for (const Isa isa : supported_isas()) {
        if (isa == Isa::ref) continue;
        set_isa(isa);
        const Outputs y = forward<float>(x, rows, shape);
        const Gradients got = backward(x, y, d_o, rows, shape);
        const Gradients& want = for_rounding(memory, [&] {
          Gradients d{Tensor::empty(x.q.shape()), Tensor::empty(x.k.shape()), Tensor::empty(x.v.shape())};
          ref::attention_backward<float>(x.q, x.k, x.v, y.o, y.lse, d_o, rows.layout(), shape, d.d_q, d.d_k, d.d_v);
          return d;
        });
        EXPECT_TRUE(same_bits(got.d_q, want.d_q)) << title(isa, DType::f32, shape);
        EXPECT_TRUE(same_bits(got.d_k, want.d_k)) << title(isa, DType::f32, shape);
        EXPECT_TRUE(same_bits(got.d_v, want.d_v)) << title(isa, DType::f32, shape);
      }
    }
  }
}

TEST(Attention, FloatGradientsAgreeWithDouble) {
  const Rows rows = Rows::whole({130, 5});
  const AttentionShape shape = shape_of(4, 2, 32);
  const auto run = [&]<class T>(T) {
    const Inputs x = inputs<T>(rows.count(), shape);
    return backward(x, forward<T>(x, rows, shape), normal<T>(x.q.shape(), 4), rows, shape);
  };
  const Gradients in_float = run(0.0f), in_double = run(0.0);
  EXPECT_LT((largest_difference<float, double>(in_float.d_q, in_double.d_q)), 5e-6);
  EXPECT_LT((largest_difference<float, double>(in_float.d_k, in_double.d_k)), 5e-6);
  EXPECT_LT((largest_difference<float, double>(in_float.d_v, in_double.d_v)), 5e-6);
}

TEST(Attention, GradientsAreTheSlopesOfTheForward) {
  const Rows rows = Rows::whole({3, 67});
  const AttentionShape shape = shape_of(2, 1, 8);
  Inputs x = inputs<double>(rows.count(), shape);
  const Tensor d_o = normal<double>(x.q.shape(), 4);
  const Gradients d = backward(x, forward<double>(x, rows, shape), d_o, rows, shape);
  const auto loss = [&] {  // sum of d_o * o
    const Outputs y = forward<double>(x, rows, shape);
    return std::inner_product(y.o.span<double>().begin(), y.o.span<double>().end(), d_o.span<double>().begin(), 0.0);
  };
  const double step = 1e-5;
  const std::pair<Tensor*, const Tensor*> pairs[] = {{&x.q, &d.d_q}, {&x.k, &d.d_k}, {&x.v, &d.d_v}};
  for (const auto& [at, slope] : pairs) {
    for (int64_t i = 0; i < at->numel(); i += 37) {
      double& value = at->span<double>()[i];
      const double here = value;
      value = here + step;
      const double above = loss();
      value = here - step;
      const double below = loss();
      value = here;
      EXPECT_NEAR((above - below) / (2 * step), slope->span<double>()[i], 1e-8) << i;
    }
  }
}

// Rows [first, first + n) of each sequence's tensor rows.
Tensor take(const Tensor& x, const Rows& whole, const Rows& part) {
  Tensor out = Tensor::empty({part.count(), x.dim(1)}, x.dtype());
  for (size_t s = 0; s + 1 < part.offsets.size(); ++s) {
    for (int64_t r = part.offsets[s]; r < part.offsets[s + 1]; ++r) {
      out.rows(r, r + 1).copy_from(
          x.rows(whole.offsets[s] + part.positions[r], whole.offsets[s] + part.positions[r] + 1));
    }
  }
  return out;
}

// Feeds every sequence `chunk` rows at a time and compares each call with the whole.
template <class T>
void expect_chunks_equal_whole(const AttentionShape& shape, int64_t chunk) {
  const std::vector<int64_t> lengths = {150, 1, 64, 70};
  const Rows whole = Rows::whole(lengths);
  const Inputs x = inputs<T>(whole.count(), shape);
  const Outputs want = forward<T>(x, whole, shape);
  KeyValuePages pages = poisoned_pages<T>(whole.n_pages(), shape);
  for (int64_t first = 0; first < 150; first += chunk) {
    std::vector<int64_t> n;
    for (const int64_t length : lengths) n.push_back(std::clamp<int64_t>(length - first, 0, chunk));
    const Rows part = Rows::slice(std::vector<int64_t>(lengths.size(), first), n, whole.max_blocks);
    store_keys_values(take(x.k, whole, part), take(x.v, whole, part), part.layout(), shape, pages);
    const Tensor q = take(x.q, whole, part);
    Outputs got = outputs_like(q, shape);
    attention_forward(q, pages, part.layout(), shape, got.o, got.lse);
    const std::string about = title(active_isa(), q.dtype(), shape) + " from " + std::to_string(first);
    EXPECT_TRUE(same_bits(got.o, take(want.o, whole, part))) << about;
    EXPECT_TRUE(same_bits(got.lse, take(want.lse, whole, part))) << about;
  }
}

TEST(Attention, ChunkedPrefillAndDecodeEqualTheWholeBitForBit) {
  const Machine restore;
  for (const Isa isa : vector_isas()) {
    set_isa(isa);
    for_vector_types([]<class T>(T) {
      for (const int64_t chunk : {1, 13, 64}) {
        expect_chunks_equal_whole<T>(shape_of(4, 4, 32), chunk);
        expect_chunks_equal_whole<T>(shape_of(6, 1, 40), chunk);
      }
    });
  }
}

TEST(Attention, PackingOrderChangesNoBit) {
  const AttentionShape shape = shape_of(4, 2, 32);
  const std::vector<int64_t> lengths = {130, 7, 64, 65};
  const Rows together = Rows::whole(lengths);
  const Inputs x = inputs<float>(together.count(), shape);
  const Tensor d_o = normal<float>(x.q.shape(), 4);
  const Outputs want = forward<float>(x, together, shape);
  const Gradients d_want = backward(x, want, d_o, together, shape);
  const std::vector<size_t> order = {2, 0, 3, 1};
  std::vector<int64_t> mixed_lengths;
  for (const size_t s : order) mixed_lengths.push_back(lengths[s]);
  const Rows mixed = Rows::whole(mixed_lengths);
  const auto reorder = [&](const Tensor& t) {
    Tensor out = Tensor::empty(t.shape(), t.dtype());
    for (size_t i = 0; i < order.size(); ++i) {
      out.rows(mixed.offsets[i], mixed.offsets[i + 1])
          .copy_from(t.rows(together.offsets[order[i]], together.offsets[order[i] + 1]));
    }
    return out;
  };
  const Inputs x2{reorder(x.q), reorder(x.k), reorder(x.v)};
  const Outputs got = forward<float>(x2, mixed, shape);
  EXPECT_TRUE(same_bits(got.o, reorder(want.o)));
  EXPECT_TRUE(same_bits(got.lse, reorder(want.lse)));
  const Gradients d_got = backward(x2, got, reorder(d_o), mixed, shape);
  EXPECT_TRUE(same_bits(d_got.d_q, reorder(d_want.d_q)));
  EXPECT_TRUE(same_bits(d_got.d_k, reorder(d_want.d_k)));
  EXPECT_TRUE(same_bits(d_got.d_v, reorder(d_want.d_v)));
}

TEST(Attention, ThreadCountChangesNoBit) {
  const Machine restore;
  const AttentionShape shape = shape_of(4, 2, 40);
  const Rows rows = Rows::whole({257, 1, 64, 130, 31});
  for_vector_types([&]<class T>(T) {
    const Inputs x = inputs<T>(rows.count(), shape);
    const Tensor d_o = normal<T>(x.q.shape(), 4);
    set_pool_threads(1);
    const Outputs want = forward<T>(x, rows, shape);
    const Gradients d_want = backward(x, want, d_o, rows, shape);
    for (const int threads : {2, 3}) {
      set_pool_threads(threads);
      const Outputs got = forward<T>(x, rows, shape);
      EXPECT_TRUE(same_bits(got.o, want.o)) << threads;
      EXPECT_TRUE(same_bits(got.lse, want.lse)) << threads;
      const Gradients d_got = backward(x, got, d_o, rows, shape);
      EXPECT_TRUE(same_bits(d_got.d_q, d_want.d_q)) << threads;
      EXPECT_TRUE(same_bits(d_got.d_k, d_want.d_k)) << threads;
      EXPECT_TRUE(same_bits(d_got.d_v, d_want.d_v)) << threads;
    }
  });
}

TEST(Attention, RepeatsGiveOneBitPattern) {
  const AttentionShape shape = shape_of(2, 1, 32);
  const Rows rows = Rows::whole({65, 30, 7, 1});
  for_vector_types([&]<class T>(T) {
    const Inputs x = inputs<T>(rows.count(), shape);
    const Tensor d_o = normal<T>(x.q.shape(), 4);
    const Outputs want = forward<T>(x, rows, shape);
    const Gradients d_want = backward(x, want, d_o, rows, shape);
    for (int i = 0; i < 250; ++i) {
      const Outputs got = forward<T>(x, rows, shape);
      const Gradients d_got = backward(x, got, d_o, rows, shape);
      const bool same = same_bits(got.o, want.o) && same_bits(got.lse, want.lse) && same_bits(d_got.d_q, d_want.d_q) &&
                        same_bits(d_got.d_k, d_want.d_k) && same_bits(d_got.d_v, d_want.d_v);
      ASSERT_TRUE(same) << "repeat " << i;
    }
  });
}

TEST(Attention, LargeScoresStayFinite) {
  const AttentionShape shape = shape_of(4, 4, 64);
  const Rows rows = Rows::whole({130});
  for_vector_types([&]<class T>(T) {
    Inputs x = inputs<T>(rows.count(), shape);
    for (T& q : x.q.template span<T>()) q = from_double<T>(1e4 * to_double(q));
    const Outputs y = forward<T>(x, rows, shape);
    const Gradients d = backward(x, y, normal<T>(x.q.shape(), 4), rows, shape);
    for (const T o : y.o.template span<T>()) ASSERT_TRUE(std::isfinite(to_double(o)));
    for (const Tensor& t : {y.lse, d.d_q, d.d_k, d.d_v}) {
      for (const float value : t.span<float>()) ASSERT_TRUE(std::isfinite(value));
    }
  });
}

TEST(Attention, RowWithoutKeysIsZero) {
  const AttentionShape shape = shape_of(4, 2, 32);
  const Rows rows = Rows::slice({-1}, {3}, 1), without_first = Rows::slice({0}, {2}, 1);
  const Inputs x = inputs<float>(3, shape);
  const Inputs x2{x.q.rows(1, 3).clone(), x.k.rows(1, 3).clone(), x.v.rows(1, 3).clone()};
  const Outputs y = forward<float>(x, rows, shape), y2 = forward<float>(x2, without_first, shape);
  for (const float o : y.o.rows(0, 1).span<float>()) EXPECT_EQ(std::bit_cast<uint32_t>(o), 0u);
  for (const float lse : y.lse.rows(0, 1).span<float>()) EXPECT_EQ(lse, -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(same_bits(y.o.rows(1, 3), y2.o));
  EXPECT_TRUE(same_bits(y.lse.rows(1, 3), y2.lse));
}

TEST(Attention, NoRowsAreFine) {
  const AttentionShape shape = shape_of(4, 2, 32);
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{}, {0}, {0, 0}}) {
    const Rows rows = Rows::whole(lengths);
    const Inputs x = inputs<float>(0, shape);
    const Outputs y = forward<float>(x, rows, shape);
    EXPECT_EQ(backward(x, y, x.q.clone(), rows, shape).d_q.numel(), 0);
  }
}

TEST(Attention, MakesNoStorageInTheSteadyState) {
  const AttentionShape shape = shape_of(4, 2, 32);
  const Rows rows = Rows::whole({130, 7});
  const Inputs x = inputs<float>(rows.count(), shape);
  const Tensor d_o = normal<float>(x.q.shape(), 4);
  const auto step = [&] { backward(x, forward<float>(x, rows, shape), d_o, rows, shape); };
  step();
  const int64_t before = tensor_storages_created();
  step();
  EXPECT_EQ(tensor_storages_created(), before);
}

// Runs `call` and returns the message of the Error that it throws.
template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "no error";
}

TEST(Attention, MismatchesAreNamed) {
  const AttentionShape shape = shape_of(4, 2, 32);
  const Rows rows = Rows::whole({70});
  const Inputs x = inputs<float>(70, shape);
  KeyValuePages pages = poisoned_pages<float>(2, shape);
  Outputs y = outputs_like(x.q, shape);
  const auto attend = [&](const Rows& r, const AttentionShape& s, Tensor& o, Tensor& lse) {
    return message_of([&] { attention_forward(x.q, pages, r.layout(), s, o, lse); });
  };
  const auto expect = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };

  expect(attend(rows, shape_of(4, 3, 32), y.o, y.lse), "4 heads and 3 key/value heads");
  expect(attend(rows, shape_of(4, 2, 12), y.o, y.lse), "head size is 12");
  expect(attend(rows, shape_of(4, 2, 264), y.o, y.lse), "head size is 264");
  Tensor small = Tensor::empty({69, 128}), wide = Tensor::empty({70, 4}, DType::f64), same = x.q;
  expect(attend(rows, shape, small, y.lse), "o is [69, 128] but must be [70, 128]");
  expect(attend(rows, shape, y.o, wide), "lse is f64 but must be f32 beside f32");
  expect(attend(rows, shape, same, y.lse), "o overlaps q");
  expect(attend(Rows::whole({71}), shape, y.o, y.lse), "must start with 0 and end with the 70 rows");
  Rows jump = rows, unknown_page = rows, short_table = Rows::slice({0}, {70}, 1);
  jump.positions[5] = 9;
  unknown_page.table[0] = 2;
  expect(attend(jump, shape, y.o, y.lse), "at position 9 after 4");
  expect(attend(unknown_page, shape, y.o, y.lse), "page 2, but there are 2 pages");
  expect(attend(short_table, shape, y.o, y.lse), "needs 2 blocks, but max_blocks is 1");

  const Tensor k2 = Tensor::empty({70, 32});
  expect(message_of([&] { store_keys_values(k2, x.v, rows.layout(), shape, pages); }),
         "k is [70, 32] but must be [70, 64]");
  const Rows later = Rows::slice({1}, {70}, 2);
  expect(message_of([&] { backward(x, y, x.q.clone(), later, shape); }), "starts at position 1");
  expect(message_of([&] { make_key_value_pages(1, shape, DType::i32); }), "dtype is i32");
}

}  // namespace
}  // namespace gradus::kernels
