#include "gradus/kernels/gemm.h"

#include <array>

#include "gradus/kernels/cpu/onednn_gemm.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/ref/gemm.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr GemmBackend kBackends[] = {GemmBackend::automatic, GemmBackend::highway, GemmBackend::onednn,
                                     GemmBackend::streamed};

// Forces each backend in turn; afterwards the one before is chosen again.
template <class Body>
void for_each_backend(Body body) {
  struct Restore {
    GemmBackend before = gemm_backend();
    ~Restore() { set_gemm_backend(before); }
  } restore;
  for (const GemmBackend backend : kBackends) {
    SCOPED_TRACE(std::string(name(backend)));
    set_gemm_backend(backend);
    body();
  }
}

template <class T>
Tensor transposed(const Tensor& x) {
  Tensor y = Tensor::empty({x.dim(1), x.dim(0)}, x.dtype());
  for (int64_t i = 0; i < x.dim(0); ++i) {
    for (int64_t j = 0; j < x.dim(1); ++j) y.data<T>()[j * x.dim(0) + i] = x.data<T>()[i * x.dim(1) + j];
  }
  return y;
}

// What the contract says A B is, rounded as the active instruction set does.
Tensor reference(const Tensor& a, const Tensor& b, int64_t k_block) {
  const int64_t m = a.dim(0), k = a.dim(1), n = b.dim(1);
  Tensor c = Tensor::empty({m, n});
  const float *pa = a.data<float>(), *pb = b.data<float>();
  ref::gemm(
      m, n, k, k_block, [&](int64_t i, int64_t kk) { return pa[i * k + kk]; },
      [&](int64_t kk, int64_t j) { return pb[kk * n + j]; }, c.data<float>(), false);
  return c;
}

Tensor sum(const Tensor& a, const Tensor& b) {
  Tensor c = a.clone();
  for (int64_t i = 0; i < c.numel(); ++i) c.data<float>()[i] += b.data<float>()[i];
  return c;
}

// One logical product, its operands stored in both ways, and its results by the reference: fused and twice rounded.
struct Product {
  Tensor a, a_stored_transposed, b, b_stored_transposed, c_before;
  struct Expected {
    Tensor plain, transposed_a;  // the block over k may differ
    Tensor plain_added, transposed_a_added;
  };
  std::array<Expected, 2> expected;  // [fused_multiply_add()]

  Product(int64_t m, int64_t n, int64_t k)
      : a(random_tensor({m, k}, DType::f32, 1)),
        a_stored_transposed(transposed<float>(a)),
        b(random_tensor({k, n}, DType::f32, 2)),
        b_stored_transposed(transposed<float>(b)),
        c_before(random_tensor({m, n}, DType::f32, 3)) {
    for_each_isa([&] {
      Expected& e = expected[fused_multiply_add()];
      if (e.plain.defined()) return;
      e.plain = reference(a, b, gemm_k_block(k, false));
      const bool same_block = gemm_k_block(k, true) == gemm_k_block(k, false) || k <= gemm_k_block(k, true);
      e.transposed_a = same_block ? e.plain : reference(a, b, gemm_k_block(k, true));
      e.plain_added = sum(c_before, e.plain);
      e.transposed_a_added = sum(c_before, e.transposed_a);
    });
  }

  void expect_contract(GemmOptions o) const {
    Tensor c = o.accumulate ? c_before.clone() : Tensor::empty(c_before.shape());
    gemm(o.transpose_a ? a_stored_transposed : a, o.transpose_b ? b_stored_transposed : b, c, o);
    const Expected& e = expected[fused_multiply_add()];
    const Tensor& want = o.accumulate ? (o.transpose_a ? e.transposed_a_added : e.plain_added)
                                      : (o.transpose_a ? e.transposed_a : e.plain);
    EXPECT_TRUE(same_bits(c, want)) << "A" << to_string(a.shape()) << (o.transpose_a ? "^T" : "") << " B"
                                    << to_string(b.shape()) << (o.transpose_b ? "^T" : "")
                                    << (o.accumulate ? " accumulated" : "");
  }

  // The backends share the scalar path under Isa::ref, so it is enough to run that once.
  void expect_contract_everywhere() const {
    for_each_isa([&] {
      const auto all_options = [&] {
        for (const bool transpose_a : {false, true}) {
          for (const bool transpose_b : {false, true}) {
            for (const bool accumulate : {false, true}) {
              expect_contract({.transpose_a = transpose_a, .transpose_b = transpose_b, .accumulate = accumulate});
            }
          }
        }
      };
      if (active_isa() == Isa::ref) {
        all_options();
      } else {
        for_each_backend(all_options);
      }
    });
  }
};

