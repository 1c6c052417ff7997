#include "bench/peak_loops.h"

#include <algorithm>

#include "bench/machine_loops.h"
#include "bench/onednn_product.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/gemm.h"

namespace gradus::bench {

namespace {

// Large enough for the full rate (operands of 3 MiB that are reused hundreds of times), small enough for 10 ms.
constexpr ProductShape kLarge{.m = 1536, .n = 512, .k = 512, .transpose_b = true};
constexpr int64_t kPieces = 32;               // of the multiply-add loop: a late thread costs one
constexpr int64_t kPieceIterations = 100000;  // 0.4 ms on AVX-512 at 3 GHz

Tensor filled(int64_t rows, int64_t cols, double value) {
  Tensor t = Tensor::empty({rows, cols});
  kernels::fill(t, value);
  return t;
}

}  // namespace

struct PeakLoops::State {
  Alternation& alternation;
  Alternation::Id multiply_add = 0, highway = 0, onednn = 0;
  double multiply_add_flops = 0;
  Tensor a = filled(kLarge.m, kLarge.k, 0.5), b = filled(kLarge.n, kLarge.k, 0.25), c = filled(kLarge.m, kLarge.n, 0);
  kernels::PackedMatrix packed = kernels::pack_matrix(b, true);
  OnednnProduct peer{kLarge};
};

PeakLoops::PeakLoops(Alternation& alternation) : state_(new State{.alternation = alternation}) {
  State* s = state_.get();
  s->peer.pack(s->b.data<float>());
  s->multiply_add = alternation.add([s] {
    float one = 1;
    s->multiply_add_flops =
        static_cast<double>(kPieces) * multiply_add_loop(1, one) * static_cast<double>(kPieceIterations);
    parallel_for(kPieces, [](int64_t) {
      float sink = 1;
      multiply_add_loop(kPieceIterations, sink);
    });
  });
  s->highway = alternation.add([s] { kernels::gemm(s->a, s->packed, s->c); }, 3);
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
  return kLarge.flops() / state_->alternation.median_s(state_->onednn) * 1e-9;
}
double PeakLoops::gflops() const {
  return std::max({multiply_add_gflops(), highway_gflops(), onednn_gflops()});
}

}  // namespace gradus::bench
