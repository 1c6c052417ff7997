#include "gradus/env/finite_mdp.h"

#include <fmt/format.h>

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

constexpr double kTolerance = 1e-9;  // of a sum of probabilities

}  // namespace

FiniteMdp::FiniteMdp(Definition d)
    : n_states_(d.n_states),
      n_actions_(d.n_actions),
      start_(std::move(d.start)),
      state_names_(std::move(d.state_names)),
      action_names_(std::move(d.action_names)),
      picture_(std::move(d.picture)) {
  require(n_states_ >= 1 && n_states_ <= INT32_MAX && n_actions_ >= 1,
          "finite MDP: {} states and {} actions, but at least one of each is needed", n_states_, n_actions_);
  const auto n = static_cast<size_t>(n_states_), n_pairs = n * static_cast<size_t>(n_actions_);
  require(d.outcomes.size() == n_pairs, "finite MDP: {} lists of outcomes for {} states x {} actions",
          d.outcomes.size(), n_states_, n_actions_);
  require(start_.size() == n, "finite MDP: {} start probabilities for {} states", start_.size(), n_states_);
  for (const auto& [what, names, wanted] : {std::tuple{"states", state_names_.size(), n},
                                            {"actions", action_names_.size(), static_cast<size_t>(n_actions_)}}) {
    require(names == 0 || names == wanted, "finite MDP: {} names for {} {}", names, wanted, what);
  }

  double start_sum = 0;
  for (int64_t s = 0; s < n_states_; ++s) {
    const double p = start_[static_cast<size_t>(s)];
    require(p >= 0, "finite MDP: the start probability of {} is {}", state_name(s), p);
    start_sum += p;
  }
  require(std::abs(start_sum - 1) <= kTolerance, "finite MDP: the start probabilities sum to {:.12g}, not to 1",
          start_sum);

  first_.push_back(0);
  for (int64_t s = 0; s < n_states_; ++s) {
    const auto row = static_cast<size_t>(s * n_actions_);
    for (int64_t a = 0; a < n_actions_; ++a) {
      const auto& outcomes = d.outcomes[row + static_cast<size_t>(a)];
      require(outcomes.empty() == d.outcomes[row].empty(), "finite MDP: {} has some actions, but not {}", state_name(s),
              action_name(a));
      double sum = 0;
      for (const Outcome& o : outcomes) {
        require(o.probability >= 0, "finite MDP: {}, {}: a probability is {}", state_name(s), action_name(a),
                o.probability);
        require(o.next >= 0 && o.next < n_states_, "finite MDP: {}, {}: the next state is {}, but there are {}",
                state_name(s), action_name(a), o.next, n_states_);
        require(std::isfinite(o.reward), "finite MDP: {}, {}: a reward is {}", state_name(s), action_name(a), o.reward);
        require(o.deviation >= 0 && std::isfinite(o.deviation), "finite MDP: {}, {}: a reward's deviation is {}",
                state_name(s), action_name(a), o.deviation);
        sum += o.probability;
      }
      require(outcomes.empty() || std::abs(sum - 1) <= kTolerance,
              "finite MDP: {}, {}: the probabilities of what follows sum to {:.12g}, not to 1", state_name(s),
              action_name(a), sum);
      outcomes_.insert(outcomes_.end(), outcomes.begin(), outcomes.end());
      first_.push_back(outcomes_.size());
    }
  }
  for (Outcome& o : outcomes_) o.terminated |= is_terminal(o.next);
  for (int64_t s = 0; s < n_states_; ++s) {
    require(!is_terminal(s) || start_[static_cast<size_t>(s)] == 0,
            "finite MDP: an episode may start in {}, where all ends", state_name(s));
  }
}

std::string FiniteMdp::state_name(int64_t s) const {
  return state_names_.empty() ? fmt::format("state {}", s) : state_names_[static_cast<size_t>(s)];
}

std::string FiniteMdp::action_name(int64_t a) const {
  return action_names_.empty() ? fmt::format("action {}", a) : action_names_[static_cast<size_t>(a)];
}

double FiniteMdp::expected_reward(int64_t s, int64_t a) const {
  double sum = 0;
  for (const Outcome& o : outcomes(s, a)) sum += o.probability * o.reward;
  return sum;
}

}  // namespace gradus::env
