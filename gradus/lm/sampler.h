// The batched sampler: continuous decoding over a paged key/value cache. Finished sequences make room for waiting ones
// at once, sequences that begin alike share the keys of what they have in common, and drafts are confirmed several
// tokens at a time. What it draws for a sequence depends on (weights, prompt, seed, sequence index, temperature,
// filters) alone: never on its neighbours, on how prompts are cut, on what is shared, or on what is drafted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gradus/lm/draft.h"
#include "gradus/lm/draw.h"
#include "gradus/lm/model.h"

namespace gradus::lm {

struct SampleRequest {
  std::span<const int32_t> prompt;  // at least one token; must outlive the call
  // Names the random stream: the token at position p is drawn with Rng(seed, sample, sequence, p).
  uint64_t sequence = 0;
};

struct Sample {
  std::vector<int32_t> tokens;  // response, with the end token if it was drawn
  // Of each token under softmax(logits / temperature); at temperature 0: of temperature 1.
  std::vector<float> log_probs;
  bool ended = false;     // the end token was drawn, or a stop string came; false = cut at max_tokens
  std::string stop = {};  // the stop string that came, which is the end of the response's text
};

// When a draft is kept. `lossless`: as long as it is what would have been drawn anyway. `typical`: as long as the model
// finds it likely enough (TypicalAcceptance), so texts are others than without drafts.
enum class Acceptance { lossless, typical };

// A drafted token x is kept where p(x) > min(epsilon, delta exp(-H(p))), p and its entropy H at the sampler's
// temperature (at 0: of temperature 1): Cai et al. 2024, section 2.3.1.
struct TypicalAcceptance {
  double epsilon = 0.09;
  double delta = 0.3;
};

struct SamplerConfig {
  int64_t max_batch = 256;      // sequences decoded at once
  int64_t max_tokens = 128;     // per response
  int64_t prefill_rows = 2048;  // prompt tokens read per step at most
  double temperature = 1.0;     // 0 = greedy
  uint64_t seed = 0;
  DrawFilters filters = {};
  std::vector<std::string> stop = {};  // ends a response whose text comes to contain one
  bool share_prefixes = true;
  Acceptance acceptance = Acceptance::lossless;
  TypicalAcceptance typical = {};
};

struct SamplerStats {
  int64_t prompt_tokens = 0;  // of all requests
  int64_t shared_tokens = 0;  // of those, the ones whose keys were there already
  int64_t response_tokens = 0;
  int64_t steps = 0;
  int64_t drafted_tokens = 0;  // nodes beside the texts' own last tokens
  int64_t draft_steps = 0;     // trees with such nodes, over all sequences
  // [d]: trees in which a node of depth d + 1 was kept.
  std::vector<int64_t> accepted_at = {};
};

class Sampler {
 public:
  // The model's weights may change between calls of generate, not during one. `drafter`, if given, outlives the object.
  Sampler(Model& model, const SamplerConfig& config, Drafter* drafter = nullptr)
      : model_(model), config_(config), drafter_(drafter) {}

  struct Hooks {
    std::function<bool()> should_stop = {};  // asked once a step; when it says yes, Error{interrupted}
    // The response of request i has grown.
    std::function<void(size_t i, const Sample& sample)> on_tokens = {};
  };

  // One sample per request, in the requests' order. Throws invalid_argument when prompt plus max_tokens does not fit
  // the model's positions, a prompt is empty, or a setting makes no sense.
  std::vector<Sample> generate(std::span<const SampleRequest> requests, const Hooks& hooks);
  std::vector<Sample> generate(std::span<const SampleRequest> requests, const std::function<bool()>& should_stop = {}) {
    return generate(requests, Hooks{.should_stop = should_stop});
  }

  const SamplerStats& stats() const { return stats_; }  // of the last generate

 private:
  Model& model_;
  SamplerConfig config_;
  Drafter* drafter_;
  SamplerStats stats_;
};

}  // namespace gradus::lm
