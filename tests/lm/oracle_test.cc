// Against the `transformers` package in float64: tools/oracle/make_transformer_fixture.py writes the fixtures.
#include <cmath>
#include <filesystem>

#include "gradus/core/file.h"
#include "gradus/core/safetensors.h"
#include "gradus/lm/hf_config.h"
#include "gradus/nn/transformer.h"
#include "tests/kernels/grid.h"

namespace gradus::lm {
namespace {

constexpr const char* kModels[] = {"llama", "qwen2"};

struct Fixture {
  HfConfig config;
  SafetensorsFile weights, expected;

  explicit Fixture(const std::string& name) {
    const std::filesystem::path folder =
        std::filesystem::path(GRADUS_SOURCE_DIR) / "tests" / "fixtures" / "transformer" / name;
    config = parse_config_json(read_file(folder / "config.json"), (folder / "config.json").string());
    weights = read_safetensors(folder / "model.safetensors");
    expected = read_safetensors(folder / "expected.safetensors");
  }

  void fill(nn::Transformer& model) const {
    for (nn::Parameter* p : model.parameters()) {
      const Tensor* t = weights.find(p->name);
      ASSERT_NE(t, nullptr) << p->name;
      ASSERT_EQ(t->shape(), p->value.shape()) << p->name;
      kernels::convert(*t, p->weights());
      p->changed();
    }
    EXPECT_EQ(weights.tensors.size(), model.parameters().size());
  }

  nn::TokenBatch batch() const {
    const Tensor& ids = *expected.find("input_ids");
    nn::TokenBatch out;
    for (int64_t s = 0; s < ids.dim(0); ++s) out.append(ids.rows(s, s + 1).span<int32_t>());
    out.number_pages();
    return out;
  }
};

double value(const Tensor& x, int64_t i) {
  return kernels::converted(x, DType::f64).data<double>()[i];
}

void expect_logits(const char* name, nn::Precision precision, double tolerance) {
  const Fixture fixture(name);
  nn::Transformer model(fixture.config.model, precision);
  fixture.fill(model);
  nn::Tape tape(nn::Tape::Mode::inference);
  const Tensor logits = model.logits(model.hidden(tape, fixture.batch()).value());
  const Tensor& want = *fixture.expected.find("logits");
  ASSERT_EQ(logits.numel(), want.numel());
  double error = 0;
  for (int64_t i = 0; i < want.numel(); ++i) {
    error = std::max(error, std::abs(value(logits, i) - want.data<double>()[i]));
  }
  EXPECT_LE(error, tolerance);
}

void expect_log_probs(const char* name, nn::Precision precision, double tolerance) {
  const Fixture fixture(name);
  nn::Transformer model(fixture.config.model, precision);
  fixture.fill(model);
  const nn::TokenBatch batch = fixture.batch();
  std::vector<int32_t> rows, ids;  // each token but the first of its sequence, predicted by the row before
  for (int64_t s = 0; s < batch.n_sequences(); ++s) {
    const auto i = static_cast<size_t>(s);
    for (int32_t r = batch.row_offsets[i]; r + 1 < batch.row_offsets[i + 1]; ++r) {
      rows.push_back(r);
      ids.push_back(batch.ids[static_cast<size_t>(r) + 1]);
    }
  }
  nn::Tape tape(nn::Tape::Mode::inference);
  const Tensor log_probs = autograd::token_log_probs(model.hidden(tape, batch), model.head(), rows, ids, 1.0).value();
  const Tensor& want = *fixture.expected.find("log_probs");
  ASSERT_EQ(log_probs.numel(), want.numel());
  for (int64_t i = 0; i < want.numel(); ++i) EXPECT_NEAR(value(log_probs, i), want.data<double>()[i], tolerance);
}

TEST(Oracle, DoubleLogitsEqualTransformers) {
  for (const char* name : kModels) expect_logits(name, nn::Precision::fp64, 1e-12);
}

TEST(Oracle, FloatLogitsAgreeWithTransformersOnEveryInstructionSet) {
  kernels::for_each_isa([] {
    for (const char* name : kModels) expect_logits(name, nn::Precision::fp32, 1e-5);
  });
}

TEST(Oracle, LogProbabilitiesEqualTransformers) {
  for (const char* name : kModels) {
    expect_log_probs(name, nn::Precision::fp64, 1e-12);
    expect_log_probs(name, nn::Precision::fp32, 1e-5);
  }
}

}  // namespace
}  // namespace gradus::lm
