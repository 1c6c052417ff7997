// Training of Medusa heads on text (Cai et al. 2024, arXiv 2401.10774, section 2.2): with the trunk as it is
// (Medusa-1), or together with it (Medusa-2); on the text, or on what the model itself writes after its beginnings
// (self-distillation, section 2.3.2).
//
// Notation: head k = 0, 1, ... predicts token t + 2 + k from the trunk's hidden state at t; lambda the weight of heads.
//   L_heads = sum_k decay^(k+1) * mean_t( -log p_k(u_{t+2+k}) )                                (eq. 1)
//   Medusa-1: L_heads.     Medusa-2: L = L_trunk + lambda * L_heads                             (eq. 2)
// L_trunk is the loss of pretrain.h; in self-distillation the mean of KL(pi_0 || pi), pi_0 the trunk before the run.
// In Medusa-2 heads learn at the full rate and the trunk at trunk_rate of it (two learning rates), and lambda rises
// from 0 over the first `warmup` of the budget, so that heads that know nothing do not spoil a trunk that does.
// Answers are written anew in each step by the trunk as it was, so nothing is kept on disk.
// Differs: each head's loss is a mean over its own targets, so that windows of any length weigh heads alike.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gradus/lm/medusa/heads.h"
#include "gradus/optim/adamw.h"
#include "gradus/posttrain/heads_loss.h"
#include "gradus/posttrain/held_out_text.h"
#include "gradus/posttrain/learner.h"
#include "gradus/posttrain/own_answers.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

struct MedusaTrainConfig {
  int64_t heads = 4;
  int64_t layers = 1;
  bool own_outputs = false;
  bool reads_token = true;
  bool joint = false;
  bool self_distillation = false;
  double answer_temperature = 0.3;  // as the reference's data generation
  int64_t tokens = 1'000'000;
  int64_t context = 256;
  int64_t sequences = 8;
  double learning_rate = 1e-3;
  double warmup = 0.05;
  double trunk_rate = 0.25;
  double lambda = 0.2;
  double decay = 0.8;
  double weight_decay = 0.0;
  double clip_norm = 1.0;
  int64_t max_rows = 2048;
  int64_t every = 200;
  int64_t held_out_tokens = 16'384;

  template <class F>
  void fields(F& f) {
    f("heads", heads, "heads, each of which guesses one token further ahead");
    f("layers", layers, "residual blocks of a head");
    f("own_outputs", own_outputs, "an output matrix for each head, instead of the model's own for all");
    f("reads_token", reads_token, "heads see the token that was drawn, too; false: as published, for other programs");
    f("joint", joint,
      "train the model, too (Medusa-2); false: the heads alone, and the model stays as it is (Medusa-1)");
    f("self_distillation", self_distillation,
      "learn from what the model itself writes after the text's beginnings, and if joint keep the model to what it "
      "was");
    f("answer_temperature", answer_temperature, "if self_distillation: at which the model writes; 0 = greedy");
    f("tokens", tokens, "budget: tokens that windows predict");
    f("context", context, "tokens in a window");
    f("sequences", sequences, "windows per step");
    f("learning_rate", learning_rate, "peak learning rate of the heads; cosine to a tenth over the budget");
    f("warmup", warmup, "share of the budget with a rising rate and, if joint, a rising weight of the heads");
    f("trunk_rate", trunk_rate, "if joint: the model's learning rate, as a share of the heads'");
    f("lambda", lambda, "if joint: weight of the heads' loss beside the model's");
    f("decay", decay, "weight of a head's loss relative to the one's before");
    f("weight_decay", weight_decay, "AdamW's decoupled decay of the matrices");
    f("clip_norm", clip_norm, "largest global gradient norm; 0 = off");
    f("max_rows", max_rows, "rows of a micro-batch");
    f("every", every, "steps between checkpoints, each with the heads' held-out accuracy");
    f("held_out_tokens", held_out_tokens, "held-out tokens that heads are measured on, at most");
  }

  void check() const;  // throws invalid_argument on values that make no sense
  lm::MedusaConfig shape() const {
    return {.heads = heads, .layers = layers, .own_outputs = own_outputs, .reads_token = reads_token};
  }
  bool needs_teacher() const { return joint && self_distillation; }
  HeldOutLossConfig held_out() const { return {.context = context, .tokens = held_out_tokens, .max_rows = max_rows}; }
};

struct MedusaState {
  int64_t step = 0;
  int64_t tokens = 0;
};

class MedusaLearner {
 public:
  struct Options {
    lm::Model* teacher = nullptr;  // if config.needs_teacher(): the model as it was before the run
    optim::LossScaler* scaler = nullptr;
    run::Ranks* ranks = nullptr;
  };
  // `heads` belong to the model's transformer. Throws what `check` throws, and what Pretrain does of model and text.
  MedusaLearner(lm::Model& model, lm::MedusaHeads& heads, const Text& text, const MedusaTrainConfig& config,
                uint64_t seed, const Options& options);
  MedusaLearner(lm::Model& model, lm::MedusaHeads& heads, const Text& text, const MedusaTrainConfig& config,
                uint64_t seed)
      : MedusaLearner(model, heads, text, config, seed, {}) {}
  ~MedusaLearner();  // the trunk may learn again

  bool done() const { return state_.tokens >= config_.tokens; }

  // One step on windows drawn as Pretrain draws them. Metrics: loss, head_1_loss, ..., grad_norm, learning_rate,
  // tokens; if joint also trunk_loss. Throws diverged.
  Metrics step();

  MedusaState& state() { return state_; }
  optim::AdamW& optimiser() { return optimiser_; }
  run::TrainStep& train_step() { return train_step_; }

 private:
  std::vector<OwnAnswer> next_texts();

  lm::Model& model_;
  lm::Model* teacher_;
  MedusaTrainConfig config_;
  uint64_t seed_;
  TokenSide text_;
  WindowDraw windows_;
  optim::AdamW optimiser_;
  optim::LossScaler* scaler_;
  run::TrainStep train_step_;
  MedusaState state_;
  HeadsLoss loss_;
  std::optional<FrozenTrunk> frozen_;  // unless joint
};

// How good heads are on held-out text: what share of the tokens is among their first guesses.
struct HeadsQuality {
  static constexpr int64_t kRanks = 10;
  int64_t tokens = 0;  // that each head was asked for
  // [heads][kRanks]: the share of which guess number 0, 1, ... was the token.
  std::vector<std::vector<double>> at_rank = {};

  double top(size_t head, size_t guesses) const;  // the share that is among the first so many
  // Tokens of a step that drafts the likeliest guess of each head, if heads were right independently of each other:
  // 1 + a_1 + a_1 a_2 + ...
  double chain_tokens() const;
};
HeadsQuality heads_quality(lm::Model& model, lm::MedusaHeads& heads, const Text& text, const HeldOutLossConfig& config);

}  // namespace gradus::posttrain
