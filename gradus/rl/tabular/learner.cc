#include "gradus/rl/tabular/learner.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::rl {

void LearnerConfig::check() const {
  check_share("gamma", gamma);
  check_share("eps", eps);
  check_share("eps_decay", eps_decay);
  check_share("eps_least", eps_least);
  check_share("lambda", lambda);
  check_share("policy_eps", policy_eps);
  check_share("behaviour_eps", behaviour_eps);
  require(alpha == kOwnAlpha || (alpha >= 0 && alpha <= 1),
          "alpha is {}, but must lie in [0, 1] (0 = 1 / visits), or be {} for the algorithm's own", alpha, kOwnAlpha);
  require(alpha_power >= 0 && alpha_power <= 1, "alpha_power is {}, but must lie in [0, 1]", alpha_power);
  require(std::isfinite(q0), "q0 is {}, but must be finite", q0);
  check_at_least("n", n, 1);
  check_at_least("episodes_per_pair", episodes_per_pair, 1);
  check_at_least("episode_length", episode_length, 1);
  check_choice("traces", traces, {"accumulating", "replacing"});
  check_choice("visits", visits, {"initial", "first", "every"});
  check_choice("importance", importance, {"ordinary", "weighted"});
}

StepSizes::StepSizes(const LearnerConfig& c, int64_t n_states, int64_t n_actions)
    : alpha_(c.alpha == 0 ? 1 : c.alpha),
      power_(c.alpha == 0 ? 1 : c.alpha_power),
      constant_(power_ == 0),
      N_(constant_ ? Table() : Table(n_states, n_actions)) {}

double StepSizes::falling(double n) const {
  return power_ == 1 ? alpha_ / n : alpha_ / std::pow(n, power_);
}

PredictionLearner::PredictionLearner(const env::FiniteMdp& mdp, const LearnerConfig& c)
    : c_(c),
      pi_(named_policy(mdp, c.policy, c.policy_eps, c.gamma)),
      V_(mdp.n_states(), 1, c.q0),
      alpha_(c, mdp.n_states(), 1) {}

Table named_policy(const env::FiniteMdp& mdp, const std::string& name, double eps, double gamma) {
  const auto mixed = [&](Table pi) {
    for (double& p : pi.values()) p = (1 - eps) * p + eps / static_cast<double>(mdp.n_actions());
    return pi;
  };
  if (name == "uniform") return uniform_policy(mdp.n_states(), mdp.n_actions());
  if (name == "optimal") return first_greedy_policy(value_iteration(mdp, {.gamma = gamma}).Q, eps, 1e-9);
  std::vector<std::string> actions;
  for (int64_t a = 0; a < mdp.n_actions(); ++a) {
    actions.push_back(mdp.action_name(a));
    if (actions.back() != name) continue;
    Table pi(mdp.n_states(), mdp.n_actions());
    for (int64_t s = 0; s < mdp.n_states(); ++s) pi(s, a) = 1;
    return mixed(std::move(pi));
  }
  fail(ErrorCode::invalid_argument, "the policy '{}' is not known; known are uniform, optimal, and the actions {}",
       name, fmt::join(actions, ", "));
}

void check_covers(const env::FiniteMdp& mdp, const Table& behaviour, const Table* target) {
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    for (int64_t a = 0; a < mdp.n_actions() && !mdp.is_terminal(s); ++a) {
      const bool needed = target == nullptr || (*target)(s, a) > 0;
      require(!needed || behaviour(s, a) > 0,
              "the behaviour policy never takes {} in {}, which the target policy may; raise behaviour_eps",
              mdp.action_name(a), mdp.state_name(s));
    }
  }
}

#define GRADUS_TABULAR(make, name, learns, step_size, description, source) \
  std::unique_ptr<Learner> make(const env::FiniteMdp& mdp, const LearnerConfig& c);
#include "gradus/rl/tabular/algorithms.def"
#undef GRADUS_TABULAR

const std::vector<TabularAlgorithm>& tabular_algorithms() {
  using enum Learns;
  using enum StepSize;
  static const std::vector<TabularAlgorithm> list = {
#define GRADUS_TABULAR(make, name, learns, step_size, description, source) \
  {name, description, source, learns, step_size, make},
#include "gradus/rl/tabular/algorithms.def"
#undef GRADUS_TABULAR
  };
  return list;
}

std::unique_ptr<Learner> make_learner(std::string_view algorithm, const env::FiniteMdp& mdp, const LearnerConfig& c) {
  c.check();
  std::vector<std::string_view> names;
  for (const TabularAlgorithm& a : tabular_algorithms()) {
    names.push_back(a.name);
    if (a.name != algorithm) continue;
    LearnerConfig own = c;
    if (own.alpha == kOwnAlpha) own.alpha = a.step_size == StepSize::sample_mean ? 0 : 0.1;
    return a.make(mdp, own);
  }
  fail(ErrorCode::invalid_argument,
       "algorithm '{}' is not known; did you mean '{}'? `gradus list algorithms` shows all", algorithm,
       nearest_name(algorithm, names));
}

}  // namespace gradus::rl
