// How a token is chosen from its logits: by temperature, and by filters and penalties that narrow the draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/tensor.h"
#include "gradus/kernels/sampling.h"

namespace gradus::lm {

// What narrows a draw, in the order of `transformers`: penalties, then temperature, top_k, top_p, min_p.
struct DrawFilters {
  int64_t top_k = 0;                // only the k likeliest tokens; 0 = all
  double top_p = 1.0;               // only the likeliest, whose probabilities first reach p together
  double min_p = 0.0;               // only those at least min_p times as likely as the likeliest
  double repetition_penalty = 1.0;  // for tokens of the text: positive logits are divided by it, negative ones
                                    // multiplied (Keskar et al. 2019, arXiv 1909.05858, section 4.1)
  double presence_penalty = 0.0;    // off the logits of tokens of the response
  double frequency_penalty = 0.0;   // off them for each time

  bool operator==(const DrawFilters&) const = default;
  bool narrow() const { return top_k > 0 || top_p < 1 || min_p > 0 || penalise(); }
  bool penalise() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
  void check() const;  // throws invalid_argument on a value that makes no sense
};

// One draw: from which row of the logits, after which text.
struct DrawRequest {
  int64_t row = 0;
  float uniform = 0;                   // in [0, 1)
  std::span<const int32_t> text = {};  // prompt and response so far; read by penalties only
  int64_t prompt_tokens = 0;           // of text
};

// Without filters as kernels::sample_tokens draws. With them: of the tokens that are left the first, ascending by id,
// whose probabilities so far exceed u of them all, in double; at temperature 0 the largest penalised logit.
// log_prob is the model's own in any case, log softmax(logits / temperature) of the drawn token, as the trainer has it.
class TokenDrawer {
 public:
  // draws[i] gets the result of requests[i], of the first n_drawn ids. Throws as kernels::sample_tokens.
  void draw(const Tensor& logits, double temperature, const DrawFilters& filters, std::span<const DrawRequest> requests,
            int64_t n_drawn);
  std::span<const kernels::TokenDraw> draws() const { return draws_; }

 private:
  std::vector<kernels::TokenDraw> draws_;
};

}  // namespace gradus::lm
