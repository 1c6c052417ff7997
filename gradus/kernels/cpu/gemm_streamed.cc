#include "gradus/kernels/cpu/gemm_streamed.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/flush_denormals.h"

#define HWY_WANT_AVX3_DL  // for VDPBF16PS
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/gemm_streamed.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/half-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using cpu::kStreamedColumns;
using cpu::StreamedArguments;
using cpu::StreamedOutput;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kColumns = static_cast<int>(kStreamedColumns);
constexpr int kLine = 64;  // bytes that memory hands out at once
constexpr int64_t kFirstBytes = 32 << 10;
// Rows of X in a tile: their sums and a transposed square of W fill the 32 registers of AVX-512, the 16 of the others.
constexpr int kMostRows = kLanes == 16 ? 16 : 8;

// How W's numbers become lanes of 32 bits. A step multiplies one lane of X, of which there are kParts for a lane of W.
template <class T>
struct WeightLane {  // f32, and f16 widened
  static constexpr int kNumbers = 1, kParts = 1, kBytes = sizeof(T);
};
template <>
struct WeightLane<BFloat16> {  // pairs; without the instruction for them, the odd number and then the even one
  static constexpr int kNumbers = 2, kParts = kNativePairs ? 1 : 2, kBytes = 4;
};

// acc[r] += the lane of X for row r times the column vector w; x holds its kParts lanes for all rows.
template <class T, int kRows>
HWY_INLINE void MulAddRow(D d, const float* HWY_RESTRICT x, V w, V& acc, int r) {
  if constexpr (WeightLane<T>::kNumbers == 1) {
    acc = hn::MulAdd(hn::Set(d, x[r]), w, acc);
  } else if constexpr (kNativePairs) {
    acc = MulAddPairOfAll(d, x + r, w, acc);
  } else {
    acc = hn::MulAdd(hn::Set(d, x[r]), OddOfPairs(d, w), acc);
    acc = hn::MulAdd(hn::Set(d, x[kRows + r]), EvenOfPairs(d, w), acc);
  }
}

template <class T, class Tag>
HWY_INLINE hn::Vec<Tag> LoadWeights(Tag d, const T* p) {
  if constexpr (WeightLane<T>::kNumbers == 2) {
    return hn::LoadU(d, reinterpret_cast<const float*>(p));
  } else {
    return LoadFloats(d, p);
  }
}

// Lanes that are loaded and transposed at a time: of all kLanes rows, so few that they stay in registers beside the
// sums.
constexpr int kGroup = std::max(4, kLanes / 2);
using Half = hn::CappedTag<float, kGroup>;

// out[j] = lane j of kLanes rows that are `step` numbers apart, for the kGroup lanes from `rows` on.
template <class T>
HWY_INLINE void LoadColumns(D d, const T* HWY_RESTRICT rows, int64_t step, V (&out)[kGroup]) {
  // 1. Row i in the lower half of a vector, row i + kGroup in the upper one.
#pragma GCC unroll 8
  for (int i = 0; i < kGroup; ++i) {
    if constexpr (kGroup == kLanes) {
      out[i] = LoadWeights(d, rows + i * step);
    } else {
      const auto upper = LoadWeights(Half(), rows + (i + kGroup) * step);
      out[i] = hn::Combine(d, upper, LoadWeights(Half(), rows + i * step));
    }
  }
  // 2. Four by four inside blocks of four lanes: out[b + j] gets lane j of each block from the rows b ... b + 3.
#pragma GCC unroll 2
  for (int b = 0; b < kGroup; b += 4) {
    const V low02 = hn::InterleaveLower(d, out[b], out[b + 2]), low13 = hn::InterleaveLower(d, out[b + 1], out[b + 3]);
    const V high02 = hn::InterleaveUpper(d, out[b], out[b + 2]);
    const V high13 = hn::InterleaveUpper(d, out[b + 1], out[b + 3]);
    out[b] = hn::InterleaveLower(d, low02, low13);
    out[b + 1] = hn::InterleaveUpper(d, low02, low13);
    out[b + 2] = hn::InterleaveLower(d, high02, high13);
    out[b + 3] = hn::InterleaveUpper(d, high02, high13);
  }
  // 3. With 16 lanes the blocks of out[j] are lanes j and 4 + j of the rows 0 ... 3, then of 8 ... 11; those of
  // out[4 + j] of the other rows.
  if constexpr (kGroup == 8) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const V a = out[j], b = out[4 + j];
      out[j] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
      out[4 + j] = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
    }
  }
}

