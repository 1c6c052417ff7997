#include "gradus/kernels/cpu/onednn_gemm.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
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

// A product with the weights in oneDNN's own blocked layout. Each thread has its own: a primitive shared by threads is
// not safe without this.
struct Product {
  dnnl::matmul primitive;
  memory a, b, c, scratchpad;
  std::unordered_map<int, memory> arguments;

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
    arguments = {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, scratchpad}};
  }

  void run(dnnl::stream& stream, const float* a_data, void* b_data, float* c_data) {
    a.set_data_handle(const_cast<float*>(a_data));
    b.set_data_handle(b_data);
    c.set_data_handle(c_data);
    primitive.execute(stream, arguments);
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
    reorder.execute(stream, memories.first, memories.second);
  }
};

ThreadState& thread_state() {
  static thread_local ThreadState state;
  return state;
}

void multiply(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transpose_b, float* c) {
  const int64_t chunk = std::min(m, kChunkRows);
  const Product& first = thread_state().product(chunk, n, k);
  const memory::desc packed_desc = first.b.get_desc();
  Tensor packed = Tensor::empty({static_cast<int64_t>(packed_desc.get_size())}, DType::u8);
  thread_state().pack(b, transpose_b, n, k, packed_desc, packed.raw());
  parallel_ranges(m, chunk, [&](int64_t begin, int64_t end) {
    ThreadState& state = thread_state();
    Product& product = state.product(end - begin, n, k);
    if (product.b.get_desc() == packed_desc) {
      product.run(state.stream, a + begin * k, packed.raw(), c + begin * n);
      return;
    }
    Tensor own = Tensor::empty({static_cast<int64_t>(product.b.get_desc().get_size())},
                               DType::u8);  // the tail wants another layout
    const memory::desc plain({k, n}, memory::data_type::f32,
                             transpose_b ? memory::format_tag::ba : memory::format_tag::ab);
    memory source(plain, engine(), const_cast<float*>(b)), target(product.b.get_desc(), engine(), own.raw());
    dnnl::reorder(source, target).execute(state.stream, source, target);
    product.run(state.stream, a + begin * k, own.raw(), c + begin * n);
  });
}

// Random products of a few row counts against the scalar rule, bit for bit.
bool probe(int64_t n, int64_t k, bool transpose_b) {
  if (n == 0 || k == 0) return false;
  Rng rng(1, Purpose::test, static_cast<uint64_t>(n * 4096 + k));
  const int64_t columns = n;
  std::vector<float> b(static_cast<size_t>(k * columns));
  for (float& x : b) x = rng.uniform_f32() - 0.5f;
  for (const int64_t m : {int64_t{5}, kChunkRows}) {
    std::vector<float> a(static_cast<size_t>(m * k)), c(static_cast<size_t>(m * n));
    for (float& x : a) x = rng.uniform_f32() - 0.5f;
    multiply(m, n, k, a.data(), b.data(), transpose_b, c.data());
    for (int64_t sample = 0; sample < 256; ++sample) {  // elements, not whole rows: the reference is slow
      const int64_t i = rng.below(m), j = rng.below(n);
      float expected = 0;
      ref::gemm(
          1, 1, k, gemm_k_block(k, false), [&](int64_t, int64_t kk) { return a[static_cast<size_t>(i * k + kk)]; },
          [&](int64_t kk, int64_t) { return b[static_cast<size_t>(transpose_b ? j * k + kk : kk * n + j)]; }, &expected,
          false);
      if (std::memcmp(&expected, &c[static_cast<size_t>(i * n + j)], sizeof expected) != 0) return false;
    }
  }
  return true;
}

}  // namespace

bool onednn_probe(int64_t n, int64_t k, bool transpose_b) {
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, bool, Isa>, bool> verdicts;
  const auto key = std::make_tuple(n, k, transpose_b, active_isa());
  std::lock_guard lock(mutex);
  const auto found = verdicts.find(key);
  if (found != verdicts.end()) return found->second;
  bool verdict = false;
  try {
    verdict = probe(n, k, transpose_b);
  } catch (const dnnl::error&) {
    verdict = false;  // oneDNN cannot create it here
  }
  verdicts.emplace(key, verdict);
  return verdict;
}

bool onednn_gemm(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transpose_b, float* c) {
  if (!onednn_probe(n, k, transpose_b)) return false;
  multiply(m, n, k, a, b, transpose_b, c);
  return true;
}

}  // namespace gradus::kernels::cpu
