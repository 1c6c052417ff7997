// All settings of an agent whose values or policy are networks.
#pragma once

#include <cstdint>

#include "gradus/rl/deep/network_config.h"
#include "gradus/rl/deep/off_policy_config.h"
#include "gradus/rl/deep/on_policy_config.h"
#include "gradus/rl/deep/schedule.h"
#include "gradus/rl/tabular/learner.h"
#include "gradus/run/ranks.h"

namespace gradus::rl {

struct NormalizeConfig {
  bool observations = false;
  bool rewards = false;
  double clip = 10;

  template <class F>
  void fields(F& f) {
    f("observations", observations, "observations get mean 0 and deviation 1 by what was seen so far");
    f("rewards", rewards, "rewards are divided by the deviation of the discounted return so far");
    f("clip", clip, "and both are cut at this");
  }

  void check() const;  // throws invalid_argument
};

// Of LearnerConfig they use gamma, and some a given policy: policy, behaviour and what belongs to these.
struct DeepConfig {
  LearnerConfig learner;
  NetworkConfig network;
  ReplayConfig replay;
  OnPolicyConfig on_policy{};
  TrustRegionConfig trust_region{};
  NormalizeConfig normalize{};
  ScheduleConfig schedule{};
  ExplorationConfig exploration{};
  NoiseConfig noise{};
  DqnConfig dqn{};
  Td3Config td3{};
  SacConfig sac{};
  int64_t n_envs = 1;
  int64_t env_threads = 1;      // that step them; results do not depend on it
  int64_t side_by_side = 1;     // agents that train at a time: memory has to hold all their replay buffers
  int64_t total_steps = 1;      // of the whole training, for schedules
  int64_t total_episodes = 1;   // the same, of algorithms that learn by episodes
  run::Ranks* ranks = nullptr;  // that train together, and outlive the agent; null: this process alone

  // Throws invalid_argument on what is out of range or does not fit together, naming keys and values.
  void check() const;
  // What learning rates are multiplied by.
  //   progress  the share of the training that is done
  double learning_rate_factor(double progress) const;
};

}  // namespace gradus::rl
