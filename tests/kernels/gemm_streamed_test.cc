// Products of few rows from weights that are read where they lie. That they keep the contract like the other backends
// is in gemm_test.cc; here is what only they could get wrong.
#include <limits>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/gemm.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr DType kDTypes[] = {DType::f32, DType::bf16, DType::f16};

Tensor random_of(Shape shape, DType dtype, uint64_t stream) {
  return converted(random_tensor(shape, DType::f32, stream), dtype);
}

class Forced {
 public:
  explicit Forced(GemmBackend backend) { set_gemm_backend(backend); }
  Forced(const Forced&) = delete;
  Forced& operator=(const Forced&) = delete;
  ~Forced() { set_gemm_backend(before_); }

 private:
  GemmBackend before_ = gemm_backend();
};

Tensor product(const Tensor& x, const Tensor& w, GemmBackend backend, DType y_dtype) {
  const Forced forced(backend);
  Tensor y = Tensor::empty({x.dim(0), w.dim(0)}, y_dtype);
  gemm(x, w, y, {.transpose_b = true});
  return y;
}

// Rows: each register tile, whole and partly filled. Columns: tasks that overlap. K: lines, blocks, and what is left.
TEST(GemmStreamed, HasTheBitsOfThePackedProduct) {
  for (const DType dtype : kDTypes) {
    for (const int64_t k : {1, 2, 31, 32, 33, 95, 512, 577, 1025, 1100}) {
      for (const int64_t n : {16, 17, 31, 50}) {
        const Tensor w = random_of({n, k}, dtype, 2);
        for (const int64_t m : {1, 2, 3, 5, 8, 9, 11, 13, 16, 17, 33}) {
          if (m * n * k > 400'000) continue;
          const Tensor x = random_of({m, k}, dtype, 1);
          for_each_isa([&] {
            if (active_isa() == Isa::ref) return;  // one path, whatever is forced
            for (const DType y_dtype : {dtype, DType::f32}) {
              const Tensor want = product(x, w, GemmBackend::highway, y_dtype);
              EXPECT_TRUE(same_bits(product(x, w, GemmBackend::streamed, y_dtype), want))
                  << name(dtype) << " to " << name(y_dtype) << ' ' << m << " x " << n << " x " << k;
            }
          });
        }
      }
    }
  }
}

// A vector that is loaded for the end of a row must not bring numbers of the next row into the sum.
TEST(GemmStreamed, WhatLiesBehindARowIsNotRead) {
  for (const DType dtype : kDTypes) {
    for (const int64_t k : {1, 7, 33, 45}) {
      Tensor w = random_tensor({32, k}, DType::f32, 2);
      for (int64_t i = 0; i < k; ++i) w.data<float>()[k + i] = std::numeric_limits<float>::infinity();
      const Tensor x = random_of({3, k}, dtype, 1), w_of = converted(w, dtype);
      for_each_isa([&] {
        const Tensor y = product(x, w_of, GemmBackend::streamed, DType::f32);
        for (int64_t r = 0; r < 3; ++r) {
          for (int64_t c = 0; c < 32; ++c) {
            EXPECT_EQ(std::isfinite(y.data<float>()[r * 32 + c]), c != 1) << name(dtype) << ' ' << k << ' ' << c;
          }
        }
      });
    }
  }
}

TEST(GemmStreamed, TheThreadsAndThePlaceOfWeightsChangeNoBit) {
  for (const DType dtype : kDTypes) {
    const int64_t n = 130, k = 300;
    const Tensor x = random_of({5, k}, dtype, 1), w = random_of({n, k}, dtype, 2);
    Tensor want;
    // One element further on in memory, as in a file that is mapped: no row is aligned.
    Tensor room = Tensor::empty({n * k + 1}, dtype);
    Tensor moved = room.rows(1, n * k + 1).view({n, k});
    moved.copy_from(w);
    for_1_2_3_threads([&] {
      const Tensor y = product(x, w, GemmBackend::streamed, dtype);
      if (!want.defined()) want = y;
      EXPECT_TRUE(same_bits(y, want));
      EXPECT_TRUE(same_bits(product(x, moved, GemmBackend::streamed, dtype), want));
    });
  }
}

// In one region or one after the other, in every backend; in 16 bits the sum is rounded before its bias is added.
TEST(LinearMaps, HaveTheBitsOfEachAlone) {
  for (const DType dtype : kDTypes) {
    const Tensor x = random_of({6, 70}, dtype, 1);
    const Tensor weights[] = {random_of({64, 70}, dtype, 2), random_of({18, 70}, dtype, 3),
                              random_of({16, 70}, dtype, 4)};
    const Tensor bias = random_tensor({18}, DType::f32, 5);
    for_each_isa([&] {
      std::vector<Tensor> want, got;
      for (const Tensor& w : weights) {
        want.push_back(product(x, w, GemmBackend::highway, dtype));
        got.push_back(Tensor::empty({6, w.dim(0)}, dtype));
      }
      add_bias(want[1], bias);
      for (const GemmBackend backend : {GemmBackend::automatic, GemmBackend::highway, GemmBackend::streamed}) {
        const Forced forced(backend);
        for (Tensor& y : got) y.fill_zero();
        const LinearMap maps[] = {{.weight = weights[0], .y = got[0]},
                                  {.weight = weights[1], .bias = &bias, .y = got[1]},
                                  {.weight = weights[2], .y = got[2]}};
        linear(x, maps);
        for (size_t i = 0; i < got.size(); ++i) {
          EXPECT_TRUE(same_bits(got[i], want[i])) << name(dtype) << ' ' << i << ' ' << name(backend);
        }
      }
    });
  }
}

TEST(LinearMaps, AMismatchIsAnErrorAndWritesNothing) {
  const Tensor x = random_tensor({2, 32}, DType::f32, 1), w = random_tensor({16, 32}, DType::f32, 2);
  const Tensor narrow = random_tensor({16, 31}, DType::f32, 3), bias = random_tensor({15}, DType::f32, 4);
  Tensor y = Tensor::zeros({2, 16}), y2 = Tensor::zeros({2, 16});
  const auto code = [&](const LinearMap& second) {
    const LinearMap maps[] = {{.weight = w, .y = y}, second};
    return error_code_of([&] { linear(x, maps); });
  };
  EXPECT_EQ(code({.weight = narrow, .y = y2}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.weight = w, .bias = &bias, .y = y2}), ErrorCode::invalid_argument);
  EXPECT_TRUE(same_bits(y, Tensor::zeros({2, 16})));
}

}  // namespace
}  // namespace gradus::kernels
