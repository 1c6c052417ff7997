#include "gradus/rl/linear/linear_agent.h"

#include <numeric>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/function_agent.h"
#include "gradus/rl/linear/lstd.h"
#include "gradus/rl/linear/q_learning_linear.h"
#include "gradus/rl/linear/sarsa_linear.h"
#include "gradus/rl/linear/td_linear.h"

namespace gradus::rl {

namespace {

// What the agents share: features of what is observed.
class LinearAgent : public FunctionAgent {
 public:
  LinearAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config)
      : FunctionAgent(std::move(env)), features_(make_features(this->env().spec().observation_space, config)) {}

 protected:
  const Features& features() const { return *features_; }

 private:
  std::unique_ptr<Features> features_;
};

template <template <class> class Algorithm>
class LinearControlAgent final : public LinearAgent {
 public:
  LinearControlAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& features_config, const LinearControlConfig& c)
      : LinearAgent(std::move(env), features_config),
        algorithm_(features(), discrete_actions(this->env().spec()).n, c) {}

  EpisodeStats episode(Rng& rng) override {
    EpisodeEnv episode_env{env(), rng};
    return algorithm_.episode(episode_env, rng);
  }
  NamedTensors state() override { return state_of({{"w", &algorithm_.Q().weights()}}); }
  void restore(const NamedTensors& state) override { rl::restore({{"w", &algorithm_.Q().weights()}}, state); }
  bool has_policy() const override { return true; }

 private:
  std::vector<double> state_values() override { return greatest_values(action_values()); }
  Table action_values() override { return algorithm_.values_at(points()->coordinates().points); }
  int64_t greedy_action(env::Observation s, Rng& rng) override { return greedy(algorithm_.values_at(s), rng); }

  Algorithm<Features> algorithm_;
};

// Prediction acts by the policy whose values it learns.
class LinearPredictionAgent : public LinearAgent {
 public:
  LinearPredictionAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config, const LearnerConfig& c)
      : LinearAgent(std::move(env), config), pi_(mdp(), this->env().spec(), c.policy, c.policy_eps, c.gamma) {}
  bool has_policy() const override { return false; }

 protected:
  virtual std::vector<double> weights() const = 0;
  int64_t act(Rng& rng) { return pi_(points()->state(), rng); }

 private:
  std::vector<double> state_values() override {
    const Table phi = feature_matrix(features(), points()->coordinates().points);
    const std::vector<double> w = weights();
    std::vector<double> V;
    for (int64_t s = 0; s < phi.n_states(); ++s)
      V.push_back(std::inner_product(w.begin(), w.end(), phi[s].begin(), 0.0));
    return V;
  }
  Table action_values() override { return {}; }
  int64_t greedy_action(env::Observation, Rng&) override { return 0; }  // never asked

  GivenPolicy pi_;
};

class TdLinearAgent final : public LinearPredictionAgent {
 public:
  TdLinearAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config, const LearnerConfig& c)
      : LinearPredictionAgent(std::move(env), config, c),
        td_(features(), {.alpha = c.alpha, .gamma = c.gamma},
            std::vector<double>(static_cast<size_t>(features().n()), 0.0)),
        w_(features().n(), 1) {}

  EpisodeStats episode(Rng& rng) override {
    std::ranges::copy(w_.values(), td_.V().weights().begin());  // those of a checkpoint, the first time
    EpisodeEnv episode_env{env(), rng};
    const auto policy = [this](env::Observation, Rng& r) { return Choice{.a = act(r)}; };
    const EpisodeStats stats = td_.episode(episode_env, policy, rng);
    std::ranges::copy(td_.V().weights(), w_.values().begin());
    return stats;
  }
  NamedTensors state() override { return state_of({{"w", &w_}}); }
  void restore(const NamedTensors& state) override { rl::restore({{"w", &w_}}, state); }

 private:
  std::vector<double> weights() const override { return {w_.values().begin(), w_.values().end()}; }
  TdLinear<Features> td_;
  Table w_;  // [n, 1]
};

class LstdAgent final : public LinearPredictionAgent {
 public:
  LstdAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config, const LearnerConfig& c)
      : LinearPredictionAgent(std::move(env), config, c), lstd_(features(), {.gamma = c.gamma}) {}

  EpisodeStats episode(Rng& rng) override {
    EpisodeEnv episode_env{env(), rng};
    return lstd_.episode(
        episode_env, [this](env::Observation, Rng& r) { return act(r); }, rng);
  }
  NamedTensors state() override { return state_of(lstd_.tables()); }
  void restore(const NamedTensors& state) override { rl::restore(lstd_.tables(), state); }

 private:
  std::vector<double> weights() const override { return lstd_.weights(); }
  Lstd<Features> lstd_;
};

// With tiles, alpha is the share of an error that goes, as in a table: the tilings divide it among them (0.5 / 8 in
// Sutton & Barto, example 10.1). Else it is the step of each weight, by default Zhao's.
double alpha_of(const LearnerConfig& c, const FeaturesConfig& features, double own) {
  const bool tiles = features.kind == "tiles";
  const double alpha = c.alpha != kOwnAlpha ? c.alpha : tiles ? 0.5 : own;
  return tiles ? alpha / static_cast<double>(features.tilings) : alpha;
}

}  // namespace

const std::vector<LinearAlgorithm>& linear_algorithms() {
  static const std::vector<LinearAlgorithm> list = {
      {"td-linear", "semi-gradient TD(0): values of a policy, linear in features",
       "Sutton & Barto, section 9.3; Zhao, Algorithm 8.1", Learns::prediction},
      {"lstd", "least-squares TD: the same without a step size", "Bradtke & Barto 1996; Sutton & Barto, section 9.8",
       Learns::prediction},
      {"sarsa-linear", "semi-gradient Sarsa, action values linear in features",
       "Sutton & Barto, eq. 10.2; Zhao, Algorithm 8.2", Learns::control},
      {"q-learning-linear", "semi-gradient Q-learning, action values linear in features", "Zhao, Algorithm 8.3",
       Learns::control},
  };
  return list;
}

std::unique_ptr<EpisodeAgent> make_linear_agent(std::string_view algorithm, std::unique_ptr<env::Env> env,
                                                const FeaturesConfig& features, const LearnerConfig& config) {
  config.check();
  LearnerConfig c = config;
  const LinearControlConfig control{.alpha = alpha_of(c, features, 0.001), .gamma = c.gamma, .eps = c.eps};
  if (algorithm == "sarsa-linear")
    return std::make_unique<LinearControlAgent<SarsaLinear>>(std::move(env), features, control);
  if (algorithm == "q-learning-linear")
    return std::make_unique<LinearControlAgent<QLearningLinear>>(std::move(env), features, control);
  if (algorithm == "lstd") return std::make_unique<LstdAgent>(std::move(env), features, c);
  GRADUS_CHECK(algorithm == "td-linear");
  c.alpha = alpha_of(c, features, 0.0005);
  return std::make_unique<TdLinearAgent>(std::move(env), features, c);
}

}  // namespace gradus::rl
