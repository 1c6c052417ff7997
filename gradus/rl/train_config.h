// The configuration of a classic RL training run: what `gradus train grid/q-learning` reads and a run folder keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/env/catalogue.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/deep/deep_config.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/tabular/learner.h"
#include "gradus/run/ranks.h"

namespace gradus::rl {

struct TrainConfig {
  std::string algorithm = "q-learning";
  int64_t seed = 1;
  int64_t seeds = 1;
  int64_t threads = 0;
  int64_t episodes = 500;
  int64_t steps = 100000;
  int64_t reports = 100;
  int64_t keep_checkpoints = 1;
  int64_t evaluations = 0;
  int64_t evaluation_episodes = 10;
  env::EnvConfig env;
  LearnerConfig learner;
  FeaturesConfig features;
  int64_t n_envs = 1;
  NetworkConfig network;
  ReplayConfig replay;
  OnPolicyConfig on_policy;
  TrustRegionConfig trust_region;
  NormalizeConfig normalize;
  ScheduleConfig schedule;
  ExplorationConfig exploration;
  NoiseConfig noise;
  DqnConfig dqn;
  Td3Config td3;
  SacConfig sac;
  run::ParallelConfig parallel;

  template <class F>
  void fields(F& f) {
    f("algorithm", algorithm, "how: see `gradus list algorithms`");
    f("seed", seed, "key of all randomness; of the first of `seeds`");
    f("seeds", seeds, "trainings side by side, of seed, seed + 1, ...: their mean and standard error are shown");
    f("threads", threads, "compute threads; 0 = all cores; results do not depend on it");
    f("episodes", episodes, "episodes of each training; of algorithms that learn by episodes");
    f("steps", steps, "steps in the environment of each training; of the others");
    f("reports", reports, "rows of metrics over the whole training");
    f("keep_checkpoints", keep_checkpoints, "the last so many are kept, and the best");
    f("evaluations", evaluations, "times at which the greedy policy is tried, without learning; the best is kept");
    f("evaluation_episodes", evaluation_episodes, "episodes of each, always the same ones");
    env.fields(f);
    learner.fields(f);
    f.section("features", features);
    f("n_envs", n_envs, "environments that an agent acts in side by side; of algorithms that learn by steps");
    f.section("network", network);
    f.section("replay", replay);
    f.section("on_policy", on_policy);
    f.section("trust_region", trust_region);
    f.section("normalize", normalize);
    f.section("schedule", schedule);
    f.section("exploration", exploration);
    f.section("noise", noise);
    f.section("dqn", dqn);
    f.section("td3", td3);
    f.section("sac", sac);
    f.section("parallel", parallel);
  }

  // Of the computation; with one seed they step the environments, too.
  int n_threads() const;

  // Throws invalid_argument on what is out of range, does not exist, or does not fit together.
  void check() const;

  // Throws unsupported, naming the algorithm, when it cannot be trained by so many ranks together.
  void check_ranks(int n_ranks) const;
};

enum class ValuesAs { table, linear_function, network };

// An algorithm with one line about it.
struct NamedAlgorithm {
  std::string_view name, description, source;
  Learns learns;
  ValuesAs values;
};
const std::vector<NamedAlgorithm>& algorithms();

// Throws invalid_argument, naming the nearest known one.
const NamedAlgorithm& find_algorithm(std::string_view name);

// The agent of a configuration whose algorithm learns episode by episode, as most do. Throws what make_agent throws,
// and on another algorithm.
std::unique_ptr<EpisodeAgent> make_episode_agent(const TrainConfig& config, uint64_t seed);

// The agent of a configuration, with what it knows before its first episode, drawn by the seed. Throws invalid_argument
// on an algorithm that does not fit the environment, episodes that never end, and what environments and algorithms
// refuse.
//   ranks  that train it together, and outlive it; null: this process alone
std::unique_ptr<Agent> make_agent(const TrainConfig& config, uint64_t seed, run::Ranks* ranks = nullptr);

}  // namespace gradus::rl
