#include "gradus/kernels/cpu/gemm.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/flush_denormals.h"
#include "gradus/kernels/isa.h"

#define HWY_WANT_AVX3_DL  // for VDPBF16PS
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/half-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using cpu::GemmArguments;
using cpu::GemmLane;
using cpu::GemmRight;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = hn::MaxLanes(D());
constexpr int64_t kPanel = 2 * kLanes;
// Rows of a register tile. 12 x 2 accumulators fill the 32 registers of AVX-512 with 8 to spare, 6 x 2 the 16 of the
// others; both hide the latency of a step, 4 to 6 cycles, several times over.
constexpr int64_t kTileRows = kLanes == 16 ? 12 : 6;
// Rows and columns of one task: its block of B (512 x 256 floats) and of A stay in a second-level cache of 1 MiB.
constexpr int64_t kTaskRows = kTileRows * 8;
constexpr int64_t kTaskColumns = 256;

int64_t PanelWidth() {
  return kPanel;
}

// What one step over a lane does.
struct FloatLane {
  using T = float;
  static constexpr int64_t kNumbers = 1;
  static HWY_INLINE V MulAdd(V a, V b, V acc) { return hn::MulAdd(a, b, acc); }
};
struct Bf16Lane {
  using T = BFloat16;
  static constexpr int64_t kNumbers = 2;
  static HWY_INLINE V MulAdd(V a, V b, V acc) { return MulAddPairs(D(), a, b, acc); }
};

// Lane k of column j of a matrix stored [K, ...] with row stride ld: a float, or two numbers below each other.
HWY_INLINE float LaneOfColumn(const float* x, int64_t ld, int64_t, int64_t k, int64_t j) {
  return x[k * ld + j];
}
HWY_INLINE float LaneOfColumn(const BFloat16* x, int64_t ld, int64_t n_k, int64_t k, int64_t j) {
  const uint32_t even = x[2 * k * ld + j].bits, odd = 2 * k + 1 < n_k ? x[(2 * k + 1) * ld + j].bits : 0;
  return std::bit_cast<float>(even | odd << 16);
}
// Lane k of a row stored side by side.
HWY_INLINE float LaneOfRow(const float* row, int64_t, int64_t k) {
  return row[k];
}
HWY_INLINE float LaneOfRow(const BFloat16* row, int64_t n_k, int64_t k) {
  const uint32_t even = row[2 * k].bits, odd = 2 * k + 1 < n_k ? row[2 * k + 1].bits : 0;
  return std::bit_cast<float>(even | odd << 16);
}
// The lanes k of the columns [j, j + kLanes).
HWY_INLINE V LanesOfColumns(const float* x, int64_t ld, int64_t, int64_t k, int64_t j) {
  return hn::LoadU(D(), x + k * ld + j);
}
HWY_INLINE V LanesOfColumns(const BFloat16* x, int64_t ld, int64_t n_k, int64_t k, int64_t j) {
  const hn::RebindToUnsigned<D> du;
  const auto row = [&](int64_t i) HWY_ATTR {
    return hn::PromoteTo(du, hn::LoadU(Bits16<D>(), reinterpret_cast<const uint16_t*>(x + i * ld + j)));
  };
  const auto even = row(2 * k);
  if (2 * k + 1 == n_k) return hn::BitCast(D(), even);
  return hn::BitCast(D(), hn::Or(even, hn::ShiftLeft<16>(row(2 * k + 1))));
}

