#include "gradus/kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using cpu::GemmArguments;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = hn::MaxLanes(D());
constexpr int64_t kPanel = 2 * kLanes;
// Rows of a register tile. 12 x 2 accumulators fill the 32 registers of AVX-512 with 8 to spare, 6 x 2 the 16 of the
// others; both hide the 4-cycle latency of an FMA several times over.
constexpr int64_t kTileRows = kLanes == 16 ? 12 : 6;
// Rows and panels of one task: its block of B (512 x 256 floats) and of A stay in a second-level cache of 1 MiB.
constexpr int64_t kTaskRows = kTileRows * 8;
constexpr int64_t kTaskPanels = 256 / kPanel;

int64_t PanelWidth() {
  return kPanel;
}

void PackPanel(const float* HWY_RESTRICT b, int64_t ldb, bool transpose_b, int64_t k, int64_t n_cols,
               float* HWY_RESTRICT panel) {
  if (!transpose_b) {
    for (int64_t kk = 0; kk < k; ++kk) {
      std::memcpy(panel + kk * kPanel, b + kk * ldb, static_cast<size_t>(n_cols) * sizeof(float));
      std::fill(panel + kk * kPanel + n_cols, panel + (kk + 1) * kPanel, 0.0f);
    }
    return;
  }
  // B is [N, K]: read the rows side by side, a cache line of each at a time.
  for (int64_t k0 = 0; k0 < k; k0 += 16) {
    const int64_t k1 = std::min(k, k0 + 16);
    for (int64_t j = 0; j < kPanel; ++j) {
      if (j < n_cols) {
        for (int64_t kk = k0; kk < k1; ++kk) panel[kk * kPanel + j] = b[j * ldb + kk];
      } else {
        for (int64_t kk = k0; kk < k1; ++kk) panel[kk * kPanel + j] = 0.0f;
      }
    }
  }
}

void Pack(const float* b, int64_t ldb, bool transpose_b, int64_t k, int64_t n, float* panels) {
  const int64_t n_panels = (n + kPanel - 1) / kPanel;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, k * kPanel));
  parallel_ranges(n_panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const float* first = transpose_b ? b + p * kPanel * ldb : b + p * kPanel;
      PackPanel(first, ldb, transpose_b, k, std::min(kPanel, n - p * kPanel), panels + p * kPanel * k);
    }
  });
}

enum class Store { assign, add };

// kRows x (kPanels * 2 vectors) of C over k in one contract block. `a` points at row 0, k 0 of the block.
template <int kRows, int kPanels>
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
      for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::MulAdd(x, b[v], acc[i][v]);
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
template <int kRows>
void RowTile(const float* a, int64_t row_stride, int64_t k_stride, const float* panel, int64_t panel_stride, int64_t k,
             float* c, int64_t ldc, int64_t n_cols, Store store) {
  constexpr int kAtOnce = PanelsAtOnce<kRows>();
  int64_t j = 0;
  for (; kAtOnce > 1 && j + kAtOnce * kPanel <= n_cols; j += kAtOnce * kPanel) {
    Tile<kRows, kAtOnce>(a, row_stride, k_stride, panel + j / kPanel * panel_stride, panel_stride, k, c + j, ldc,
                         kAtOnce * kPanel, store);
  }
  for (; j < n_cols; j += kPanel) {
    Tile<kRows, 1>(a, row_stride, k_stride, panel + j / kPanel * panel_stride, panel_stride, k, c + j, ldc,
                   std::min(kPanel, n_cols - j), store);
  }
}

#if HWY_TARGET == HWY_AVX3
constexpr TileFunction kRowTiles[] = {nullptr,     RowTile<1>,  RowTile<2>, RowTile<3>, RowTile<4>,
                                      RowTile<5>,  RowTile<6>,  RowTile<7>, RowTile<8>, RowTile<9>,
                                      RowTile<10>, RowTile<11>, RowTile<12>};
#else
constexpr TileFunction kRowTiles[] = {nullptr, RowTile<1>, RowTile<2>, RowTile<3>, RowTile<4>, RowTile<5>, RowTile<6>};
#endif

