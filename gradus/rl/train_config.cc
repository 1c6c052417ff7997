#include "gradus/rl/train_config.h"

#include <algorithm>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/finite_env.h"
#include "gradus/rl/deep/deep_agent.h"
#include "gradus/rl/linear/linear_agent.h"
#include "gradus/rl/tabular/tabular_agent.h"

namespace gradus::rl {

namespace {

bool ends(const env::FiniteMdp& mdp) {
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    for (int64_t a = 0; a < mdp.n_actions(); ++a) {
      for (const env::Outcome& o : mdp.outcomes(s, a)) {
        if (o.terminated && o.probability > 0) return true;
      }
    }
  }
  return false;
}

// Monte Carlo ends its episodes by itself, after `episode_length` steps, and planning has none.
bool cuts_itself(std::string_view algorithm) {
  const auto found = std::ranges::find(tabular_algorithms(), algorithm, &TabularAlgorithm::name);
  return found != tabular_algorithms().end() && found->step_size != StepSize::constant;
}

void check_episodes_end(const env::FiniteEnv& env, const TrainConfig& c) {
  if (ends(env.mdp())) return;
  require(c.learner.gamma < 1,
          "gamma is 1, but the episodes of {} never end, so values are infinite; use gamma below 1", c.env.name);
  require(env.spec().max_episode_steps > 0 || cuts_itself(c.algorithm),
          "the episodes of {} never end; set max_episode_steps, at which they are cut", c.env.name);
}

}  // namespace

const std::vector<NamedAlgorithm>& algorithms() {
  static const std::vector<NamedAlgorithm> list = [] {
    std::vector<NamedAlgorithm> all;
    const auto add = [&](const auto& algorithms, ValuesAs values) {
      for (const auto& a : algorithms) all.push_back({a.name, a.description, a.source, a.learns, values});
    };
    add(tabular_algorithms(), ValuesAs::table);
    add(linear_algorithms(), ValuesAs::linear_function);
    add(deep_algorithms(), ValuesAs::network);
    return all;
  }();
  return list;
}

const NamedAlgorithm& find_algorithm(std::string_view name) {
  std::vector<std::string_view> names;
  for (const NamedAlgorithm& a : algorithms()) {
    if (a.name == name) return a;
    names.push_back(a.name);
  }
  fail(ErrorCode::invalid_argument,
       "algorithm '{}' is not known; did you mean '{}'? `gradus list algorithms` shows all", name,
       nearest_name(name, names));
}

namespace {

const DeepAlgorithm& deep_algorithm(std::string_view name) {
  return *std::ranges::find(deep_algorithms(), name, &DeepAlgorithm::name);
}

// Whether its gradients are sums over minibatches of what several environments gave: only such are shared by ranks.
bool learns_by_steps(std::string_view algorithm) {
  return find_algorithm(algorithm).values == ValuesAs::network && deep_algorithm(algorithm).by_steps != nullptr;
}

DeepConfig deep_config(const TrainConfig& c, run::Ranks* ranks = nullptr) {
  return {.learner = c.learner,
          .network = c.network,
          .replay = c.replay,
          .on_policy = c.on_policy,
          .trust_region = c.trust_region,
          .normalize = c.normalize,
          .schedule = c.schedule,
          .exploration = c.exploration,
          .noise = c.noise,
          .dqn = c.dqn,
          .td3 = c.td3,
          .sac = c.sac,
          .n_envs = c.n_envs,
          .env_threads = c.seeds == 1 ? std::min<int64_t>(c.n_threads(), c.n_envs) : 1,
          .side_by_side = c.seeds,
          .total_steps = c.steps,
          .total_episodes = c.episodes,
          .ranks = ranks};
}

}  // namespace

int TrainConfig::n_threads() const {
  return threads > 0 ? static_cast<int>(threads) : available_cpus();
}

void TrainConfig::check() const {
  find_algorithm(algorithm);
  require(seed >= 0, "seed is {}, but must not be negative", seed);
  require(seeds >= 1 && seeds <= 10000, "seeds is {}, but must be 1 to 10000", seeds);
  require(threads >= 0 && threads <= 256, "threads is {}, but must be 0 (all cores) to 256", threads);
  require(episodes >= 1, "episodes is {}, but must be at least 1", episodes);
  require(steps >= 1, "steps is {}, but must be at least 1", steps);
  require(reports >= 1 && reports <= 100000, "reports is {}, but must be 1 to 100000", reports);
  require(keep_checkpoints >= 1, "keep_checkpoints is {}, but must be at least 1", keep_checkpoints);
  require(evaluations >= 0 && evaluations <= reports, "evaluations is {}, but must be 0 to reports, which is {}",
          evaluations, reports);
  require(evaluations == 0 || find_algorithm(algorithm).learns == Learns::control,
          "evaluations is {}, but {} learns the values of a given policy, and has none of its own to try", evaluations,
          algorithm);
  require(evaluation_episodes >= 1, "evaluation_episodes is {}, but must be at least 1", evaluation_episodes);
  deep_config(*this).check();
  require(!network.action_as_input || algorithm == "off-policy-dqn",
          "network.action_as_input is true, but {} does not read it; leave it out, or take off-policy-dqn", algorithm);
  require(n_envs >= 1 && n_envs <= 100000, "n_envs is {}, but must be 1 to 100000", n_envs);
  parallel.check(1);
  require(parallel.shards == 0 || learns_by_steps(algorithm),
          "parallel.shards is {}, but {} does not read it: its updates are no sums over minibatches; leave it out",
          parallel.shards, algorithm);
  make_agent(*this, 0);
}

void TrainConfig::check_ranks(int n_ranks) const {
  if (n_ranks == 1 || learns_by_steps(algorithm)) return;
  fail(ErrorCode::unsupported,
       "{} learns episode by episode, which {} ranks cannot share; use one rank, and `seeds=` for several trainings "
       "side "
       "by side",
       algorithm, n_ranks);
}

std::unique_ptr<Agent> make_agent(const TrainConfig& c, uint64_t seed, run::Ranks* ranks) {
  if (!learns_by_steps(c.algorithm)) return make_episode_agent(c, seed);
  const env::EnvConfig env = c.env;
  const auto make = [env] { return env::make_env(env); };
  if (const auto one = make(); one->finite() != nullptr) check_episodes_end(*one->finite(), c);
  return deep_algorithm(c.algorithm).by_steps(make, deep_config(c, ranks), seed);
}

std::unique_ptr<EpisodeAgent> make_episode_agent(const TrainConfig& c, uint64_t seed) {
  const NamedAlgorithm& algorithm = find_algorithm(c.algorithm);
  std::unique_ptr<env::Env> env = env::make_env(c.env);
  if (env->finite() != nullptr) check_episodes_end(*env->finite(), c);
  switch (algorithm.values) {
    case ValuesAs::linear_function:
      return make_linear_agent(c.algorithm, std::move(env), c.features, c.learner);
    case ValuesAs::network:
      require(deep_algorithm(algorithm.name).by_episodes != nullptr, "{} does not learn by episodes", c.algorithm);
      return deep_algorithm(algorithm.name).by_episodes(std::move(env), deep_config(c), seed);
    case ValuesAs::table:
      break;
  }
  require(env->finite() != nullptr,
          "{0}/{1}: {0} has no table of states, as tabular algorithms need; use a linear one, such as sarsa-linear, or "
          "a network, such as dqn",
          c.env.name, c.algorithm);
  return std::make_unique<TabularAgent>(*env->finite(), c.algorithm, c.learner);
}

}  // namespace gradus::rl