TEST(Gemm, EveryBackendAndInstructionSetKeepsTheContract) {
  constexpr int64_t kMostWork = 257 * 64 * 64;  // the scalar reference is slow
  for (const int64_t m : kSizes) {
    for (const int64_t n : kSizes) {
      for (const int64_t k : kSizes) {
        if (m * n * k <= kMostWork) Product(m, n, k).expect_contract_everywhere();
      }
    }
  }
}

TEST(Gemm, BlocksOfALongInnerDimensionAreAddedInOrder) {
  for (const int64_t k : {511, 512, 513, 1024, 1025, 2100}) {
    Product(1, 70, k).expect_contract_everywhere();
    Product(13, 33, k).expect_contract_everywhere();
    Product(40, 3, k).expect_contract_everywhere();  // by its transpose
  }
}

TEST(Gemm, ManyRowsKeepTheContract) {
  Product(1000, 65, 70).expect_contract_everywhere();  // enough that `automatic` asks oneDNN, with a tail of rows
}

// That the tests above can fail: another order over k gives other bits.
TEST(Gemm, AnotherBlockOverKIsNoticed) {
  const auto differs = [](int64_t k, int64_t block_1, int64_t block_2) {
    const Tensor a = random_tensor({8, k}, DType::f32, 1), b = random_tensor({k, 64}, DType::f32, 2);
    return !same_bits(reference(a, b, block_1), reference(a, b, block_2));
  };
  EXPECT_TRUE(differs(600, 512, 1024));
  EXPECT_TRUE(differs(1024, 512, 1024));
  EXPECT_TRUE(differs(2100, 1024, 512));
  EXPECT_TRUE(differs(2100, 1024, 4096));
  EXPECT_FALSE(differs(512, 512, 1024));
  EXPECT_NE(gemm_k_block(2100, true), gemm_k_block(2100, false));
}

TEST(Gemm, FusedAndTwiceRoundedProductsDiffer) {
  const Product p(8, 64, 64);
  if (!p.expected[0].plain.defined()) GTEST_SKIP() << "this machine has no instruction set without fused multiply-add";
  EXPECT_FALSE(same_bits(p.expected[0].plain, p.expected[1].plain));
}

TEST(Gemm, ARowDoesNotDependOnTheNumberOfRows) {
  constexpr int64_t kMostRows = 64;
  const Tensor a = random_tensor({kMostRows, 150}, DType::f32, 1), b = random_tensor({100, 150}, DType::f32, 2);
  for_each_isa([&] {
    for_each_backend([&] {
      Tensor all = Tensor::empty({kMostRows, 100});
      gemm(a, b, all, {.transpose_b = true});
      for (int64_t rows = 1; rows <= kMostRows; ++rows) {
        const int64_t first = kMostRows - rows;  // rows move inside their tile
        Tensor some = Tensor::empty({rows, 100});
        gemm(a.rows(first, kMostRows), b, some, {.transpose_b = true});
        EXPECT_TRUE(same_bits(some, all.rows(first, kMostRows))) << rows << " rows";
      }
    });
  });
}

TEST(Gemm, PackedWeightsGiveTheBitsOfPlainOnes) {
  for_each_isa([] {
    for (const bool transpose_b : {false, true}) {
      for (const int64_t k : {0, 1, 31, 513, 1100}) {
        for (const int64_t n : {1, 31, 65}) {
          const Tensor b = random_tensor(transpose_b ? Shape{n, k} : Shape{k, n}, DType::f32, 2);
          const PackedMatrix packed = pack_matrix(b, transpose_b);
          for (const int64_t m : {0, 1, 2, 7, 64}) {
            const Tensor a = random_tensor({m, k}, DType::f32, 1);
            Tensor with_plain = Tensor::empty({m, n}), with_packed = Tensor::empty({m, n});
            gemm(a, b, with_plain, {.transpose_b = transpose_b});
            gemm(a, packed, with_packed);
            EXPECT_TRUE(same_bits(with_packed, with_plain)) << m << " x " << n << " x " << k;
          }
        }
      }
    }
  });
}

TEST(Linear, HasTheBitsOfAProductAndThenABias) {
  for (const int64_t rows : {1, 13, 800}) {
    for (const int64_t n : {1, 8, 9, 20, 64, 70}) {
      const Tensor x = random_tensor({rows, 64}, DType::f32, 1), w = random_tensor({n, 64}, DType::f32, 2);
      const Tensor bias = random_tensor({n}, DType::f32, 3);
      for_each_isa([&] {
        Tensor expected = Tensor::empty({rows, n}), y = Tensor::empty({rows, n});
        gemm(x, w, expected, {.transpose_b = true});
        add_bias(expected, bias);
        linear(x, w, bias, y);
        EXPECT_TRUE(same_bits(y, expected)) << rows << " x " << n;
        y.fill_zero();
        linear(x, pack_matrix(w, true), bias, y);
        EXPECT_TRUE(same_bits(y, expected)) << rows << " x " << n << " packed";
      });
    }
  }
}

