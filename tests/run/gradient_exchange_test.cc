// Data-parallel train steps: ranks are threads.
#include <array>
#include <optional>
#include <thread>

#include "gradus/autograd/ops.h"
#include "gradus/comm/thread_transport.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/run/train_step.h"
#include "gradus/run/whole_weights.h"
#include "tests/kernels/grid.h"

namespace gradus::run {
namespace {

using autograd::Parameter;
using autograd::Tape;
using autograd::Var;
using kernels::random_tensor;
using kernels::same_bits;

constexpr int64_t kShards = 8;

// Weights that 16 bits do not hold, with a master where they are kept in 16.
Parameter make_parameter(const char* name, Shape shape, DType dtype, uint64_t seed) {
  const Tensor weights = random_tensor(shape, DType::f32, seed);
  Parameter p{.name = name, .value = kernels::converted(weights, dtype), .grad = Tensor::zeros(shape)};
  if (dtype != DType::f32) p.master = weights;
  return p;
}

// Three layers, one weight used twice; matrices of several chunks and of less than one.
struct Net {
  explicit Net(DType matrices) : dtype(matrices) {}

  DType dtype;
  Parameter in = make_parameter("in", {96, 64}, dtype, 1);
  Parameter bias = make_parameter("bias", {96}, DType::f32, 2);
  Parameter middle = make_parameter("middle", {96, 96}, dtype, 3);
  Parameter out = make_parameter("out", {5, 96}, dtype, 4);
  optim::AdamW optimiser{{&in, &bias, &middle, &out}, {.weight_decay = 0.1}};
  Tape tape;
  std::array<int32_t, 4> rows{0, 1, 2, 3}, ids{4, 0, 3, 1};

  // A shard's two micro-batches.
  void accumulate(int64_t step, int64_t shard, const auto& backward) {
    for (uint64_t batch = 0; batch < 2; ++batch) {
      const auto stream = static_cast<uint64_t>(100 * step + 10 * shard) + batch;
      Rng rng(2, Purpose::test, stream);
      std::vector<double> c(4);
      for (double& w : c) w = 0.01 * rng.normal();
      const Var x = tape.constant(random_tensor({4, 64}, dtype, stream));
      Var h = autograd::linear(x, in, &bias);
      h = autograd::linear(autograd::linear(h, middle), middle);
      backward(autograd::weighted_sum(autograd::token_log_probs(h, out, rows, ids, 1000.0), c), batch == 1);
      tape.reset();
    }
  }
};

struct Outcome {
  std::vector<Tensor> values, weights, first, second;  // weights where they are whole
  std::vector<double> losses, norms;
  int64_t moment_elements = 0;
};

Outcome train(Ranks* ranks, int64_t steps, DType dtype) {
  Net net(dtype);
  std::optional<TrainStep> earlier;  // of a phase before, whose masters stay cut
  if (dtype == DType::bf16) earlier.emplace(net.optimiser, TrainStepConfig{.cut_masters = true}, nullptr, ranks);
  TrainStep step(net.optimiser, {.clip_norm = 0.5, .cut_masters = true}, nullptr, ranks);
  Outcome o;
  for (int64_t i = 0; i < steps; ++i) {
    const TrainStepResult result =
        step.run(i, 0.01, [&](int64_t shard, const auto& backward) { net.accumulate(i, shard, backward); });
    o.losses.push_back(result.loss);
    o.norms.push_back(result.grad_norm);
  }
  for (const Parameter* p : net.optimiser.parameters()) o.values.push_back(p->value);
  o.weights = whole_weights(net.optimiser.parameters(), ranks);
  for (const Tensor& m : net.optimiser.first_moments()) o.moment_elements += 2 * m.numel();
  o.first = step.exchange()->whole(net.optimiser.first_moments());
  o.second = step.exchange()->whole(net.optimiser.second_moments());
  return o;
}

std::vector<Outcome> train_on(int P, const ParallelConfig& config, int64_t steps = 3, DType dtype = DType::f32) {
  const comm::ThreadWorld world(P);
  std::vector<Outcome> outcomes(static_cast<size_t>(P));
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), config);
      outcomes[static_cast<size_t>(r)] = train(&ranks, steps, dtype);
    });
  }
  for (std::thread& t : threads) t.join();
  return outcomes;
}

void expect_equal(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.norms, b.norms) << what;
  for (size_t i = 0; i < a.weights.size(); ++i) {
    EXPECT_TRUE(same_bits(a.values[i], b.values[i])) << what << ", values " << i;
    if (a.weights[i].defined()) {
      EXPECT_TRUE(same_bits(a.weights[i], b.weights[i])) << what << ", weights " << i;
    }
    EXPECT_TRUE(same_bits(a.first[i], b.first[i])) << what << ", first moments " << i;
    EXPECT_TRUE(same_bits(a.second[i], b.second[i])) << what << ", second moments " << i;
  }
}

