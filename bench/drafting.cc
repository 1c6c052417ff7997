// `gradus bench drafting`: text continued with a model's Medusa heads in several ways, and without, in turns.
#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "gradus/core/error.h"
#include "gradus/lm/cost_curve.h"
#include "gradus/lm/draft_model.h"
#include "gradus/lm/medusa/drafter.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/held_out_text.h"
#include "gradus/posttrain/train.h"

namespace gradus::bench {

namespace {

constexpr int64_t kPromptTokens = 64;
constexpr int64_t kMostRows = 64;
constexpr int64_t kLeastTexts = 8;  // continued in a round, whatever the batch

struct Method {
  enum class Guesses { none, of_heads, of_copies, of_draft_model };
  std::string name;
  Guesses guesses = Guesses::of_heads;
  lm::DraftingConfig config = {};
  lm::Acceptance acceptance = lm::Acceptance::lossless;
};

std::vector<Method> methods(int64_t heads, const lm::StepCost& cost, bool with_draft_model) {
  using Shape = lm::DraftingConfig::Shape;
  using Guesses = Method::Guesses;
  std::vector<int64_t> widths;  // 4, 2, 1, 1: 4 + 8 + 8 + 8 nodes
  for (int64_t k = 0; k < heads; ++k) widths.push_back(k == 0 ? 4 : k == 1 ? 2 : 1);
  std::vector<Method> all = {
      {.name = "plain", .guesses = Guesses::none},
      {.name = "chain", .config = {.shape = Shape::fixed, .choices = lm::chain_choices(heads)}},
      {.name = "static tree", .config = {.shape = Shape::fixed, .choices = lm::cartesian_choices(widths)}},
      {.name = "dynamic tree",
       .config = {.repetitions = false, .most_nodes = kMostRows, .cost = cost, .learns_cost = true}},
      {.name = "copies",
       .guesses = Guesses::of_copies,
       .config = {.most_nodes = kMostRows, .cost = cost, .learns_cost = true}},
      {.name = "dynamic tree and copies", .config = {.most_nodes = kMostRows, .cost = cost, .learns_cost = true}},
      {.name = "typical",
       .config = {.most_nodes = kMostRows, .cost = cost, .learns_cost = true},
       .acceptance = lm::Acceptance::typical},
  };
  if (with_draft_model) all.push_back({.name = "draft model", .guesses = Guesses::of_draft_model});
  return all;
}

// Plain decoding, and those of `all` that are asked for.
std::vector<Method> select(std::vector<Method> all, const std::vector<std::string>& only) {
  if (only.empty()) return all;
  std::vector<std::string> names;
  for (const Method& m : all) names.push_back(m.name);
  for (const std::string& name : only) {
    require(std::ranges::count(names, name) > 0, "bench drafting: there is no method '{}'; take of: {}", name,
            fmt::join(names, ", "));
  }
  std::erase_if(all, [&](const Method& m) {
    return m.guesses != Method::Guesses::none && std::ranges::count(only, m.name) == 0;
  });
  return all;
}

// One way of continuing all prompts.
class Competitor {
 public:
  Competitor(lm::Model& model, lm::MedusaGuesser& guesser, lm::Model* draft_model, const Method& method,
             const lm::SamplerConfig& sampling)
      : method_(method),
        drafter_(make_drafter(model, guesser, draft_model, method)),
        sampler_(model, configured(sampling, method), drafter_.get()) {}

  void run(std::span<const lm::SampleRequest> requests) { samples_ = sampler_.generate(requests); }

  const Method& method() const { return method_; }
  const lm::SamplerStats& stats() const { return sampler_.stats(); }
  bool same_texts(const Competitor& other) const {
    return std::ranges::equal(samples_, other.samples_, [](const lm::Sample& a, const lm::Sample& b) {
      return a.tokens == b.tokens && a.log_probs == b.log_probs;
    });
  }

 private:
  static std::unique_ptr<lm::Drafter> make_drafter(lm::Model& model, lm::MedusaGuesser& guesser, lm::Model* draft_model,
                                                   const Method& method) {
    using Guesses = Method::Guesses;
    if (method.guesses == Guesses::none) return nullptr;
    if (method.guesses == Guesses::of_draft_model) return std::make_unique<lm::DraftModel>(*draft_model, model);
    return std::make_unique<lm::MedusaDrafter>(method.guesses == Guesses::of_heads ? &guesser : nullptr,
                                               model.heads()->config().heads, method.config);
  }
  static lm::SamplerConfig configured(lm::SamplerConfig sampling, const Method& method) {
    sampling.acceptance = method.acceptance;
    return sampling;
  }

