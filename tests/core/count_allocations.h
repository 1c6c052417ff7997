// Counts what `operator new` gives and tensor storages that are created while a test asks for it, on all threads.
// Replaces operator new for the whole program: include it in one file of a test program.
#pragma once

#include <dlfcn.h>
#include <execinfo.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>

#include "gradus/core/tensor.h"

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

namespace gradus {

struct Counts {
  int64_t allocations = 0;  // ours
  int64_t in_dnnl = 0;      // inside oneDNN's library, which are its own business
  int64_t storages = 0;     // of tensors
  std::string callers;      // of the first of ours
};

// Of one call of step.
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

}  // namespace gradus
