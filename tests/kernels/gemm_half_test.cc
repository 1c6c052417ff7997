// Products of 16-bit matrices. Those of f32 and f64, backends and threads included, are in gemm_test.cc.
#include "gradus/kernels/convert.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/ref/gemm.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr DType kHalves[] = {DType::bf16, DType::f16};

Tensor transposed(const Tensor& x) {
  Tensor y = Tensor::empty({x.dim(1), x.dim(0)}, x.dtype());
  const auto* from = static_cast<const uint16_t*>(x.raw());
  auto* to = static_cast<uint16_t*>(y.raw());
  for (int64_t i = 0; i < x.dim(0); ++i) {
    for (int64_t j = 0; j < x.dim(1); ++j) to[j * x.dim(0) + i] = from[i * x.dim(1) + j];
  }
  return y;
}

Tensor random_half(Shape shape, DType dtype, uint64_t stream, double scale = 1) {
  return converted(random_tensor(shape, DType::f32, stream, scale), dtype);
}

// What the contract says A B is, as f32, rounded as the active instruction set does.
Tensor reference(const Tensor& a, const Tensor& b, const Tensor& c_before, GemmOptions o) {
  const Tensor wide_a = converted(a, DType::f32), wide_b = converted(b, DType::f32);
  const int64_t m = a.dim(0), k = a.dim(1), n = b.dim(1), k_block = gemm_k_block(k, o.transpose_a);
  Tensor c = converted(c_before, DType::f32).clone();
  const auto at_a = [&](int64_t i, int64_t j) { return wide_a.data<float>()[i * k + j]; };
  const auto at_b = [&](int64_t i, int64_t j) { return wide_b.data<float>()[i * n + j]; };
  if (a.dtype() == DType::bf16) {
    ref::gemm_bf16(m, n, k, k_block, at_a, at_b, c.data<float>(), o.accumulate);
  } else {
    ref::gemm(m, n, k, k_block, at_a, at_b, c.data<float>(), o.accumulate);
  }
  return converted(c, c_before.dtype());
}

void expect_contract(int64_t m, int64_t n, int64_t k) {
  for (const DType dtype : kHalves) {
    const Tensor a = random_half({m, k}, dtype, 1), b = random_half({k, n}, dtype, 2);
    const Tensor a_t = transposed(a), b_t = transposed(b);
    for (const DType c_dtype : {DType::f32, dtype}) {
      const Tensor before = converted(random_tensor({m, n}, DType::f32, 3), c_dtype);
      for_each_isa([&] {
        for (const bool transpose_a : {false, true}) {
          for (const bool transpose_b : {false, true}) {
            for (const bool accumulate : {false, true}) {
              const GemmOptions o{.transpose_a = transpose_a, .transpose_b = transpose_b, .accumulate = accumulate};
              Tensor c = before.clone();
              gemm(transpose_a ? a_t : a, transpose_b ? b_t : b, c, o);
              EXPECT_TRUE(same_bits(c, reference(a, b, before, o)))
                  << name(dtype) << " to " << name(c_dtype) << ": " << m << " x " << n << " x " << k
                  << (transpose_a ? " A^T" : "") << (transpose_b ? " B^T" : "") << (accumulate ? " added" : "");
            }
          }
        }
      });
    }
  }
}

TEST(GemmHalf, EveryInstructionSetKeepsTheContract) {
  for (const int64_t m : {0, 1, 7, 31}) {
    for (const int64_t n : {1, 33}) {
      for (const int64_t k : {0, 1, 2, 7, 64}) expect_contract(m, n, k);
    }
  }
  expect_contract(100, 257, 3);
}

TEST(GemmHalf, BlocksOfALongInnerDimensionAreAddedInOrder) {
  for (const int64_t k : {513, 1025, 2100}) expect_contract(2, 33, k);
}

