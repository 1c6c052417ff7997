// Speculation: one text a prompt whatever guesses at it, and that text with the model's own probabilities.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>

#include "gradus/lm/medusa/drafter.h"
#include "gradus/lm/sampler.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

// Ten at a time begin alike, some with more than a page of keys, and go on differently.
std::vector<std::vector<int32_t>> prompts_of_families(int64_t n) {
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t i = 0; i < n; ++i) {
    const auto family = static_cast<uint64_t>(i / 10), member = static_cast<uint64_t>(i);
    std::vector<int32_t> prompt = kernels::random_ids(20 + static_cast<int64_t>(family * 37 % 120), 17, 1000 + family);
    const std::vector<int32_t> own = kernels::random_ids(1 + i % 7, 17, 5000 + member);
    prompt.insert(prompt.end(), own.begin(), own.end());
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

enum class Tree { none, chain, fixed, dynamic };

std::unique_ptr<MedusaDrafter> drafter_of(Tree tree, MedusaGuesser& guesser, int64_t heads) {
  using Shape = DraftingConfig::Shape;
  switch (tree) {
    case Tree::none:
      return nullptr;
    case Tree::chain:
      return std::make_unique<MedusaDrafter>(&guesser, heads,
                                             DraftingConfig{.shape = Shape::fixed, .choices = chain_choices(heads)});
    case Tree::fixed:
      return std::make_unique<MedusaDrafter>(
          &guesser, heads,
          DraftingConfig{.shape = Shape::fixed, .choices = cartesian_choices(std::vector<int64_t>{4, 2, 1})});
    case Tree::dynamic:
      return std::make_unique<MedusaDrafter>(&guesser, heads, DraftingConfig{});
  }
  return nullptr;
}

// Every temperature, tree, batch, with and without shared prefixes.
void expect_one_text_each(int64_t n_prompts, int64_t max_tokens) {
  constexpr int64_t kHeads = 3;
  Model model = small_model();
  model.add_heads({.heads = kHeads});
  MedusaGuesser guesser(*model.heads());
  const std::vector<std::vector<int32_t>> prompts = prompts_of_families(n_prompts);
  const std::vector<SampleRequest> requests = requests_of(prompts);
  for (const double temperature : {0.0, 0.7, 1.0}) {
    const SamplerConfig alone{
        .max_batch = 1, .max_tokens = max_tokens, .temperature = temperature, .seed = 7, .share_prefixes = false};
    const std::vector<Sample> want = Sampler(model, alone).generate(requests);
    int64_t kept = 0;
    for (const Tree tree : {Tree::none, Tree::chain, Tree::fixed, Tree::dynamic}) {
      for (const int64_t max_batch : {1, 7, 32}) {
        for (const bool share_prefixes : {false, true}) {
          const std::unique_ptr<MedusaDrafter> drafter = drafter_of(tree, guesser, kHeads);
          SamplerConfig config = alone;
          config.max_batch = max_batch;
          config.share_prefixes = share_prefixes;
          Sampler sampler(model, config, drafter.get());
          const std::vector<Sample> got = sampler.generate(requests);
          int64_t others = 0;
          for (size_t i = 0; i < want.size(); ++i) others += !same_samples(got[i], want[i]);
          EXPECT_EQ(others, 0) << "T " << temperature << ", tree " << static_cast<int>(tree) << ", batch " << max_batch
                               << (share_prefixes ? ", shared prefixes" : "");
          EXPECT_EQ(sampler.stats().shared_tokens > 0, share_prefixes);
          if (!sampler.stats().accepted_at.empty()) kept += sampler.stats().accepted_at[0];
        }
      }
    }
    EXPECT_GT(kept, n_prompts);  // or nothing was tested
  }
}

TEST(SpeculationGrid, OneTextEach) {
  expect_one_text_each(40, 12);
}

// Half a minute, and many times that under sanitizers: `ctest -C large -L large`.
TEST(SpeculationGrid, DISABLED_OneTextEachOfAThousand) {
  expect_one_text_each(1000, 40);
}

// Wrong guesses and right ones by chance: it knows nothing of the model.
class BlindDrafter final : public Drafter {
 public:
  void propose(const Tensor&, std::span<const DraftContext> contexts, int64_t, std::span<DraftTree> trees) override {
    for (size_t i = 0; i < contexts.size(); ++i) {
      Rng rng(3, Purpose::test, contexts[i].sequence, static_cast<uint32_t>(contexts[i].text.size()));
      std::vector<int64_t> depth = {0};
      for (int n = 0; n < 12; ++n) {
        const auto parent = static_cast<int32_t>(rng.below(trees[i].size()));
        const auto token = static_cast<int32_t>(rng.below(17));
        const int64_t d = depth[static_cast<size_t>(parent)] + 1;
        if (d > contexts[i].deepest || trees[i].child(parent, token) >= 0) continue;
        trees[i].add(token, parent);
        depth.push_back(d);
      }
    }
  }
  void observe(uint64_t, const DraftTree&, std::span<const int32_t>, bool) override {}
};

// The probability of every response of up to `length` tokens: those that end, and those that are cut.
void add_responses(Model& model, std::vector<int32_t>& text, size_t prompt, size_t length, double temperature, double p,
                   std::map<std::vector<int32_t>, double>& law) {
  nn::TokenBatch batch;
  batch.append(text);
  batch.number_pages();
  nn::Tape tape(nn::Tape::Mode::inference);
  const nn::Var hidden = model.transformer().hidden(tape, batch);
  const Tensor logits = model.transformer().logits(hidden.value().rows(batch.rows() - 1, batch.rows()));
  const std::span<const float> z = logits.span<float>();
  std::vector<double> e;
  double sum = 0;
  for (const float x : z)
    sum += e.emplace_back(std::exp((static_cast<double>(x) - static_cast<double>(z[0])) / temperature));
  for (size_t id = 0; id < e.size(); ++id) {
    text.push_back(static_cast<int32_t>(id));
    const double joint = p * e[id] / sum;
    if (model.ends(text.back()) || text.size() == prompt + length) {
      law[{text.begin() + static_cast<std::ptrdiff_t>(prompt), text.end()}] = joint;
    } else {
      add_responses(model, text, prompt, length, temperature, joint, law);
    }
    text.pop_back();
  }
}

// How far counts are from a law, as the standard normal deviate of their chi-square: p > 0.01 below 2.33 (Wilson and
// Hilferty 1931). Responses that are expected less than 5 times are counted together.
double chi_square_deviate(const std::map<std::vector<int32_t>, double>& law, std::span<const Sample> samples) {
  std::map<std::vector<int32_t>, double> seen;
  for (const Sample& s : samples) seen[s.tokens] += 1;
  const auto n = static_cast<double>(samples.size());
  double chi_square = 0, cells = 0, rare_expected = 0, rare_seen = 0;
  const auto add = [&](double expected, double observed) {
    chi_square += (observed - expected) * (observed - expected) / expected;
    cells += 1;
  };
  for (const auto& [response, p] : law) {
    if (n * p >= 5) {
      add(n * p, seen[response]);
    } else {
      rare_expected += n * p, rare_seen += seen[response];
    }
  }
  if (rare_expected >= 5) add(rare_expected, rare_seen);
  const double k = cells - 1, spread = 2 / (9 * k);
  return (std::cbrt(chi_square / k) - (1 - spread)) / std::sqrt(spread);
}

TEST(LosslessLaw, ResponsesHaveTheModelsProbabilities) {
  Model model = small_model();
  constexpr size_t kLength = 3, kSamples = 20'000;
  const std::vector<int32_t> prompt = {3, 11, 7, 7, 2};
  for (const double temperature : {0.7, 1.0}) {
    std::map<std::vector<int32_t>, double> law;
    std::vector<int32_t> text = prompt;
    add_responses(model, text, prompt.size(), kLength, temperature, 1.0, law);
    double total = 0;
    for (const auto& [response, p] : law) total += p;
    ASSERT_NEAR(total, 1.0, 1e-5);

    std::vector<SampleRequest> requests;
    for (size_t i = 0; i < kSamples; ++i) requests.push_back({prompt, i});
    const SamplerConfig config{.max_tokens = kLength, .temperature = temperature, .seed = 11};
    BlindDrafter drafter;
    Sampler lossless(model, config, &drafter);
    EXPECT_LT(chi_square_deviate(law, lossless.generate(requests)), 2.33) << "T " << temperature;
    EXPECT_GT(lossless.stats().accepted_at.at(0), 1000);

    // The test sees what is no such law: typical acceptance, and another temperature.
    SamplerConfig other = config;
    other.acceptance = Acceptance::typical;
    EXPECT_GT(chi_square_deviate(law, Sampler(model, other, &drafter).generate(requests)), 10);
    other = config;
    other.temperature = temperature * 1.05;
    EXPECT_GT(chi_square_deviate(law, Sampler(model, other, &drafter).generate(requests)), 2.33);
  }
}

}  // namespace
}  // namespace gradus::lm