  Method method_;
  std::unique_ptr<lm::Drafter> drafter_;
  lm::Sampler sampler_;
  std::vector<lm::Sample> samples_;
};

}  // namespace

void drafting(const DraftingOptions& options, const Sink& sink) {
  lm::Model model = posttrain::load_model(options.model, options.precision);
  require(model.heads() != nullptr,
          "bench drafting: {} has no Medusa heads; train some: gradus train text/medusa model={} data={}",
          options.model.string(), options.model.string(), options.data.string());
  std::optional<lm::Model> draft_model;
  if (!options.draft_model.empty()) draft_model = posttrain::load_model(options.draft_model, options.precision);
  const posttrain::Text text(options.data);
  const int64_t room = model.config().max_positions;
  const int64_t prompt_tokens = std::min(kPromptTokens, room / 2);
  const int64_t max_tokens = std::min(options.max_tokens, room - prompt_tokens);
  const int64_t most = std::max(kLeastTexts, *std::ranges::max_element(options.batches));
  std::vector<std::vector<int32_t>> prompts;
  for (std::vector<int32_t>& window : posttrain::held_out_windows(text, model.tokenizer(), prompt_tokens, most)) {
    window.resize(std::min(window.size(), static_cast<size_t>(prompt_tokens)));
    prompts.push_back(std::move(window));
  }
  const lm::CostCurve curve = lm::measure_cost_curve(model, std::min(2 * kMostRows, room / 2));
  const lm::StepCost cost = [&](int64_t rows) { return curve.ms(rows); };
  const std::vector<Method> chosen =
      select(methods(model.heads()->config().heads, cost, draft_model.has_value()), options.only);
  lm::MedusaGuesser guesser(*model.heads(), model.draft_vocabulary());

  for (const double temperature : options.temperatures) {
    for (const int64_t batch : options.batches) {
      std::vector<lm::SampleRequest> requests;
      const auto texts = static_cast<size_t>(std::max(batch, kLeastTexts));
      for (size_t i = 0; i < std::min(prompts.size(), texts); ++i) requests.push_back({prompts[i], i});
      std::vector<std::unique_ptr<Competitor>> competitors;
      Alternation rounds;
      std::vector<Alternation::Id> ids;
      for (const Method& m : chosen) {
        competitors.push_back(std::make_unique<Competitor>(
            model, guesser, draft_model ? &*draft_model : nullptr, m,
            lm::SamplerConfig{.max_batch = batch, .max_tokens = max_tokens, .temperature = temperature, .seed = 1}));
        ids.push_back(rounds.add([&requests, c = competitors.back().get()] { c->run(requests); }));
      }
      rounds.run(options.rounds);
      for (size_t i = 0; i < competitors.size(); ++i) {
        const Competitor& c = *competitors[i];
        const lm::SamplerStats& s = c.stats();
        const double seconds = rounds.median_s(ids[i]);
        const auto trees = static_cast<double>(std::max<int64_t>(1, s.draft_steps));
        const double kept = std::accumulate(s.accepted_at.begin(), s.accepted_at.end(), 0.0);
        std::string positions;
        for (size_t d = 0; d < std::min<size_t>(5, s.accepted_at.size()); ++d)
          positions += fmt::format("{}{:.2f}", d > 0 ? " " : "", static_cast<double>(s.accepted_at[d]) / trees);
        sink({{"temperature", temperature},
              {"batch", batch},
              {"method", c.method().name},
              {"tokens_per_s", static_cast<double>(s.response_tokens) / seconds},
              {"speed_up", rounds.median_ratio(ids[0], ids[i])},
              {"steps", s.steps},
              {"tokens_per_tree", s.draft_steps == 0 ? 1.0 : 1.0 + kept / trees},
              {"nodes", static_cast<double>(s.drafted_tokens) / trees},
              {"kept_at_depth", positions},
              {"same_text", c.same_texts(*competitors[0])}});
      }
    }
  }
}

}  // namespace gradus::bench
