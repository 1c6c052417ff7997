// Settings that change over a training. Nothing of it is state: what holds now follows from the share of the training
// that is done, so that a resumed training goes on where it was.
#pragma once

#include <string>

namespace gradus::rl {

// `from` until `begin`, `to` after `end`, and between them a straight line, or the same factor in each step.
struct Schedule {
  double from = 1, to = 1;
  double begin = 0, end = 1;  // shares of the training, begin < end
  bool exponential = false;   // from and to are positive

  //   progress  the share of the training that is done; may be more than 1
  double operator()(double progress) const;
};

// Which settings fall over the training, each to a share of itself.
struct ScheduleConfig {
  double learning_rate_share = 1;
  double clip_range_share = 1;
  double ent_coef_share = 1;
  double sigma_share = 1;
  double begin = 0;
  double end = 1;
  std::string shape = "linear";

  template <class F>
  void fields(F& f) {
    f("learning_rate_share", learning_rate_share, "learning rates fall to this share of themselves; 1 = they stay");
    f("clip_range_share", clip_range_share, "ppo: and so does on_policy.clip_range");
    f("ent_coef_share", ent_coef_share, "reinforce, qac, a2c, off-policy-ac, ppo, npg, trpo: and on_policy.ent_coef");
    f("sigma_share", sigma_share, "dpg, ddpg, td3: and noise.sigma");
    f("begin", begin, "all from this share of the training on");
    f("end", end, "to this one");
    f("shape", shape, "linear, or exponential: by the same factor in each step");
  }

  // Throws invalid_argument on what is out of range or ends before it begins, naming keys and values.
  void check() const;
  // What a setting is multiplied by that falls to `share` of itself.
  double factor(double share, double progress) const {
    return Schedule{.to = share, .begin = begin, .end = end, .exponential = shape == "exponential"}(progress);
  }
};

}  // namespace gradus::rl
