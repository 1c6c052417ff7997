#include "gradus/core/rng.h"

#include <cmath>
#include <numbers>

#include "gradus/core/error.h"

namespace gradus {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9u;  // Weyl sequence
    k[1] += 0xBB67AE85u;
  }
  return c;
}

Rng::Rng(uint64_t seed, Purpose purpose, uint64_t index, uint32_t position)
    : counter_{0, position, static_cast<uint32_t>(index),
               static_cast<uint32_t>(index >> 32) | static_cast<uint32_t>(purpose) << 16},
      key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {
  GRADUS_CHECK(index >> 48 == 0);  // the purpose stands above it
}

void Rng::refill() {
  block_ = philox4x32(counter_, key_);
  ++counter_[0];
  GRADUS_CHECK(counter_[0] != 0);  // the stream is used up
  used_ = 0;
}

int64_t Rng::below(int64_t n) {
  require(n >= 1, "random integer below {}: the bound must be at least 1", n);
  const auto bound = static_cast<uint64_t>(n);
  while (true) {
    const uint64_t x = bits64();
    // Below the largest multiple of the bound; that is not computed where x is far from it.
    if (x <= UINT64_MAX - bound || x < UINT64_MAX - UINT64_MAX % bound) return static_cast<int64_t>(x % bound);
  }
}

double Rng::normal() {
  const double u = 1.0 - uniform();  // (0, 1]
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace gradus
