// The phases of a training run with their logs and checkpoints: warm-up, reinforcement, evaluation. After any
// interruption it goes on from the last checkpoint, bit for bit as if nothing had happened. The algorithms are in sft.h
// and k15.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/medusa.h"
#include "gradus/posttrain/pretrain.h"
#include "gradus/posttrain/sft.h"
#include "gradus/run/run_folder.h"

namespace gradus::posttrain {

// Of a run on plain text.
struct TextState {
  PretrainState pretrain;
  uint64_t fingerprint = 0;  // of the text
  std::optional<HeldOutLoss> before, after;
  double training_s = 0;  // in updates alone
};

// Of the training of Medusa heads.
struct HeadsState {
  MedusaState medusa;
  std::optional<HeadsQuality> before, after;
};

// All that a checkpoint holds beside weights and moments.
struct TrainState {
  std::string phase = "sft";  // the next thing to do: "pretrain" or "medusa" or "sft", "k15", "done"
  int64_t step = 0;           // updates of the warm-up plus iterations: numbers the rows of the logs
  SftState sft{};
  K15State k15{};
  std::optional<EvaluationPair> before{}, after{};
  double mismatch_max = 0;  // over all iterations so far
  double elapsed_s = 0;
  TextState text{};
  HeadsState heads{};
  std::optional<optim::LossScalerState> scaler{};  // none yet in a new run
  int64_t optimiser_steps = 0;                     // of the moments that are saved beside it, if any
  double base_norm = 0;  // of the frozen weights that adapters are for, or of a teacher; 0 without either
};
std::string to_json(const TrainState& state);
TrainState parse_train_state(std::string_view json, std::string_view origin);  // throws corrupt

// Which file of a checkpoint holds what learns: the weights, or the adapters alone.
const char* weights_file(const lm::Model& model);

struct TrainingOptions {
  int64_t problems = 512;        // of an evaluation
  int64_t quick_problems = 128;  // of the one at a checkpoint
  int64_t every = 10;            // iterations between checkpoints
  int64_t sft_every = 200;       // updates of the warm-up between checkpoints
  int64_t log_every = 10;        // updates of the warm-up per row of the logs
  optim::LossScalerConfig loss_scaling{};
  run::Ranks* ranks = nullptr;  // that train together; `run` is then a follower on all but the first
};

class Training {
 public:
  // All referenced things outlive the object. `task` may be null for a run that only pretrains. `state` is that of a
  // checkpoint when resuming.
  Training(run::Run& run, lm::Model& model, const Task* task, const TrainingOptions& options, Hooks hooks = {},
           TrainState state = {});

  // Each does what is left of its phase. Throws diverged (the last checkpoint stands) or interrupted (after saving
  // one).
  void pretrain(const Text& text, const PretrainConfig& config);  // measures the loss after, too, and ends the run
  // The model's heads; measures them after, too, and ends the run. `teacher` if config.needs_teacher().
  void medusa(const Text& text, const MedusaTrainConfig& config, lm::Model* teacher = nullptr);
  void sft(const SftConfig& config);
  void k15(const K15Config& config);

  // On held-out problems; the same problems and random numbers every time. Throws interrupted (after saving).
  EvaluationPair evaluate(int64_t n_problems, int64_t max_tokens);
  // On held-out text; the same every time. Throws interrupted (after saving).
  HeldOutLoss evaluate(const Text& text, const PretrainConfig& config);

  // Saves model, moments (of a warm-up in progress) and state.
  void checkpoint(std::optional<double> score = {});
  // To go on from `checkpoint`, whose weights and state are in place already: takes the moments of an optimiser
  // in progress. Call before pretrain() and sft(). Throws corrupt.
  void restore(const run::Checkpoint& checkpoint);

  TrainState& state() { return state_; }

 private:
  void log(std::string_view phase, const Metrics& metrics);
  void stop_if_asked();
  double elapsed_s() const;
  // From here on checkpoints hold the moments of this learner; it begins with those of the checkpoint, if that has any.
  template <class Learner>
  void follow_moments(Learner& learner);
  void continue_moments();
  EvaluationPair evaluate_on_held_out(int64_t n_problems, int64_t max_tokens, const std::function<bool()>& should_stop);

  run::Run& run_;
  lm::Model& model_;
  const Task* task_;
  TrainingOptions options_;
  Hooks hooks_;
  TrainState state_;
  double started_s_;
  optim::LossScaler scaler_;
  optim::AdamW* moments_ = nullptr;            // of the pretraining or warm-up in progress
  run::GradientExchange* exchange_ = nullptr;  // which may have cut them
  std::optional<NamedTensors> saved_moments_;  // of the checkpoint that it goes on from, by name
  std::optional<int64_t> saved_step_;          // of the last checkpoint
};

template <class Learner>
void Training::follow_moments(Learner& learner) {
  moments_ = &learner.optimiser();
  exchange_ = learner.train_step().exchange();
  continue_moments();
}

// The phases on their own, for programs that use the library: each goes on in `run` where the one before left off.
void pretrain(run::Run& run, lm::Model& model, const Text& text, const PretrainConfig& config, const Hooks& hooks = {});
void medusa(run::Run& run, lm::Model& model, const Text& text, const MedusaTrainConfig& config,
            const Hooks& hooks = {});
void sft(run::Run& run, lm::Model& model, const Task& task, const SftConfig& config, const Hooks& hooks = {});
void k15(run::Run& run, lm::Model& model, const Task& task, const K15Config& config, const Hooks& hooks = {});

}  // namespace gradus::posttrain