// Rows of W, their step in numbers, and the rows that are read next, which are asked for meanwhile.
template <class T>
struct WeightRows {
  const T* w;
  int64_t step;
  const T* next;
};

// sum[r][c] = the products of kRows rows of X with kTiles * kLanes rows of W over all k. X is packed, see PackRows.
template <class T, int kRows, int kTiles>
HWY_INLINE void Tile(WeightRows<T> g, const float* HWY_RESTRICT x, int64_t k, int64_t k_block,
                     float (*HWY_RESTRICT sum)[kColumns]) {
  using Lane = WeightLane<T>;
  constexpr D d;
  constexpr int kStep = Lane::kParts * kRows;       // of x, from a lane to the next
  constexpr int kLineLanes = kLine / Lane::kBytes;  // lanes of a line of W
  constexpr int kLineNumbers = kLineLanes * Lane::kNumbers;
  constexpr int kWRows = kTiles * kLanes;
  for (int64_t k0 = 0; k0 < k; k0 += k_block) {
    V acc[kRows][kTiles];
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) acc[r][t] = hn::Zero(d);
    }
    const int64_t k1 = std::min(k, k0 + k_block), whole = k0 + (k1 - k0) / kLineNumbers * kLineNumbers;
    for (int64_t i = k0; i < whole; i += kLineNumbers) {
#pragma GCC unroll 4
      for (int part = 0; part < kLineLanes; part += kGroup) {
#pragma GCC unroll 4
        for (int t = 0; t < kTiles; ++t) {
          V w[kGroup];
          LoadColumns(d, g.w + t * kLanes * g.step + i + part * Lane::kNumbers, g.step, w);
#pragma GCC unroll 16
          for (int j = 0; j < kGroup; ++j) {
            // One line of the rows to come per lane, so that requests are spread evenly.
            const int line = (part * kTiles + t * kGroup) + j;
            if (line < kWRows) PrefetchToL2(g.next + line * g.step + i);
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) MulAddRow<T, kRows>(d, x + j * kStep, w[j], acc[r][t], r);
          }
          if (t == kTiles - 1) x += kGroup * kStep;
        }
      }
    }
    if (whole < k1) {  // less than a line: its lanes are copied, so that nothing behind a row is read
      HWY_ALIGN T end[kLanes * kLineNumbers];
      const int64_t n_numbers = k1 - whole, n = (n_numbers + Lane::kNumbers - 1) / Lane::kNumbers;
      for (int t = 0; t < kTiles; ++t) {
        std::memset(static_cast<void*>(end), 0, sizeof end);
        for (int c = 0; c < kLanes; ++c) {
          std::copy_n(g.w + (t * kLanes + c) * g.step + whole, n_numbers, end + c * kLineNumbers);
        }
        for (int64_t part = 0; part < n; part += kGroup) {
          V w[kGroup];
          LoadColumns(d, end + part * Lane::kNumbers, kLineNumbers, w);
          HWY_ALIGN float lanes[kGroup][kLanes];
          for (int j = 0; j < kGroup; ++j) hn::Store(w[j], d, lanes[j]);
          for (int64_t j = 0; j < std::min<int64_t>(kGroup, n - part); ++j) {
            for (int r = 0; r < kRows; ++r) {
              MulAddRow<T, kRows>(d, x + (part + j) * kStep, hn::Load(d, lanes[j]), acc[r][t], r);
            }
          }
        }
      }
      x += n * kStep;
    }
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) {
        float* to = sum[r] + t * kLanes;
        hn::Store(k0 == 0 ? acc[r][t] : hn::Add(hn::Load(d, to), acc[r][t]), d, to);
      }
    }
  }
}