template <class T>
void PackPanel(const GemmRight& g, int64_t j0, float* HWY_RESTRICT panel) {
  const T* b = static_cast<const T*>(g.b);
  const int64_t n_cols = std::min(kPanel, g.n - j0), n_k = g.k_lanes();
  if (!g.transpose) {
    for (int64_t k = 0; k < n_k; ++k, panel += kPanel) {
      if (n_cols == kPanel) {
        hn::StoreU(LanesOfColumns(b, g.ldb, g.k, k, j0), D(), panel);
        hn::StoreU(LanesOfColumns(b, g.ldb, g.k, k, j0 + kLanes), D(), panel + kLanes);
      } else {
        for (int64_t j = 0; j < n_cols; ++j) panel[j] = LaneOfColumn(b, g.ldb, g.k, k, j0 + j);
        std::fill(panel + n_cols, panel + kPanel, 0.0f);
      }
    }
    return;
  }
  // B is [N, K]: read the rows side by side, a cache line of each at a time.
  for (int64_t k0 = 0; k0 < n_k; k0 += 16) {
    const int64_t k1 = std::min(n_k, k0 + 16);
    for (int64_t j = 0; j < kPanel; ++j) {
      if (j < n_cols) {
        const T* row = b + (j0 + j) * g.ldb;
        for (int64_t k = k0; k < k1; ++k) panel[k * kPanel + j] = LaneOfRow(row, g.k, k);
      } else {
        for (int64_t k = k0; k < k1; ++k) panel[k * kPanel + j] = 0.0f;
      }
    }
  }
}

void Pack(const GemmRight& g, float* panels) {
  const int64_t n_panels = (g.n + kPanel - 1) / kPanel, panel_size = g.k_lanes() * kPanel;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, panel_size));
  parallel_ranges(n_panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      if (g.lane == GemmLane::f32) {
        PackPanel<float>(g, p * kPanel, panels + p * panel_size);
      } else {
        PackPanel<BFloat16>(g, p * kPanel, panels + p * panel_size);
      }
    }
  });
}

enum class Store { assign, add };

// kRows x (kPanels * 2 vectors) of C over k lanes of one contract block. `a` points at row 0, lane 0 of the block.
template <class Lane, int kRows, int kPanels>
HWY_INLINE void Tile(const float* HWY_RESTRICT a, int64_t row_stride, int64_t k_stride, const float* HWY_RESTRICT panel,
                     int64_t panel_stride, int64_t k, float* HWY_RESTRICT c, int64_t ldc, int64_t n_cols, Store store) {
  constexpr D d;
  constexpr int kVectors = 2 * kPanels;
  V acc[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::Zero(d);
  }
  for (int64_t kk = 0; kk < k; ++kk) {
    V b[kVectors];
    for (int p = 0; p < kPanels; ++p) {
      const float* row = panel + p * panel_stride + kk * kPanel;
      b[2 * p] = hn::Load(d, row);
      b[2 * p + 1] = hn::Load(d, row + kLanes);
    }
    for (int i = 0; i < kRows; ++i) {
      const V x = hn::Set(d, a[i * row_stride + kk * k_stride]);
      for (int v = 0; v < kVectors; ++v) acc[i][v] = Lane::MulAdd(x, b[v], acc[i][v]);
    }
  }
  if (n_cols == kVectors * kLanes) {
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        float* at = c + i * ldc + v * kLanes;
        hn::StoreU(store == Store::add ? hn::Add(hn::LoadU(d, at), acc[i][v]) : acc[i][v], d, at);
      }
    }
    return;
  }
  HWY_ALIGN float line[kVectors * kLanes];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) hn::Store(acc[i][v], d, line + v * kLanes);
    float* at = c + i * ldc;
    for (int64_t j = 0; j < n_cols; ++j) at[j] = store == Store::add ? at[j] + line[j] : line[j];
  }
}

using TileFunction = void (*)(const float*, int64_t, int64_t, const float*, int64_t, int64_t, float*, int64_t, int64_t,
                              Store);

// A thin tile (few rows) takes more panels at once, so that there are enough independent chains to hide the latency.
template <int kRows>
constexpr int PanelsAtOnce() {
  return kRows == 1 ? 4 : kRows == 2 ? 2 : kRows <= 4 && kLanes == 16 ? 2 : 1;
}
template <class Lane, int kRows>
void RowTile(const float* a, int64_t row_stride, int64_t k_stride, const float* panel, int64_t panel_stride, int64_t k,
             float* c, int64_t ldc, int64_t n_cols, Store store) {
  constexpr int kAtOnce = PanelsAtOnce<kRows>();
  int64_t j = 0;
  for (; kAtOnce > 1 && j + kAtOnce * kPanel <= n_cols; j += kAtOnce * kPanel) {
    Tile<Lane, kRows, kAtOnce>(a, row_stride, k_stride, panel + j / kPanel * panel_stride, panel_stride, k, c + j, ldc,
                               kAtOnce * kPanel, store);
  }
  for (; j < n_cols; j += kPanel) {
    Tile<Lane, kRows, 1>(a, row_stride, k_stride, panel + j / kPanel * panel_stride, panel_stride, k, c + j, ldc,
                         std::min(kPanel, n_cols - j), store);
  }
}

