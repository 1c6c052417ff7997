#include "gradus/kernels/gemm.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <type_traits>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/cpu/gemm.h"
#include "gradus/kernels/cpu/gemm_streamed.h"
#include "gradus/kernels/cpu/onednn_gemm.h"
#include "gradus/kernels/dispatch.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/ref/gemm.h"

namespace gradus::kernels {

namespace {

std::atomic<GemmBackend> chosen_backend{GemmBackend::automatic};

DType widest(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

// `a_dtype` is that of A, which decides: C has it or is wider.
void check_operand(const Tensor& t, const char* what, DType a_dtype) {
  require(t.rank() == 2, "gemm: {} is {}, but must be a matrix", what, t.shape());
  if (!is_floating(a_dtype)) fail(ErrorCode::unsupported, "gemm: no kernel for {}; convert to f32", a_dtype);
  const bool is_result = *what == 'C';
  require(t.dtype() == a_dtype || (is_result && t.dtype() == widest(a_dtype)), "gemm: {} is {} but A is {}", what,
          t.dtype(), a_dtype);
  if (t.device() != Device{})
    fail(ErrorCode::unsupported, "gemm: {} is on {}; only the CPU multiplies today", what, name(t.device()));
}

void check(const Tensor& a, const Tensor& b, const Tensor& c, const GemmOptions& o) {
  check_operand(a, "A", a.dtype());
  check_operand(b, "B", a.dtype());
  check_operand(c, "C", a.dtype());
  const int64_t m = a.dim(o.transpose_a ? 1 : 0), k = a.dim(o.transpose_a ? 0 : 1);
  require(b.dim(o.transpose_b ? 1 : 0) == k && c.dim(0) == m && c.dim(1) == b.dim(o.transpose_b ? 0 : 1),
          "gemm: A{} is {}, B{} is {}, but C is {}", o.transpose_a ? "^T" : "", a.shape(), o.transpose_b ? "^T" : "",
          b.shape(), c.shape());
}

void check(const Tensor& a, const PackedMatrix& b, const Tensor& c) {
  check_operand(a, "A", b.dtype);
  check_operand(c, "C", a.dtype());
  require(a.dim(1) == b.k && c.dim(0) == a.dim(0) && c.dim(1) == b.n,
          "gemm: A is {}, packed B is [{}, {}], but C is {}", a.shape(), b.k, b.n, c.shape());
  GRADUS_CHECK(b.panel_width == cpu::gemm_panel_width());  // packed for another instruction set
}

bool is_reference(const Tensor& x) {
  return x.dtype() == DType::f64 || active_isa() == Isa::ref;
}

// Whether our kernel adds a bias on the way: what it stores is the f32 sum.
bool adds_bias(const Tensor& x, const Tensor& y) {
  return !is_reference(x) && y.dtype() == DType::f32 && x.dim(1) > 0 && y.numel() > 0;
}

template <class T>
void gemm_ref(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, int64_t k) {
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  const int64_t lda = a.dim(1), ldb = b.dim(1), k_block = gemm_k_block(k, o.transpose_a);
  const auto at_a = [&](int64_t i, int64_t kk) { return o.transpose_a ? pa[kk * lda + i] : pa[i * lda + kk]; };
  const auto at_b = [&](int64_t kk, int64_t j) { return o.transpose_b ? pb[j * ldb + kk] : pb[kk * ldb + j]; };
  if constexpr (sizeof(T) > 2) {
    ref::gemm(c.dim(0), c.dim(1), k, k_block, at_a, at_b, c.data<T>(), o.accumulate);
  } else {
    Tensor sum = c.dtype() == DType::f32 ? c : o.accumulate ? converted(c, DType::f32) : Tensor::empty(c.shape());
    const auto wide_a = [&](int64_t i, int64_t kk) { return to_float(at_a(i, kk)); };
    const auto wide_b = [&](int64_t kk, int64_t j) { return to_float(at_b(kk, j)); };
    if constexpr (std::is_same_v<T, BFloat16>) {
      ref::gemm_bf16(c.dim(0), c.dim(1), k, k_block, wide_a, wide_b, sum.data<float>(), o.accumulate);
    } else {
      ref::gemm(c.dim(0), c.dim(1), k, k_block, wide_a, wide_b, sum.data<float>(), o.accumulate);
    }
    if (c.dtype() != DType::f32) convert(sum, c);
  }
}

void gemm_ref(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, int64_t k) {
  if (a.dtype() == DType::f64) return gemm_ref<double>(a, b, c, o, k);
  if (a.dtype() == DType::f32) return gemm_ref<float>(a, b, c, o, k);
  if (a.dtype() == DType::bf16) return gemm_ref<BFloat16>(a, b, c, o, k);
  gemm_ref<Float16>(a, b, c, o, k);
}

cpu::GemmRight right_operand(const Tensor& b, bool transpose_b) {
  return {.lane = b.dtype() == DType::bf16 ? cpu::GemmLane::bf16_pair : cpu::GemmLane::f32,
          .b = b.raw(),
          .ldb = b.dim(1),
          .transpose = transpose_b,
          .k = b.dim(transpose_b ? 1 : 0),
          .n = b.dim(transpose_b ? 0 : 1)};
}

Tensor pack(const Tensor& b, bool transpose_b) {
  if (b.dtype() == DType::f16) return pack(converted(b, DType::f32), transpose_b);
  const cpu::GemmRight right = right_operand(b, transpose_b);
  Tensor panels = Tensor::empty({cpu::gemm_packed_size(right.k_lanes(), right.n)});
  cpu::gemm_pack(right, panels.data<float>());
  return panels;
}

// A bf16 matrix with a column of zeros behind its odd number of columns, so that its rows are whole pairs.
Tensor with_even_columns(const Tensor& a) {
  const int64_t rows = a.dim(0), cols = a.dim(1);
  Tensor out = Tensor::zeros({rows, cols + 1}, DType::bf16);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(a.data<BFloat16>() + r * cols, cols, out.data<BFloat16>() + r * (cols + 1));
  }
  return out;
}

// C = op(A) op(B) by our kernel; f16 is widened, exactly, and multiplied as f32.
void gemm_highway(const Tensor& a, const cpu::GemmPanels& b, Tensor& c, const GemmOptions& o, int64_t k,
                  int64_t k_block, const Tensor* bias) {
  if (a.dtype() == DType::f16) return gemm_highway(converted(a, DType::f32), b, c, o, k, k_block, bias);
  if (a.dtype() == DType::bf16 && !o.transpose_a && a.dim(1) % 2 != 0) {
    return gemm_highway(with_even_columns(a), b, c, o, k, k_block, bias);
  }
  cpu::gemm_packed({.lane = a.dtype() == DType::bf16 ? cpu::GemmLane::bf16_pair : cpu::GemmLane::f32,
                    .m = c.dim(0),
                    .n = c.dim(1),
                    .k = k,
                    .k_block = k_block,
                    .a = a.raw(),
                    .lda = a.dim(1),
                    .transpose_a = o.transpose_a,
                    .b = b,
                    .c = c.raw(),
                    .c_dtype = c.dtype(),
                    .ldc = c.dim(1),
                    .accumulate = o.accumulate,
                    .bias = bias == nullptr ? nullptr : bias->data<float>()});
}

// Whether gemm_streamed can compute C = A W^T.
bool is_streamed(const Tensor& a, const Tensor& w, const Tensor& c, const GemmOptions& o) {
  if (o.transpose_a || !o.transpose_b || o.accumulate) return false;
  if (a.dim(1) == 0 || c.dim(0) == 0 || w.dim(0) < cpu::kStreamedColumns) return false;
  const GemmBackend backend = gemm_backend();
  return backend == GemmBackend::streamed ||
         (backend == GemmBackend::automatic && c.dim(0) <= cpu::gemm_streamed_rows(w.dim(0), w.dim(1)));
}

// Y = X W^T + bias of all of them, which is_streamed holds for.
void multiply_streamed(const Tensor& x, std::span<const cpu::StreamedOutput> outputs, DType dtype, int64_t k) {
  if (x.dtype() == DType::f16) return multiply_streamed(converted(x, DType::f32), outputs, dtype, k);
  if (x.dtype() == DType::bf16 && x.dim(1) % 2 != 0) return multiply_streamed(with_even_columns(x), outputs, dtype, k);
  cpu::gemm_streamed({.dtype = dtype,
                      .m = x.dim(0),
                      .k = k,
                      .k_block = gemm_k_block(k, false),
                      .x = x.raw(),
                      .ldx = x.dim(1),
                      .outputs = outputs});
}

cpu::StreamedOutput streamed_output(const Tensor& w, const Tensor* bias, Tensor& y) {
  return {.w = w.raw(),
          .n = w.dim(0),
          .bias = bias == nullptr ? nullptr : bias->data<float>(),
          .y = y.raw(),
          .y_dtype = y.dtype()};
}

bool onednn_is_worth_it(int64_t m, int64_t n, int64_t k) {
  return m >= 768 && n >= 64 && k >= 64;
}

// Whether panels are read from B where it lies: a small one, of whole panels side by side.
bool is_panels(const Tensor& b, bool transpose_b) {
  return b.dtype() == DType::f32 && !transpose_b && b.numel() <= cpu::kReadInPlace &&
         b.dim(1) % cpu::gemm_panel_width() == 0;
}

// The same with a plain B.
void gemm_highway(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, int64_t k, int64_t k_block,
                  const Tensor* bias) {
  if (is_panels(b, o.transpose_b)) {
    const cpu::GemmPanels panels{.data = b.data<float>(), .panel_step = cpu::gemm_panel_width(), .k_step = b.dim(1)};
    return gemm_highway(a, panels, c, o, k, k_block, bias);
  }
  const Tensor panels = pack(b, o.transpose_b);
  const int64_t lanes = right_operand(b, o.transpose_b).k_lanes();
  gemm_highway(a, cpu::gemm_panels(panels.data<float>(), lanes), c, o, k, k_block, bias);
}

// Whether C is so narrow that its vectors would be nearly empty, and long enough for its transpose to be faster.
bool is_narrow(const Tensor& a, const Tensor& c) {
  return a.dtype() == DType::f32 && c.dim(1) <= 4 && c.dim(0) >= 32;
}

// The product by C^T = op(B)^T op(A)^T: each sum over k is the same.
void gemm_narrow(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, int64_t k, int64_t k_block,
                 const Tensor* bias) {
  const int64_t m = c.dim(0), n = c.dim(1);
  Tensor transposed = Tensor::empty({n, m});
  gemm_highway(b, a, transposed, {.transpose_a = !o.transpose_b, .transpose_b = !o.transpose_a}, k, k_block, nullptr);
  const float* from = transposed.data<float>();
  float* to = c.data<float>();
  for (int64_t j = 0; j < n; ++j, from += m) {
    const float offset = bias == nullptr ? 0 : bias->data<float>()[j];
    for (int64_t i = 0; i < m; ++i) {
      float& x = to[i * n + j];
      x = o.accumulate ? x + from[i] : bias == nullptr ? from[i] : from[i] + offset;
    }
  }
}

// C = op(A) op(B), and then + bias [N] in each row, unless it is null: of an f32 C that is assigned, and K > 0. By our
// kernels or oneDNN's.
void multiply(const Tensor& a, const Tensor& b, Tensor& c, const GemmOptions& o, const Tensor* bias = nullptr) {
  const int64_t m = c.dim(0), n = c.dim(1), k = a.dim(o.transpose_a ? 0 : 1), k_block = gemm_k_block(k, o.transpose_a);
  if (is_narrow(a, c)) return gemm_narrow(a, b, c, o, k, k_block, bias);
  if (is_streamed(a, b, c, o)) {
    const cpu::StreamedOutput output = streamed_output(b, bias, c);
    return multiply_streamed(a, std::span(&output, 1), a.dtype(), k);
  }
  const GemmBackend backend = gemm_backend();
  const bool plain = a.dtype() == DType::f32 && !o.transpose_a && !o.accumulate && k > 0;
  int64_t done = 0;
  if (plain && (backend == GemmBackend::onednn || (backend == GemmBackend::automatic && onednn_is_worth_it(m, n, k)))) {
    done = cpu::onednn_gemm(m, n, k, a.data<float>(), b.data<float>(), o.transpose_b, c.data<float>());
    if (bias != nullptr && done > 0) {
      Tensor rows = c.rows(0, done);
      add_bias(rows, *bias);
    }
    if (done == m) return;
  }
  if (done > 0) {
    Tensor rest = c.rows(done, m);
    gemm_highway(a.rows(done, m), b, rest, o, k, k_block, bias);
  } else {
    gemm_highway(a, b, c, o, k, k_block, bias);
  }
}

void multiply(const Tensor& a, const PackedMatrix& b, Tensor& c, const Tensor* bias = nullptr) {
  const cpu::GemmPanels panels = cpu::gemm_panels(b.panels.data<float>(), b.lanes());
  gemm_highway(a, panels, c, {}, b.k, gemm_k_block(b.k, false), bias);
}

}  // namespace

int64_t gemm_k_block(int64_t k, bool transpose_a) {
  return transpose_a || k <= 1024 ? 512 : 1024;
}

void gemm(const Tensor& a, const Tensor& b, Tensor& c, GemmOptions o) {
  check(a, b, c, o);
  if (c.numel() == 0) return;
  if (is_reference(a)) return gemm_ref(a, b, c, o, a.dim(o.transpose_a ? 0 : 1));
  multiply(a, b, c, o);
}

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  check(x, weight, y, {.transpose_b = true});
  if (adds_bias(x, y)) {
    require_tensor("linear", "bias", bias, {y.dim(1)}, y);
    return multiply(x, weight, y, {.transpose_b = true}, &bias);
  }
  gemm(x, weight, y, {.transpose_b = true});
  add_bias(y, bias);
}

