// The processor's own clock: what costs too little to notice. Of no unit; see Recorder for times.
#pragma once

#include <chrono>
#include <cstdint>

namespace gradus::comm {

inline int64_t ticks() {
#if defined(__x86_64__)
  return static_cast<int64_t>(__builtin_ia32_rdtsc());
#else
  return std::chrono::steady_clock::now().time_since_epoch().count();
#endif
}

}  // namespace gradus::comm
