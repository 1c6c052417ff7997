// `gradus bench gemm`: the matrix products of training and decoding, ours against oneDNN.
#include <fmt/format.h>

#include <cstring>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/onednn_product.h"
#include "bench/peak_loops.h"
#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {

namespace {

using kernels::GemmBackend;

struct Case {
  const char* use;
  ProductShape shape;
  bool packed = false;      // decoding calls it with packed weights
  bool accumulate = false;  // C += A B
};

// Widths 128 and 512 of the models of `bench train`, 4096 rows; the last one does not fit any cache.
constexpr Case kCases[] = {
    {"forward", {.m = 4096, .n = 128, .k = 128, .transpose_b = true}},
    {"forward", {.m = 4096, .n = 352, .k = 128, .transpose_b = true}},
    {"forward", {.m = 4096, .n = 512, .k = 512, .transpose_b = true}},
    {"forward", {.m = 4096, .n = 1376, .k = 512, .transpose_b = true}},
    {"grad input", {.m = 4096, .n = 128, .k = 352}},
    {"grad input", {.m = 4096, .n = 512, .k = 1376}},
    {"grad weight", {.m = 128, .n = 352, .k = 4096, .transpose_a = true}, false, true},
    {"grad weight", {.m = 512, .n = 1376, .k = 4096, .transpose_a = true}, false, true},
    {"decode", {.m = 256, .n = 352, .k = 128, .transpose_b = true}, true},
    {"decode", {.m = 256, .n = 1376, .k = 512, .transpose_b = true}, true},
    {"decode", {.m = 1, .n = 1376, .k = 512, .transpose_b = true}, true},
    {"decode", {.m = 1, .n = 8192, .k = 8192, .transpose_b = true}, true},
};

Tensor random_matrix(int64_t rows, int64_t cols, uint64_t index) {
  Tensor t = Tensor::empty({rows, cols});
  Rng rng(1, Purpose::test, index);
  for (float& x : t.span<float>()) x = rng.uniform_f32() - 0.5f;
  return t;
}

// One case with all its competitors, to be timed in turn.
class Contest {
 public:
  Contest(const Case& c, Alternation& rounds)
      : case_(c),
        rounds_(rounds),
        a_(random_matrix(c.shape.transpose_a ? c.shape.k : c.shape.m, c.shape.transpose_a ? c.shape.m : c.shape.k, 0)),
        b_(random_matrix(c.shape.transpose_b ? c.shape.n : c.shape.k, c.shape.transpose_b ? c.shape.k : c.shape.n, 1)),
        c_(Tensor::zeros({c.shape.m, c.shape.n})),
        packed_(kernels::pack_matrix(b_, c.shape.transpose_b)),
        peer_(c.shape) {
    const int64_t repeats = repeats_for(c.shape.flops());
    automatic_ = rounds.add([this] { multiply(GemmBackend::automatic); }, repeats);
    highway_ = rounds.add([this] { multiply(GemmBackend::highway); }, repeats);
    onednn_ = rounds.add(
        [this] {
          peer_.pack(b_.data<float>());
          peer_.run(a_.data<float>(), c_.data<float>());
        },
        repeats);
    onednn_packed_ = rounds.add([this] { peer_.run(a_.data<float>(), c_.data<float>()); }, repeats);
    if (!c.shape.transpose_a) highway_packed_ = rounds.add([this] { kernels::gemm(a_, packed_, c_); }, repeats);
  }

  Row row(double peak_gflops) {
    const ProductShape& s = case_.shape;
    const double seconds = rounds_.median_s(case_.packed ? *highway_packed_ : automatic_);
    const double gflops = s.flops() / seconds * 1e-9;
    Row row = {{"use", case_.use},
               {"shape", fmt::format("{}x{}x{}", s.m, s.n, s.k)},
               {"isa", std::string(name(kernels::active_isa()))},
               {"threads", int64_t{pool().size()}},
               {"gflops", gflops},
               {"peak_gflops", peak_gflops},
               {"share_of_peak", gflops / peak_gflops},
               {"highway_gflops", gflops_of(highway_)},
               {"onednn_gflops", gflops_of(onednn_)},
               {"highway_to_onednn", gflops_of(highway_) / gflops_of(onednn_)},
               {"highway_packed_gflops", highway_packed_ ? gflops_of(*highway_packed_) : 0.0},
               {"onednn_packed_gflops", gflops_of(onednn_packed_)},
               {"onednn_same_bits", same_bits()},
               // What decoding one row is limited by: each weight is read once.
               {"weights_gb_per_s", 4e-9 * static_cast<double>(s.n * s.k) / seconds}};
    return row;
  }

