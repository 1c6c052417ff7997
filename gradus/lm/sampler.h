// The batched sampler: continuous decoding over a paged key/value cache. Finished sequences make room for waiting ones
// at once. What it draws for a sequence depends on (weights, prompt, seed, sequence index, temperature) alone, never on
// its neighbours.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gradus/lm/model.h"

namespace gradus::lm {

struct SampleRequest {
  std::span<const int32_t> prompt;  // at least one token; must outlive the call
  uint64_t sequence =
      0;  // names the random stream: the token at position p is drawn with Rng(seed, sample, sequence, p)
};

struct Sample {
  std::vector<int32_t> tokens;  // response, with the end token if it was drawn
  std::vector<float>
      log_probs;       // of each token under softmax(logits / temperature); at temperature 0: of temperature 1
  bool ended = false;  // the end token was drawn; false = cut at max_tokens
};

struct SamplerConfig {
  int64_t max_batch = 256;      // sequences decoded at once
  int64_t max_tokens = 128;     // per response
  int64_t prefill_rows = 2048;  // prompt tokens read per step at most
  double temperature = 1.0;     // 0 = greedy
  uint64_t seed = 0;
};

struct SamplerStats {
  int64_t prompt_tokens = 0;
  int64_t response_tokens = 0;
  int64_t steps = 0;
};

class Sampler {
 public:
  // The model's weights may change between calls of generate, not during one.
  Sampler(Model& model, const SamplerConfig& config) : model_(model), config_(config) {}

  // One sample per request, in the requests' order. `should_stop`, if given, is asked once a step; when it says yes,
  // Error{interrupted}. Throws invalid_argument when prompt plus max_tokens does not fit the model's positions or a
  // prompt is empty.
  std::vector<Sample> generate(std::span<const SampleRequest> requests, const std::function<bool()>& should_stop = {});

  const SamplerStats& stats() const { return stats_; }  // of the last generate

 private:
  Model& model_;
  SamplerConfig config_;
  SamplerStats stats_;
};

}  // namespace gradus::lm
