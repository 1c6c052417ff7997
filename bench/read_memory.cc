#include "bench/read_memory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "bench/machine_loops.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::bench {

namespace {

constexpr int64_t kPieceFloats = 1 << 20;  // 4 MiB: handed out to the threads

int64_t memory_floats() {
  const int64_t cache_bytes = std::max<int64_t>(0, ::sysconf(_SC_LEVEL3_CACHE_SIZE));
  return std::clamp<int64_t>(4 * cache_bytes, int64_t{256} << 20, int64_t{1} << 30) / 4;
}

// The sums read are of no interest; storing them keeps the reading in the program.
std::atomic<float> read_sink;

}  // namespace

ReadMemory::ReadMemory(Alternation& alternation) : alternation_(alternation), data_(Tensor::empty({memory_floats()})) {
  kernels::fill(data_, 1.0);
  again();
}

void ReadMemory::again() {
  ids_.push_back(alternation_.add([data = data_] {
    parallel_ranges(data.numel(), kPieceFloats, [&](int64_t begin, int64_t end) {
      read_sink = read_loop(data.span<float>().subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    });
  }));
}

std::vector<double> ReadMemory::gb_per_s_of_rounds() const {
  const double bytes = static_cast<double>(data_.bytes()) * static_cast<double>(ids_.size());
  std::vector<double> rates;
  for (const double seconds : alternation_.sum_s(ids_)) rates.push_back(bytes / seconds * 1e-9);
  return rates;
}

double ReadMemory::gb_per_s() const {
  return median(gb_per_s_of_rounds());
}

}  // namespace gradus::bench
