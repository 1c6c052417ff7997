// What a language model makes of text that it was not trained on: its loss in nats and bits per byte, and how it goes
// on with a beginning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/posttrain/token_text.h"
#include "gradus/run/ranks.h"

namespace gradus::posttrain {

struct HeldOutLoss {
  int64_t tokens = 0;  // predicted: ends of files are some, too
  int64_t bytes = 0;
  double nats = 0;  // -log pi, summed over the tokens

  double per_token() const { return nats / static_cast<double>(tokens); }
  // What the text would take if it were compressed with the model, ends of files included; 8 is no knowledge at all.
  double bits_per_byte() const { return nats / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(1, bytes)); }
};

struct HeldOutLossConfig {
  int64_t context = 256;    // tokens before a predicted one: 1 to this many, since windows do not overlap
  int64_t tokens = 65536;   // at most about so many are predicted, in windows drawn once and for all; less if there is
                            // less
  int64_t max_rows = 2048;  // of a forward pass
};

// Depends on weights, text and config alone. `should_stop`, if given, is asked once a window; when it says yes,
// Error{interrupted}. Ranks share the windows, and all get the whole.
HeldOutLoss held_out_loss(lm::Model& model, const Text& text, const HeldOutLossConfig& config,
                          const std::function<bool()>& should_stop = {}, run::Ranks* ranks = nullptr);

struct Continuation {
  std::string prompt, text;  // bytes of any kind
  double mismatch = 0;       // the largest |log pi_sampler - log pi_trainer| over the tokens of `text`
};

inline constexpr double kContinuationTemperature = 0.7;

// The beginning of a held-out window, from a line's begin if there is one, and what the model writes behind it, sampled
// at kContinuationTemperature.
Continuation continue_held_out_text(lm::Model& model, const Text& text, int64_t context, uint64_t seed);

}  // namespace gradus::posttrain
