// The frame of agents whose values are a function of what they observe, not a table: linear in features, or a network.
// A finite environment is shown to them as points (coordinates.h).
#pragma once

#include <memory>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/coordinates.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

class FunctionAgent : public EpisodeAgent {
 public:
  explicit FunctionAgent(std::unique_ptr<env::Env> env);

  // Terminal states, where nothing is learned, show 0.
  std::vector<double> V() final;
  Table Q() final;
  std::vector<PlayedStep> play(Rng& rng, int64_t most_steps, const Watch& watch) final;

 protected:
  // Of all states of a finite environment, of terminal ones, too.
  virtual std::vector<double> state_values() = 0;
  virtual Table action_values() = 0;  // empty, if it learns none
  // argmax_a Q(s, a), ties broken at random. Of an agent with a policy.
  virtual int64_t greedy_action(env::Observation s, Rng& rng) = 0;

  env::Env& env() { return points_ ? static_cast<env::Env&>(*points_) : *env_; }
  // The state and the points of a finite environment; null for another.
  const CoordinateEnv* points() const { return points_.get(); }
  const env::FiniteMdp* mdp() const { return points_ ? &env_->finite()->mdp() : nullptr; }

 private:
  std::unique_ptr<env::Env> env_;
  std::unique_ptr<CoordinateEnv> points_;  // of a finite environment
};

// A policy that is given by its name (learner.h), in the state of a finite environment.
class GivenPolicy {
 public:
  // Throws invalid_argument on an environment that is not finite (mdp is null) and a name that is not known.
  GivenPolicy(const env::FiniteMdp* mdp, const env::EnvSpec& spec, const std::string& name, double eps, double gamma);

  int64_t operator()(int32_t s, Rng& rng) const { return draw(pi_[s], rng); }
  const Table& table() const { return pi_; }

 private:
  Table pi_;
};

}  // namespace gradus::rl
