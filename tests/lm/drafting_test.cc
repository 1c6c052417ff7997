// Drafts change how fast a text comes, and not one bit of it.
#include <algorithm>
#include <map>
#include <numeric>

#include "gradus/lm/acceptance.h"
#include "gradus/lm/draft_model.h"
#include "gradus/lm/sampler.h"
#include "tests/lm/small_model.h"

namespace gradus::lm {
namespace {

// Trees of any shape: at each node the right token with some probability, and wrong ones beside it. It knows the texts,
// since they were sampled before.
class KnowingDrafter final : public Drafter {
 public:
  KnowingDrafter(std::span<const std::vector<int32_t>> prompts, std::span<const Sample> samples, uint64_t seed,
                 int64_t most_nodes, double right)
      : seed_(seed), most_nodes_(most_nodes), right_(right) {
    for (size_t i = 0; i < samples.size(); ++i) {
      texts_.push_back(prompts[i]);
      texts_.back().insert(texts_.back().end(), samples[i].tokens.begin(), samples[i].tokens.end());
    }
  }

  void propose(const Tensor& hidden, std::span<const DraftContext> contexts, int64_t,
               std::span<DraftTree> trees) override {
    for (size_t i = 0; i < contexts.size(); ++i) {
      const DraftContext& c = contexts[i];
      EXPECT_LT(c.hidden_row, hidden.dim(0));
      EXPECT_EQ(trees[i].tokens, std::vector<int32_t>{c.text.back()});
      Rng rng(seed_, Purpose::test, c.sequence, static_cast<uint32_t>(c.text.size()));
      std::vector<int64_t> depth = {0};
      for (int64_t turn = rng.below(most_nodes_ + 1); turn > 0; --turn) {
        const auto parent = static_cast<int32_t>(rng.below(trees[i].size()));
        const int64_t d = depth[static_cast<size_t>(parent)] + 1;
        const size_t at = c.text.size() + static_cast<size_t>(d) - 1;
        const std::vector<int32_t>& text = texts_[c.sequence];
        const bool right = rng.uniform() < right_ && at < text.size();
        const int32_t token = right ? text[at] : static_cast<int32_t>(rng.below(17));
        if (d > c.deepest || trees[i].child(parent, token) >= 0) continue;
        trees[i].add(token, parent);
        depth.push_back(d);
      }
    }
  }

  void observe(uint64_t, const DraftTree& tree, std::span<const int32_t> accepted, bool) override {
    ASSERT_FALSE(accepted.empty());
    EXPECT_EQ(accepted[0], 0);
    for (size_t i = 1; i < accepted.size(); ++i) {
      EXPECT_EQ(tree.parents[static_cast<size_t>(accepted[i])], accepted[i - 1]);
    }
  }

 private:
  std::vector<std::vector<int32_t>> texts_;
  uint64_t seed_;
  int64_t most_nodes_;
  double right_;
};

struct Texts {
  Model& model;
  std::vector<std::vector<int32_t>> prompts;
  std::vector<SampleRequest> requests;

