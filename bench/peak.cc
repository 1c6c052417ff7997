// `gradus bench peak`: what this machine can do at most, on the instruction set and threads in use.
#include <atomic>

#include "bench/bench.h"
#include "bench/machine_loops.h"
#include "bench/peak_loops.h"
#include "bench/read_memory.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {

namespace {

constexpr int64_t kOneThreadIterations = 1'000'000;
constexpr int64_t kCachedFloats = 64 << 10;  // 256 KiB: in the second-level cache, not in the first
constexpr int64_t kCachedPasses = 64;

// The sums read are of no interest; storing them keeps the reading in the program.
std::atomic<float> read_sink;

// One piece per thread, each in its own core's cache.
void read_cached(std::span<const float> data) {
  parallel_for(pool().size(), [&](int64_t i) {
    const auto own = data.subspan(static_cast<size_t>(i * kCachedFloats), static_cast<size_t>(kCachedFloats));
    float sum = 0;
    for (int64_t pass = 0; pass < kCachedPasses; ++pass) sum += read_loop(own);
    read_sink = sum;
  });
}

}  // namespace

void peak(const PeakOptions& options, const Sink& sink) {
  Alternation rounds;
  PeakLoops loops(rounds), bf16(rounds, DType::bf16);
  double one_thread_flops = 0;
  const auto one_thread = rounds.add([&] {
    float value = 1;
    one_thread_flops = multiply_add_loop(kOneThreadIterations, value);
  });
  const int64_t threads = pool().size();
  const ReadMemory memory(rounds);
  Tensor data = Tensor::empty({threads * kCachedFloats});
  kernels::fill(data, 1.0);
  const auto cached = rounds.add([&] { read_cached(data.span<float>()); });
  rounds.run(options.rounds);

  const std::string isa(name(kernels::active_isa()));
  const auto compute = [&](const char* what, int64_t n_threads, double gflops) {
    sink({{"what", what},
          {"isa", isa},
          {"threads", n_threads},
          {"gflops", gflops},
          {"share_of_peak", gflops / loops.gflops()}});
  };
  compute("fma_one_thread", 1, one_thread_flops / rounds.median_s(one_thread) * 1e-9);
  compute("fma_all_threads", threads, loops.multiply_add_gflops());
  compute("gemm_highway", threads, loops.highway_gflops());
  compute("gemm_onednn", threads, loops.onednn_gflops());
  compute("peak", threads, loops.gflops());
  if (kernels::active_isa() == kernels::Isa::avx512bf16) {
    compute("bf16_pairs_all_threads", threads, bf16.multiply_add_gflops());
    compute("bf16_gemm_highway", threads, bf16.highway_gflops());
  }

  const double cached_bytes = 4.0 * static_cast<double>(threads * kCachedFloats * kCachedPasses);
  const auto reading = [&](const char* what, double gb_per_s) {
    sink({{"what", what},
          {"isa", isa},
          {"threads", threads},
          {"gb_per_s", gb_per_s},
          {"share_of_bandwidth", gb_per_s / memory.gb_per_s()}});
  };
  reading("read_memory", memory.gb_per_s());
  reading("read_l2_cache", cached_bytes / rounds.median_s(cached) * 1e-9);
}

}  // namespace gradus::bench
