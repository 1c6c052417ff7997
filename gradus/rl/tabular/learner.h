// What all tabular algorithms share: their settings by the books' names, and the frame that trains them. An algorithm
// is one file here and one line in algorithms.def.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/env/finite_env.h"
#include "gradus/rl/episode_stats.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

inline constexpr double kOwnAlpha = -1;  // the step size that an algorithm's book uses

struct LearnerConfig {
  double gamma = 0.9;
  double alpha = kOwnAlpha;
  double alpha_power = 0;
  double eps = 0.1;
  double eps_decay = 1;
  double eps_least = 0;
  double q0 = 0;
  int64_t n = 4;
  double lambda = 0.9;
  std::string traces = "accumulating";
  std::string visits = "first";
  bool forget_returns = false;
  std::string importance = "weighted";
  std::string policy = "uniform";
  double policy_eps = 0;
  std::string behaviour = "uniform";
  double behaviour_eps = 0.1;
  int64_t episode_length = 100;
  int64_t episodes_per_pair = 1;

  template <class F>
  void fields(F& f) {
    f("gamma", gamma, "discount");
    f("alpha", alpha,
      "step size; 0 = 1 / visits, the sample mean; -1 = the algorithm's own: 0, 0.1 for TD, 0.5 with tiles");
    f("alpha_power", alpha_power, "w of a falling step size alpha / visits^w; above 1/2 and up to 1 it converges");
    f("eps", eps, "share of random actions of the eps-greedy policy");
    f("eps_decay", eps_decay, "eps of episode k is eps * eps_decay^k");
    f("eps_least", eps_least, "but not below this");
    f("q0", q0, "first value of every state and action");
    f("n", n, "steps of n-step methods");
    f("lambda", lambda, "decay of eligibility traces");
    f("traces", traces, "accumulating or replacing");
    f("visits", visits, "which visits of an episode Monte Carlo uses: initial, first or every");
    f("forget_returns", forget_returns,
      "mc-epsilon-greedy: a pair's mean begins anew with each episode, since earlier ones had another policy; for long "
      "ones");
    f("importance", importance, "importance sampling: ordinary or weighted");
    f("policy", policy, "what prediction evaluates: uniform, optimal, or an action's name, taken everywhere");
    f("policy_eps", policy_eps, "its share of random actions");
    f("behaviour", behaviour, "what acts in off-policy learning: uniform, optimal, or an action's name");
    f("behaviour_eps", behaviour_eps, "its share of random actions");
    f("episode_length", episode_length,
      "steps of an episode of mc-basic, and of Monte Carlo where the environment sets no limit");
    f("episodes_per_pair", episodes_per_pair,
      "episodes of mc-basic from each state and action; more where chance plays a part");
  }

  // Throws invalid_argument on what is out of range, naming key and value.
  void check() const;

  // eps of the episode after one with this eps.
  double eps_after(double now) const { return std::max(now * eps_decay, std::min(eps_least, eps)); }
};

// alpha, or alpha / N(s, a)^power with N the visits so far, this one included. Robbins and Monro's conditions hold for
// powers in (1/2, 1]; alpha = 0 is the sample mean, 1 / N. Zhao, section 6.2; Sutton & Barto, eq. (2.7).
class StepSizes {
 public:
  StepSizes(const LearnerConfig& c, int64_t n_states, int64_t n_actions);
  double operator()(int64_t s, int64_t a) { return constant_ ? alpha_ : falling(++N_(s, a)); }
  Table& counts() { return N_; }  // empty for a constant alpha

 private:
  double falling(double n) const;
  double alpha_, power_;
  bool constant_;
  Table N_;
};

// An algorithm with what it has learned. Terminal states keep the value q0, which is never read.
class Learner {
 public:
  virtual ~Learner() = default;

  // One episode of experience, learned from as the algorithm does. The k-th call is episode k.
  virtual EpisodeStats episode(env::FiniteEnv& env, Rng& rng) = 0;

  // Q [n_states, n_actions] of what learns action values; an empty table of what learns state values alone.
  virtual const Table& Q() const = 0;
  // V [n_states]: for control the greatest of Q, for prediction the values of the policy.
  virtual std::vector<double> V() const = 0;

  // All that lasts from episode to episode, for checkpoints.
  virtual std::vector<std::pair<std::string, Table*>> tables() = 0;
};

// The frame of an algorithm that learns Q.
class ControlLearner : public Learner {
 public:
  ControlLearner(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : c_(c),
        Q_(mdp.n_states(), mdp.n_actions(), c.q0),
        alpha_(c, mdp.n_states(), mdp.n_actions()),
        eps_(1, 1, c.eps) {}

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) final {
    const EpisodeStats stats = learn(env, rng);
    eps_(0, 0) = c_.eps_after(eps_(0, 0));
    return stats;
  }
  const Table& Q() const override { return Q_; }
  std::vector<double> V() const override { return greatest_values(Q()); }
  std::vector<std::pair<std::string, Table*>> tables() override {
    return {{"Q", &Q_}, {"N", &alpha_.counts()}, {"eps", &eps_}};
  }

 protected:
  virtual EpisodeStats learn(env::FiniteEnv& env, Rng& rng) = 0;
  double eps() const { return eps_(0, 0); }

  const LearnerConfig c_;
  Table Q_;
  StepSizes alpha_;

 private:
  Table eps_;  // of this episode
};

// The frame of an algorithm that learns V of a given policy.
class PredictionLearner : public Learner {
 public:
  PredictionLearner(const env::FiniteMdp& mdp, const LearnerConfig& c);

  const Table& Q() const override { return none_; }
  std::vector<double> V() const override { return {V_.values().begin(), V_.values().end()}; }
  std::vector<std::pair<std::string, Table*>> tables() override { return {{"V", &V_}, {"N", &alpha_.counts()}}; }

 protected:
  const LearnerConfig c_;
  const Table pi_;  // the policy that is evaluated
  Table V_;         // [n_states, 1]
  StepSizes alpha_;

 private:
  Table none_;
};

// The policy that a name means in an environment ("uniform", "optimal", or an action's name), mixed with a share `eps`
// of random actions. "optimal" is exact, and of equal actions takes the first. Throws invalid_argument on another name.
Table named_policy(const env::FiniteMdp& mdp, const std::string& name, double eps, double gamma);

// Throws invalid_argument, naming state and action, where `behaviour` never does what `target` may do, or, without a
// target, anything at all.
void check_covers(const env::FiniteMdp& mdp, const Table& behaviour, const Table* target = nullptr);

enum class Learns { control, prediction };
// What kOwnAlpha means. Monte Carlo takes sample means; planning has the table of the environment, and no steps.
enum class StepSize { constant, sample_mean, none };

// A line of algorithms.def.
struct TabularAlgorithm {
  std::string_view name, description, source;
  Learns learns;
  StepSize step_size;
  std::unique_ptr<Learner> (*make)(const env::FiniteMdp&, const LearnerConfig&);
};
const std::vector<TabularAlgorithm>& tabular_algorithms();

// Throws invalid_argument on a name that is not in the list, with the nearest, and on settings out of range.
std::unique_ptr<Learner> make_learner(std::string_view algorithm, const env::FiniteMdp& mdp, const LearnerConfig& c);

}  // namespace gradus::rl