// The order within a pair is part of the contract: the chain over ascending k gives other bits.
TEST(GemmHalf, TheOrderWithinAPairIsNoticed) {
  const Tensor a = random_half({8, 64}, DType::bf16, 1), b = random_half({64, 32}, DType::bf16, 2);
  Tensor pairs = Tensor::empty({8, 32}), ascending = Tensor::empty({8, 32});
  gemm(a, b, pairs);
  const Tensor wide_a = converted(a, DType::f32), wide_b = converted(b, DType::f32);
  gemm(wide_a, wide_b, ascending);
  EXPECT_FALSE(same_bits(pairs, ascending));
}

TEST(GemmHalf, SubnormalNumbersCountAsZeroInBf16OnEveryInstructionSet) {
  Tensor a = Tensor::zeros({1, 4}, DType::bf16), b = Tensor::zeros({4, 1}, DType::bf16);
  a.data<BFloat16>()[0] = {0x0040};  // 2^-127: a subnormal operand
  b.data<BFloat16>()[0] = to_bf16(0x1p100f);
  a.data<BFloat16>()[3] = to_bf16(0x1p-70f);  // a product of 2^-130: a subnormal sum
  b.data<BFloat16>()[3] = to_bf16(0x1p-60f);
  for_each_isa([&] {
    Tensor c = Tensor::empty({1, 1});
    gemm(a, b, c);
    EXPECT_EQ(c.data<float>()[0], 0.0f);
  });
}

TEST(GemmHalf, ARowDoesNotDependOnTheNumberOfRowsOrOnPacking) {
  for (const DType dtype : kHalves) {
    const Tensor a = random_half({64, 151}, dtype, 1), b = random_half({100, 151}, dtype, 2);
    for_each_isa([&] {
      const PackedMatrix packed = pack_matrix(b, true);
      Tensor all = Tensor::empty({64, 100}, dtype);
      gemm(a, b, all, {.transpose_b = true});
      for (const int64_t rows : {1, 2, 3, 5, 12, 13, 64}) {
        Tensor some = Tensor::empty({rows, 100}, dtype);
        gemm(a.rows(64 - rows, 64).clone(), packed, some);
        EXPECT_TRUE(same_bits(some, all.rows(64 - rows, 64))) << name(dtype) << ' ' << rows << " rows";
      }
    });
  }
}

TEST(GemmHalf, ThreadCountChangesNoBit) {
  for (const DType dtype : kHalves) {
    const Tensor d_y = random_half({900, 300}, dtype, 1), x = random_half({900, 200}, dtype, 2);
    Tensor want;
    for_1_2_3_threads([&] {
      Tensor d_w = random_tensor({300, 200}, DType::f32, 3);
      gemm(d_y, x, d_w, {.transpose_a = true, .accumulate = true});
      if (!want.defined()) want = d_w;
      EXPECT_TRUE(same_bits(d_w, want));
    });
  }
}

// Every partial sum is an integer below 2^24, so the sum in f32 is exact where one in the 16-bit format would not be.
TEST(GemmHalf, SumsAreF32) {
  constexpr int64_t kK = 4096;
  for (const DType dtype : kHalves) {
    Tensor a = converted(
        [] {
          Tensor ones = Tensor::empty({1, kK});
          std::fill_n(ones.data<float>(), kK, 1.0f);
          return ones;
        }(),
        dtype);
    const Tensor b = a.view({kK, 1});
    for_each_isa([&] {
      Tensor c = Tensor::empty({1, 1});
      gemm(a, b, c);
      EXPECT_EQ(c.data<float>()[0], 4096.0f);  // in bf16 the sum of ones ends at 256, in f16 at 2048
    });
  }
}

TEST(GemmHalf, MismatchesAreErrors) {
  const auto code = [](DType a, DType b, DType c) {
    Tensor out = Tensor::zeros({2, 5}, c);
    return error_code_of([&] { gemm(Tensor::zeros({2, 3}, a), Tensor::zeros({3, 5}, b), out); });
  };
  EXPECT_EQ(code(DType::bf16, DType::f16, DType::f32), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::bf16, DType::f32, DType::f32), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::bf16, DType::bf16, DType::f16), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::f32, DType::f32, DType::bf16), ErrorCode::invalid_argument);
  EXPECT_EQ(code(DType::f64, DType::f64, DType::f32), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
