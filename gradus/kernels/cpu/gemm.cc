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
#include "gradus/kernels/cpu/row_products-inl.h"

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
// Lanes of a panel that are packed at a time, so that they stay in a first-level cache; a multiple of 4.
constexpr int64_t kPackedLanes = 64;

int64_t PanelWidth() {
  return kPanel;
}

// What one step over a lane does.
struct FloatLane {
  using T = float;
  static constexpr int64_t kNumbers = 1;
  template <class D, class V>
  static HWY_INLINE V MulAdd(D, V a, V b, V acc) {
    return hn::MulAdd(a, b, acc);
  }
};
struct Bf16Lane {
  using T = BFloat16;
  static constexpr int64_t kNumbers = 2;
  template <class D, class V>
  static HWY_INLINE V MulAdd(D d, V a, V b, V acc) {
    return MulAddPairs(d, a, b, acc);
  }
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
  // B is [N, K]: rows of lanes become columns, four by four of those that lie in B as lanes do.
  constexpr int64_t kNumbers = sizeof(float) / sizeof(T);
  const int64_t as_lanes = g.ldb % kNumbers == 0 ? g.k / kNumbers / 4 * 4 : 0;
  for (int64_t k0 = 0; k0 < n_k; k0 += kPackedLanes) {
    const int64_t k1 = std::min(n_k, k0 + kPackedLanes), n_fours = std::max<int64_t>(0, std::min(as_lanes, k1) - k0);
    const auto* rows = reinterpret_cast<const float*>(b + j0 * g.ldb) + k0;
    Transpose(RightMatrix<float>{rows, g.ldb / kNumbers}, n_cols, n_fours, OutMatrix<>{panel + k0 * kPanel, kPanel});
    for (int64_t k = k0 + n_fours; k < k1; ++k) {
      for (int64_t j = 0; j < n_cols; ++j) panel[k * kPanel + j] = LaneOfRow(b + (j0 + j) * g.ldb, g.k, k);
    }
    for (int64_t k = k0; k < k1; ++k) std::fill(panel + k * kPanel + n_cols, panel + (k + 1) * kPanel, 0.0f);
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

// One contract block of a product: op(A) from a row's lane on, and where panels of op(B) begin at that lane.
struct Block {
  const float* a;
  int64_t a_row, a_k;  // from a row, from a lane to the next
  const float* b;
  int64_t b_panel, b_k;  // from a panel of kPanel columns, from a lane to the next
  int64_t k;             // lanes
  bool add;              // to what C holds
  const float* bias;     // and then these, one a column; or null
  float* c;
  int64_t ldc;
};

// kRows x (kVectors vectors) of C, of which the first n_cols columns exist. Columns begin at c and b of the block.
template <class Lane, int kRows, int kVectors, class Tag>
HWY_INLINE void Tile(Tag d, const Block& g, int64_t j0, int64_t n_cols) {
  using Vector = hn::Vec<Tag>;
  constexpr int64_t N = hn::MaxLanes(Tag());
  const float* HWY_RESTRICT a = g.a;
  const float* HWY_RESTRICT b = g.b + j0 / kPanel * g.b_panel;
  const int64_t a_row = g.a_row, a_k = g.a_k, b_panel = g.b_panel, b_k = g.b_k, n_k = g.k, ldc = g.ldc;
  Vector acc[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::Zero(d);
  }
  for (int64_t k = 0; k < n_k; ++k) {
    Vector row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + k * b_k + v / 2 * b_panel + v % 2 * N);
    for (int i = 0; i < kRows; ++i) {
      const Vector x = hn::Set(d, a[i * a_row + k * a_k]);
      for (int v = 0; v < kVectors; ++v) acc[i][v] = Lane::MulAdd(d, x, row[v], acc[i][v]);
    }
  }
  // A row of C and of the bias that have fewer columns go through a line of whole vectors.
  HWY_ALIGN float line[kVectors * N], bias_line[kVectors * N];
  const bool whole = n_cols == kVectors * N, add = g.add, has_bias = g.bias != nullptr;
  const float* bias = has_bias ? g.bias + j0 : nullptr;
  if (has_bias && !whole) bias = std::copy_n(bias, n_cols, bias_line) - n_cols;
  float* HWY_RESTRICT c = g.c + j0;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i, c += ldc) {
    float* HWY_RESTRICT to = whole ? c : line;
    if (!whole && add) std::copy_n(c, n_cols, line);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Vector sum = acc[i][v];
      if (add) sum = hn::Add(hn::LoadU(d, to + v * N), sum);
      if (has_bias) sum = hn::Add(sum, hn::LoadU(d, bias + v * N));
      hn::StoreU(sum, d, to + v * N);
    }
    if (!whole) std::copy_n(line, n_cols, c);
  }
}

