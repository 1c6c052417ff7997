#include "gradus/nn/transformer_config.h"

#include <gtest/gtest.h>

#include "gradus/core/error.h"

namespace gradus::nn {
namespace {

std::string message_of(const TransformerConfig& config) {
  try {
    config.resolved();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "no error";
}

TEST(TransformerConfig, ZerosStandForDefaults) {
  const TransformerConfig c = TransformerConfig{.width = 128, .heads = 4, .n_vocab = 9}.resolved();
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_size, 32);
  EXPECT_EQ(c.ffn_width, 352);  // 341.3 rounded up to a multiple of 32
}

TEST(TransformerConfig, ResolvedTwiceIsTheSame) {
  const TransformerConfig once = TransformerConfig{.n_vocab = 9}.resolved(), twice = once.resolved();
  EXPECT_EQ(once.ffn_width, twice.ffn_width);
  EXPECT_EQ(once.head_size, twice.head_size);
  EXPECT_EQ(once.n_parameters(), twice.n_parameters());
}

TEST(TransformerConfig, ImpossibleShapesAreNamedWithBothValues) {
  EXPECT_EQ(message_of({.width = 100, .heads = 3, .n_vocab = 9}),
            "model: heads 3 do not divide width 100; choose another count or set head_size");
  EXPECT_EQ(message_of({.width = 64, .heads = 4, .kv_heads = 3, .n_vocab = 9}),
            "model: kv_heads 3 do not divide heads 4");
  EXPECT_NE(message_of({.width = 48, .heads = 4, .n_vocab = 9}).find("head_size 12"), std::string::npos);
  EXPECT_NE(message_of({.width = 1024, .heads = 2, .n_vocab = 9}).find("head_size 512"), std::string::npos);
  EXPECT_NE(message_of({.n_vocab = 0}).find("n_vocab 0"), std::string::npos);
  EXPECT_NE(message_of({.layers = 0, .n_vocab = 9}).find("layers 0"), std::string::npos);
  EXPECT_NE(message_of({.kv_heads = -1, .n_vocab = 9}).find("kv_heads -1"), std::string::npos);
  EXPECT_NE(message_of({.n_vocab = 9, .rope_theta = 0}).find("rope_theta 0"), std::string::npos);
}

TEST(TransformerConfig, WindowsAndRotationsAreChecked) {
  EXPECT_NE(message_of({.n_vocab = 9, .window = -1}).find("window -1"), std::string::npos);
  EXPECT_NE(message_of({.layers = 2, .n_vocab = 9, .window = 4, .windowed_layers = {true}}).find("1 layers"),
            std::string::npos);
  EXPECT_NE(message_of({.n_vocab = 9, .rope_scaling = {.type = kernels::RopeType::linear, .factor = 0.5}})
                .find("factor is 0.5"),
            std::string::npos);
  const TransformerConfig some{.layers = 2, .n_vocab = 9, .window = 4, .windowed_layers = {false, true}};
  EXPECT_FALSE(some.has_window(0));
  EXPECT_TRUE(some.has_window(1));
}

TEST(TransformerConfig, HeadSizeMayBeFreeOfTheWidth) {
  EXPECT_EQ((TransformerConfig{.width = 100, .heads = 3, .head_size = 16, .n_vocab = 9}.resolved().head_size), 16);
}

}  // namespace
}  // namespace gradus::nn
