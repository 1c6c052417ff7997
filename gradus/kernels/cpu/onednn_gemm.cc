#include "gradus/kernels/cpu/onednn_gemm.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <dnnl.hpp>
#include <initializer_list>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/ref/gemm.h"

namespace gradus::kernels::cpu {

namespace {

using dnnl::memory;

// Rows of one execution: enough to reach the kernel's full rate, few enough that two cores share a small batch evenly.
constexpr int64_t kChunkRows = 192;

const dnnl::engine& engine() {
  static const dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

struct Key {
  int64_t m, n, k;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const { return static_cast<size_t>(key.m * 1000003 + key.n * 8191 + key.k); }
};

// By the C interface: dnnl.hpp builds a map and a vector for each execution.
void execute(const dnnl::primitive& primitive, const dnnl::stream& stream,
             std::initializer_list<dnnl_exec_arg_t> arguments) {
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()), std::data(arguments)),
      "could not execute a primitive");
}

// A product with the weights in oneDNN's own blocked layout. Each thread has its own: a primitive shared by threads is
// not safe without this.
struct Product {
  dnnl::matmul primitive;
  memory a, b, c, scratchpad;

  Product(int64_t m, int64_t n, int64_t k) {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto f32 = memory::data_type::f32;
    const memory::desc a_desc({m, k}, f32, memory::format_tag::ab);
    const memory::desc b_desc({k, n}, f32, memory::format_tag::any);
    const memory::desc c_desc({m, n}, f32, memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine(), a_desc, b_desc, c_desc, attributes);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a_desc, b_desc, c_desc), attributes, engine());
#endif
    primitive = dnnl::matmul(description);
    a = memory(description.src_desc(), engine(), nullptr);
    b = memory(description.weights_desc(), engine(), nullptr);
    c = memory(description.dst_desc(), engine(), nullptr);
    scratchpad = memory(description.scratchpad_desc(), engine());
  }

  void run(dnnl::stream& stream, const float* a_data, void* b_data, float* c_data) {
    a.set_data_handle(const_cast<float*>(a_data));
    b.set_data_handle(b_data);
    c.set_data_handle(c_data);
    execute(primitive, stream,
            {{DNNL_ARG_SRC, a.get()},
             {DNNL_ARG_WEIGHTS, b.get()},
             {DNNL_ARG_DST, c.get()},
             {DNNL_ARG_SCRATCHPAD, scratchpad.get()}});
  }
};

struct ThreadState {
  dnnl::stream stream{engine()};
  std::unordered_map<Key, Product, KeyHash> products;
  std::map<std::tuple<int64_t, int64_t, bool>, std::pair<dnnl::reorder, std::pair<memory, memory>>> reorders;

  ThreadState() { omp_set_num_threads(1); }  // our pool is the only one that cuts work

  Product& product(int64_t m, int64_t n, int64_t k) {
    return products.try_emplace(Key{m, n, k}, m, n, k).first->second;
  }

  void pack(const float* b, bool transpose_b, int64_t n, int64_t k, const memory::desc& target, void* out) {
    const auto key = std::make_tuple(n, k, transpose_b);
    auto found = reorders.find(key);
    if (found == reorders.end()) {
      const memory::desc source_desc({k, n}, memory::data_type::f32,
                                     transpose_b ? memory::format_tag::ba : memory::format_tag::ab);
      memory source(source_desc, engine(), nullptr), packed(target, engine(), nullptr);
      dnnl::reorder reorder(source, packed);
      found = reorders.emplace(key, std::make_pair(reorder, std::make_pair(source, packed))).first;
    }
    auto& [reorder, memories] = found->second;
    memories.first.set_data_handle(const_cast<float*>(b));
    memories.second.set_data_handle(out);
    execute(reorder, stream, {{DNNL_ARG_FROM, memories.first.get()}, {DNNL_ARG_TO, memories.second.get()}});
  }
};

ThreadState& thread_state() {
  static thread_local ThreadState state;
  return state;
}

