// Draws normal numbers from two streams of one seed. A stream depends on its name alone: drawn again, it gives the same
// bits.
//   draw [SEED]
#include <gradus/core/error.h>
#include <gradus/core/rng.h>
#include <gradus/core/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

gradus::Tensor draw(uint64_t seed, uint64_t index) {
  gradus::Rng rng(seed, gradus::Purpose::noise, index);
  gradus::Tensor x = gradus::Tensor::empty({4, 8});
  for (float& element : x.span<float>()) element = static_cast<float>(rng.normal());
  return x;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 7;
    const gradus::Tensor first = draw(seed, 0), second = draw(seed, 1), again = draw(seed, 0);
    const auto [low, high] = std::ranges::minmax(first.span<float>());
    std::printf("seed %llu, a %s tensor between %.3f and %.3f\n", static_cast<unsigned long long>(seed),
                gradus::to_string(first.shape()).c_str(), low, high);
    const bool same = std::ranges::equal(first.span<float>(), again.span<float>());
    const bool differ = !std::ranges::equal(first.span<float>(), second.span<float>());
    return same && differ ? 0 : 1;
  } catch (const gradus::Error& error) {
    std::fprintf(stderr, "draw: %s\n", error.what());
    return 1;
  }
}
