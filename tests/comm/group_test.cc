// What collectives compute, for every algorithm, against a serial reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"
#include "tests/comm/ranks.h"

namespace gradus::comm {
namespace {

using testing::Each;

std::vector<float> vector_of(int rank, int64_t n) {
  Rng rng(7, Purpose::data, static_cast<uint64_t>(rank));
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.uniform() * 2 - 1);
  return x;
}

// The canonical sum over ranks.
std::vector<float> serial_sum(int P, int64_t n) {
  std::vector<std::vector<float>> xs;
  std::vector<const void*> pointers;
  for (int r = 0; r < P; ++r) xs.push_back(vector_of(r, n));
  for (const auto& x : xs) pointers.push_back(x.data());
  std::vector<float> y(static_cast<size_t>(n));
  kernels::combine(ReduceOp::sum, DType::f32, pointers, y.data(), n);
  return y;
}

TEST(Group, CanonicalAlgorithmsHaveTheBitsOfTheSerialTree) {
  for (const int P : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13}) {
    for (const std::string algorithm : {"", "slices", "pairwise", "doubling", "rabenseifner", "parameter-server"}) {
      const bool power = std::has_single_bit(static_cast<unsigned>(P));
      if (!power && (algorithm == "rabenseifner" || algorithm == "doubling")) continue;
      for (const int64_t n : {0, 1, P - 1, P, P + 1, 1009}) {
        GroupOptions options;
        if (!algorithm.empty()) options.forced[Operation::all_reduce] = algorithm;
        const std::vector<float> expected = serial_sum(P, n);
        EXPECT_THAT(run_threads(P, options,
                                [&](Group& group) {
                                  std::vector<float> x = vector_of(group.rank(), n);
                                  group.all_reduce(std::span(x));
                                  EXPECT_EQ(x, expected) << P << " ranks, " << n << " elements, " << algorithm;
                                }),
                    Each(""));
      }
    }
  }
}

}  // namespace
}  // namespace gradus::comm
