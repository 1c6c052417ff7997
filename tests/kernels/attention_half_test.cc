// Attention in bf16 and f16: how far from the textbook in double, and what has to be exact.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "gradus/kernels/convert.h"
#include "tests/core/expect_error.h"
#include "tests/kernels/attention_batch.h"

namespace gradus::kernels {
namespace {

// The batch's numbers in double.
template <class T>
Batch<double> in_double(const Batch<T>& b, const Lengths& lengths) {
  Batch<double> exact(b.shape, lengths);
  const std::pair<const Tensor*, Tensor*> pairs[] = {
      {&b.q, &exact.q}, {&b.k, &exact.k}, {&b.v, &exact.v}, {&b.d_o, &exact.d_o}};
  for (const auto& [from, to] : pairs) {
    for (int64_t i = 0; i < from->numel(); ++i) to->template data<double>()[i] = to_double(from->template data<T>()[i]);
  }
  store_keys_values(exact.k, exact.v, exact.keys_layout(), exact.shape, exact.pages);
  return exact;
}

// The textbook as a framework runs it in T: one product after the other over whole rows, sums in float, every matrix in
// memory rounded to T. Results are doubles.
template <class T>
Results naive(const Batch<T>& b) {
  const int64_t H = b.shape.heads, G = b.shape.kv_heads, D = b.shape.head_size;
  Results out = {Tensor::zeros(b.q.shape(), DType::f64), Tensor::zeros({b.q.dim(0), H}, DType::f64),
                 Tensor::zeros(b.q.shape(), DType::f64), Tensor::zeros(b.k.shape(), DType::f64),
                 Tensor::zeros(b.v.shape(), DType::f64)};
  const Tensor all_q = converted(b.q, DType::f32), all_k = converted(b.k, DType::f32),
               all_v = converted(b.v, DType::f32), all_d_o = converted(b.d_o, DType::f32);
  const float *k = all_k.data<float>(), *v = all_v.data<float>(), scale = static_cast<float>(b.shape.scale);
  const auto in_t = [](float x) { return to_float(from_double<T>(x)); };
  const auto dot = [&](const float* x, const float* y) { return std::inner_product(x, x + D, y, 0.0f); };
  std::vector<float> d_k(b.k.numel()), d_v(b.v.numel());
  b.for_each_row([&](int64_t s, int64_t r) {
    for (int64_t h = 0; h < H; ++h) {
      const int64_t i = (r * H + h) * D, n = b.key_offsets[s + 1] - b.key_offsets[s];
      const auto key = [&](int64_t j) { return ((b.key_offsets[s] + j) * G + h / (H / G)) * D; };
      const float *q = all_q.data<float>() + i, *d_o = all_d_o.data<float>() + i;
      std::vector<float> p(n, 0.0f), o(D), d_q(D);
      float m = -std::numeric_limits<float>::infinity(), l = 0;
      for (int64_t j = 0; j < n; ++j) {
        if (b.sees(s, r, j)) m = std::max(m, p[j] = in_t(scale * dot(q, k + key(j))));
      }
      for (int64_t j = 0; j < n; ++j) {
        if (b.sees(s, r, j)) l += p[j] = std::exp(p[j] - m);
      }
      if (l == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        p[j] = in_t(p[j] / l);
        for (int64_t d = 0; d < D; ++d) o[d] += p[j] * v[key(j) + d];
      }
      for (float& x : o) x = in_t(x);
      const float delta = dot(o.data(), d_o);
      for (int64_t j = 0; j < n; ++j) {
        const float d_s = in_t(p[j] * (in_t(dot(d_o, v + key(j))) - delta) * scale);
        for (int64_t d = 0; d < D; ++d) {
          d_q[d] += d_s * k[key(j) + d];
          d_k[key(j) + d] += d_s * q[d];
          d_v[key(j) + d] += p[j] * d_o[d];
        }
      }
      std::copy(o.begin(), o.end(), out.o.data<double>() + i);
      std::transform(d_q.begin(), d_q.end(), out.d_q.data<double>() + i, in_t);
    }
  });
  std::transform(d_k.begin(), d_k.end(), out.d_k.data<double>(), in_t);
  std::transform(d_v.begin(), d_v.end(), out.d_v.data<double>(), in_t);
  return out;
}

template <class T>
double largest_error(const Tensor& got, const Tensor& want) {
  double largest = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double x = to_double(got.data<T>()[i]), y = want.data<double>()[i];
    if (!(x == y || std::abs(x - y) <= largest)) largest = std::abs(x - y);  // NaN counts
  }
  return largest;
}

// FlashAttention's rule: at most twice the error of the same mathematics in the same dtype (gradients: three times).
template <class T>
void expect_errors_like_naive(const AttentionShape& shape, const Lengths& lengths) {
  const Batch<T> b(shape, lengths);
  const Results got = run(b), want = textbook(in_double(b, lengths)), peer = naive(b);
  const std::string about = title(active_isa(), dtype_of<T>::value, shape) + " rows " +
                            std::to_string(lengths[0].first) + " keys " + std::to_string(lengths[0].second);
  EXPECT_LE(largest_error<T>(got.o, want.o), 2 * largest_error<double>(peer.o, want.o) + 1e-5) << "o " << about;
  EXPECT_LE(largest_error<float>(got.lse, want.lse), 1e-5) << "lse " << about;
  const auto gradient = [&](const char* what, const Tensor& x, const Tensor& y, const Tensor& z) {
    EXPECT_LE(largest_error<float>(x, y), 3 * largest_error<double>(z, y) + 1e-5) << what << " " << about;
  };
  gradient("d_q", got.d_q, want.d_q, peer.d_q);
  gradient("d_k", got.d_k, want.d_k, peer.d_k);
  gradient("d_v", got.d_v, want.d_v, peer.d_v);
}

// Rows, keys, head size, query and key/value heads: the shapes of FlashAttention's own tests.
constexpr int64_t kShapes[][5] = {{1, 1, 32, 1, 1},     {1, 239, 64, 4, 4},   {3, 799, 40, 6, 2},
                                  {127, 512, 32, 2, 1}, {127, 513, 64, 1, 1}, {113, 203, 80, 1, 1},
                                  {108, 256, 96, 2, 1}, {239, 1, 128, 6, 1},  {799, 3, 160, 1, 1},
                                  {64, 65, 192, 2, 2},  {33, 100, 256, 2, 1}};

// Some of them causal, some full.
Window window_of(int64_t rows, int64_t keys) {
  return (rows + keys) % 3 == 0 ? Window{-1, -1} : Window{-1, 0};
}

TEST(AttentionHalf, ErrorsAreThoseOfTheNaiveWayInTheSameDtype) {
  for_half_types([]<class T>(T) {
    for (const auto& [rows, keys, head_size, heads, kv_heads] : kShapes) {
      expect_errors_like_naive<T>(shape_of(heads, kv_heads, head_size, window_of(rows, keys)), {{rows, keys}});
    }
  });
}

TEST(AttentionHalf, TheSameShapesHaveTheBitsOfTheReference) {
  for_half_types([]<class T>(T) {
    for (const auto& [rows, keys, head_size, heads, kv_heads] : kShapes) {
      expect_bits_of_reference(Batch<T>(shape_of(heads, kv_heads, head_size, window_of(rows, keys)), {{rows, keys}}));
    }
  });
}

TEST(AttentionHalf, NegativeAndZeroScalesHaveTheBitsOfTheReference) {
  for_vector_types([]<class T>(T) {
    for (const double scale : {-0.3, 0.0}) {
      AttentionShape shape = shape_of(2, 1, 24);
      shape.scale = scale;
      expect_bits_of_reference(Batch<T>(shape, {{30, 70}}));
    }
  });
}

TEST(AttentionHalf, LargeScoresAreAsNearAsTheNaiveOnes) {
  for_half_types([]<class T>(T) {
    const Lengths lengths = {{70, 70}};
    Batch<T> b(shape_of(2, 2, 64), lengths);
    for (T& q : b.q.template span<T>()) q = from_double<T>(1e4 * to_double(q));
    const Results got = run(b), want = textbook(in_double(b, lengths));
    const Results peer = naive(b);
    EXPECT_LE(largest_error<T>(got.o, want.o), 2 * largest_error<double>(peer.o, want.o) + 1e-5);
  });
}

// Small whole numbers: all products, sums and powers of 2 are exact, so o is the exact quotient, rounded once.
TEST(AttentionHalf, WholeNumbersInBf16AreExact) {
  const Machine restore;
  for (const Isa isa : vector_isas()) {
    set_isa(isa);
    const Lengths lengths = {{150, 150}};
    AttentionShape shape = shape_of(2, 1, 32);
    shape.scale = std::log(2.0);  // weights are 2^(q . k)
    Batch<BFloat16> b(shape, lengths);
    Rng rng(12, Purpose::test, 99);
    for (Tensor* x : {&b.q, &b.k, &b.v}) {
      for (BFloat16& value : x->span<BFloat16>()) {
        value = to_bf16(x == &b.v ? static_cast<float>(rng.below(17)) - 8.0f : rng.below(8) == 0 ? 1.0f : 0.0f);
      }
    }
    store_keys_values(b.k, b.v, b.keys_layout(), shape, b.pages);
    const Results got = run(b), want = textbook(in_double(b, lengths));
    for (int64_t i = 0; i < got.o.numel(); ++i) {
      // The oracle's exp(k ln 2) is not quite 2^k: its quotient is the exact one to 1e-12.
      const double exact = want.o.data<double>()[i];
      const float o = to_float(got.o.data<BFloat16>()[i]);
      const bool nearest = o == to_float(to_bf16(static_cast<float>(exact * (1 + 1e-7)))) ||
                           o == to_float(to_bf16(static_cast<float>(exact * (1 - 1e-7))));
      ASSERT_TRUE(nearest || std::abs(exact) < 1e-12) << name(isa) << " at " << i << ": " << o << " for " << exact;
    }
  }
}

TEST(AttentionHalf, EqualScoresGiveTheMeanAndItsGradientExactly) {
  for_half_types([]<class T>(T) {
    Batch<T> b(shape_of(1, 1, 16, {-1, -1}), {{64, 64}});
    for (T& q : b.q.template span<T>()) q = from_double<T>(0);
    for (Tensor* x : {&b.v, &b.d_o}) {
      for (T& value : x->template span<T>()) value = from_double<T>(std::round(2 * to_double(value)));
    }
    store_keys_values(b.k, b.v, b.keys_layout(), b.shape, b.pages);
    const Results r = run(b);
    const bool weights_are_rounded = std::is_same_v<T, BFloat16>;
    for (int64_t d = 0; d < 16; ++d) {
      double sum_v = 0, sum_d_o = 0;
      for (int64_t j = 0; j < 64; ++j) {
        sum_v += to_double(b.v.template data<T>()[j * 16 + d]);
        sum_d_o += to_double(b.d_o.template data<T>()[j * 16 + d]);
      }
      for (int64_t i = 0; i < 64; ++i) {
        EXPECT_EQ(to_double(r.o.data<T>()[i * 16 + d]), sum_v / 64);
        EXPECT_NEAR(r.d_v.data<float>()[i * 16 + d], sum_d_o / 64, weights_are_rounded ? 0 : 1e-6);
      }
    }
  });
}

TEST(AttentionHalf, OneKeyGivesItsValue) {
  for_half_types([]<class T>(T) {
    const Batch<T> b(shape_of(2, 2, 40), {{1, 1}, {0, 0}, {1, 1}});
    EXPECT_TRUE(same_bits(run(b).o, b.v));
  });
}

TEST(AttentionHalf, MismatchesAreNamed) {
  const Batch<BFloat16> b(shape_of(2, 1, 16), {{3, 5}});
  const Batch<float> in_float(b.shape, {{3, 5}});
  Results r = empty_results(b);
  const auto forward = [&](const Tensor& q, const KeyValuePages& pages, Tensor& o, Tensor& lse) {
    attention_forward(q, pages, b.layout(), b.shape, o, lse);
  };
  EXPECT_GRADUS_ERROR(forward(in_float.q, b.pages, r.d_q, r.lse), invalid_argument,
                      "pages.keys is [1, 1, 8, 128] but must be [1, 1, 16, 64]");
  EXPECT_GRADUS_ERROR(forward(b.q, b.pages, r.d_q, r.lse), invalid_argument, "o is f32 but the first argument is bf16");
  EXPECT_GRADUS_ERROR(forward(b.q, b.pages, r.o, r.o), invalid_argument, "lse is [3, 32] but must be [3, 2]");
  Tensor lse = Tensor::empty({3, 2}, DType::bf16);
  EXPECT_GRADUS_ERROR(forward(b.q, b.pages, r.o, lse), invalid_argument, "lse is bf16 but must be f32 beside bf16");
  const Tensor i32 = Tensor::empty(b.q.shape(), DType::i32);
  EXPECT_GRADUS_ERROR(forward(i32, b.pages, r.o, r.lse), invalid_argument, "dtype is i32");
  Batch<Float16> in_f16(b.shape, {{3, 5}});
  EXPECT_GRADUS_ERROR(store_keys_values(b.k, in_f16.v, b.keys_layout(), b.shape, in_f16.pages), invalid_argument,
                      "v is f16 but the first argument is bf16");
  const auto backward = [&](const Tensor& d_o, Tensor& d_q) {
    attention_backward(b.q, b.k, b.v, r.o, r.lse, d_o, b.layout(), b.shape, d_q, r.d_k, r.d_v);
  };
  Tensor narrow = Tensor::empty(b.q.shape(), DType::bf16);
  EXPECT_GRADUS_ERROR(backward(b.d_o, narrow), invalid_argument, "d_q is bf16 but must be f32 beside bf16");
  EXPECT_GRADUS_ERROR(backward(in_float.d_o, r.d_q), invalid_argument, "d_o is f32 but the first argument is bf16");
}

}  // namespace
}  // namespace gradus::kernels
