// Settings of the algorithms that learn from a buffer of what was done before. Names as in
// Stable-Baselines3, and defaults, too, but for dqn.huber, on there, and noise, off there.
#pragma once

#include <cstdint>
#include <string>

#include "gradus/rl/deep/schedule.h"

namespace gradus::rl {

struct ExplorationConfig {
  double begin = 0;
  double fraction = 0.1;
  double initial_eps = 1;
  double final_eps = 0.05;

  template <class F>
  void fields(F& f) {
    f("begin", begin, "dqn: eps falls from this share of the training on");
    f("fraction", fraction, "dqn: over so large a share of it");
    f("initial_eps", initial_eps, "dqn: from this share of random actions");
    f("final_eps", final_eps, "dqn: to this");
  }

  void check() const;  // throws invalid_argument, naming key and value
  //   progress  the share of the training that is done
  double eps(double progress) const {
    return Schedule{.from = initial_eps, .to = final_eps, .begin = begin, .end = begin + fraction}(progress);
  }
};

struct NoiseConfig {
  std::string kind = "gaussian";
  double sigma = 0.1;
  double theta = 0.15;
  double dt = 0.01;

  template <class F>
  void fields(F& f) {
    f("kind", kind, "dpg, ddpg, td3: gaussian, or ornstein-uhlenbeck, which drifts");
    f("sigma", sigma, "its deviation, where 1 is half the range of an action; per square root of time if it drifts");
    f("theta", theta, "ornstein-uhlenbeck: pull to 0 per time");
    f("dt", dt, "ornstein-uhlenbeck: time of a step");
  }

  void check() const;
};

struct DqnConfig {
  bool double_q = false;
  bool dueling = false;
  bool huber = false;

  template <class F>
  void fields(F& f) {
    f("double", double_q, "the network itself chooses the action whose value the target network gives");
    f("dueling", dueling, "outputs are a value and advantages over it");
    f("huber", huber, "errors beyond 1 count by their size; else all by their square");
  }
};

struct Td3Config {
  int64_t policy_delay = 2;
  double target_policy_noise = 0.2;
  double target_noise_clip = 0.5;

  template <class F>
  void fields(F& f) {
    f("policy_delay", policy_delay, "updates of the critics between those of the actor and the targets");
    f("target_policy_noise", target_policy_noise, "deviation of the noise on the target's actions");
    f("target_noise_clip", target_noise_clip, "and the most that it may be");
  }

  void check() const;
};

struct SacConfig {
  bool auto_entropy = true;
  double ent_coef = 1;
  double target_entropy = -1;

  template <class F>
  void fields(F& f) {
    f("auto_entropy", auto_entropy, "the weight of the entropy is learned");
    f("ent_coef", ent_coef, "that weight; the first, if it is learned");
    f("target_entropy", target_entropy, "for each number of an action: the entropy that it is learned for");
  }

  void check() const;
};

}  // namespace gradus::rl
