// The one pool of compute threads. Work is cut by shape, never by thread count, so results do not depend on it.
// Long-lived threads with a task of their own live in gradus/runtime.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace gradus {

// CPUs this process may use: the smaller of its affinity mask and its cgroup's quota, at least 1.
int available_cpus();

class ThreadPool {
 public:
  // n_threads >= 1 counts the caller: n_threads - 1 workers are started, named "pool/1", "pool/2", ...
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return n_threads_; }

  // Calls body(context, i) once for each i in [0, n), on any thread, in any order, and returns when all are done. The
  // first exception is rethrown after the rest have finished. A call from inside a body, or while another thread is in
  // `run`, runs in its caller.
  void run(int64_t n, void (*body)(void* context, int64_t i), void* context);

 private:
  struct State;
  std::unique_ptr<State> state_;
  int n_threads_;
};

// The pool that kernels use. Sized to available_cpus() on first use.
ThreadPool& pool();

// Replaces it; not while a kernel runs. Throws invalid_argument unless 1 <= n <= 256.
void set_pool_threads(int n);

// body(i) for each i in [0, n) on pool(). No allocation.
template <class Body>
void parallel_for(int64_t n, Body&& body) {
  using B = std::remove_reference_t<Body>;
  if (n <= 1) {
    if (n == 1) body(int64_t{0});
    return;
  }
  pool().run(
      n, [](void* context, int64_t i) { (*static_cast<B*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// body(begin, end) for consecutive ranges of at most `grain` items that cover [0, n).
template <class Body>
void parallel_ranges(int64_t n, int64_t grain, Body&& body) {
  parallel_for((n + grain - 1) / grain, [&](int64_t c) {
    const int64_t begin = c * grain;
    body(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace gradus