// `chunk` divides m.
void multiply(int64_t m, int64_t chunk, int64_t n, int64_t k, const float* a, const float* b, bool transpose_b,
              float* c) {
  const memory::desc packed_desc = thread_state().product(chunk, n, k).b.get_desc();
  Tensor packed = Tensor::empty({static_cast<int64_t>(packed_desc.get_size())}, DType::u8);
  thread_state().pack(b, transpose_b, n, k, packed_desc, packed.raw());
  parallel_for(m / chunk, [&](int64_t i) {
    ThreadState& state = thread_state();
    state.product(chunk, n, k).run(state.stream, a + i * chunk * k, packed.raw(), c + i * chunk * n);
  });
}

// One random product of `rows` rows against the scalar rule, bit for bit: every row and every column, each at the
// start, the middle and the end of the other, for oneDNN's kernels treat full and partial tiles differently.
bool random_product_keeps_order(Rng& rng, int64_t rows, int64_t n, int64_t k, bool transpose_b) {
  std::vector<float> a(static_cast<size_t>(rows * k)), b(static_cast<size_t>(k * n)), c(static_cast<size_t>(rows * n));
  for (float& x : a) x = rng.uniform_f32() - 0.5f;
  for (float& x : b) x = rng.uniform_f32() - 0.5f;
  multiply(rows, rows, n, k, a.data(), b.data(), transpose_b, c.data());
  const auto keeps_order = [&](int64_t i, int64_t j) {
    float expected = 0;
    ref::gemm(
        1, 1, k, gemm_k_block(k, false), [&](int64_t, int64_t kk) { return a[static_cast<size_t>(i * k + kk)]; },
        [&](int64_t kk, int64_t) { return b[static_cast<size_t>(transpose_b ? j * k + kk : kk * n + j)]; }, &expected,
        false);
    return std::bit_cast<uint32_t>(expected) == std::bit_cast<uint32_t>(c[static_cast<size_t>(i * n + j)]);
  };
  for (const int64_t j : {int64_t{0}, n / 2, n - 1}) {
    for (int64_t i = 0; i < rows; ++i) {
      if (!keeps_order(i, j)) return false;
    }
  }
  for (const int64_t i : {int64_t{0}, rows / 2, rows - 1}) {
    for (int64_t j = 0; j < n; ++j) {
      if (!keeps_order(i, j)) return false;
    }
  }
  return true;
}

// On AVX2 a row's bits depend on how many rows there are: the verdict holds for this number alone.
bool probe(int64_t rows, int64_t n, int64_t k, bool transpose_b) {
  constexpr int64_t kLeastCompared = 512;  // a single element of a small product is often right by chance
  Rng rng(1, Purpose::test, static_cast<uint64_t>(n * 4096 + k));
  for (int64_t compared = 0; compared < kLeastCompared; compared += rows + n) {
    if (!random_product_keeps_order(rng, rows, n, k, transpose_b)) return false;
  }
  return true;
}

bool probe_once(int64_t rows, int64_t n, int64_t k, bool transpose_b) {
  if (rows == 0 || n == 0 || k == 0) return false;
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, int64_t, bool, Isa>, bool> verdicts;
  const auto key = std::make_tuple(rows, n, k, transpose_b, active_isa());
  std::lock_guard lock(mutex);
  const auto found = verdicts.find(key);
  if (found != verdicts.end()) return found->second;
  bool verdict = false;
  try {
    verdict = probe(rows, n, k, transpose_b);
  } catch (const dnnl::error&) {
    verdict = false;  // oneDNN cannot create it here
  }
  verdicts.emplace(key, verdict);
  return verdict;
}

}  // namespace

bool onednn_probe(int64_t n, int64_t k, bool transpose_b) {
  return probe_once(kChunkRows, n, k, transpose_b);
}

int64_t onednn_gemm(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transpose_b, float* c) {
  const int64_t chunk = std::min(m, kChunkRows);
  if (!probe_once(chunk, n, k, transpose_b)) return 0;
  const int64_t rows = m / chunk * chunk;
  multiply(rows, chunk, n, k, a, b, transpose_b, c);
  return rows;
}

}  // namespace gradus::kernels::cpu
