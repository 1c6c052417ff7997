#include "gradus/comm/shared_state.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "gradus/core/thread_pool.h"

namespace gradus::comm {

// Without FUTEX_PRIVATE_FLAG: the sleeper may be in another process.
void Bell::wake() {
  rings.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&rings), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Bell::nap(uint32_t seen, std::chrono::nanoseconds most) {
  const timespec time{.tv_sec = most.count() / 1'000'000'000, .tv_nsec = most.count() % 1'000'000'000};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&rings), FUTEX_WAIT, seen, &time, nullptr, 0);
}

void Abort::raise(const Error& error) noexcept {
  uint32_t none = 0;
  if (!state.compare_exchange_strong(none, 1)) return;
  code = error.code();
  std::strncpy(message, error.what(), sizeof message - 1);
  state.store(2, std::memory_order_release);
}

Error Abort::error() const {
  for (int look = 0; look < 1000; ++look) {
    if (state.load(std::memory_order_acquire) == 2) return {code, message};
    pause();
  }
  return {ErrorCode::peer_lost, "the group was aborted"};  // by a rank that died while it wrote why
}

void RankState::publish(const Call& c) {
  uint64_t copy[kWords];
  std::memcpy(copy, &c, sizeof c);
  const uint64_t n = calls.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // a reader of these words sees the count before this one
  for (size_t i = 0; i < kWords; ++i) words[n % 2][i].store(copy[i], std::memory_order_relaxed);
  calls.store(n + 1, std::memory_order_release);
}

std::optional<Call> RankState::current() const {
  for (int look = 0; look < 100; ++look) {
    const uint64_t n = calls.load(std::memory_order_acquire);
    if (n == 0) return std::nullopt;
    uint64_t copy[kWords];
    for (size_t i = 0; i < kWords; ++i) copy[i] = words[(n - 1) % 2][i].load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (calls.load(std::memory_order_relaxed) != n) continue;
    Call call;
    std::memcpy(static_cast<void*>(&call), copy, sizeof call);
    return call;
  }
  return std::nullopt;
}

std::string mismatch(int rank, const Call& call, int peer, const std::optional<Call>& peer_call) {
  return fmt::format("ranks call different things: rank {} is in {}, but rank {} in {}; all must make the same calls",
                     rank, to_string(call), peer, peer_call ? to_string(*peer_call) : "a call of its own");
}

bool have_own_processors(int size) {
  if (size <= available_cpus()) return true;
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1 && size <= sysconf(_SC_NPROCESSORS_ONLN);
}

int spins_for(int size) {
  constexpr int kLongSpin = 2000;  // about 60 us: longer than ranks that work alike are apart
  constexpr int kShortSpin = 20;   // the one waited for may need this very processor
  return have_own_processors(size) ? kLongSpin : kShortSpin;
}

}  // namespace gradus::comm
