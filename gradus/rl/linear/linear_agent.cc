#include "gradus/rl/linear/linear_agent.h"

#include <fmt/format.h>

#include "gradus/core/error.h"
#include "gradus/env/finite_env.h"
#include "gradus/env/mountain_car.h"
#include "gradus/rl/linear/coordinates.h"
#include "gradus/rl/linear/lstd.h"
#include "gradus/rl/linear/q_learning_linear.h"
#include "gradus/rl/linear/sarsa_linear.h"
#include "gradus/rl/linear/td_linear.h"

namespace gradus::rl {

namespace {

// An environment whose episodes draw from the one stream of each training episode.
struct EpisodeEnv {
  env::Env& env;
  Rng& rng;
  const env::EnvSpec& spec() const { return env.spec(); }
  env::Observation reset(std::optional<uint64_t>, const env::Options&) { return env.reset(rng.bits64(), {}); }
  env::StepResult step(std::span<const double> action) { return env.step(action); }
};

std::string name_of(env::Observation s) {
  return fmt::format("({:.4g})", fmt::join(s, ", "));
}

// What the agents share: the environment, shown as points, and features of them.
class LinearAgent : public Agent {
 public:
  LinearAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config) : env_(std::move(env)) {
    if (env::FiniteEnv* finite = env_->finite()) {
      points_ = std::make_unique<CoordinateEnv>(*finite);
      features_ = make_features(env::Space(points_->coordinates().box), config);
    } else {
      features_ = make_features(env_->spec().observation_space, config);
    }
  }

 protected:
  env::Env& env() { return points_ ? static_cast<env::Env&>(*points_) : *env_; }
  const Features& features() const { return *features_; }
  const env::FiniteMdp* mdp() const { return points_ ? &env_->finite()->mdp() : nullptr; }
  const std::vector<std::vector<double>>& points() const { return points_->coordinates().points; }

 private:
  std::unique_ptr<env::Env> env_;
  std::unique_ptr<CoordinateEnv> points_;  // of a finite environment
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
  Table Q() override { return mdp() == nullptr ? Table() : algorithm_.values_at(points()); }
  std::vector<double> V() override { return greatest_values(Q()); }
  std::vector<std::pair<std::string, Table*>> tables() override { return {{"w", &algorithm_.Q().weights()}}; }
  bool has_policy() const override { return true; }

  std::vector<PlayedStep> play(Rng& rng, int64_t most_steps) override {
    const env::Discrete actions = discrete_actions(env().spec());
    std::vector<Entry> phi(static_cast<size_t>(features().n_entries()));
    std::vector<PlayedStep> steps;
    EpisodeEnv episode_env{env(), rng};
    env::Observation s = episode_env.reset({}, {});
    for (int64_t t = 0; t < most_steps; ++t) {
      features().phi(s, phi);
      const int64_t a = greedy(algorithm_.Q().all(phi), rng);
      PlayedStep step{.state = name_of(s), .action = action_name(actions, a), .next = {}};
      const env::StepResult m = take(episode_env, actions, a);
      step.next = name_of(m.observation);
      step.reward = m.reward;
      step.terminated = m.terminated;
      step.truncated = m.truncated;
      steps.push_back(std::move(step));
      if (m.terminated || m.truncated) break;
      s = m.observation;
    }
    return steps;
  }

 private:
  std::string action_name(const env::Discrete& actions, int64_t a) const {
    return mdp() == nullptr ? fmt::format("{}", actions.start + a) : mdp()->action_name(a);
  }

  Algorithm<Features> algorithm_;
};

// Prediction acts by the policy whose values it learns.
class LinearPredictionAgent : public LinearAgent {
 public:
  LinearPredictionAgent(std::unique_ptr<env::Env> env, const FeaturesConfig& config, const LearnerConfig& c)
      : LinearAgent(std::move(env), config) {
    require(mdp() != nullptr, "{}: prediction needs a policy to evaluate, which only finite environments have",
            this->env().spec().id);
    pi_ = named_policy(*mdp(), c.policy, c.policy_eps, c.gamma);
  }
  Table Q() override { return {}; }
  std::vector<double> V() override {
    std::vector<double> V;
    std::vector<Entry> phi(static_cast<size_t>(features().n_entries()));
    const std::vector<double> w = weights();
    for (const auto& point : points()) {
      features().phi(point, phi);
      double v = 0;
      for (const Entry& e : phi) v += w[static_cast<size_t>(e.index)] * e.value;
      V.push_back(v);
    }
    return V;
  }
  bool has_policy() const override { return false; }
  std::vector<PlayedStep> play(Rng&, int64_t) override {
    fail(ErrorCode::invalid_argument, "it learns the values of a given policy, and has none of its own to play");
  }

 protected:
  virtual std::vector<double> weights() const = 0;
  int64_t act(Rng& rng) { return draw(pi_[static_cast<CoordinateEnv&>(env()).state()], rng); }

 private:
  Table pi_;
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
  std::vector<std::pair<std::string, Table*>> tables() override { return {{"w", &w_}}; }

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
  std::vector<std::pair<std::string, Table*>> tables() override { return lstd_.tables(); }

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

std::unique_ptr<Agent> make_linear_agent(std::string_view algorithm, std::unique_ptr<env::Env> env,
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