TEST(Gemm, ThreadCountChangesNoBit) {
  const Tensor a = random_tensor({900, 200}, DType::f32, 1), b = random_tensor({200, 300}, DType::f32, 2);
  const Tensor at = transposed<float>(a);
  const Tensor long_a = random_tensor({900, 70}, DType::f32, 3), long_b = random_tensor({900, 90}, DType::f32, 4);
  const auto products = [&] {
    std::vector<Tensor> c = {Tensor::empty({900, 300}), Tensor::empty({900, 300}),
                             random_tensor({70, 90}, DType::f32, 5)};
    gemm(a, b, c[0]);
    gemm(at, b, c[1], {.transpose_a = true});
    gemm(long_a, long_b, c[2], {.transpose_a = true, .accumulate = true});  // a weight gradient
    return c;
  };
  for_each_isa([&] {
    if (active_isa() == Isa::ref) return;  // runs in its caller
    for_each_backend([&] {
      set_pool_threads(1);
      const std::vector<Tensor> want = products();
      for (const int threads : {2, 3, 16}) {
        set_pool_threads(threads);
        const std::vector<Tensor> got = products();
        for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << threads << " threads";
      }
    });
  });
  set_pool_threads(available_cpus());
}

TEST(Gemm, DoubleAgreesWithAWiderSum) {
  for (const int64_t k : {0, 1, 31, 700}) {
    const Tensor a = random_tensor({7, k}, DType::f64, 1), b = random_tensor({k, 9}, DType::f64, 2);
    for (const GemmOptions o :
         {GemmOptions{}, GemmOptions{.transpose_a = true, .accumulate = true}, GemmOptions{.transpose_b = true}}) {
      const Tensor before = random_tensor({7, 9}, DType::f64, 3);
      Tensor c = before.clone();
      gemm(o.transpose_a ? transposed<double>(a) : a, o.transpose_b ? transposed<double>(b) : b, c, o);
      for (int64_t i = 0; i < 7; ++i) {
        for (int64_t j = 0; j < 9; ++j) {
          long double want = o.accumulate ? before.data<double>()[i * 9 + j] : 0.0, magnitude = std::abs(want);
          for (int64_t kk = 0; kk < k; ++kk) {
            const long double term =
                static_cast<long double>(a.data<double>()[i * k + kk]) * b.data<double>()[kk * 9 + j];
            want += term;
            magnitude += std::abs(term);
          }
          const auto bound = static_cast<double>(k + 1) * 0x1p-53 * static_cast<double>(magnitude);
          EXPECT_NEAR(c.data<double>()[i * 9 + j], static_cast<double>(want), bound);
        }
      }
    }
  }
}

TEST(Gemm, SmallIntegersAreExact) {
  constexpr int64_t kM = 40, kN = 70, kK = 1500;  // every partial sum is below 2^24
  Tensor a = Tensor::empty({kM, kK}), b = Tensor::empty({kK, kN}), want = Tensor::empty({kM, kN});
  for (int64_t i = 0; i < a.numel(); ++i) a.data<float>()[i] = static_cast<float>(i % 17 - 8);
  for (int64_t i = 0; i < b.numel(); ++i) b.data<float>()[i] = static_cast<float>(i % 13 - 6);
  for (int64_t i = 0; i < kM; ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      int64_t total = 0;
      for (int64_t k = 0; k < kK; ++k) total += ((i * kK + k) % 17 - 8) * ((k * kN + j) % 13 - 6);
      want.data<float>()[i * kN + j] = static_cast<float>(total);
    }
  }
  for_each_isa([&] {
    for_each_backend([&] {
      Tensor c = Tensor::empty({kM, kN});
      gemm(a, b, c);
      EXPECT_TRUE(same_bits(c, want));
    });
  });
}

TEST(Gemm, AnInfiniteElementReachesOnlyItsRow) {
  Tensor a = random_tensor({30, 64}, DType::f32, 1);
  const Tensor b = random_tensor({64, 33}, DType::f32, 2);
  Tensor clean = Tensor::empty({30, 33}), c = Tensor::empty({30, 33});
  gemm(a, b, clean);
  a.data<float>()[11 * 64 + 5] = INFINITY;
  gemm(a, b, c);
  EXPECT_TRUE(same_bits(c.rows(0, 11), clean.rows(0, 11)));
  EXPECT_TRUE(same_bits(c.rows(12, 30), clean.rows(12, 30)));
  for (int64_t j = 0; j < 33; ++j) EXPECT_TRUE(std::isinf(c.data<float>()[11 * 33 + j]));
}

