// A tabular algorithm in a finite environment, as an EpisodeAgent.
#pragma once

#include <memory>
#include <string_view>

#include "gradus/env/finite_env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

class TabularAgent final : public EpisodeAgent {
 public:
  // Throws what make_learner throws.
  TabularAgent(env::FiniteEnv env, std::string_view algorithm, const LearnerConfig& config)
      : env_(std::move(env)), learner_(make_learner(algorithm, env_.mdp(), config)) {}

  EpisodeStats episode(Rng& rng) override { return learner_->episode(env_, rng); }
  // Terminal states, where nothing is learned, show 0.
  std::vector<double> V() override;
  Table Q() override;
  NamedTensors state() override { return state_of(learner_->tables()); }
  void restore(const NamedTensors& state) override { rl::restore(learner_->tables(), state); }
  bool has_policy() const override { return learner_->Q().n_states() > 0; }
  std::vector<PlayedStep> play(Rng& rng, int64_t most_steps, const Watch& watch) override;

 private:
  env::FiniteEnv env_;
  std::unique_ptr<Learner> learner_;
};

}  // namespace gradus::rl