// With few rows several tiles of W run side by side, so that there are enough independent chains.
template <int kRows>
constexpr int TilesAtOnce() {
  return std::max(1, std::min(kColumns / kLanes, kMostRows / kRows));
}

// All kColumns columns.
template <class T, int kRows>
HWY_NOINLINE void Columns(WeightRows<T> g, const float* x, int64_t k, int64_t k_block, float (*sum)[kColumns]) {
  constexpr int kTiles = TilesAtOnce<kRows>();
  const FlushDenormals flush(WeightLane<T>::kNumbers == 2 && !kNativePairs);
  for (int c = 0; c < kColumns; c += kTiles * kLanes) {
    const int64_t at = c * g.step;
    Tile<T, kRows, kTiles>({g.w + at, g.step, g.next + at}, x, k, k_block,
                           reinterpret_cast<float(*)[kColumns]>(&sum[0][c]));
  }
}

// Rows of the tile that `m` rows start with: kMostRows, or the least there is for them. Rows beyond m are zeros.
int64_t TileRows(int64_t m) {
  for (const int64_t rows : {1, 2, 4, 8, 12}) {
    if (m <= rows && rows <= kMostRows) return rows;
  }
  return kMostRows;
}

template <class T>
void ColumnsOf(int64_t rows, const WeightRows<T>& g, const float* x, int64_t k, int64_t k_block,
               float (*sum)[kColumns]) {
  switch (rows) {
    case 1:
      return Columns<T, 1>(g, x, k, k_block, sum);
    case 2:
      return Columns<T, 2>(g, x, k, k_block, sum);
    case 4:
      return Columns<T, 4>(g, x, k, k_block, sum);
    case 8:
      return Columns<T, 8>(g, x, k, k_block, sum);
    case 12:
      return Columns<T, std::min(12, kMostRows)>(g, x, k, k_block, sum);
    default:
      return Columns<T, kMostRows>(g, x, k, k_block, sum);
  }
}

// Rows [m0, m0 + n) of X, so that the lanes of a k lie side by side: [lane][part][rows], zeros beyond n.
template <class T>
void PackRows(const StreamedArguments& g, int64_t m0, int64_t n, int64_t rows, float* HWY_RESTRICT to) {
  using Lane = WeightLane<T>;
  const int64_t n_lanes = (g.k + Lane::kNumbers - 1) / Lane::kNumbers, ld = g.ldx / Lane::kNumbers;
  const float* x = static_cast<const float*>(g.x) + m0 * ld;
  if (n < rows) std::fill_n(to, n_lanes * Lane::kParts * rows, 0.0f);
  if constexpr (Lane::kParts == 1) {
    const int64_t fours = n_lanes / 4 * 4;
    Transpose(RightMatrix<float>{x, ld}, n, fours, OutMatrix<>{to, rows});
    for (int64_t k = fours; k < n_lanes; ++k) {
      for (int64_t r = 0; r < n; ++r) to[k * rows + r] = x[r * ld + k];
    }
  } else {
    const auto* pairs = reinterpret_cast<const Bf16Pair*>(x);
    for (int64_t k = 0; k < n_lanes; ++k, to += 2 * rows) {
      for (int64_t r = 0; r < n; ++r) {
        to[r] = to_float(BFloat16{pairs[r * ld + k].odd});
        to[rows + r] = to_float(BFloat16{pairs[r * ld + k].even});
      }
    }
  }
}

// y = sum of kLanes numbers, and the bias, rounded as StreamedOutput says.
template <class T>
HWY_INLINE void StoreLanes(const float* HWY_RESTRICT sum, const float* HWY_RESTRICT bias, T* HWY_RESTRICT y) {
  constexpr D d;
  V total = hn::LoadU(d, sum);
  if (bias != nullptr) {
    StoreFloats(d, total, y);
    total = hn::Add(LoadFloats(d, y), hn::LoadU(d, bias));
  }
  StoreFloats(d, total, y);
}

