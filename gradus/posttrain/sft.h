// Supervised fine-tuning on a task's demonstrations: the warm-up that gives RL something to find.
// Loss: the mean negative log-likelihood of the demonstrations' tokens, end token included; prompts are not imitated.
#pragma once

#include <cstdint>
#include <utility>

#include "gradus/optim/adamw.h"
#include "gradus/posttrain/curriculum.h"
#include "gradus/posttrain/learner.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

struct SftConfig {
  int64_t tokens = 3'000'000;   // budget, prompts included
  int64_t passes = 16;          // over a fixed list of demonstrations, within the budget; 0 = no limit
  int64_t sequences = 96;       // per step
  double learning_rate = 2e-3;  // peak; cosine to a tenth over the budget
  double warmup = 0.02;         // share of the budget with a rising rate
  double weight_decay = 0.01;
  double clip_norm = 1.0;
  int64_t max_rows = 2048;           // rows of a micro-batch
  int64_t min_difficulty = 0;        // easier problems than the task's own may help a start; 0 = the task's least
  int64_t first_max_difficulty = 0;  // difficulties start as [least, this] and widen; 0 = all at once
  double widened_at = 0.5;           // share of the budget at which all difficulties are in use
  double stretch = 1.0;        // sequences of n tokens get random ascending positions below n times up to this; 1 = off
  int64_t max_difficulty = 0;  // none beyond this in the warm-up; 0 = the task's greatest

  template <class F>
  void fields(F& f) {
    f("tokens", tokens, "budget of the warm-up, prompts included; 0 = no warm-up");
    f("passes", passes, "most passes over a data file's demonstrations, so that few are not memorised; 0 = no limit");
    f("sequences", sequences, "sequences per step");
    f("learning_rate", learning_rate, "peak learning rate; cosine to a tenth over the budget");
    f("warmup", warmup, "share of the budget with a rising rate");
    f("weight_decay", weight_decay, "AdamW's decoupled decay of the matrices");
    f("clip_norm", clip_norm, "largest global gradient norm; 0 = off");
    f("max_rows", max_rows, "rows of a micro-batch");
    f("min_difficulty", min_difficulty, "least difficulty of the warm-up; 0 = the task's; easier ones help a start");
    f("first_max_difficulty", first_max_difficulty, "start with difficulties up to this and widen; 0 = all at once");
    f("widened_at", widened_at, "share of the budget at which all difficulties are in use");
    f("stretch", stretch,
      "random positions spread over up to this times the length, for half of the sequences; 1 = off");
    f("max_difficulty", max_difficulty, "none beyond this in the warm-up; 0 = the task's greatest");
  }

  // Throws invalid_argument on values that make no sense, alone or with a task of these difficulties.
  void check(std::pair<int, int> difficulties) const;
};

// Where a warm-up stands; with the weights and the optimiser's moments, all that a resume needs.
struct SftState {
  int64_t step = 0;
  int64_t tokens = 0;
};

class Sft {
 public:
  Sft(lm::Model& model, const Task& task, const SftConfig& config, uint64_t seed, optim::LossScaler* scaler = nullptr,
      run::Ranks* ranks = nullptr);

  bool done() const { return state_.tokens >= config_.tokens; }

  // One step: draw demonstrations, one train step. Metrics: loss, grad_norm, learning_rate, tokens. Under loss scaling
  // also those of add_scaling_metrics. Throws diverged.
  Metrics step();

  double fraction() const;
  SftState& state() { return state_; }
  optim::AdamW& optimiser() { return optimiser_; }
  run::TrainStep& train_step() { return train_step_; }

 private:
  lm::Model& model_;
  const Task& task_;
  SftConfig config_;
  uint64_t seed_;
  Curriculum curriculum_;
  optim::AdamW optimiser_;
  optim::LossScaler* scaler_;
  PackedLikelihood likelihood_;
  run::TrainStep train_step_;
  SftState state_;
};

}  // namespace gradus::posttrain
