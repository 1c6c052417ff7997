// Treats subnormal floats as zero on this thread while it lives, in operands and in results, as VDPBF16PS always does:
// products of bf16 pairs by float instructions are then the bits of that instruction.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace gradus::kernels {

class FlushDenormals {
 public:
  explicit FlushDenormals(bool wanted = true) : before_(control()) {
    if (wanted) set_control(before_ | kFlush);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
  ~FlushDenormals() { set_control(before_); }

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kFlush = 0x8040;  // FTZ and DAZ of MXCSR
  static uint64_t control() {
    return _mm_getcsr();
  }
  static void set_control(uint64_t x) {
    _mm_setcsr(static_cast<unsigned>(x));
  }
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = uint64_t{1} << 24;  // FZ of FPCR
  static uint64_t control() {
    uint64_t x;
    asm volatile("mrs %0, fpcr" : "=r"(x));
    return x;
  }
  static void set_control(uint64_t x) {
    asm volatile("msr fpcr, %0" : : "r"(x));
  }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t control() {
    return 0;
  }
  static void set_control(uint64_t) {}
#endif

  uint64_t before_;
};

}  // namespace gradus::kernels
