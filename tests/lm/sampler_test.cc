#include "gradus/lm/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

std::vector<int64_t> lengths_up_to(int64_t n, int64_t longest) {
  std::vector<int64_t> lengths;
  Rng rng(8, Purpose::test, static_cast<uint64_t>(n));
  for (int64_t i = 0; i < n; ++i) lengths.push_back(1 + rng.below(longest));
  return lengths;
}

// Requests with prompts of the given lengths, their samples, and the check that matters.
struct Session {
  Model& model;
  std::vector<std::vector<int32_t>> prompts;
  std::vector<SampleRequest> requests;
  std::vector<Sample> samples;

  Session(Model& m, std::span<const int64_t> lengths) : model(m), prompts(random_prompts(lengths)) {
    requests = requests_of(prompts);
  }
  const std::vector<Sample>& sample(const SamplerConfig& config) {
    return samples = Sampler(model, config).generate(requests);
  }
  void expect_exact(double temperature) const { EXPECT_EQ(mismatches(model, prompts, samples, temperature), 0); }
  bool same_as(std::span<const Sample> other) const {
    return std::equal(samples.begin(), samples.end(), other.begin(), other.end(), same_samples);
  }
};

const std::vector<int64_t> kLengths = {1, 63, 64, 65, 5, 127, 128, 129, 150, 2, 31};  // several key blocks

TEST(Sampler, RecordedLogProbsAreTheTrainersForEveryBatchSize) {
  Model model = small_model();
  for (int64_t n = 1; n <= 64; ++n) {
    Session s(model, lengths_up_to(n, 12));
    s.sample({.max_tokens = 12});
    s.expect_exact(1.0);
  }
}

TEST(Sampler, RecordedLogProbsAreTheTrainersOnEveryInstructionSet) {
  kernels::for_each_isa([] {
    Model model = small_model();
    for (const double temperature : {1.0, 0.7}) {
      Session s(model, kLengths);
      s.sample({.max_tokens = 30, .temperature = temperature});
      s.expect_exact(temperature);
    }
  });
}

TEST(Sampler, RecordedLogProbsAreTheTrainersForEveryShapeOfModel) {
  nn::TransformerConfig plain = small_config(), grouped = small_config(), wide = small_config();
  plain.qkv_bias = false, plain.tie_embeddings = true, plain.kv_heads = 4;
  grouped.kv_heads = 1, grouped.head_size = 24;
  wide.width = 80, wide.heads = 5, wide.kv_heads = 5, wide.ffn_width = 1040;  // more than one block over k
  for (const nn::TransformerConfig& config : {plain, grouped, wide}) {
    Model model = small_model(config);
    Session s(model, kLengths);
    s.sample({.max_tokens = 20});
    s.expect_exact(1.0);
  }
}

TEST(Sampler, GreedyRecordsTheLogProbOfTemperatureOne) {
  Model model = small_model();
  Session s(model, kLengths);
  s.sample({.max_tokens = 20, .temperature = 0});
  s.expect_exact(1.0);
}

TEST(Sampler, GreedyTakesTheLikeliestToken) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>{3, 70});
  for (const Sample& sample : s.sample({.max_tokens = 1, .temperature = 0})) {
    for (int32_t id = 0; id < model.tokenizer().n_vocab(); ++id) {
      std::vector<Sample> other = {{.tokens = {id}, .log_probs = {0}}};
      const auto index = static_cast<size_t>(&sample - s.samples.data());
      const auto log_probs = trainer_log_probs(model, std::span(s.prompts).subspan(index, 1), other, 1.0);
      EXPECT_LE(log_probs[0][0], sample.log_probs[0]);
    }
  }
}

TEST(Sampler, BatchSizeAndPrefillChangeNothing) {
  Model model = small_model();
  Session s(model, lengths_up_to(70, 90));
  const std::vector<Sample> want = s.sample({.max_tokens = 25});
  s.expect_exact(1.0);
  for (const int64_t max_batch : {1, 3, 64}) {
    for (const int64_t prefill_rows : {1, 100, 5000}) {
      s.sample({.max_batch = max_batch, .max_tokens = 25, .prefill_rows = prefill_rows});
      EXPECT_TRUE(s.same_as(want)) << "max_batch " << max_batch << ", prefill_rows " << prefill_rows;
    }
  }
}