TEST(GradientExchange, AnyNumberOfRanksAndAnyZeroGiveTheSameBits) {
  const Outcome alone = train_on(1, {.shards = kShards}).front();
  for (const int P : {1, 2, 4, 8}) {
    for (const int64_t zero : {0, 1, 2}) {
      for (const double bucket_mb : {1e-6, 0.03, 16.0}) {  // a parameter each, two of them, all
        for (const Outcome& o : train_on(P, {.shards = kShards, .zero = zero, .bucket_mb = bucket_mb})) {
          expect_equal(o, alone, fmt::format("{} ranks, zero {}, buckets of {} MB", P, zero, bucket_mb));
        }
      }
    }
  }
}

TEST(GradientExchange, SoItIsInSixteenBitsWhoseMastersAreCut) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Outcome alone = train_on(1, {.shards = kShards}, 3, dtype).front();
    EXPECT_EQ(alone.weights.front().dtype(), DType::f32);
    for (const int P : {1, 2, 4, 8}) {
      for (const int64_t zero : {0, 1, 2}) {
        const double bucket_mb = zero == 1 ? 0.03 : 1e-6;
        const ParallelConfig config{.shards = kShards, .zero = zero, .bucket_mb = bucket_mb};
        const std::vector<Outcome> outcomes = train_on(P, config, 3, dtype);
        for (const Tensor& w : outcomes.front().weights) EXPECT_TRUE(w.defined());
        for (const Outcome& o : outcomes) {
          expect_equal(o, alone, fmt::format("{}, {} ranks, zero {}", name(dtype), P, zero));
        }
      }
    }
  }
}

TEST(GradientExchange, WithoutShardsEachRankIsOne) {
  const Outcome two = train_on(1, {.shards = 2}).front();
  for (const Outcome& o : train_on(2, {})) expect_equal(o, two, "2 ranks");
}

TEST(GradientExchange, ZeroKeepsAShareOfTheMomentsOnEachRank) {
  const int64_t all = train_on(1, {}, 1).front().moment_elements;
  int64_t sum = 0;
  for (const Outcome& o : train_on(4, {.zero = 1}, 1)) {
    EXPECT_LE(o.moment_elements, all / 4 + 2 * kernels::kSumChunk);  // two moments, to within a chunk
    sum += o.moment_elements;
  }
  EXPECT_EQ(sum, all);
}

// body(ranks) on P ranks at once.
template <class Body>
void on_ranks(int P, const ParallelConfig& config, Body body) {
  const comm::ThreadWorld world(P);
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), config);
      body(ranks);
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(GradientExchange, ZeroCutsMomentsAndMastersToAboutOneOfFour) {
  constexpr int64_t kWhole = int64_t{3} * 512 * 512 * (4 + 2 * 4);
  std::atomic<int64_t> sum = 0;
  on_ranks(4, {.zero = 1}, [&](Ranks& ranks) {
    Parameter p = make_parameter("p", {512, 512}, DType::bf16, 1), q = make_parameter("q", {1024, 512}, DType::f16, 2);
    optim::AdamW optimiser({&p, &q}, {});
    const GradientExchange exchange(optimiser, ranks, {.cut_masters = true});
    EXPECT_LE(exchange.optimiser_bytes(), kWhole * 27 / 100);
    sum += exchange.optimiser_bytes();
  });
  EXPECT_EQ(sum, kWhole);
}

// Whoever reads what is not there fails; where nobody asked for it masters stay whole.
TEST(GradientExchange, ACutMasterIsNotReadAsIfItWereWhole) {
  on_ranks(2, {.zero = 1, .bucket_mb = 1e-6}, [&](Ranks& ranks) {  // each parameter is cut in two
    Net cut(DType::bf16), whole(DType::bf16);
    const GradientExchange a(cut.optimiser, ranks, {.cut_masters = true}), b(whole.optimiser, ranks);
    EXPECT_FALSE(cut.middle.has_all_weights());
    EXPECT_THROW(static_cast<void>(cut.middle.weights()), InternalError);
    EXPECT_TRUE(same_bits(whole.middle.weights(), random_tensor({96, 96}, DType::f32, 3)));
    const std::vector<Tensor> put_together = whole_weights(cut.optimiser.parameters(), &ranks);
    EXPECT_EQ(put_together[2].defined(), ranks.is_first());
    if (ranks.is_first()) {
      EXPECT_TRUE(same_bits(put_together[2], whole.middle.weights()));
    }
  });
}

