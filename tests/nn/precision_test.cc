#include "gradus/nn/precision.h"

#include <fmt/format.h>

#include <filesystem>

#include "gradus/core/file.h"
#include "gradus/kernels/convert.h"
#include "gradus/nn/transformer.h"
#include "tests/kernels/grid.h"

namespace gradus::nn {
namespace {

constexpr TransformerConfig kSmall{.layers = 1, .width = 16, .heads = 2, .n_vocab = 9, .max_positions = 64};

TEST(Precision, NamesRoundTripAndAnUnknownOneNamesTheNearest) {
  for (const PrecisionFormats& f : kPrecisions) {
    EXPECT_EQ(precision_from_name(f.name), f.precision);
    EXPECT_EQ(formats(f.precision).name, f.name);
  }
  try {
    precision_from_name("bf17");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(e.what()).find("did you mean 'bf16'"), std::string::npos) << e.what();
  }
}

TEST(Precision, MatricesAreNarrowVectorsAndMastersWide) {
  for (const PrecisionFormats& f : kPrecisions) {
    Transformer model(kSmall, f.precision);
    model.allocate_gradients();
    for (const Parameter* p : model.parameters()) {
      const bool is_matrix = p->value.rank() == 2;
      EXPECT_EQ(p->value.dtype(), is_matrix ? f.matrices : f.vectors) << f.name << ' ' << p->name;
      EXPECT_EQ(p->grad.dtype(), is_matrix ? f.gradients : f.vectors) << f.name << ' ' << p->name;
      EXPECT_EQ(p->master.defined(), is_matrix && f.master) << f.name << ' ' << p->name;
    }
  }
}

// bf16-pure: 2 for the weight, 2 for its gradient, 4 and 4 for the moments.
TEST(Precision, BytesOfAMatrixElement) {
  const auto bytes = [](Precision precision) {
    const PrecisionFormats& f = formats(precision);
    return size_of(f.matrices) + size_of(f.gradients) + (2 + (f.master ? 1 : 0)) * size_of(f.vectors);
  };
  EXPECT_EQ(bytes(Precision::fp32), 16u);
  EXPECT_EQ(bytes(Precision::bf16), 18u);
  EXPECT_EQ(bytes(Precision::fp16), 18u);
  EXPECT_EQ(bytes(Precision::bf16_pure), 12u);
}

TEST(Precision, TheTableOfOperatorsInTheDocumentationIsThisOne) {
  const std::string page = read_file(std::filesystem::path(GRADUS_SOURCE_DIR) / "docs" / "numerics.md");
  for (const OperatorFormats& o : kOperatorFormats) {
    const std::string row = fmt::format("| {} | {} | {} | {} |\n", o.name, o.reads, o.computes, o.gives);
    EXPECT_NE(page.find(row), std::string::npos) << row;
  }
}

TEST(Precision, TheSameSeedGivesTheSameWeightsRounded) {
  Transformer exact(kSmall, Precision::fp64);
  exact.initialise(3);
  for (const PrecisionFormats& f : kPrecisions) {
    Transformer model(kSmall, f.precision);
    model.initialise(3);
    for (size_t i = 0; i < model.parameters().size(); ++i) {
      const Parameter& p = *model.parameters()[i];
      const Tensor& want = exact.parameters()[i]->value;
      EXPECT_TRUE(kernels::same_bits(p.weights(), kernels::converted(want, p.weights().dtype()))) << p.name;
      EXPECT_TRUE(kernels::same_bits(p.value, kernels::converted(p.weights(), p.value.dtype()))) << p.name;
    }
  }
}

}  // namespace
}  // namespace gradus::nn
