#include "bench/peak_loops.h"

#include <algorithm>
#include <optional>

#include "bench/machine_loops.h"
#include "bench/onednn_product.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {

namespace {

// Large enough for the full rate (operands of 3 MiB that are reused hundreds of times), small enough for 10 ms.
constexpr ProductShape kLarge{.m = 1536, .n = 512, .k = 512, .transpose_b = true};
constexpr int64_t kPieces = 32;               // of the multiply-add loop: a late thread costs one
constexpr int64_t kPieceIterations = 100000;  // 0.4 ms on AVX-512 at 3 GHz

Tensor filled(int64_t rows, int64_t cols, double value, DType dtype) {
  Tensor t = Tensor::empty({rows, cols}, dtype);
  kernels::fill(t, value);
  return t;
}

}  // namespace

struct PeakLoops::State {
  State(Alternation& rounds, DType dtype)
      : alternation(rounds),
        a(filled(kLarge.m, kLarge.k, 0.5, dtype)),
        b(filled(kLarge.n, kLarge.k, 0.25, dtype)),
        c(filled(kLarge.m, kLarge.n, 0, DType::f32)),
        packed(kernels::pack_matrix(b, true)) {}

  Alternation& alternation;
  Alternation::Id multiply_add = 0, highway = 0;
  std::optional<Alternation::Id> onednn;
  double multiply_add_flops = 0;
  Tensor a, b, c;
  kernels::PackedMatrix packed;
  OnednnProduct peer{kLarge};
};

PeakLoops::PeakLoops(Alternation& alternation, DType dtype) {
  const bool pairs = dtype == DType::bf16 && kernels::active_isa() == kernels::Isa::avx512bf16;
  state_ = std::make_unique<State>(alternation, pairs ? DType::bf16 : DType::f32);
  State* s = state_.get();
  const auto loop = pairs ? multiply_add_pairs_loop : multiply_add_loop;
  s->multiply_add = alternation.add([s, loop] {
    float one = 1;
    s->multiply_add_flops = static_cast<double>(kPieces) * loop(1, one) * static_cast<double>(kPieceIterations);
    parallel_for(kPieces, [loop](int64_t) {
      float sink = 1;
      loop(kPieceIterations, sink);
    });
  });
  s->highway = alternation.add([s] { kernels::gemm(s->a, s->packed, s->c); }, 3);
  if (pairs) return;
  s->peer.pack(s->b.data<float>());
  s->onednn = alternation.add([s] { s->peer.run(s->a.data<float>(), s->c.data<float>()); }, 3);
}

PeakLoops::~PeakLoops() = default;

double PeakLoops::multiply_add_gflops() const {
  return state_->multiply_add_flops / state_->alternation.median_s(state_->multiply_add) * 1e-9;
}
double PeakLoops::highway_gflops() const {
  return kLarge.flops() / state_->alternation.median_s(state_->highway) * 1e-9;
}
double PeakLoops::onednn_gflops() const {
  return state_->onednn ? kLarge.flops() / state_->alternation.median_s(*state_->onednn) * 1e-9 : 0.0;
}
double PeakLoops::gflops() const {
  return std::max({multiply_add_gflops(), highway_gflops(), onednn_gflops()});
}

}  // namespace gradus::bench
