// In the steady state of training nothing of ours calls operator new and no tensor storage is created.
#include "gradus/kernels/gemm.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/run/train_step.h"
#include "tests/core/count_allocations.h"
#include "tests/posttrain/small_task.h"
#include "tests/run/solo.h"

namespace gradus::posttrain {
namespace {

// Of one call of `step` after a few that warm up. A worker makes its own buffers when it first gets work of a shape,
// and how soon that is nobody knows: with workers, the steady state is the first of many steps that counts nothing.
template <class Step>
Counts steady_state(Step step) {
  for (int i = 0; i < 4; ++i) step();
  Counts c = counts_of(step);
  for (int i = 0; i < 30 && pool().size() > 1 && (c.allocations > 0 || c.storages > 0); ++i) c = counts_of(step);
  return c;
}

// A model and a fixed batch, enough rows for oneDNN and for several micro-batches.
struct Loop {
  lm::Model model;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<TrainSequence> sequences;
  optim::AdamW optimiser{model.transformer().parameters(), {.weight_decay = 0.01}};
  PackedLikelihood likelihood{model.transformer(), 1.0, 1000};
  run::Ranks ranks;
  run::TrainStep train_step;

  explicit Loop(int64_t shards = 1, nn::Precision precision = nn::Precision::fp32)
      : model(lm::Model::create(
            {.layers = 1, .width = 64, .heads = 4, .kv_heads = 2, .max_positions = 128, .qkv_bias = true},
            lm::character_tokenizer(Chain().alphabet(), Chain().end_of_text()), 1, precision)),
        ranks(run::solo({.shards = shards})),
        train_step(optimiser, {.clip_norm = 1}, nullptr, shards > 1 ? &ranks : nullptr) {
    model.transformer().allocate_gradients();
    for (uint64_t i = 0; i < 32; ++i) {
      tokens.push_back(kernels::random_ids(20 + static_cast<int64_t>(3 * i % 71), model.tokenizer().n_vocab(), i));
    }
    for (const auto& t : tokens) sequences.push_back({t, 4});
  }

  void step() {
    train_step.run(0, 1e-3, [this](int64_t, const auto& backward) {
      likelihood.run(
          sequences, [](size_t, std::span<const float>) { return 1e-3; }, backward);
    });
  }
};

template <class Body>
void with_backend(kernels::GemmBackend backend, Body body) {
  const kernels::GemmBackend before = kernels::gemm_backend();
  kernels::set_gemm_backend(backend);
  body();
  kernels::set_gemm_backend(before);
}

void expect_no_allocations(Loop& loop) {
  const Counts c = steady_state([&] { loop.step(); });
  EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
  EXPECT_EQ(c.storages, 0);
}

TEST(SteadyState, ATrainStepAllocatesNothing) {
  kernels::for_1_2_3_threads([] {
    with_backend(kernels::GemmBackend::highway, [] {
      Loop loop;
      const Counts c = steady_state([&] { loop.step(); });
      EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
      EXPECT_EQ(c.in_dnnl, 0);
      EXPECT_EQ(c.storages, 0);
    });
  });
}

TEST(SteadyState, ATrainStepWithOnednnAllocatesNothingOutsideIt) {
  kernels::for_1_2_3_threads([] {
    Loop loop;
    expect_no_allocations(loop);
  });
}

TEST(SteadyState, ATrainStepInShardsAllocatesNothing) {
  Loop loop(5);
  expect_no_allocations(loop);
}

TEST(SteadyState, ATrainStepIn16BitsAllocatesNothing) {
  for (const nn::Precision precision : {nn::Precision::bf16, nn::Precision::fp16, nn::Precision::bf16_pure}) {
    Loop loop(1, precision);
    expect_no_allocations(loop);
  }
}

TEST(SteadyState, AnEvaluationAllocatesNothing) {
  Loop loop;
  const Counts c =
      steady_state([&] { loop.likelihood.evaluate(loop.sequences, [](size_t, std::span<const float>) {}); });
  EXPECT_EQ(c.allocations, 0) << "first by" << c.callers;
  EXPECT_EQ(c.storages, 0);
}

// That the tests above can fail.
TEST(SteadyState, AnAllocationIsCounted) {
  Loop loop;
  const Counts c = steady_state([&] {
    loop.step();
    delete new int;
    std::vector<Tensor> kept;
    for (int i = 0; i < 2; ++i) kept.push_back(Tensor::empty({1 << 20}));
    trim_tensor_storage();
  });
  EXPECT_GE(c.allocations, 2);
  EXPECT_GE(c.storages, 2);
}

}  // namespace
}  // namespace gradus::posttrain
