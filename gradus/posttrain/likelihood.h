// The weighted likelihood of responses: the one gradient that SFT, k1.5 and its baselines share.
// Sequences are packed into micro-batches; per sequence y with weight w the loss is -w * sum_t log pi(y_t | y_<t).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gradus/nn/transformer.h"

namespace gradus::posttrain {

struct TrainSequence {
  std::span<const int32_t> tokens{};  // prompt and response; must outlive the call
  int64_t prompt_tokens = 0;          // >= 1; the response is tokens[prompt_tokens ..)
  std::span<const int32_t>
      angles{};  // positions for the rotary angles, one per token; empty = 0, 1, 2, ... (all or none of a batch)

  int64_t response_tokens() const { return static_cast<int64_t>(tokens.size()) - prompt_tokens; }
};

// Where sequences are cut into shards of about as many tokens each: [n_shards + 1], fixed by the sequences alone.
std::vector<int64_t> shard_bounds(std::span<const TrainSequence> sequences, int64_t n_shards);

class PackedLikelihood {
 public:
  // temperature > 0: log pi is that of softmax(logits / temperature). A micro-batch takes sequences until max_rows
  // would be passed.
  PackedLikelihood(nn::Transformer& model, double temperature, int64_t max_rows)
      : model_(model), temperature_(temperature), max_rows_(max_rows) {}

  // weigh(i, log_probs of sequence i's response tokens) -> w_i, called once for each sequence, in order.
  using Weigh = std::function<double(size_t, std::span<const float>)>;
  using Backward = std::function<void(nn::Var loss, bool last)>;

  // Forward, weigh, then backward(loss, whether it is the last) per micro-batch, in order.
  void run(std::span<const TrainSequence> sequences, const Weigh& weigh, const Backward& backward);

  // Forward only: visit(i, log_probs) for each sequence, from the same packed pass that the gradient uses.
  void evaluate(std::span<const TrainSequence> sequences,
                const std::function<void(size_t, std::span<const float>)>& visit);

 private:
  // Packs sequences from `begin` on; returns the end of the micro-batch. A prompt that consecutive sequences share is
  // computed once.
  size_t pack(std::span<const TrainSequence> sequences, size_t begin);
  size_t finish_pack(size_t end);
  // The tokens of a response whose rows begin at first_row; its first is predicted by the prompt's last row.
  void add_targets(const TrainSequence& sequence, int32_t first_row, int32_t last_prompt_row);

  nn::Transformer& model_;
  double temperature_;
  int64_t max_rows_;
  nn::Tape tape_{nn::Tape::Mode::record};
  nn::Tape inference_{nn::Tape::Mode::inference};
  nn::TokenBatch batch_;
  std::vector<int32_t> rows_, targets_;  // of the response tokens: the row that predicts each, and its id
  std::vector<double> weights_;
};

}  // namespace gradus::posttrain