// A thin tile (few rows) takes more panels at once, so that there are enough independent chains to hide the latency.
template <int kRows>
constexpr int PanelsAtOnce() {
  return kRows == 1 ? 4 : kRows == 2 ? 2 : kRows <= 4 && kLanes == 16 ? 2 : 1;
}
// kRows rows of C, n_cols columns. A last panel of few columns takes a vector, or half of one.
template <class Lane, int kRows>
void RowTile(const Block& g, int64_t n_cols) {
  constexpr int kAtOnce = PanelsAtOnce<kRows>();
  int64_t j = 0;
  for (; kAtOnce > 1 && j + kAtOnce * kPanel <= n_cols; j += kAtOnce * kPanel) {
    Tile<Lane, kRows, 2 * kAtOnce>(D(), g, j, kAtOnce * kPanel);
  }
  for (; j < n_cols; j += kPanel) {
    const int64_t n = std::min(kPanel, n_cols - j);
    if (n > kLanes) {
      Tile<Lane, kRows, 2>(D(), g, j, n);
    } else if (kLanes < 16 || n > 8) {
      Tile<Lane, kRows, 1>(D(), g, j, n);
    } else {
      Tile<Lane, kRows, 1>(hn::CappedTag<float, 8>(), g, j, n);
    }
  }
}

using TileFunction = void (*)(const Block&, int64_t);

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
  const int64_t k_block = g.k_block / Lane::kNumbers;
  // C may only receive the total: in a 16-bit format it is built beside C, and with several K blocks and `accumulate`.
  const bool beside = g.c_dtype != DType::f32 || (g.accumulate && n_k > k_block);
  static thread_local std::vector<float> total, packed_a;
  if (beside) total.resize(static_cast<size_t>(kTaskRows * kTaskColumns));
  float* out = beside ? total.data() : static_cast<float*>(g.c) + m0 * g.ldc + n0;
  const int64_t out_stride = beside ? width : g.ldc;
  // A is read in place, lane by lane; [K, M] is packed first, unless it is floats and small.
  const bool packs_a = g.transpose_a && (Lane::kNumbers == 2 || g.m * g.k > cpu::kReadInPlace);
  if (packs_a) packed_a.resize(static_cast<size_t>(k_block * kTaskRows + kLanes));

  if (n_k == 0) {
    for (int64_t i = 0; i < m1 - m0 && (beside || !g.accumulate); ++i) std::fill_n(out + i * out_stride, width, 0.0f);
    if (beside) StoreSums(g, m0, m1 - m0, n0, width, out);
  }
  for (int64_t k0 = 0; k0 < n_k; k0 += k_block) {
    const int64_t k = std::min(n_k - k0, k_block);
    if (packs_a) PackLeft<typename Lane::T>(g, m0, m1 - m0, k0, k, packed_a.data());
    for (int64_t m = m0; m < m1; m += kTileRows) {
      const int64_t rows = std::min(kTileRows, m1 - m);
      const int64_t a_row = g.transpose_a ? 1 : g.lda, a_k = g.transpose_a ? g.lda : 1;
      const auto* at = reinterpret_cast<const float*>(static_cast<const typename Lane::T*>(g.a) + m * a_row) + k0 * a_k;
      RowTileOf<Lane>(rows)({.a = packs_a ? packed_a.data() + (m - m0) * k : at,
                             .a_row = g.transpose_a ? 1 : g.lda / Lane::kNumbers,
                             .a_k = packs_a ? kTileRows : a_k,
                             .b = g.b.data + n0 / kPanel * g.b.panel_step + k0 * g.b.k_step,
                             .b_panel = g.b.panel_step,
                             .b_k = g.b.k_step,
                             .k = k,
                             .add = k0 > 0 || (g.accumulate && !beside),
                             .bias = g.bias != nullptr && k0 + k == n_k ? g.bias + n0 : nullptr,
                             .c = out + (m - m0) * out_stride,
                             .ldc = out_stride},
                            width);
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

GemmPanels gemm_panels(const float* packed, int64_t k_lanes) {
  const int64_t width = gemm_panel_width();
  return {.data = packed, .panel_step = k_lanes * width, .k_step = width};
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