  Texts(Model& m, std::vector<std::vector<int32_t>> p)
      : model(m), prompts(std::move(p)), requests(requests_of(prompts)) {}
  std::vector<Sample> sample(const SamplerConfig& config, Drafter* drafter = nullptr) {
    return Sampler(model, config, drafter).generate(requests);
  }
};

bool same(std::span<const Sample> a, std::span<const Sample> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_samples);
}

const std::vector<int64_t> kLengths = {1, 63, 64, 65, 5, 127, 128, 129, 150, 2, 31};

TEST(Drafting, TextsAreTheSameBits) {
  Model model = small_model();
  Texts t(model, random_prompts(kLengths));
  for (const double temperature : {0.0, 0.7, 1.0}) {
    const SamplerConfig config{.max_tokens = 70, .temperature = temperature};
    const std::vector<Sample> want = t.sample(config);
    for (const auto& [nodes, right] :
         std::vector<std::pair<int64_t, double>>{{1, 0.9}, {6, 0.5}, {25, 0.8}, {60, 0.1}}) {
      for (const int64_t max_batch : {1, 7, 32}) {
        KnowingDrafter drafter(t.prompts, want, static_cast<uint64_t>(nodes), nodes, right);
        SamplerConfig drafting = config;
        drafting.max_batch = max_batch;
        EXPECT_TRUE(same(t.sample(drafting, &drafter), want)) << nodes << " nodes, batch " << max_batch;
      }
    }
    EXPECT_EQ(mismatches(model, t.prompts, want, temperature == 0 ? 1.0 : temperature), 0);
  }
}

TEST(Drafting, TextsAreTheSameBitsOnEveryInstructionSetAndPrecision) {
  kernels::for_each_isa([] {
    for (const nn::Precision precision :
         {nn::Precision::fp64, nn::Precision::fp32, nn::Precision::bf16, nn::Precision::fp16}) {
      nn::TransformerConfig shape = small_config();
      shape.kv_heads = 1;
      Model model = Model::create(shape, character_tokenizer("0123456789+-*#>|=", "$"), 3, precision);
      Texts t(model, random_prompts(std::vector<int64_t>{1, 62, 64, 9}));
      const SamplerConfig config{.max_tokens = 20};
      const std::vector<Sample> want = t.sample(config);
      KnowingDrafter drafter(t.prompts, want, 5, 12, 0.7);
      EXPECT_TRUE(same(t.sample(config, &drafter), want)) << nn::name(precision);
    }
  });
}

TEST(Drafting, SavesStepsAndCountsThem) {
  Model model = small_model();
  Texts t(model, random_prompts(std::vector<int64_t>{5, 70}));
  const SamplerConfig config{.max_tokens = 60};
  Sampler plain(model, config);
  const std::vector<Sample> want = plain.generate(t.requests);
  KnowingDrafter drafter(t.prompts, want, 1, 40, 1.0);
  Sampler drafting(model, config, &drafter);
  EXPECT_TRUE(same(drafting.generate(t.requests), want));
  const SamplerStats& s = drafting.stats();
  EXPECT_LT(s.steps, plain.stats().steps / 2);
  EXPECT_EQ(s.response_tokens, plain.stats().response_tokens);
  EXPECT_GT(s.drafted_tokens, 0);
  ASSERT_GE(s.accepted_at.size(), 3u);
  EXPECT_TRUE(std::ranges::is_sorted(s.accepted_at, std::greater<>()));
  EXPECT_LE(s.accepted_at[0], s.draft_steps);
}

TEST(Drafting, SharedPrefixesChangeNothing) {
  Model model = small_model();
  std::vector<std::vector<int32_t>> prompts = random_prompts(std::vector<int64_t>{150, 40, 3, 200});
  for (int i = 0; i < 3; ++i) {
    prompts.push_back(prompts[0]);                                          // the same
    prompts.push_back({prompts[0].begin(), prompts[0].begin() + 100 + i});  // a part of it
    prompts.push_back(prompts[1]);
    std::vector<int32_t> other = prompts[3];  // goes on otherwise
    other[130] = (other[130] + 1) % 17;
    prompts.push_back(other);
  }
  Texts t(model, prompts);
  const SamplerConfig alone{.max_tokens = 20, .share_prefixes = false};
  const std::vector<Sample> want = t.sample(alone);
  for (const int64_t max_batch : {1, 3, 64}) {
    for (const int64_t prefill_rows : {7, 100, 4096}) {
      Sampler sampler(model, {.max_batch = max_batch, .max_tokens = 20, .prefill_rows = prefill_rows});
      EXPECT_TRUE(same(sampler.generate(t.requests), want)) << max_batch << ", " << prefill_rows;
      // Of what nobody uses, a small batch's cache forgets some.
      EXPECT_GT(sampler.stats().shared_tokens, max_batch == 64 ? 3 * (149 + 99 + 39 + 130) - 64 : 100);
    }
  }
  KnowingDrafter drafter(t.prompts, want, 2, 9, 0.6);
  EXPECT_TRUE(same(t.sample({.max_batch = 5, .max_tokens = 20}, &drafter), want));
}

TEST(DraftModel, ChangesNothingAndIsRightWhenItIsTheSame) {
  Model model = small_model(), same_weights = small_model(), other = small_model(small_config(), 2);
  Texts t(model, random_prompts(kLengths));
  for (const double temperature : {0.0, 1.0}) {
    const SamplerConfig config{.max_batch = 3, .max_tokens = 40, .temperature = temperature};
    const std::vector<Sample> want = t.sample(config);
    for (Model* draft_model : {&same_weights, &other}) {
      DraftModel drafter(*draft_model, model, 5);
      Sampler sampler(model, config, &drafter);
      EXPECT_TRUE(same(sampler.generate(t.requests), want));
      EXPECT_TRUE(same(sampler.generate(t.requests), want));  // what it remembers is of the texts before
      if (temperature > 0 || draft_model == &other) continue;
      const SamplerStats& s = sampler.stats();
      const int64_t kept = std::accumulate(s.accepted_at.begin(), s.accepted_at.end(), int64_t{0});
      EXPECT_GT(kept * 10, s.drafted_tokens * 9);  // all but what is drafted beyond an end
    }
  }
}

TEST(DraftModel, OfOtherTokensIsRefused) {
  Model model = small_model();
  Model fewer = Model::create(small_config(), character_tokenizer("0123", "$"), 1);
  Model others = Model::create(small_config(), character_tokenizer("9876543210+-*#>|=", "$"), 1);
  EXPECT_THROW(DraftModel(fewer, model), Error);
  EXPECT_THROW(DraftModel(others, model), Error);
  EXPECT_THROW(DraftModel(model, model, 0), Error);
}

// The typical rule on a tree whose answer is plain.
TEST(TypicalAcceptance, KeepsTheLongestPathThatIsLikelyEnough) {
  const std::vector<float> z = {3,  3,  -9,  // node 0: tokens 0 and 1, p about 1/2 each
                                9,  -9, -9,  // node 1 (0): only token 0
                                -9, 9,  -9,  // node 2 (1): only token 1
                                0,  0,  0,  0, 0, 0, 0, 0, 0};
  const Tensor logits = Tensor::from<float>(z, {6, 3});
  DraftTree tree;
  tree.add(2, -1);
  EXPECT_EQ(tree.add(0, 0), 1);
  EXPECT_EQ(tree.add(1, 0), 2);
  EXPECT_EQ(tree.add(1, 1), 3);  // unlikely after token 0
  EXPECT_EQ(tree.add(1, 2), 4);
  EXPECT_EQ(tree.add(2, 0), 5);  // unlikely
  EXPECT_EQ(typical_path(logits, 0, tree, 1.0, {}), (std::vector<int32_t>{0, 2, 4}));
  EXPECT_EQ(typical_path(logits, 0, tree, 1.0, {.epsilon = 0.9, .delta = 10}), std::vector<int32_t>{0});
}

}  // namespace
}  // namespace gradus::lm
