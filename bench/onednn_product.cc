#include "bench/onednn_product.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <dnnl.hpp>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {

namespace {

using dnnl::memory;

// One oneDNN thread's share of C: rows [m0, m0 + m), columns [n0, n0 + n).
struct Part {
  int64_t m0, n0, m, n;
  dnnl::matmul primitive;
  memory::desc a, b, c, scratchpad;
  memory packed, work;
};

memory::desc matrix(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  return memory::desc({rows, cols}, memory::data_type::f32, memory::dims{row_stride, col_stride});
}

}  // namespace

struct OnednnProduct::State {
  ProductShape shape;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<Part> parts;

  const float* b_part(const float* b, const Part& p) const { return b + p.n0 * (shape.transpose_b ? shape.k : 1); }

  Part make_part(int64_t m0, int64_t m, int64_t n0, int64_t n) {
    Part p{.m0 = m0,
           .n0 = n0,
           .m = m,
           .n = n,
           .primitive = {},
           .a = {},
           .b = {},
           .c = {},
           .scratchpad = {},
           .packed = {},
           .work = {}};
    p.a = shape.transpose_a ? matrix(m, shape.k, 1, shape.m) : matrix(m, shape.k, shape.k, 1);
    p.c = matrix(m, n, shape.n, 1);
    const memory::desc any({shape.k, n}, memory::data_type::f32, memory::format_tag::any);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine, p.a, any, p.c, attributes);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(p.a, any, p.c), attributes, engine);
#endif
    p.primitive = dnnl::matmul(description);
    p.b = description.weights_desc();
    p.work = memory(description.scratchpad_desc(), engine);
    // Parts of the same columns in the same layout read one copy.
    const auto same = [&](const Part& other) { return other.n0 == n0 && other.b == p.b; };
    const auto found = std::find_if(parts.begin(), parts.end(), same);
    p.packed = found != parts.end() ? found->packed : memory(p.b, engine);
    return p;
  }
};

OnednnProduct::OnednnProduct(const ProductShape& shape) : state_(std::make_unique<State>()) {
  kernels::active_isa();  // limits oneDNN to the instruction set asked for, if it is the first use
  State& s = *state_;
  s.shape = shape;
  omp_set_num_threads(1);
  const int64_t threads = pool().size();
  // Rows are shared where there are enough of them, in pieces of 256 so that no thread waits long; else columns.
  const bool by_rows = shape.m >= 32 * threads;
  const int64_t length = by_rows ? shape.m : shape.n;
  const int64_t n_pieces = by_rows ? std::max(threads, shape.m / 256) : threads;
  const int64_t piece = ((length + n_pieces - 1) / n_pieces + 15) / 16 * 16;
  try {
    for (int64_t at = 0; at < length; at += piece) {
      const int64_t size = std::min(piece, length - at);
      s.parts.push_back(by_rows ? s.make_part(at, size, 0, shape.n) : s.make_part(0, shape.m, at, size));
    }
  } catch (const dnnl::error& e) {
    fail(ErrorCode::unsupported, "bench: oneDNN cannot multiply {} x {} x {} here: {}", shape.m, shape.n, shape.k,
         e.what());
  }
}

OnednnProduct::~OnednnProduct() = default;

void OnednnProduct::pack(const float* b) {
  State& s = *state_;
  std::vector<void*> done;
  for (Part& p : s.parts) {
    if (std::find(done.begin(), done.end(), p.packed.get_data_handle()) != done.end()) continue;
    done.push_back(p.packed.get_data_handle());
    const memory::desc plain =
        s.shape.transpose_b ? matrix(s.shape.k, p.n, 1, s.shape.k) : matrix(s.shape.k, p.n, s.shape.n, 1);
    memory source(plain, s.engine, const_cast<float*>(s.b_part(b, p)));
    dnnl::reorder(source, p.packed).execute(s.stream, source, p.packed);
  }
}

void OnednnProduct::run(const float* a, float* c) const {
  const State& s = *state_;
  parallel_for(static_cast<int64_t>(s.parts.size()), [&](int64_t i) {
    omp_set_num_threads(1);  // per thread
    const Part& p = s.parts[static_cast<size_t>(i)];
    dnnl::stream stream(s.engine);
    const float* a_part = a + p.m0 * (s.shape.transpose_a ? 1 : s.shape.k);
    memory a_memory(p.a, s.engine, const_cast<float*>(a_part)), c_memory(p.c, s.engine, c + p.m0 * s.shape.n + p.n0);
    p.primitive.execute(stream, {{DNNL_ARG_SRC, a_memory},
                                 {DNNL_ARG_WEIGHTS, p.packed},
                                 {DNNL_ARG_DST, c_memory},
                                 {DNNL_ARG_SCRATCHPAD, p.work}});
  });
}

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("{}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace gradus::bench
