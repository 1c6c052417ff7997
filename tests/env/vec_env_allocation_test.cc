// In the steady state VecEnv allocates nothing. This file replaces operator new for its whole program; it counts only
// while the test asks for it, on all threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "gradus/env/catalogue.h"
#include "gradus/env/vec_env.h"

// The compiler sees free inlined into callers of new and does not know that new here is malloc.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> n_allocations{0};

void* allocate_or_null(size_t bytes, size_t alignment = 1) noexcept {
  if (counting.load(std::memory_order_relaxed)) ++n_allocations;
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
  return allocate_or_null(n);
}
void* operator new[](size_t n, const nothrow_t&) noexcept {
  return allocate_or_null(n);
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

namespace gradus::env {
namespace {

TEST(VecEnv, AllocatesNothingOnceEpisodesHaveEnded) {
  EnvConfig c;
  c.name = "mountaincar";  // 200 steps an episode
  for (const int threads : {1, 2}) {
    const auto envs =
        make_vec_env([&] { return make_env(c); }, {.num_envs = 8, .batch_size = 4, .num_threads = threads});
    envs->reset(1);
    const std::vector<float> all(8, 2), half(4, 2);
    const auto steps = [&](int n) {
      for (int i = 0; i < n; ++i) {
        envs->step(all);
        for (int batch = 0; batch < 2; ++batch) envs->send(half);
        for (int batch = 0; batch < 2; ++batch) envs->recv();
      }
    };
    steps(150);
    n_allocations = 0;
    counting = true;
    steps(300);
    counting = false;
    EXPECT_EQ(n_allocations, 0) << threads << " threads";
  }
}

}  // namespace
}  // namespace gradus::env
