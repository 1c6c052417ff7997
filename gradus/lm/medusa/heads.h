// Medusa heads: small networks on a language model's last hidden state, which guess the tokens after the next one, all
// at once (Cai et al. 2024, arXiv 2401.10774, section 2.1.1).
//
// Notation: x [rows, C] the final hidden state, normalised, from which the model's own head W predicts token t + 1.
// Head k = 0, 1, ... predicts token t + 2 + k:
//   h = x;   h = h + SiLU(W1 h + b1), layers times;   p_k = softmax(h W_k^T) (section 2.1.1)
// W_k is the model's own W, or with own_outputs a copy of it that is trained.
// With reads_token a head also sees token t + 1, which is drawn when it guesses: the first layer is
//   h = x + SiLU(W1 x + U e + b1),   e the token's embedding, divided by its root mean square
// (Ankner et al. 2024, arXiv 2402.05109, let each head see the guesses before it; here all see what is no guess).
// Differs: b1 begins at 0 as W1 does, so that every head begins as the model's own (the reference draws b1 at random).
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "gradus/autograd/ops.h"
#include "gradus/core/safetensors.h"
#include "gradus/nn/transformer.h"

namespace gradus::lm {

struct MedusaConfig {
  int64_t heads = 4;
  int64_t layers = 1;        // residual blocks of a head
  bool own_outputs = false;  // each head has an output matrix [n_vocab, C] of its own
  bool reads_token = false;  // and sees the token that is drawn

  bool operator==(const MedusaConfig&) const = default;
  void check() const;  // throws invalid_argument on a number that makes no sense
};

class MedusaHeads {
 public:
  // For `trunk`, which outlives the object and whose precision the heads take. The heads' values are zero, but their
  // own outputs a copy of the trunk's: each predicts what the trunk does.
  MedusaHeads(nn::Transformer& trunk, const MedusaConfig& config);
  MedusaHeads(const MedusaHeads&) = delete;
  MedusaHeads& operator=(const MedusaHeads&) = delete;

  const MedusaConfig& config() const { return config_; }
  nn::Transformer& trunk() const { return trunk_; }

  // Copies values in by name. Throws corrupt, naming the tensor, when one is missing,
  // left over, or has another shape.
  void set_weights(const NamedTensors& weights, std::string_view origin);

  // In a fixed order, with the names of the first published layout: "{head}.{layer}.linear.weight", ".bias",
  // "{head}.{layers}.weight"; and, of none, "{head}.token.weight" before the last.
  const std::vector<nn::Parameter*>& parameters() const { return order_; }
  void allocate_gradients();

  // e [rows, C] of the tokens t + 1, without gradients; undefined when heads do not see them.
  nn::Var read(nn::Tape& tape, std::span<const int32_t> tokens);
  // h of head k, from the trunk's hidden states x [rows, C] and what read() gave.
  nn::Var hidden(nn::Var x, nn::Var e, int64_t head);
  // W_k.
  nn::Parameter& output(int64_t head);

 private:
  struct Block {
    nn::Parameter *weight, *bias;
  };
  nn::Parameter* make_parameter(std::string name, Shape shape);

  nn::Transformer& trunk_;
  MedusaConfig config_;
  std::deque<nn::Parameter> storage_;
  std::vector<nn::Parameter*> order_;
  std::vector<std::vector<Block>> blocks_;  // [heads][layers]
  std::vector<nn::Parameter*> tokens_;      // U: [heads] or empty
  std::vector<nn::Parameter*> outputs_;     // [heads] or empty
};

// A head's likeliest tokens, the likeliest first; of equals the lower id.
struct Candidate {
  int32_t token = 0;
  float p = 0;
};

// What heads guess, without a tape. The tokens that are drafted may be fewer than the vocabulary's: a small model's
// output matrix is a large part of it, and most of what it writes is in few tokens.
class MedusaGuesser {
 public:
  // `vocabulary` holds the tokens that may be guessed, all different; empty: all. With own outputs it must be empty.
  explicit MedusaGuesser(MedusaHeads& heads, std::vector<int32_t> vocabulary = {});

  // The trunk's head was changed: gathers what is needed of it again.
  void refresh();

  // [rows][heads] lists of at most `most` candidates, for the trunk's hidden states [rows, C] and the tokens t + 1 that
  // were drawn from them [rows].
  std::vector<std::vector<Candidate>> guess(const Tensor& hidden, std::span<const int32_t> drawn, int64_t most);

 private:
  MedusaHeads& heads_;
  std::vector<int32_t> vocabulary_;
  Tensor output_;  // the rows of the trunk's head that stand for vocabulary_
  nn::Tape tape_{nn::Tape::Mode::inference};
};

}  // namespace gradus::lm
