// What ranks that see one memory keep there, whether they are threads or processes: who sleeps, who lives, what each
// one is calling, and whether the group was aborted. Plain memory with atomics: zeros are the initial state. Every word
// has one writer, but for bells and the abort. How to wait on such words lives here too.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "gradus/comm/transport.h"

namespace gradus::comm {

inline constexpr size_t kLine = 64;       // bytes of a cache line
inline constexpr size_t kLinePair = 128;  // what the processor may fetch at once

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Where one rank sleeps. Whoever changes what it may wait for rings.
struct alignas(kLinePair) Bell {
  std::atomic<uint32_t> rings{0};
  std::atomic<uint32_t> sleeping{0};

  // Wakes the sleeper, if there is one. The look at `sleeping` may come too early by the time a store takes to be seen:
  // then the sleeper wakes by itself within kNap, which is cheaper than a fence before every look.
  void ring() {
    if (sleeping.load(std::memory_order_relaxed) != 0) wake();
  }
  void wake();
  void nap(uint32_t seen, std::chrono::nanoseconds most);  // returns when rung after `seen`, or after `most`
};
inline constexpr std::chrono::milliseconds kNap{1};

// The group's end before its time. The first error stays.
struct alignas(kLinePair) Abort {
  std::atomic<uint32_t> state{0};  // 0 no; 1 the error is being written; 2 yes
  ErrorCode code{};
  char message[1016] = {};

  void raise(const Error& error) noexcept;
  bool raised() const { return state.load(std::memory_order_acquire) != 0; }
  Error error() const;  // once raised
};

// What a rank shows of itself.
struct alignas(kLinePair) RankState {
  static constexpr size_t kWords = sizeof(Call) / sizeof(uint64_t);
  Bell bell;
  alignas(kLinePair) std::atomic<uint64_t> beat{0};  // rises while the rank's watchdog runs
  std::atomic<int32_t> pid{0};
  std::atomic<uint32_t> left{0};  // 1: it went away in order
  // The call in hand, in two places by turns, so that a reader finds one that stands still.
  alignas(kLinePair) std::atomic<uint64_t> calls{0};  // how many were published
  std::atomic<uint64_t> words[2][kWords]{};

  void publish(const Call& c);
  std::optional<Call> current() const;  // nothing before the first, or when it changes as fast as it is read
};

// How one rank waits: a short spin, then naps; between naps it looks for an abort and at the clock.
class Waiter {
 public:
  // n_spins  looks before the first nap; few when there are more ranks than processors
  Waiter(Bell& bell, const Abort& abort, int n_spins) : bell_(bell), abort_(abort), n_spins_(n_spins) {}

  // Whether ready() within the spins.
  template <class Ready>
  bool spin(Ready&& ready) const {
    for (int spin = 0; spin < n_spins_; ++spin) {
      if (ready()) return true;
      pause();
    }
    return false;
  }

  // Returns when ready(). Throws the group's error when it was aborted; timeout, with the message of late(), after
  // `most`.
  template <class Ready, class Late>
  void until(std::chrono::milliseconds most, Ready&& ready, Late&& late) {
    if (spin(ready)) return;
    const auto deadline = std::chrono::steady_clock::now() + most;
    while (!ready()) {
      if (abort_.raised()) throw abort_.error();
      if (std::chrono::steady_clock::now() >= deadline) fail(ErrorCode::timeout, "{}", late());
      const uint32_t seen = bell_.rings.load(std::memory_order_acquire);
      bell_.sleeping.store(1, std::memory_order_seq_cst);
      if (!ready()) bell_.nap(seen, kNap);
      bell_.sleeping.store(0, std::memory_order_relaxed);
    }
  }

  // The same for what comes for certain: no abort, no timeout.
  template <class Ready>
  void until(Ready&& ready) {
    for (int spin = 0; !ready(); ++spin) {
      if (spin < n_spins_) {
        pause();
      } else {
        bell_.nap(bell_.rings.load(std::memory_order_acquire), kNap / 10);
      }
    }
  }

 private:
  Bell& bell_;
  const Abort& abort_;
  int n_spins_;
};

static_assert(std::is_trivially_copyable_v<Call> && sizeof(Call) % sizeof(uint64_t) == 0);

// What a rank says that finds another one in another call.
std::string mismatch(int rank, const Call& call, int peer, const std::optional<Call>& peer_call);

// Whether `size` ranks on this host have a processor each, as far as one can tell: there are so many, or this rank is
// bound to one, as mpirun binds all of them.
bool have_own_processors(int size);

// Looks before a nap for a group of `size` ranks on this host.
int spins_for(int size);

}  // namespace gradus::comm