// Half the bytes of the weights: those of the values, and of gradients as ever.
TEST(GradientExchange, CutMastersSendValuesOfSixteenBits) {
  const auto bytes_of_update = [](bool cut_masters) {
    std::atomic<int64_t> bytes = 0;
    on_ranks(2, {.zero = 1}, [&](Ranks& ranks) {
      Net net(DType::bf16);
      GradientExchange exchange(net.optimiser, ranks, {.cut_masters = cut_masters});
      exchange.begin();
      exchange.finish();
      const int64_t before = ranks.group().traffic().bytes_sent;
      exchange.update(0.1, 1);
      bytes += ranks.group().traffic().bytes_sent - before;
    });
    return bytes.load();
  };
  const Net net(DType::bf16);
  const int64_t matrices = net.in.value.numel() + net.middle.value.numel() + net.out.value.numel();
  EXPECT_EQ(bytes_of_update(false), matrices * 4 + net.bias.value.numel() * 4);
  EXPECT_EQ(bytes_of_update(true), matrices * 2 + net.bias.value.numel() * 4);
}

TEST(GradientExchange, ANarrowWireRoundsOnceAndAllRanksAgree) {
  const Outcome exact = train_on(2, {}, 1).front();
  const std::vector<Outcome> rounded = train_on(2, {.wire = "bf16"}, 1);
  expect_equal(rounded[0], rounded[1], "bf16");
  EXPECT_NE(rounded[0].norms, exact.norms);
  EXPECT_NEAR(rounded[0].norms[0], exact.norms[0], 0.01 * exact.norms[0]);
}

TEST(TrainStep, NumbersThatOneRankWritesAreEverybodys) {
  const comm::ThreadWorld world(2);
  std::vector<std::vector<double>> numbers(2, std::vector<double>(kShards, 0.0));
  std::vector<double> losses(2);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Ranks ranks(std::make_unique<comm::Group>(world.transport(static_cast<int>(r))), {.shards = kShards});
      Net net(DType::f32);
      TrainStep step(net.optimiser, {}, nullptr, &ranks);
      const auto accumulate = [&](int64_t shard, const auto& backward) {
        numbers[r][static_cast<size_t>(shard)] = static_cast<double>(shard + 1);
        net.accumulate(0, shard, backward);
      };
      losses[r] = step.run(0, 0.01, accumulate, &numbers[r]).loss;
    });
  }
  for (std::thread& t : threads) t.join();
  for (size_t r = 0; r < 2; ++r) EXPECT_EQ(numbers[r], (std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(losses[0], train_on(1, {.shards = kShards}, 1).front().losses[0]);
}

TEST(GradientExchange, AFailureOnOneRankEndsAll) {
  const comm::ThreadWorld world(3);
  std::vector<std::string> errors(3);
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), {});
      try {
        Net net(DType::f32);
        TrainStep step(net.optimiser, {}, nullptr, &ranks);
        for (int64_t i = 0; i < 3; ++i) {
          step.run(i, 0.01, [&](int64_t shard, const auto& backward) {
            if (i == 1 && shard == 2) fail(ErrorCode::io, "the disk of rank 2 is full");
            net.accumulate(i, shard, backward);
          });
        }
      } catch (const Error& e) {
        ranks.abort(e);
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::string& e : errors) EXPECT_NE(e.find("the disk of rank 2 is full"), std::string::npos) << e;
}

TEST(GradientExchange, AStepThatEndsWhileGradientsTravelEndsOnAllRanks) {
  const comm::ThreadWorld world(2);
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), {.bucket_mb = 1e-6});
      try {
        Net net(DType::f32);
        TrainStep step(net.optimiser, {}, nullptr, &ranks);
        step.run(0, 0.01, [&](int64_t shard, const auto& backward) {
          net.accumulate(0, shard, backward);  // every bucket is on its way
          if (shard == 1) fail(ErrorCode::io, "the disk of rank 1 is full");
        });
        ranks.group().barrier();
      } catch (const Error& e) {
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_NE(errors[1].find("the disk of rank 1 is full"), std::string::npos) << errors[1];
  EXPECT_NE(errors[0].find("rank 1 left a step"), std::string::npos) << errors[0];
}

TEST(ParallelConfig, RefusesShardsThatWouldDependOnTheRanks) {
  EXPECT_NO_THROW((ParallelConfig{.shards = 8}.check(4)));
  EXPECT_NO_THROW((ParallelConfig{.shards = 6}.check(3)));
  EXPECT_THROW((ParallelConfig{.shards = 6}.check(2)), Error);  // three each
  EXPECT_THROW((ParallelConfig{.shards = 4}.check(8)), Error);
  EXPECT_THROW((ParallelConfig{.shards = 2, .wire = "bf16"}.check(2)), Error);
}

TEST(BalancedParts, CutWhereTheWeightIs) {
  const int64_t weights[] = {10, 10, 10, 30, 5, 5, 5, 5};
  EXPECT_EQ(balanced_parts(weights, 2), (std::vector<int64_t>{0, 3, 8}));
  EXPECT_EQ(balanced_parts(weights, 1), (std::vector<int64_t>{0, 8}));
  EXPECT_EQ(balanced_parts({}, 3), (std::vector<int64_t>{0, 0, 0, 0}));
}

}  // namespace
}  // namespace gradus::run
