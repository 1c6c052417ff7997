#include "gradus/kernels/gemm.h"

#include <atomic>

#include "gradus/kernels/cpu/gemm.h"
#include "gradus/kernels/cpu/onednn_gemm.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/gemm.h"

namespace gradus::kernels {

namespace {

std::atomic<GemmBackend> chosen_backend{GemmBackend::automatic};

void check_operand(const Tensor& t, const char* what, DType dtype) {
  require(t.rank() == 2, "gemm: {} is {}, but must be a matrix", what, to_string(t.shape()));
  require(t.dtype() == dtype, "gemm: {} is {} but C is {}", what, name(t.dtype()), name(dtype));
  if (dtype != DType::f32 && dtype != DType::f64) {
    fail(ErrorCode::unsupported, "gemm: no kernel for {}; convert to f32 or f64", name(dtype));
  }
  if (t.device() != Device{})
    fail(ErrorCode::unsupported, "gemm: {} is on {}; only the CPU multiplies today", what, name(t.device()));
}

template <class T>
void gemm_ref(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, int64_t k) {
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  const int64_t lda = a.dim(1), ldb = b.dim(1);
  ref::gemm(
      c.dim(0), c.dim(1), k, gemm_k_block(k, o.transpose_a),
      [&](int64_t i, int64_t kk) { return o.transpose_a ? pa[kk * lda + i] : pa[i * lda + kk]; },
      [&](int64_t kk, int64_t j) { return o.transpose_b ? pb[j * ldb + kk] : pb[kk * ldb + j]; }, c.data<T>(),
      o.accumulate);
}

void gemm_highway(const Tensor& a, const float* panels, Tensor& c, const GemmOptions& o, int64_t k) {
  const int64_t lda = a.dim(1);
  cpu::gemm_packed({.m = c.dim(0),
                    .n = c.dim(1),
                    .k = k,
                    .k_block = gemm_k_block(k, o.transpose_a),
                    .a = a.data<float>(),
                    .a_row_stride = o.transpose_a ? 1 : lda,
                    .a_k_stride = o.transpose_a ? lda : 1,
                    .panels = panels,
                    .c = c.data<float>(),
                    .ldc = c.dim(1),
                    .accumulate = o.accumulate});
}

bool onednn_is_worth_it(int64_t m, int64_t n, int64_t k) {
  return m >= 768 && n >= 64 && k >= 64;
}

}  // namespace

int64_t gemm_k_block(int64_t k, bool transpose_a) {
  return transpose_a || k <= 1024 ? 512 : 1024;
}

void gemm(const Tensor& a, const Tensor& b, Tensor& c, GemmOptions o) {
  check_operand(c, "C", c.dtype());
  check_operand(a, "A", c.dtype());
  check_operand(b, "B", c.dtype());
  const int64_t m = a.dim(o.transpose_a ? 1 : 0), k = a.dim(o.transpose_a ? 0 : 1);
  const int64_t bk = b.dim(o.transpose_b ? 1 : 0), n = b.dim(o.transpose_b ? 0 : 1);
  require(bk == k && c.dim(0) == m && c.dim(1) == n, "gemm: A{} is {}, B{} is {}, but C is {}",
          o.transpose_a ? "^T" : "", to_string(a.shape()), o.transpose_b ? "^T" : "", to_string(b.shape()),
          to_string(c.shape()));
  if (m == 0 || n == 0) return;
  if (c.dtype() == DType::f64) return gemm_ref<double>(a, b, c, o, k);
  if (active_isa() == Isa::ref) return gemm_ref<float>(a, b, c, o, k);

  const GemmBackend backend = gemm_backend();
  const bool plain = !o.transpose_a && !o.accumulate && k > 0;
  int64_t done = 0;
  if (plain && (backend == GemmBackend::onednn || (backend == GemmBackend::automatic && onednn_is_worth_it(m, n, k)))) {
    done = cpu::onednn_gemm(m, n, k, a.data<float>(), b.data<float>(), o.transpose_b, c.data<float>());
    if (done == m) return;
  }
  Tensor panels = Tensor::empty({cpu::gemm_packed_size(k, n)});
  cpu::gemm_pack(b.data<float>(), b.dim(1), o.transpose_b, k, n, panels.data<float>());
  if (done == 0) return gemm_highway(a, panels.data<float>(), c, o, k);
  Tensor rest = c.rows(done, m);
  gemm_highway(a.rows(done, m), panels.data<float>(), rest, o, k);
}

PackedMatrix pack_matrix(const Tensor& b, bool transpose_b) {
  check_operand(b, "B", b.dtype());
  PackedMatrix packed{.k = b.dim(transpose_b ? 1 : 0), .n = b.dim(transpose_b ? 0 : 1), .transpose_b = transpose_b};
  if (b.dtype() == DType::f64 || active_isa() == Isa::ref) {
    packed.panels = b.clone();
    return packed;
  }
  packed.panel_width = cpu::gemm_panel_width();
  packed.panels = Tensor::empty({cpu::gemm_packed_size(packed.k, packed.n)});
  cpu::gemm_pack(b.data<float>(), b.dim(1), transpose_b, packed.k, packed.n, packed.panels.data<float>());
  return packed;
}

void gemm(const Tensor& a, const PackedMatrix& b, Tensor& c) {
  if (b.panel_width == 0) return gemm(a, b.panels, c, {.transpose_b = b.transpose_b});
  check_operand(c, "C", c.dtype());
  check_operand(a, "A", c.dtype());
  require(a.dim(1) == b.k && c.dim(0) == a.dim(0) && c.dim(1) == b.n,
          "gemm: A is {}, packed B is [{}, {}], but C is {}", to_string(a.shape()), b.k, b.n, to_string(c.shape()));
  GRADUS_CHECK(b.panel_width == cpu::gemm_panel_width());  // packed for another instruction set
  if (c.numel() == 0) return;
  gemm_highway(a, b.panels.data<float>(), c, {}, b.k);
}

void set_gemm_backend(GemmBackend backend) {
  chosen_backend.store(backend, std::memory_order_relaxed);
}
GemmBackend gemm_backend() {
  return chosen_backend.load(std::memory_order_relaxed);
}

std::string_view name(GemmBackend backend) {
  constexpr std::string_view kNames[] = {"automatic", "highway", "onednn"};
  return kNames[static_cast<int>(backend)];
}

bool onednn_keeps_contract(int64_t k, int64_t n, bool transpose_b) {
  return cpu::onednn_probe(n, k, transpose_b);
}

}  // namespace gradus::kernels
