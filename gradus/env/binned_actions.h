// An environment whose action is one number between two bounds, cut into so many choices: what algorithms need that
// choose among actions (dqn, tables of values).
#pragma once

#include <memory>
#include <vector>

#include "gradus/env/env.h"

namespace gradus::env {

// Action k of 0 ... n_bins - 1 is low + k (high - low) / (n_bins - 1): evenly spaced, both bounds among them. All else
// is that of the environment.
class BinnedActions final : public Env {
 public:
  // Throws invalid_argument unless n_bins >= 2 and the action is one number between finite bounds.
  BinnedActions(std::unique_ptr<Env> env, int64_t n_bins);

  const EnvSpec& spec() const override { return spec_; }
  Observation reset(std::optional<uint64_t> seed, const Options& options) override {
    return env_->reset(seed, options);
  }
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override { return env_->frame(); }

 private:
  std::unique_ptr<Env> env_;
  EnvSpec spec_;
  std::vector<double> bins_;  // the action of each choice
};

}  // namespace gradus::env
