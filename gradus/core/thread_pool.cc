#include "gradus/core/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gradus/core/error.h"

namespace gradus {

namespace {

// Pauses before a waiting thread sleeps: about 50 us, longer than the gap between two kernels of a small network or two
// steps of decoding. Waking it takes as long.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int cgroup_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::stod(quota) / period + 0.5));
}

thread_local bool inside_pool = false;

}  // namespace

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, std::min(allowed, cgroup_cpus()));
}

struct ThreadPool::State {
  // One job at a time. A worker may touch the job's fields only while it is counted in `inside`.
  std::atomic<uint32_t> generation{0};
  std::atomic<bool> stopping{false};
  std::atomic<int> inside{0};
  std::atomic<int> sleeping{0};
  std::atomic<bool> open{false};

  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t n = 0;
  std::atomic<int64_t> next{0};

  std::mutex error_mutex;
  std::exception_ptr error;
  std::mutex run_mutex;
  std::vector<std::thread> workers;

  void work() {
    inside_pool = true;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) {
      try {
        body(context, i);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside_pool = false;
  }

  void worker_main(int index) {
    pthread_setname_np(pthread_self(), ("pool/" + std::to_string(index)).c_str());
    uint32_t seen = 0;
    while (true) {
      for (int spin = 0; generation.load(std::memory_order_acquire) == seen && spin < kSpins; ++spin) pause();
      if (generation.load(std::memory_order_acquire) == seen) {
        sleeping.fetch_add(1);
        generation.wait(seen);
        sleeping.fetch_sub(1);
      }
      seen = generation.load(std::memory_order_acquire);
      if (stopping.load()) return;
      inside.fetch_add(1);  // seq_cst: either we see the job closed, or the caller sees us inside
      if (open.load()) work();
      inside.fetch_sub(1);
    }
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()), n_threads_(n_threads) {
  require(n_threads >= 1 && n_threads <= 256, "threads: {} asked for, but 1 to 256 are possible", n_threads);
  for (int i = 1; i < n_threads; ++i) state_->workers.emplace_back([s = state_.get(), i] { s->worker_main(i); });
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true);
  state_->generation.fetch_add(1);
  state_->generation.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadPool::run(int64_t n, void (*body)(void*, int64_t), void* context) {
  State& s = *state_;
  if (n <= 0) return;
  std::unique_lock lock(s.run_mutex, std::defer_lock);
  if (inside_pool || n == 1 || n_threads_ == 1 || !lock.try_lock()) {
    std::exception_ptr error;
    for (int64_t i = 0; i < n; ++i) {
      try {
        body(context, i);
      } catch (...) {  // the rest still runs, as it does on many threads
        if (!error) error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
    return;
  }
  s.body = body;
  s.context = context;
  s.n = n;
  s.next.store(0, std::memory_order_relaxed);
  s.open.store(true);
  s.generation.fetch_add(1);
  if (s.sleeping.load() > 0) s.generation.notify_all();
  s.work();
  s.open.store(false);  // late workers stay out
  while (s.inside.load() != 0) pause();
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

namespace {
std::unique_ptr<ThreadPool>& pool_slot() {
  static std::unique_ptr<ThreadPool> slot;
  return slot;
}
}  // namespace

ThreadPool& pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!pool_slot()) pool_slot() = std::make_unique<ThreadPool>(available_cpus());
  });
  return *pool_slot();
}

void set_pool_threads(int n) {
  pool();
  if (pool().size() != n) pool_slot() = std::make_unique<ThreadPool>(n);
}

}  // namespace gradus