// The same for n numbers, of which the last few may not fill the lanes.
template <class T>
HWY_INLINE void StoreSums(const float* HWY_RESTRICT sum, const float* HWY_RESTRICT bias, int64_t n, T* HWY_RESTRICT y) {
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) StoreLanes(sum + j, bias == nullptr ? nullptr : bias + j, y + j);
  if (j == n) return;
  HWY_ALIGN float sums[kLanes] = {}, biases[kLanes] = {};
  HWY_ALIGN T out[kLanes];
  std::copy(sum + j, sum + n, sums);
  if (bias != nullptr) std::copy(bias + j, bias + n, biases);
  StoreLanes(sums, bias == nullptr ? nullptr : biases, out);
  std::copy_n(out, n - j, y + j);
}

void StoreRow(const StreamedOutput& o, int64_t row, int64_t column, int64_t n, const float* sum) {
  const int64_t at = row * o.n + column;
  const float* bias = o.bias == nullptr ? nullptr : o.bias + column;
  if (o.y_dtype == DType::f32) return StoreSums(sum, bias, n, static_cast<float*>(o.y) + at);
  if (o.y_dtype == DType::bf16) return StoreSums(sum, bias, n, static_cast<BFloat16*>(o.y) + at);
  StoreSums(sum, bias, n, static_cast<Float16*>(o.y) + at);
}

// Where task t of all outputs' columns lies: columns [begin, end) of output o, read from W's row `first` on. The last
// rows of a W whose rows do not fill whole tasks are read by its last two.
struct ColumnTask {
  const StreamedOutput* o;
  int64_t begin, end, first;
};
ColumnTask TaskAt(const StreamedArguments& g, int64_t t) {
  for (const StreamedOutput& o : g.outputs) {
    const int64_t n_tasks = (o.n + kColumns - 1) / kColumns;
    if (t < n_tasks) {
      const int64_t begin = t * kColumns, end = std::min(o.n, begin + kColumns);
      return {&o, begin, end, end - kColumns};
    }
    t -= n_tasks;
  }
  return {};
}
int64_t NumberOfTasks(const StreamedArguments& g) {
  int64_t n = 0;
  for (const StreamedOutput& o : g.outputs) n += (o.n + kColumns - 1) / kColumns;
  return n;
}

// Tasks cut into one run of neighbours for each thread, so that each reads W ahead; who has done his takes from others.
class Runs {
 public:
  Runs(int64_t n_tasks, int64_t n_runs) : n_(std::min<int64_t>(n_runs, kMost)) {
    for (int64_t i = 0; i < n_; ++i) {
      runs_[i].next.store(n_tasks * i / n_, std::memory_order_relaxed);
      runs_[i].end = n_tasks * (i + 1) / n_;
    }
  }
  int64_t size() const { return n_; }
  int64_t first(int64_t own) const { return own == 0 ? 0 : runs_[own - 1].end; }
  // body(task, end of its run) for tasks that nobody has taken, those of run `own` first.
  template <class Body>
  void work(int64_t own, Body&& body) {
    for (int64_t i = 0; i < n_; ++i) {
      Run& run = runs_[(own + i) % n_];
      for (int64_t t; (t = run.next.fetch_add(1, std::memory_order_relaxed)) < run.end;) body(t, run.end);
    }
  }

 private:
  static constexpr int64_t kMost = 64;
  struct alignas(kLine) Run {
    std::atomic<int64_t> next;
    int64_t end;
  };
  int64_t n_;
  std::array<Run, kMost> runs_;
};