// One task: rows [m0, m1) x columns [n0, n1), all of K.
void Task(const GemmArguments& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  if (g.k == 0) {
    for (int64_t i = m0; i < m1 && !g.accumulate; ++i) std::fill(g.c + i * g.ldc + n0, g.c + i * g.ldc + n1, 0.0f);
    return;
  }
  // With several K blocks and `accumulate`, C may only receive the total: it is built beside C.
  const bool beside = g.accumulate && g.k > g.k_block;
  static thread_local std::vector<float> total;
  const int64_t width = n1 - n0;
  float* out = g.c + m0 * g.ldc + n0;
  int64_t out_stride = g.ldc;
  if (beside) {
    total.resize(static_cast<size_t>(kTaskRows * 256));
    out = total.data();
    out_stride = width;
  }
  // A transposed left operand is copied so that a tile's rows lie together: [k][kTileRows].
  static thread_local std::vector<float> packed_a;
  const bool pack_a = g.a_k_stride != 1;
  if (pack_a) packed_a.resize(static_cast<size_t>(g.k_block * kTaskRows));

  for (int64_t k0 = 0; k0 < g.k; k0 += g.k_block) {
    const int64_t k = std::min(g.k - k0, g.k_block);
    const Store store = k0 > 0 || (g.accumulate && !beside) ? Store::add : Store::assign;
    if (pack_a) {
      for (int64_t kk = 0; kk < k; ++kk) {
        const float* row = g.a + (k0 + kk) * g.a_k_stride + m0;
        for (int64_t i = 0; i < m1 - m0; i += kTileRows) {
          const int64_t rows = std::min(kTileRows, m1 - m0 - i);
          float* to = packed_a.data() + i * k + kk * kTileRows;
          for (int64_t j = 0; j < rows; ++j) to[j] = row[i + j];
        }
      }
    }
    for (int64_t m = m0; m < m1; m += kTileRows) {
      const int64_t rows = std::min(kTileRows, m1 - m);
      const float* a = pack_a ? packed_a.data() + (m - m0) * k : g.a + m * g.a_row_stride + k0;
      const int64_t row_stride = pack_a ? 1 : g.a_row_stride;
      const int64_t k_stride = pack_a ? kTileRows : 1;
      kRowTiles[rows](a, row_stride, k_stride, g.panels + n0 * g.k + k0 * kPanel, g.k * kPanel, k,
                      out + (m - m0) * out_stride, out_stride, width, store);
    }
  }
  for (int64_t i = 0; beside && i < m1 - m0; ++i) {
    float* c = g.c + (m0 + i) * g.ldc + n0;
    for (int64_t j = 0; j < width; ++j) c[j] += total[static_cast<size_t>(i * width + j)];
  }
}

void Gemm(const GemmArguments& g) {
  // A small product is cut finer, so that a few threads share it evenly.
  const int64_t task_rows = g.m >= 8 * kTaskRows ? kTaskRows : 2 * kTileRows;
  const int64_t row_tasks = (g.m + task_rows - 1) / task_rows;
  const int64_t col_width = kTaskPanels * kPanel;
  const int64_t col_tasks = (g.n + col_width - 1) / col_width;
  const auto task = [&](int64_t t) {
    const int64_t m0 = t / col_tasks * task_rows, n0 = t % col_tasks * col_width;
    Task(g, m0, std::min(g.m, m0 + task_rows), n0, std::min(g.n, n0 + col_width));
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

int64_t gemm_packed_size(int64_t k, int64_t n_cols) {
  const int64_t width = gemm_panel_width();
  return (n_cols + width - 1) / width * width * k;
}

void gemm_pack(const float* b, int64_t ldb, bool transpose_b, int64_t k, int64_t n, float* panels) {
  HWY_DYNAMIC_DISPATCH(Pack)(b, ldb, transpose_b, k, n, panels);
}

void gemm_packed(const GemmArguments& g) {
  HWY_DYNAMIC_DISPATCH(Gemm)(g);
}

}  // namespace cpu
}  // namespace gradus::kernels
#endif
