// Settings of the algorithms that learn from what their policy has just done.
#pragma once

#include <cstdint>
#include <string>

namespace gradus::rl {

struct OnPolicyConfig {
  int64_t n_steps = 0;
  double gae_lambda = -1;
  int64_t n_epochs = 10;
  int64_t batch_size = 64;
  double clip_range = 0.2;
  double target_kl = 0;
  bool normalize_advantage = true;
  double ent_coef = 0;
  double vf_coef = 0.5;
  double ratio_clip = 10;
  double log_std_init = 0;
  bool baseline = true;

  template <class F>
  void fields(F& f) {
    f("n_steps", n_steps,
      "steps of each environment between updates; 0 = the algorithm's own: qac, a2c, off-policy-ac 5, others 2048");
    f("gae_lambda", gae_lambda,
      "a2c, ppo, npg, trpo: lambda of generalised advantage estimation; -1 = the algorithm's own: a2c 1, others 0.95");
    f("n_epochs", n_epochs, "ppo: passes over what was collected");
    f("batch_size", batch_size, "ppo, and the values of npg and trpo: steps of a minibatch");
    f("clip_range", clip_range, "ppo: how far the ratio of probabilities may go from 1");
    f("target_kl", target_kl, "ppo: an epoch with a larger KL divergence is the last; 0 = off");
    f("normalize_advantage", normalize_advantage,
      "ppo, npg, trpo: advantages of a minibatch, or of all, get mean 0 and deviation 1");
    f("ent_coef", ent_coef, "weight of the entropy in the objective");
    f("vf_coef", vf_coef, "reinforce, qac, a2c, off-policy-ac, ppo: weight of the squared error of the values");
    f("ratio_clip", ratio_clip, "off-policy-ac: ratios of probabilities count as this at most");
    f("log_std_init", log_std_init, "logarithm of the first standard deviation, where actions are numbers");
    f("baseline", baseline, "reinforce: values are subtracted from returns");
  }

  // Throws invalid_argument on what is out of range, naming key and value.
  void check() const;
};

struct TrustRegionConfig {
  double delta = 0.01;
  int64_t cg_max_steps = 15;
  double cg_damping = 0.1;
  int64_t line_search_max_iter = 10;
  double line_search_shrinking_factor = 0.8;
  int64_t n_critic_updates = 10;

  template <class F>
  void fields(F& f) {
    f("delta", delta, "npg, trpo: KL divergence from the old policy that a step may have");
    f("cg_max_steps", cg_max_steps, "steps of conjugate gradient");
    f("cg_damping", cg_damping, "added to the Fisher matrix's diagonal");
    f("line_search_max_iter", line_search_max_iter, "trpo: shorter steps that are tried before the old policy stays");
    f("line_search_shrinking_factor", line_search_shrinking_factor, "trpo: by which each is shorter");
    f("n_critic_updates", n_critic_updates, "passes of the values over what was collected");
  }

  void check() const;  // throws invalid_argument
};

}  // namespace gradus::rl
