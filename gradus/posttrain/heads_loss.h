// The loss of Medusa heads over packed sequences, alone or beside their trunk's: what medusa.h trains on text, and
// rollout_heads.h on what a policy samples.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "gradus/lm/medusa/heads.h"
#include "gradus/posttrain/likelihood.h"

namespace gradus::posttrain {

// Gradients end at the trunk's hidden states while this lives.
class FrozenTrunk {
 public:
  explicit FrozenTrunk(nn::Transformer& trunk) : trunk_(trunk) {
    for (nn::Parameter* p : trunk_.parameters()) were_.push_back(std::exchange(p->frozen, true));
  }
  FrozenTrunk(const FrozenTrunk&) = delete;
  FrozenTrunk& operator=(const FrozenTrunk&) = delete;
  ~FrozenTrunk() {
    for (size_t i = 0; i < were_.size(); ++i) trunk_.parameters()[i]->frozen = were_[i];
  }

 private:
  nn::Transformer& trunk_;
  std::vector<bool> were_;
};

class HeadsLoss {
 public:
  // The weight of each mean: [0] of the trunk's own loss, 0: the trunk is only read; [1 + k] of head k's.
  using Weights = std::vector<double>;
  // decay^(k+1) * lambda for head k; eq. 1 and 2 of medusa.h.
  static Weights weights(const lm::MedusaHeads& heads, double trunk, double lambda, double decay);

  // All outlive the object. A micro-batch takes sequences until max_rows would be passed. With a teacher, a
  // transformer of the same tokens, the trunk's own loss is KL(teacher || trunk) where tokens of responses are drawn.
  HeadsLoss(nn::Transformer& trunk, lm::MedusaHeads& heads, int64_t max_rows, nn::Transformer* teacher = nullptr)
      : trunk_(trunk), heads_(heads), max_rows_(max_rows), teacher_(teacher) {}

  const lm::MedusaHeads& heads() const { return heads_; }

  // How many tokens each loss has to predict: [1 + heads], of the responses.
  std::vector<int64_t> count_targets(std::span<const TrainSequence> sequences) const;

  // sum_i weights[i] * (sum of -log p over the sequences' targets) / n_targets[i], a micro-batch at a time; adds each
  // loss's part of its mean to losses[i].
  void run(std::span<const TrainSequence> sequences, std::span<const double> weights,
           std::span<const int64_t> n_targets, std::span<double> losses,
           const std::function<void(nn::Var loss, bool last)>& backward);

 private:
  size_t pack(std::span<const TrainSequence> sequences, size_t begin);
  Tensor hidden(nn::Transformer& transformer);  // of the batch, as a constant
  nn::Var loss_of_trunk(nn::Var x, double weight);
  nn::Var loss_of_batch(std::span<const double> weights, std::span<const int64_t> n_targets, std::span<double> losses);

  nn::Transformer& trunk_;
  lm::MedusaHeads& heads_;
  int64_t max_rows_;
  nn::Transformer* teacher_;
  nn::Tape tape_{nn::Tape::Mode::record};
  nn::Tape inference_{nn::Tape::Mode::inference};
  nn::TokenBatch batch_;
  std::vector<int32_t> next_;  // [rows] the token after each
  // [1 + heads] of each loss: the rows that have a target, the targets, and what each weighs.
  std::vector<std::vector<int32_t>> rows_, targets_;
  std::vector<std::vector<double>> target_weights_;
};

}  // namespace gradus::posttrain
