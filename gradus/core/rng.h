// Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as
// 1, 2, 3", section 3.3). A stream is named by (seed, purpose, index, position), never shared, so that what is drawn
// does not depend on batching, thread count, scheduling or speculation.
#pragma once

#include <array>
#include <cstdint>

namespace gradus {

// One block of four 32-bit words.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a stream is for; values are part of the format of a run and never change.
enum class Purpose : uint16_t {
  init = 1,
  data = 2,
  sample = 3,
  shuffle = 4,
  held_out = 5,
  environment = 6,
  noise = 7,
  test = 8,
  round = 9
};

class Rng {
 public:
  // index: which item (sequence, problem, parameter); below 2^48; position: where in it (token). A stream has 2^34
  // words.
  Rng(uint64_t seed, Purpose purpose, uint64_t index = 0, uint32_t position = 0);

  uint32_t bits32() {
    if (used_ == 4) refill();
    return block_[static_cast<size_t>(used_++)];
  }
  uint64_t bits64() {
    const uint64_t low = bits32();
    return low | (uint64_t{bits32()} << 32);
  }
  double uniform() { return static_cast<double>(bits64() >> 11) * 0x1p-53; }  // [0, 1), 53 bits
  float uniform_f32() {                                                       // [0, 1), 24 bits
    return static_cast<float>(bits32() >> 8) * 0x1p-24f;
  }
  int64_t below(int64_t n);  // 0 .. n-1, unbiased; n >= 1
  double normal();           // mean 0, variance 1 (Box-Muller)

 private:
  void refill();

  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace gradus