// oneDNN rounds once on every instruction set that it has here, so where ours rounds twice the probe must refuse it.
TEST(OnednnProbe, ARefusedShapeIsLeftToOurKernel) {
  constexpr int64_t kM = 200, kN = 96, kK = 300;
  const Product p(kM, kN, kK);
  int refused = 0;
  for_each_isa([&] {
    if (onednn_keeps_contract(kK, kN, false)) return;
    ++refused;
    Tensor c = Tensor::empty({kM, kN});
    fill(c, 7.0);
    const Tensor before = c.clone();
    EXPECT_EQ(cpu::onednn_gemm(kM, kN, kK, p.a.data<float>(), p.b.data<float>(), false, c.data<float>()), 0);
    EXPECT_TRUE(same_bits(c, before));
    set_gemm_backend(GemmBackend::onednn);
    p.expect_contract({});
    set_gemm_backend(GemmBackend::automatic);
  });
  const std::vector<Isa> isas = supported_isas();
  EXPECT_TRUE(refused > 0 || std::find(isas.begin(), isas.end(), Isa::sse4) == isas.end());
}

// On AVX2 oneDNN gives some numbers of rows the order of the contract and others not.
TEST(OnednnProbe, TheRowsThatItAcceptsKeepTheContract) {
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{80, 90}, {16, 31}, {257, 64}, {31, 700}}) {
    const Tensor a = random_tensor({400, k}, DType::f32, 1), b = random_tensor({n, k}, DType::f32, 2);
    const Tensor want = reference(a, transposed<float>(b), gemm_k_block(k, false));
    for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 12, 31, 191, 192, 193, 200, 383, 385, 400}) {
      Tensor c = Tensor::empty({m, n});
      const int64_t rows = cpu::onednn_gemm(m, n, k, a.data<float>(), b.data<float>(), true, c.data<float>());
      EXPECT_TRUE(same_bits(c.rows(0, rows), want.rows(0, rows))) << rows << " of " << m << " rows";
    }
  }
}

TEST(Gemm, MakesNoStorageInTheSteadyState) {
  const Tensor a = random_tensor({1000, 70}, DType::f32, 1), b = random_tensor({70, 90}, DType::f32, 2);
  Tensor c = Tensor::empty({1000, 90}), d_b = Tensor::zeros({70, 90});
  for_each_backend([&] {
    const auto step = [&] {
      gemm(a, b, c);
      gemm(a, c, d_b, {.transpose_a = true, .accumulate = true});
    };
    step();
    const int64_t before = tensor_storages_created();
    step();
    EXPECT_EQ(tensor_storages_created(), before);
  });
}

TEST(Gemm, MismatchesAreErrors) {
  const auto code = [](const Tensor& a, const Tensor& b, Tensor c, GemmOptions o = {}) {
    return error_code_of([&] { gemm(a, b, c, o); });
  };
  const auto zeros = [](Shape shape, DType dtype = DType::f32) { return Tensor::zeros(shape, dtype); };
  using enum ErrorCode;
  EXPECT_EQ(code(zeros({2, 3}), zeros({4, 5}), zeros({2, 5})), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}), zeros({3, 5}), zeros({2, 4})), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}), zeros({3, 5}), zeros({3, 5})), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}), zeros({3, 5}), zeros({2, 5}), {.transpose_a = true}), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}), zeros({3, 5}), zeros({2, 5}), {.transpose_b = true}), invalid_argument);
  EXPECT_EQ(code(zeros({6}), zeros({3, 5}), zeros({2, 5})), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}, DType::f64), zeros({3, 5}), zeros({2, 5})), invalid_argument);
  EXPECT_EQ(code(Tensor(), zeros({3, 5}), zeros({2, 5})), invalid_argument);
  EXPECT_EQ(code(zeros({2, 3}, DType::i32), zeros({3, 5}, DType::i32), zeros({2, 5}, DType::i32)), unsupported);

  const PackedMatrix packed = pack_matrix(zeros({3, 5}), false);
  Tensor c = zeros({2, 5}), narrow = zeros({2, 4});
  EXPECT_EQ(error_code_of([&] { gemm(zeros({2, 4}), packed, c); }), invalid_argument);
  EXPECT_EQ(error_code_of([&] { gemm(zeros({2, 3}), packed, narrow); }), invalid_argument);
  EXPECT_EQ(error_code_of([&] { pack_matrix(zeros({3, 5}, DType::i32), false); }), unsupported);
}

TEST(Gemm, MessageNamesBothShapes) {
  Tensor c = Tensor::zeros({2, 5});
  try {
    gemm(Tensor::zeros({2, 3}), Tensor::zeros({4, 5}), c);
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "gemm: A is [2, 3], B is [4, 5], but C is [2, 5]");
  }
}

}  // namespace
}  // namespace gradus::kernels
