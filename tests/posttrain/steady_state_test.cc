// In the steady state of training nothing of ours calls operator new and no tensor storage is created. This file
// replaces operator new for its whole program; it counts only while a test asks for it.
#include <dlfcn.h>
#include <execinfo.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>

#include "gradus/kernels/gemm.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/run/train_step.h"
#include "tests/posttrain/small_task.h"

// The compiler sees free inlined into callers of new and does not know that new here is malloc.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> n_ours{0}, n_dnnl{0};
void* first_callers[8];  // of the first one of ours, for the message
std::atomic<int> n_callers{0};

// What oneDNN allocates inside its library is its own business.
bool is_inside_dnnl(void* const* frames, int n) {
  for (int i = 0; i < n; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) != 0 && std::string_view(info.dli_fname).find("libdnnl") != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

void count() {
  thread_local bool busy = false;
  if (!counting.load(std::memory_order_relaxed) || busy) return;
  busy = true;
  void* frames[32];
  const int n = backtrace(frames, 32);
  if (is_inside_dnnl(frames, n)) {
    ++n_dnnl;
  } else if (n_ours++ == 0) {
    for (int i = 0; i < std::min(n, 8); ++i) first_callers[i] = frames[i];
    n_callers = std::min(n, 8);
  }
  busy = false;
}

void* allocate_or_null(size_t bytes, size_t alignment) noexcept {
  count();
  const size_t size = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  return alignment <= alignof(std::max_align_t) ? std::malloc(size) : std::aligned_alloc(alignment, size);
}

void* allocate(size_t bytes, size_t alignment = 1) {
  void* p = allocate_or_null(bytes, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// All forms: a sanitizer's own would not call these.
using std::align_val_t, std::nothrow_t;
void* operator new(size_t n) {
  return allocate(n);
}
void* operator new[](size_t n) {
  return allocate(n);
}
void* operator new(size_t n, align_val_t a) {
  return allocate(n, static_cast<size_t>(a));
}
void* operator new[](size_t n, align_val_t a) {
  return allocate(n, static_cast<size_t>(a));
}
void* operator new(size_t n, const nothrow_t&) noexcept {
  return allocate_or_null(n, 1);
}
void* operator new[](size_t n, const nothrow_t&) noexcept {
  return allocate_or_null(n, 1);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete[](void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, align_val_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t, align_val_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, size_t, align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, const nothrow_t&) noexcept {
  std::free(p);
}
void operator delete[](void* p, const nothrow_t&) noexcept {
  std::free(p);
}

namespace gradus::posttrain {
namespace {

struct Counts {
  int64_t allocations = 0, in_dnnl = 0, storages = 0;
  std::string callers;
};

template <class Step>
Counts counts_of(Step step) {
  void* warm[1];
  backtrace(warm, 1);  // loads its library on first use
  n_ours = 0, n_dnnl = 0, n_callers = 0;
  const int64_t storages = tensor_storages_created();
  counting = true;
  step();
  counting = false;
  Counts c{.allocations = n_ours, .in_dnnl = n_dnnl, .storages = tensor_storages_created() - storages, .callers = {}};
  char** names = backtrace_symbols(first_callers, n_callers);
  for (int i = 0; i < n_callers; ++i) c.callers += std::string("\n  ") + names[i];
  std::free(names);
  return c;
}

// Of one call of `step` after a few that warm up. A worker makes its own buffers when it first gets work of a shape,
// and how soon that is nobody knows: with workers, the steady state is the first of many steps that counts nothing.
template <class Step>
Counts steady_state(Step step) {
  for (int i = 0; i < 4; ++i) step();
  Counts c = counts_of(step);
  for (int i = 0; i < 30 && pool().size() > 1 && (c.allocations > 0 || c.storages > 0); ++i) c = counts_of(step);
  return c;
}

// A model and a fixed batch, enough rows for oneDNN and for several micro-batches.
struct Loop {
  lm::Model model;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<TrainSequence> sequences;
  optim::AdamW optimiser{model.transformer().parameters(), {.weight_decay = 0.01}};
  PackedLikelihood likelihood{model.transformer(), 1.0, 1000};
  run::TrainStep train_step;

  explicit Loop(int64_t shards = 1, nn::Precision precision = nn::Precision::fp32)
      : model(lm::Model::create(
            {.layers = 1, .width = 64, .heads = 4, .kv_heads = 2, .max_positions = 128, .qkv_bias = true},
            lm::character_tokenizer(Chain().alphabet(), Chain().end_of_text()), 1, precision)),
        train_step(optimiser, {.clip_norm = 1, .shards = shards}) {
    model.transformer().allocate_gradients();
    for (uint64_t i = 0; i < 32; ++i) {
      tokens.push_back(kernels::random_ids(20 + static_cast<int64_t>(3 * i % 71), model.tokenizer().n_vocab(), i));
    }
    for (const auto& t : tokens) sequences.push_back({t, 4});
  }

  void step() {
    train_step.run(0, 1e-3, [this](int64_t, const auto& backward) {
      likelihood.run(
          sequences, [](size_t, std::span<const float>) { return 1e-3; }, backward);
    });
  }
};

template <class Body>
void with_backend(kernels::GemmBackend backend, Body body) {
  const kernels::GemmBackend before = kernels::gemm_backend();
  kernels::set_gemm_backend(backend);
  body();
  kernels::set_gemm_backend(before);
}

void expect_no_allocations(Loop& loop) {
  const Counts c = steady_state([&] { loop.step(); });
  EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
  EXPECT_EQ(c.storages, 0);
}

TEST(SteadyState, ATrainStepAllocatesNothing) {
  kernels::for_1_2_3_threads([] {
    with_backend(kernels::GemmBackend::highway, [] {
      Loop loop;
      const Counts c = steady_state([&] { loop.step(); });
      EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
      EXPECT_EQ(c.in_dnnl, 0);
      EXPECT_EQ(c.storages, 0);
    });
  });
}

TEST(SteadyState, ATrainStepWithOnednnAllocatesNothingOutsideIt) {
  kernels::for_1_2_3_threads([] {
    Loop loop;
    expect_no_allocations(loop);
  });
}

TEST(SteadyState, ATrainStepInShardsAllocatesNothing) {
  Loop loop(5);
  expect_no_allocations(loop);
}

TEST(SteadyState, ATrainStepIn16BitsAllocatesNothing) {
  for (const nn::Precision precision : {nn::Precision::bf16, nn::Precision::fp16, nn::Precision::bf16_pure}) {
    Loop loop(1, precision);
    expect_no_allocations(loop);
  }
}

TEST(SteadyState, AnEvaluationAllocatesNothing) {
  Loop loop;
  const Counts c =
      steady_state([&] { loop.likelihood.evaluate(loop.sequences, [](size_t, std::span<const float>) {}); });
  EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
  EXPECT_EQ(c.storages, 0);
}

// That the tests above can fail.
TEST(SteadyState, AnAllocationIsCounted) {
  Loop loop;
  const Counts c = steady_state([&] {
    loop.step();
    delete new int;
    std::vector<Tensor> kept;
    for (int i = 0; i < 2; ++i) kept.push_back(Tensor::empty({1 << 20}));
    trim_tensor_storage();
  });
  EXPECT_GE(c.allocations, 2);
  EXPECT_GE(c.storages, 2);
}

}  // namespace
}  // namespace gradus::posttrain