template <class Lane, int... kRows>
TileFunction RowTileOf(int64_t rows, std::integer_sequence<int, kRows...>) {
  static constexpr TileFunction kTiles[] = {RowTile<Lane, kRows + 1>...};
  return kTiles[rows - 1];
}
template <class Lane>
TileFunction RowTileOf(int64_t rows) {  // 1 to kTileRows
  return RowTileOf<Lane>(rows, std::make_integer_sequence<int, static_cast<int>(kTileRows)>());
}

// The lanes [k0, k0 + n_k) of n_rows rows of op(A) from row m0 on, copied so that a tile's rows lie together:
// [tile][k][kTileRows]. `to` has room for a vector more.
template <class T>
void PackLeft(const GemmArguments& g, int64_t m0, int64_t n_rows, int64_t k0, int64_t n_k, float* HWY_RESTRICT to) {
  const T* a = static_cast<const T*>(g.a);
  for (int64_t i = 0; i < n_rows; i += kTileRows) {
    const int64_t rows = std::min(kTileRows, n_rows - i), m = m0 + i;
    float* HWY_RESTRICT tile = to + i * n_k;
    for (int64_t k = 0; k < n_k; ++k, tile += kTileRows) {
      // Whole vectors: what a store writes beyond the tile's rows, the next one overwrites.
      if (m + (kTileRows + kLanes - 1) / kLanes * kLanes <= g.m) {
        for (int64_t j = 0; j < kTileRows; j += kLanes) {
          hn::StoreU(LanesOfColumns(a, g.lda, g.k, k0 + k, m + j), D(), tile + j);
        }
      } else {
        for (int64_t j = 0; j < rows; ++j) tile[j] = LaneOfColumn(a, g.lda, g.k, k0 + k, m + j);
      }
    }
  }
}

// c = t, or c + t, of n numbers, rounded once to c's dtype.
template <class T>
HWY_INLINE void StoreSum(const float* HWY_RESTRICT t, int64_t n, bool accumulate, T* HWY_RESTRICT c) {
  constexpr D d;
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    const V sum = hn::LoadU(d, t + j);
    StoreFloats(d, accumulate ? hn::Add(LoadFloats(d, c + j), sum) : sum, c + j);
  }
  if (j == n) return;
  T end[kLanes] = {};
  HWY_ALIGN float sum[kLanes] = {};
  std::copy(c + j, c + n, end);
  std::copy(t + j, t + n, sum);
  const V total = hn::Load(d, sum);
  StoreFloats(d, accumulate ? hn::Add(LoadFloats(d, end), total) : total, end);
  std::copy_n(end, n - j, c + j);
}

HWY_INLINE void StoreSums(const GemmArguments& g, int64_t m0, int64_t rows, int64_t n0, int64_t width,
                          const float* total) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = (m0 + i) * g.ldc + n0;
    const float* t = total + i * width;
    if (g.c_dtype == DType::f32) {
      StoreSum(t, width, g.accumulate, static_cast<float*>(g.c) + at);
    } else if (g.c_dtype == DType::bf16) {
      StoreSum(t, width, g.accumulate, static_cast<BFloat16*>(g.c) + at);
    } else {
      StoreSum(t, width, g.accumulate, static_cast<Float16*>(g.c) + at);
    }
  }
}

