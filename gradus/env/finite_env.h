// A finite Markov decision process as an environment. Tabular algorithms use its own functions, `begin` and `move`,
// which cost a few nanoseconds; the ones of Env are the same in Gymnasium's form.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"
#include "gradus/env/finite_mdp.h"

namespace gradus::env {

class FiniteEnv final : public Env {
 public:
  struct Config {
    std::string id;
    int64_t max_episode_steps = 0;  // 0: no limit
    std::optional<double> reward_threshold{};
  };
  // Throws invalid_argument on a negative limit.
  FiniteEnv(std::shared_ptr<const FiniteMdp> mdp, Config config);

  const FiniteMdp& mdp() const { return *mdp_; }
  std::shared_ptr<const FiniteMdp> shared_mdp() const { return mdp_; }
  int64_t n_states() const { return n_states_; }
  int64_t n_actions() const { return n_actions_; }

  // What an action led to: r, s', and how the episode stands.
  struct Move {
    int32_t next = 0;
    bool terminated = false, truncated = false;
    double reward = 0;
  };
  // The first state of an episode; randomness comes from the caller.
  int32_t begin(Rng& rng);
  // An episode that begins in s, for exploring starts.
  int32_t begin_at(int32_t s) {
    steps_ = 0;
    return state_ = s;
  }
  // Takes action a, in [0, n_actions), in the current state, which must not be terminal.
  Move move(int64_t a, Rng& rng) {
    const Row& row = rows_[static_cast<size_t>(state_ * n_actions_ + a)];
    const Outcome* o = &row.first;
    if (row.n_more > 0) o = draw(row, rng);
    state_ = o->next;
    double reward = o->reward;
    if (o->deviation > 0) reward += o->deviation * rng.normal();
    return {.next = o->next, .terminated = o->terminated, .truncated = ++steps_ == limit_, .reward = reward};
  }
  int32_t state() const { return state_; }

  const EnvSpec& spec() const override { return spec_; }
  // Knows the option `state`: the episode begins there.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  FiniteEnv* finite() override { return this; }
  std::optional<Frame> frame() const override;

 private:
  // What can happen: one thing, here at hand, or that and more.
  struct Row {
    Outcome first;
    uint32_t more = 0, n_more = 0;  // in outcomes_
  };
  const Outcome* draw(const Row& row, Rng& rng) const {
    double u = rng.uniform_f32() - row.first.probability;
    if (u < 0) return &row.first;
    const Outcome* o = &outcomes_[row.more];
    for (uint32_t left = row.n_more - 1; left > 0 && u >= o->probability; --left, ++o) u -= o->probability;
    return o;
  }
  std::shared_ptr<const FiniteMdp> mdp_;
  EnvSpec spec_;
  int64_t n_states_, n_actions_, limit_;
  std::vector<Row> rows_;          // [n_states * n_actions]
  std::vector<Outcome> outcomes_;  // but the first of each, and what cannot happen
  int32_t state_ = 0;
  int64_t steps_ = 0;
  // Of the functions of Env alone.
  EpisodeRng episodes_;
  Rng rng_{0, Purpose::environment};
  double observation_ = 0;
  bool over_ = true;
};

}  // namespace gradus::env