void linear(const Tensor& x, std::span<const LinearMap> maps) {
  constexpr size_t kMost = 4;
  const auto each = [&] {
    for (const LinearMap& map : maps) {
      if (map.bias != nullptr) {
        linear(x, map.weight, *map.bias, map.y);
      } else {
        gemm(x, map.weight, map.y, {.transpose_b = true});
      }
    }
  };
  bool streamed = maps.size() <= kMost;
  for (const LinearMap& map : maps) {
    check(x, map.weight, map.y, {.transpose_b = true});
    if (map.bias != nullptr)
      require_tensor("linear", "bias", *map.bias, {map.y.dim(1)}, map.y, computed_in(map.y.dtype()));
    streamed = streamed && !is_reference(x) && is_streamed(x, map.weight, map.y, {.transpose_b = true});
  }
  if (!streamed) return each();
  std::array<cpu::StreamedOutput, kMost> outputs;
  for (size_t i = 0; i < maps.size(); ++i) outputs[i] = streamed_output(maps[i].weight, maps[i].bias, maps[i].y);
  multiply_streamed(x, std::span(outputs).first(maps.size()), x.dtype(), x.dim(1));
}

PackedMatrix pack_matrix(const Tensor& b, bool transpose_b) {
  check_operand(b, "B", b.dtype());
  PackedMatrix packed{
      .dtype = b.dtype(), .k = b.dim(transpose_b ? 1 : 0), .n = b.dim(transpose_b ? 0 : 1), .transpose_b = transpose_b};
  if (is_reference(b)) {
    packed.panels = b.clone();
    return packed;
  }
  packed.panel_width = cpu::gemm_panel_width();
  packed.panels = pack(b, transpose_b);
  return packed;
}

void gemm(const Tensor& a, const PackedMatrix& b, Tensor& c) {
  if (b.panel_width == 0) return gemm(a, b.panels, c, {.transpose_b = b.transpose_b});
  check(a, b, c);
  if (c.numel() > 0) multiply(a, b, c);
}

void linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Tensor& y) {
  if (weight.panel_width != 0 && adds_bias(x, y)) {
    check(x, weight, y);
    require_tensor("linear", "bias", bias, {y.dim(1)}, y);
    return multiply(x, weight, y, &bias);
  }
  gemm(x, weight, y);
  add_bias(y, bias);
}

void set_gemm_backend(GemmBackend backend) {
  chosen_backend.store(backend, std::memory_order_relaxed);
}
GemmBackend gemm_backend() {
  return chosen_backend.load(std::memory_order_relaxed);
}

std::string_view name(GemmBackend backend) {
  constexpr std::string_view kNames[] = {"automatic", "highway", "onednn", "streamed"};
  return kNames[static_cast<int>(backend)];
}

bool onednn_keeps_contract(int64_t k, int64_t n, bool transpose_b) {
  return cpu::onednn_probe(n, k, transpose_b);
}

}  // namespace gradus::kernels