 private:
  void multiply(GemmBackend backend) {
    kernels::set_gemm_backend(backend);
    kernels::gemm(a_, b_, c_,
                  {.transpose_a = case_.shape.transpose_a,
                   .transpose_b = case_.shape.transpose_b,
                   .accumulate = case_.accumulate});
    kernels::set_gemm_backend(GemmBackend::automatic);
  }

  double gflops_of(Alternation::Id id) const { return case_.shape.flops() / rounds_.median_s(id) * 1e-9; }

  bool same_bits() {
    Tensor peers = Tensor::empty(c_.shape());
    peer_.pack(b_.data<float>());
    peer_.run(a_.data<float>(), peers.data<float>());
    c_.fill_zero();
    multiply(GemmBackend::highway);
    return std::memcmp(c_.raw(), peers.raw(), c_.bytes()) == 0;
  }

  const Case& case_;
  Alternation& rounds_;
  Tensor a_, b_, c_;
  kernels::PackedMatrix packed_;
  OnednnProduct peer_;
  Alternation::Id automatic_ = 0, highway_ = 0, onednn_ = 0, onednn_packed_ = 0;
  std::optional<Alternation::Id> highway_packed_;
};

// The same product of 16-bit matrices, as training or decoding calls it: gradients of weights are added in f32, other
// results are stored in 16 bits.
class HalfProduct {
 public:
  HalfProduct(const Case& c, DType dtype, Alternation& rounds)
      : case_(c),
        rounds_(rounds),
        a_(kernels::converted(
            random_matrix(c.shape.transpose_a ? c.shape.k : c.shape.m, c.shape.transpose_a ? c.shape.m : c.shape.k, 0),
            dtype)),
        b_(kernels::converted(
            random_matrix(c.shape.transpose_b ? c.shape.n : c.shape.k, c.shape.transpose_b ? c.shape.k : c.shape.n, 1),
            dtype)),
        c_(Tensor::zeros({c.shape.m, c.shape.n}, c.accumulate ? DType::f32 : dtype)),
        packed_(kernels::pack_matrix(b_, c.shape.transpose_b)) {
    id_ = rounds.add([this] { multiply(); }, repeats_for(c.shape.flops()));
  }
  double gflops() const { return case_.shape.flops() / rounds_.median_s(id_) * 1e-9; }

 private:
  void multiply() {
    if (case_.packed) return kernels::gemm(a_, packed_, c_);
    kernels::gemm(a_, b_, c_,
                  {.transpose_a = case_.shape.transpose_a,
                   .transpose_b = case_.shape.transpose_b,
                   .accumulate = case_.accumulate});
  }

  const Case& case_;
  Alternation& rounds_;
  Tensor a_, b_, c_;
  kernels::PackedMatrix packed_;
  Alternation::Id id_ = 0;
};

}  // namespace

void gemm(const GemmOptions& options, const Sink& sink) {
  for (const Case& c : kCases) {
    Alternation rounds;
    PeakLoops peak(rounds), bf16_peak(rounds, DType::bf16);
    Contest contest(c, rounds);
    HalfProduct bf16(c, DType::bf16, rounds), f16(c, DType::f16, rounds);
    rounds.run(options.rounds);
    Row row = contest.row(peak.gflops());
    row.emplace_back("bf16_gflops", bf16.gflops());
    row.emplace_back("bf16_share_of_peak", bf16.gflops() / bf16_peak.gflops());
    row.emplace_back("f16_gflops", f16.gflops());
    sink(row);
  }
}

}  // namespace gradus::bench