// One task: rows [m0, m1) x columns [n0, n1), all of K.
template <class Lane>
void Task(const GemmArguments& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  const FlushDenormals flush(Lane::kNumbers == 2 && !kNativePairs);
  const int64_t width = n1 - n0, n_k = (g.k + Lane::kNumbers - 1) / Lane::kNumbers;
  const int64_t k_block = g.k_block / Lane::kNumbers, panel_stride = n_k * kPanel;
  // C may only receive the total: in a 16-bit format it is built beside C, and with several K blocks and `accumulate`.
  const bool beside = g.c_dtype != DType::f32 || (g.accumulate && n_k > k_block);
  static thread_local std::vector<float> total, packed_a;
  if (beside) total.resize(static_cast<size_t>(kTaskRows * kTaskColumns));
  float* out = beside ? total.data() : static_cast<float*>(g.c) + m0 * g.ldc + n0;
  const int64_t out_stride = beside ? width : g.ldc;
  if (g.transpose_a) packed_a.resize(static_cast<size_t>(k_block * kTaskRows + kLanes));

  if (n_k == 0) {
    for (int64_t i = 0; i < m1 - m0 && (beside || !g.accumulate); ++i) std::fill_n(out + i * out_stride, width, 0.0f);
    if (beside) StoreSums(g, m0, m1 - m0, n0, width, out);
  }
  for (int64_t k0 = 0; k0 < n_k; k0 += k_block) {
    const int64_t k = std::min(n_k - k0, k_block);
    const Store store = k0 > 0 || (g.accumulate && !beside) ? Store::add : Store::assign;
    if (g.transpose_a) PackLeft<typename Lane::T>(g, m0, m1 - m0, k0, k, packed_a.data());
    for (int64_t m = m0; m < m1; m += kTileRows) {
      const int64_t rows = std::min(kTileRows, m1 - m);
      // An untransposed A is read in place, lane by lane.
      const auto* in_place = reinterpret_cast<const float*>(static_cast<const typename Lane::T*>(g.a) + m * g.lda) + k0;
      const float* a = g.transpose_a ? packed_a.data() + (m - m0) * k : in_place;
      RowTileOf<Lane>(rows)(a, g.transpose_a ? 1 : g.lda / Lane::kNumbers, g.transpose_a ? kTileRows : 1,
                            g.panels + n0 * n_k + k0 * kPanel, panel_stride, k, out + (m - m0) * out_stride, out_stride,
                            width, store);
      if (beside && k0 + k == n_k) StoreSums(g, m, rows, n0, width, out + (m - m0) * out_stride);
    }
  }
}

void Gemm(const GemmArguments& g) {
  // A small product is cut finer, so that a few threads share it evenly.
  const int64_t task_rows = g.m >= 8 * kTaskRows ? kTaskRows : 2 * kTileRows;
  const int64_t row_tasks = (g.m + task_rows - 1) / task_rows;
  const int64_t col_tasks = (g.n + kTaskColumns - 1) / kTaskColumns;
  const auto task = [&](int64_t t) {
    const int64_t m0 = t / col_tasks * task_rows, n0 = t % col_tasks * kTaskColumns;
    const int64_t m1 = std::min(g.m, m0 + task_rows), n1 = std::min(g.n, n0 + kTaskColumns);
    g.lane == GemmLane::f32 ? Task<FloatLane>(g, m0, m1, n0, n1) : Task<Bf16Lane>(g, m0, m1, n0, n1);
  };
  if (g.m * g.n * g.k < 32 * 32 * 32) {  // less than a wake-up costs
    for (int64_t t = 0; t < row_tasks * col_tasks; ++t) task(t);
  } else {
    parallel_for(row_tasks * col_tasks, task);
  }
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(PanelWidth);
HWY_EXPORT(Pack);
HWY_EXPORT(Gemm);

namespace cpu {

int64_t gemm_panel_width() {
  return HWY_DYNAMIC_DISPATCH(PanelWidth)();
}

int64_t gemm_packed_size(int64_t k_lanes, int64_t n_cols) {
  const int64_t width = gemm_panel_width();
  return (n_cols + width - 1) / width * width * k_lanes;
}

void gemm_pack(const GemmRight& right, float* panels) {
  HWY_DYNAMIC_DISPATCH(Pack)(right, panels);
}

void gemm_packed(const GemmArguments& g) {
  HWY_DYNAMIC_DISPATCH(Gemm)(g);
}

}  // namespace cpu
}  // namespace gradus::kernels
#endif