TEST(Sampler, ThreadCountChangesNothing) {
  Model model = small_model();
  Session s(model, lengths_up_to(40, 90));
  set_pool_threads(1);
  const std::vector<Sample> want = s.sample({.max_tokens = 25});
  for (const int threads : {2, 3, 16}) {
    set_pool_threads(threads);
    s.sample({.max_tokens = 25});
    EXPECT_TRUE(s.same_as(want)) << threads << " threads";
    s.expect_exact(1.0);
  }
  set_pool_threads(available_cpus());
}

TEST(Sampler, ASequenceDoesNotDependOnItsNeighbours) {
  Model model = small_model();
  Session s(model, kLengths);
  const std::vector<Sample> want = s.sample({.max_tokens = 25});
  for (size_t i = 0; i < s.requests.size(); ++i) {
    const auto alone = Sampler(model, {.max_tokens = 25}).generate(std::span(s.requests).subspan(i, 1));
    EXPECT_TRUE(same_samples(alone[0], want[i])) << i;
  }
  std::vector<SampleRequest> reversed(s.requests.rbegin(), s.requests.rend());
  std::vector<Sample> back = Sampler(model, {.max_tokens = 25}).generate(reversed);
  std::reverse(back.begin(), back.end());
  EXPECT_TRUE(s.same_as(back));
}

TEST(Sampler, TheSeedAndTheSequenceNameTheRandomStream) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>(8, 4));
  const std::vector<Sample> want = s.sample({.max_tokens = 25, .seed = 3});
  s.sample({.max_tokens = 25, .seed = 3});
  EXPECT_TRUE(s.same_as(want));
  s.sample({.max_tokens = 25, .seed = 4});
  EXPECT_FALSE(s.same_as(want));

  const std::vector<int32_t> prompt = {1, 2, 3};  // one prompt, many sequences: different answers
  std::vector<SampleRequest> requests;
  for (uint64_t i = 0; i < 16; ++i) requests.push_back({prompt, i});
  std::set<std::vector<int32_t>> different;
  for (const Sample& sample : Sampler(model, {.max_tokens = 25}).generate(requests)) different.insert(sample.tokens);
  EXPECT_GT(different.size(), 10u);
}

TEST(Sampler, TokensHaveTheFrequenciesOfTheModel) {
  Model model = small_model();
  const std::vector<int32_t> prompt = {4, 9};
  std::vector<SampleRequest> requests;
  constexpr int64_t kDraws = 4000;
  for (uint64_t i = 0; i < kDraws; ++i) requests.push_back({prompt, i});
  std::vector<double> count(static_cast<size_t>(model.tokenizer().n_vocab())), p(count.size());
  for (const Sample& s : Sampler(model, {.max_tokens = 1, .temperature = 0.7}).generate(requests)) {
    ++count[static_cast<size_t>(s.tokens[0])];
    p[static_cast<size_t>(s.tokens[0])] = std::exp(static_cast<double>(s.log_probs[0]));
  }
  double total = 0;
  for (size_t id = 0; id < p.size(); ++id) {
    EXPECT_NEAR(count[id] / kDraws, p[id], 4 * std::sqrt(p[id] * (1 - p[id]) / kDraws) + 1e-12) << id;
    total += p[id];
  }
  EXPECT_NEAR(total, 1, 0.01);
}

TEST(Sampler, EndsAtTheEndTokenOrAtTheLimit) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>(40, 3));
  int ended = 0, cut = 0;
  for (const Sample& sample : s.sample({.max_tokens = 12})) {
    ASSERT_EQ(sample.tokens.size(), sample.log_probs.size());
    const auto eos = std::find(sample.tokens.begin(), sample.tokens.end(), model.tokenizer().eos_id());
    EXPECT_EQ(sample.ended, eos != sample.tokens.end());
    EXPECT_TRUE(sample.ended ? eos + 1 == sample.tokens.end() : sample.tokens.size() == 12);
    (sample.ended ? ended : cut)++;
  }
  EXPECT_GT(ended, 3);
  EXPECT_GT(cut, 3);
}

