// Off-policy Monte Carlo: episodes of a behaviour policy b tell about a target policy pi, each return weighed by
// rho = prod pi(a|s) / b(a|s), its probability under pi by that under b. Sutton & Barto, 2nd ed., sections 5.5 to 5.7.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/mc_episode.h"

namespace gradus::rl {

namespace {

// Prediction of V: ordinary importance sampling, mean of rho G (5.5), unbiased with a variance that may be infinite; or
// weighted, sum rho G / sum rho (5.6), biased and calm.
class McOffPolicyPrediction final : public PredictionLearner {
 public:
  McOffPolicyPrediction(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : PredictionLearner(mdp, c),
        behaviour_(named_policy(mdp, c.behaviour, c.behaviour_eps, c.gamma)),
        C_(mdp.n_states(), 1),
        seen_(mdp.n_states(), 1) {
    check_covers(mdp, behaviour_, &pi_);
  }

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    const auto choose = [&](int64_t s) { return draw(behaviour_[s], rng); };
    const int64_t s = env.begin(rng);
    follow(env, s, choose(s), choose, c_.episode_length, rng, visits_, stats);
    mark_visits(c_.visits, visits_, seen_, ++episodes_);
    double G = 0, rho = 1;
    for (auto v = visits_.rbegin(); v != visits_.rend(); ++v) {
      G = v->r + c_.gamma * G;
      rho *= pi_(v->s, v->a) / behaviour_(v->s, v->a);  // (5.3)
      if (!v->counts) continue;
      double& V = V_(v->s, 0);
      double& C = C_(v->s, 0);
      const bool weighted = c_.importance == "weighted";
      const double error = (weighted ? G : rho * G) - V;
      C += weighted ? rho : 1;
      if (C > 0) V += (weighted ? rho : 1) / C * error;  // (5.8), (5.5)
      stats.add_error(error);
    }
    return stats;
  }

  std::vector<std::pair<std::string, Table*>> tables() override {
    auto all = PredictionLearner::tables();
    all.push_back({"C", &C_});
    return all;
  }

 private:
  const Table behaviour_;
  Table C_;  // sum of weights, or visits
  std::vector<McVisit> visits_;
  Table seen_;
  double episodes_ = 0;
};

// Control: pi is greedy of Q, so that an episode teaches only its tail of greedy actions. Section 5.7, weighted. Where
// Q begins above the values, what was never tried seems best, and no tail is greedy: begin below them.
class McOffPolicyControl final : public ControlLearner {
 public:
  McOffPolicyControl(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : ControlLearner(mdp, c),
        behaviour_(named_policy(mdp, c.behaviour, c.behaviour_eps, c.gamma)),
        C_(mdp.n_states(), mdp.n_actions()) {
    check_covers(mdp, behaviour_);
  }

  std::vector<std::pair<std::string, Table*>> tables() override {
    auto all = ControlLearner::tables();
    all.push_back({"C", &C_});
    return all;
  }

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    const auto choose = [&](int64_t s) { return draw(behaviour_[s], rng); };
    const int64_t s = env.begin(rng);
    follow(env, s, choose(s), choose, c_.episode_length, rng, visits_, stats);
    double G = 0, W = 1;
    for (auto v = visits_.rbegin(); v != visits_.rend(); ++v) {
      G = v->r + c_.gamma * G;
      C_(v->s, v->a) += W;
      const double error = G - Q_(v->s, v->a);
      Q_(v->s, v->a) += W / C_(v->s, v->a) * error;
      stats.add_error(error);
      if (Q_(v->s, v->a) < max_of(Q_[v->s])) break;  // pi would have done something else
      W /= behaviour_(v->s, v->a);
    }
    return stats;
  }

  const Table behaviour_;
  Table C_;
  std::vector<McVisit> visits_;
};

}  // namespace

std::unique_ptr<Learner> make_mc_off_policy_prediction(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McOffPolicyPrediction>(mdp, c);
}
std::unique_ptr<Learner> make_mc_off_policy_control(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McOffPolicyControl>(mdp, c);
}

}  // namespace gradus::rl