// X as tiles of rows, packed one after the other; with one row X itself where its lanes are what a step multiplies.
template <class T>
class PackedRows {
 public:
  explicit PackedRows(const StreamedArguments& g) {
    if (g.m == 1 && WeightLane<T>::kParts == 1) {
      data_ = static_cast<const float*>(g.x);
      return;
    }
    static thread_local std::vector<float> packed;
    const int64_t n_lanes = (g.k + WeightLane<T>::kNumbers - 1) / WeightLane<T>::kNumbers * WeightLane<T>::kParts;
    packed.resize(static_cast<size_t>((g.m + kMostRows) * n_lanes));
    float* to = packed.data();
    for (int64_t m = 0; m < g.m;) {
      const int64_t rows = TileRows(g.m - m);
      PackRows<T>(g, m, std::min(rows, g.m - m), rows, to);
      to += rows * n_lanes;
      m += rows;
    }
    data_ = packed.data();
  }
  const float* data() const { return data_; }

 private:
  const float* data_;
};

template <class T>
void Streamed(const StreamedArguments& g) {
  const int64_t n_tasks = NumberOfTasks(g);
  const int64_t x_step = (g.k + WeightLane<T>::kNumbers - 1) / WeightLane<T>::kNumbers * WeightLane<T>::kParts;
  const auto rows_at = [&](const ColumnTask& c) { return static_cast<const T*>(c.o->w) + c.first * g.k; };
  const auto task = [&](int64_t t, int64_t end, const float* x) {
    const ColumnTask columns = TaskAt(g, t), next = t + 1 < end ? TaskAt(g, t + 1) : columns;
    WeightRows<T> w{rows_at(columns), g.k, rows_at(next)};
    HWY_ALIGN float sum[kMostRows][kColumns];
    for (int64_t m = 0; m < g.m;) {
      const int64_t rows = TileRows(g.m - m);
      ColumnsOf<T>(rows, w, x, g.k, g.k_block, sum);
      w.next = w.w;
      for (int64_t r = 0; r < std::min(rows, g.m - m); ++r) {
        StoreRow(*columns.o, m + r, columns.begin, columns.end - columns.begin,
                 sum[r] + (columns.begin - columns.first));
      }
      x += rows * x_step;
      m += rows;
    }
  };
  const bool is_small = g.m * n_tasks * kColumns * g.k < 32 * 32 * 32;  // less than a wake-up costs
  Runs runs(n_tasks, is_small ? 1 : pool().size());
  parallel_for(runs.size(), [&](int64_t own) {
    // Nothing has asked for the first rows yet: as much of them as a first-level cache holds.
    const T* first = rows_at(TaskAt(g, runs.first(own)));
    const int64_t row_bytes = g.k * static_cast<int64_t>(sizeof(T));
    for (int64_t byte = 0; byte < std::min<int64_t>(row_bytes, kFirstBytes / kColumns); byte += kLine) {
      for (int64_t c = 0; c < kColumns; ++c) PrefetchToL2(reinterpret_cast<const char*>(first + c * g.k) + byte);
    }
    const PackedRows<T> x(g);
    runs.work(own, [&](int64_t t, int64_t end) { task(t, end, x.data()); });
  });
}

// Beyond so many rows packing W pays: vectors are transposed anew for every tile of rows. Measured, from 64 x 64 to
// 1536 x 576; a W of one page of memory or two is packed in no time.
int64_t StreamedRows(int64_t n, int64_t k) {
  if (kLanes < 16) return kLanes == 8 ? 64 : 16;
  return n * k <= 8192 ? 64 : 192;
}

void GemmStreamed(const StreamedArguments& g) {
  if (g.dtype == DType::f32) return Streamed<float>(g);
  if (g.dtype == DType::bf16) return Streamed<BFloat16>(g);
  Streamed<Float16>(g);
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(StreamedRows);
HWY_EXPORT(GemmStreamed);

namespace cpu {

int64_t gemm_streamed_rows(int64_t n, int64_t k) {
  return HWY_DYNAMIC_DISPATCH(StreamedRows)(n, k);
}

void gemm_streamed(const StreamedArguments& g) {
  HWY_DYNAMIC_DISPATCH(GemmStreamed)(g);
}

}  // namespace cpu
}  // namespace gradus::kernels
#endif
