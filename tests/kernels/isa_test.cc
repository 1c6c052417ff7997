#include "gradus/kernels/isa.h"

#include <algorithm>

#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

TEST(Isa, NamesRoundTrip) {
  for (const Isa isa : {Isa::ref, Isa::sse4, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon}) {
    EXPECT_EQ(isa_from_name(name(isa)), isa);
  }
  EXPECT_EQ(isa_from_name("avx3"), std::nullopt);
  EXPECT_EQ(isa_from_name(""), std::nullopt);
}

TEST(Isa, TheReferenceAndOneVectorPathAreAlwaysThere) {
  const std::vector<Isa> supported = supported_isas();
  ASSERT_GE(supported.size(), 2u);
  EXPECT_EQ(supported.front(), Isa::ref);
}

TEST(Isa, ForcingOneMakesItActive) {
  for_each_isa([] {
    const Isa forced = active_isa();
    EXPECT_EQ(fused_multiply_add(), forced != Isa::sse4);
  });
  const Isa before = active_isa();
  for_each_isa([] {});
  EXPECT_EQ(active_isa(), before);
}

TEST(Isa, ForcingAnAbsentOneIsUnsupportedAndChangesNothing) {
  const std::vector<Isa> supported = supported_isas();
  const Isa before = active_isa();
  for (const Isa isa : {Isa::sse4, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon}) {
    if (std::find(supported.begin(), supported.end(), isa) != supported.end()) continue;
    EXPECT_EQ(error_code_of([&] { set_isa(isa); }), ErrorCode::unsupported);
    EXPECT_EQ(active_isa(), before);
  }
}

}  // namespace
}  // namespace gradus::kernels
