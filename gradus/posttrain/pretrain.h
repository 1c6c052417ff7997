// Language modelling on plain text: next-token prediction, the first step of a model that has none before it.
// Loss: the mean of -log pi(u_t | u_<t) over all tokens of a window but its first (Radford et al. 2018, "Improving
// language understanding by generative pre-training", eq. (1)). Tokens are the model's own, of a new
// model bytes and ends of files (token_text.h).
#pragma once

#include <cstdint>

#include "gradus/optim/adamw.h"
#include "gradus/posttrain/held_out_text.h"
#include "gradus/posttrain/learner.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

struct PretrainConfig {
  int64_t tokens = 3'000'000;   // budget: predicted tokens
  int64_t context = 256;        // tokens that a window predicts
  int64_t sequences = 16;       // windows per step
  double learning_rate = 3e-3;  // peak; cosine to a tenth over the budget
  double warmup = 0.05;         // share of the budget with a rising rate
  double weight_decay = 0.1;
  double clip_norm = 1.0;
  int64_t max_rows = 2048;           // rows of a micro-batch
  int64_t every = 200;               // steps between checkpoints, each with a held-out loss
  int64_t held_out_tokens = 65'536;  // of a held-out loss

  template <class F>
  void fields(F& f) {
    f("tokens", tokens, "budget: bytes, and ends of files, to predict");
    f("context", context, "bytes in a window, the most that a prediction looks back on");
    f("sequences", sequences, "windows per step");
    f("learning_rate", learning_rate, "peak learning rate; cosine to a tenth over the budget");
    f("warmup", warmup, "share of the budget with a rising rate");
    f("weight_decay", weight_decay, "AdamW's decoupled decay of the matrices");
    f("clip_norm", clip_norm, "largest global gradient norm; 0 = off");
    f("max_rows", max_rows, "rows of a micro-batch");
    f("every", every, "steps between checkpoints, each with a held-out loss; the best checkpoint has the lowest");
    f("held_out_tokens", held_out_tokens, "held-out bytes that a loss is measured on, at most");
  }

  void check() const;  // throws invalid_argument on values that make no sense
  HeldOutLossConfig held_out() const { return {.context = context, .tokens = held_out_tokens, .max_rows = max_rows}; }
};

// Where it stands; with the weights and the optimiser's moments, all that a resume needs.
struct PretrainState {
  int64_t step = 0;
  int64_t tokens = 0;
};

// Throws invalid_argument when the model has fewer positions than the context.
void check_can_read(const lm::Model& model, const PretrainConfig& config);

// The same, and when the model's tokenizer cannot read such text or, of bytes, no training text is as long as a window.
void check_fits(const lm::Model& model, const Text& text, const PretrainConfig& config);

// Throws invalid_argument when there are no windows.
void check_has_windows(const WindowDraw& windows, const TokenSide& side, const Text& text);

class Pretrain {
 public:
  // Throws what `check` and `check_fits` throw.
  Pretrain(lm::Model& model, const Text& text, const PretrainConfig& config, uint64_t seed,
           optim::LossScaler* scaler = nullptr, run::Ranks* ranks = nullptr);

  bool done() const { return state_.tokens >= config_.tokens; }

  // One step on windows drawn with Rng(seed, data, number of the window). Metrics: loss, grad_norm, learning_rate,
  // tokens. Under loss scaling also
  // those of add_scaling_metrics. Throws diverged.
  Metrics step();

  PretrainState& state() { return state_; }
  optim::AdamW& optimiser() { return optimiser_; }
  run::TrainStep& train_step() { return train_step_; }

 private:
  lm::Model& model_;
  PretrainConfig config_;
  uint64_t seed_;
  TokenSide text_;
  WindowDraw windows_;
  optim::AdamW optimiser_;
  optim::LossScaler* scaler_;
  PackedLikelihood likelihood_;
  run::TrainStep train_step_;
  PretrainState state_;
};

}  // namespace gradus::posttrain