TEST(Sampler, StatsCountTokensAndSteps) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>{3, 5, 7});
  Sampler sampler(model, {.max_batch = 2, .max_tokens = 4});
  const std::vector<Sample> samples = sampler.generate(s.requests);
  EXPECT_EQ(sampler.stats().prompt_tokens, 15);
  int64_t tokens = 0;
  for (const Sample& sample : samples) tokens += static_cast<int64_t>(sample.tokens.size());
  EXPECT_EQ(sampler.stats().response_tokens, tokens);
  EXPECT_GE(sampler.stats().steps, 4);
  EXPECT_LE(sampler.stats().steps, 8);
}

// The test of the tests: with one weight one unit in the last place away, the trainer no longer agrees.
TEST(Sampler, OneWeightOneUlpAwayIsSeen) {
  Model model = small_model();
  Session s(model, lengths_up_to(64, 40));
  s.sample({.max_tokens = 24});
  s.expect_exact(1.0);
  for (nn::Parameter* p : model.transformer().parameters()) {
    if (p->name.ends_with("k_proj.bias"))
      continue;  // adds the same to every score of a query: no effect by mathematics
    const std::span<float> w = p->value.span<float>();
    float& largest = *std::max_element(w.begin(), w.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
    const float before = largest;
    largest = std::nextafter(before, INFINITY);
    p->changed();
    EXPECT_GT(mismatches(model, s.prompts, s.samples, 1.0), 0) << p->name;
    largest = before;
    p->changed();
  }
  s.expect_exact(1.0);
}

TEST(Sampler, ChangedWeightsAreRead) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>(8, 4));
  const std::vector<Sample> want = s.sample({.max_tokens = 12});
  for (nn::Parameter* p : model.transformer().parameters()) {
    for (float& w : p->value.span<float>()) w *= 1.1f;
    p->changed();
  }
  s.sample({.max_tokens = 12});
  EXPECT_FALSE(s.same_as(want));
  s.expect_exact(1.0);
}

TEST(Sampler, NoRequestsGiveNoSamples) {
  Model model = small_model();
  EXPECT_TRUE(Sampler(model, {}).generate({}).empty());
}

TEST(Sampler, BadRequestsAreErrors) {
  Model model = small_model();
  const std::vector<int32_t> empty, good(3, 1), outside = {1, 99}, longest(250, 1);
  const auto code = [&](const std::vector<int32_t>& prompt, SamplerConfig config) {
    const std::vector<SampleRequest> requests = {{good, 0}, {prompt, 1}};
    return kernels::error_code_of([&] { Sampler(model, config).generate(requests); });
  };
  EXPECT_EQ(code(empty, {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(outside, {}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(longest, {.max_tokens = 7}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(good, {.max_batch = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(good, {.max_tokens = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(good, {.temperature = -1}), ErrorCode::invalid_argument);
  EXPECT_EQ(Sampler(model, {.max_tokens = 6}).generate(std::vector<SampleRequest>{{longest, 0}}).size(), 1u);
}

TEST(Sampler, StopsWhenAsked) {
  Model model = small_model();
  Session s(model, std::vector<int64_t>(4, 4));
  int asked = 0;
  const auto stop = [&] { return ++asked == 3; };
  EXPECT_EQ(kernels::error_code_of([&] { Sampler(model, {}).generate(s.requests, stop); }), ErrorCode::interrupted);
  EXPECT_EQ(asked, 3);
}

TEST(Sampler, DivergedWeightsAreAnError) {
  Model model = small_model();
  model.transformer().parameters().back()->value.data<float>()[0] = NAN;
  model.transformer().parameters().back()->changed();
  Session s(model, std::vector<int64_t>(4, 4));
  EXPECT_EQ(kernels::error_code_of([&] { s.sample({}); }), ErrorCode::diverged);
}

}  // namespace
}  // namespace gradus::lm
