#include "gradus/rl/train.h"

#include <chrono>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/thread_pool.h"
#include "gradus/rl/curves.h"
#include "gradus/rl/evaluation.h"
#include "gradus/rl/picture.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/run/config.h"
#include "gradus/run/shared_run.h"

namespace gradus::rl {

namespace {

constexpr char kAgents[] = "agents.safetensors";
constexpr int64_t kCheckpoints = 10;  // of a run
// States that a sweep over all, and a linear system, take no time for.
constexpr int64_t kMostSwept = 20000, kMostSolved = 1000;

// The table that defines a finite environment; null for another.
std::shared_ptr<const env::FiniteMdp> mdp_of(const TrainConfig& config) {
  const std::unique_ptr<env::Env> env = env::make_env(config.env);
  return env->finite() == nullptr ? nullptr : env->finite()->shared_mdp();
}

// The policy that a prediction evaluates.
Table evaluated_policy(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return named_policy(mdp, c.policy, c.policy_eps, c.gamma);
}

// What the algorithm's values should become; empty where it is not finite, or too large to solve in no time.
std::vector<double> exact_values(const env::FiniteMdp& mdp, const TrainConfig& config) {
  try {
    if (find_algorithm(config.algorithm).learns == Learns::control) {
      if (mdp.n_states() > kMostSwept) return {};
      return value_iteration(mdp, {.gamma = config.learner.gamma, .tolerance = 1e-10, .most_iterations = 100000}).V;
    }
    if (mdp.n_states() > kMostSolved) return {};
    return evaluate_policy(mdp, evaluated_policy(mdp, config.learner), config.learner.gamma);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::diverged) throw;
    return {};
  }
}

std::string prefix_of(uint64_t seed) {
  return fmt::format("seed{}.", seed);
}

void restore_agent(const run::Checkpoint& checkpoint, uint64_t seed, Agent& agent) {
  NamedTensors own;
  const std::string prefix = prefix_of(seed);
  if (const auto file = checkpoint.tensors.find(kAgents); file != checkpoint.tensors.end()) {
    for (const auto& [name, tensor] : file->second) {
      if (name.starts_with(prefix)) own.emplace_back(name.substr(prefix.size()), tensor);
    }
  }
  try {
    agent.restore(own);
  } catch (const Error& e) {
    fail(e.code(), "checkpoint of step {}: {}, of seed {}: {}; algorithm and settings have to be those of the training",
         checkpoint.step, kAgents, seed, e.what());
  }
}

// One seed of a training.
struct Trainee {
  std::unique_ptr<Agent> agent;
  uint64_t seed;
  int64_t done = 0;
  TrainingStats stats{};  // since the last report
};

// One training: its seeds side by side, or by several ranks one after the other, and what to do with them.
class TrainingRun {
 public:
  TrainingRun(run::Run& run, const TrainConfig& config, const TrainObserver& observer, run::Ranks* ranks)
      : run_(run), config_(config), observer_(observer), ranks_(ranks), mdp_(mdp_of(config)) {
    for (int64_t i = 0; i < config.seeds; ++i) {
      const auto seed = static_cast<uint64_t>(config.seed + i);
      trainees_.push_back({.agent = make_agent(config, seed, ranks), .seed = seed});
    }
    total_ = unit() == Agent::Unit::steps ? config.steps : config.episodes;
    if (mdp_ == nullptr) return;
    exact_ = exact_values(*mdp_, config);
    if (find_algorithm(config.algorithm).learns == Learns::prediction) pi_ = evaluated_policy(*mdp_, config.learner);
  }

  void restore(const run::Checkpoint& checkpoint) {
    for (Trainee& t : trainees_) {
      restore_agent(checkpoint, t.seed, *t.agent);
      t.done = checkpoint.step;
    }
    done_ = checkpoint.step;
  }

  TrainSummary work() {
    const int64_t per_report = (total_ + config_.reports - 1) / config_.reports;
    const int64_t per_checkpoint = std::max(per_report, total_ / kCheckpoints);
    int64_t saved = done_;
    if (done_ == 0) checkpoint();  // from here on there is something to resume from
    if (observer_.on_begin) observer_.on_begin(done_, total_, unit());
    std::optional<Report> last;
    while (done_ < total_) {
      const int64_t before = done_;
      const auto start = std::chrono::steady_clock::now();
      train_until(std::min(done_ + per_report - done_ % per_report, total_));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      last = report(seconds, is_evaluated(before));
      if (observer_.on_report) observer_.on_report(*last);
      const bool stop = is_to_stop();
      if (stop || last->evaluation || done_ >= total_ || done_ - saved >= per_checkpoint) {
        checkpoint(last->evaluation ? std::optional(last->evaluation->mean) : std::nullopt);
        saved = done_;
      }
      if (stop && done_ < total_) {
        const std::string folder = run_.paths().directory.string();
        fail(ErrorCode::interrupted, "interrupted after {} {}; go on with `gradus resume {}`", unit_name(), done_,
             folder);
      }
    }
    return summary(last);
  }

 private:
  bool is_first() const { return ranks_ == nullptr || ranks_->is_first(); }
  bool is_to_stop() {
    const bool mine = observer_.should_stop && observer_.should_stop();
    return ranks_ == nullptr ? mine : ranks_->any(mine);
  }

  Agent::Unit unit() const { return trainees_.front().agent->unit(); }
  const char* unit_name() const { return unit() == Agent::Unit::steps ? "step" : "episode"; }

  // work(trainee, its place) for each: side by side, or, of several ranks, in one order, as their collectives need it.
  template <class Work>
  void for_trainees(Work&& work) {
    const auto on = [&](int64_t i) { work(trainees_[static_cast<size_t>(i)], static_cast<size_t>(i)); };
    if (ranks_ == nullptr || ranks_->size() == 1) return parallel_for(std::ssize(trainees_), on);
    for (int64_t i = 0; i < std::ssize(trainees_); ++i) on(i);
  }

  void train_until(int64_t until) {
    for_trainees([&](Trainee& t, size_t) {
      t.stats = {};
      t.done = t.agent->train(t.done, until, t.seed, t.stats);
    });
    done_ = trainees_.front().done;
    for (const Trainee& t : trainees_) GRADUS_CHECK(t.done == done_);
  }

  // Whether one of the evaluations, which are spread evenly, is due after the work since `before`.
  bool is_evaluated(int64_t before) const {
    return done_ * config_.evaluations / total_ > before * config_.evaluations / total_;
  }

  std::vector<double> evaluate() {
    constexpr int64_t kMostSteps = 10000;         // where the environment sets no limit
    constexpr int64_t kFirst = int64_t{1} << 40;  // other episodes than those that judge the checkpoint chosen by these
    std::vector<double> returns(trainees_.size());
    for_trainees([&](Trainee& t, size_t i) {
      const EpisodesOf e = evaluate_greedy(*t.agent, t.seed, config_.evaluation_episodes, kMostSteps, kFirst, ranks_);
      returns[i] = e.total_reward.mean;
    });
    return returns;
  }

  Report report(double seconds, bool evaluated) {
    std::vector<double> total_reward, length;
    std::vector<std::pair<std::string, std::vector<double>>> metrics;
    const auto add = [&](const std::string& name, double value) {
      auto found = std::ranges::find(metrics, name, &std::pair<std::string, std::vector<double>>::first);
      if (found == metrics.end()) found = metrics.insert(found, {name, {}});
      found->second.push_back(value);
    };
    int64_t steps = 0;
    for (const Trainee& t : trainees_) {
      steps += t.stats.steps();
      if (t.stats.episodes() > 0) {
        total_reward.push_back(t.stats.total_reward());
        length.push_back(t.stats.length());
      }
      for (const auto& [name, value] : t.stats.metrics()) add(name, value);
      if (mdp_ != nullptr) measure_exactly(*t.agent, add);
      if (!exact_.empty()) add("value_error", rms_error(t.agent->V(), exact_));
    }
    Report r{.done = done_, .steps_per_s = static_cast<double>(steps) / std::max(seconds, 1e-9)};
    run::NamedValues values;
    const auto show = [&](const std::string& name, const std::vector<double>& of_seeds) {
      const MeanOfSeeds m = mean_of_seeds(of_seeds);
      values.emplace_back(name + "_mean", m.mean);
      values.emplace_back(name + "_standard_error", m.standard_error);
      return m;
    };
    if (!total_reward.empty()) {
      r.total_reward = show("return", total_reward);
      r.length = show("length", length);
    }
    if (evaluated) r.evaluation = show("evaluation", evaluate());
    for (const auto& [name, of_seeds] : metrics) r.metrics.emplace_back(name, show(name, of_seeds));
    run_.log(done_, "train", std::move(values));
    check_finite(r);
    return r;
  }

  // How far values are from solving Bellman's equation, and what a policy that is no table of values is worth.
  template <class Add>
  void measure_exactly(Agent& agent, Add&& add) const {
    const double gamma = config_.learner.gamma;
    if (mdp_->n_states() > kMostSwept) return;
    if (pi_) return add("bellman_residual", bellman_residual(*mdp_, *pi_, agent.V(), gamma));
    if (const Table pi = agent.pi(); pi.n_states() > 0) {
      if (exact_.empty() || mdp_->n_states() > kMostSolved) return;
      add("policy_error", rms_error(evaluate_policy(*mdp_, pi, gamma), exact_));
      add("greedy_policy_error", rms_error(evaluate_policy(*mdp_, first_greedy_policy(pi, 0), gamma), exact_));
    } else {
      add("bellman_residual", optimality_residual(*mdp_, agent.Q(), gamma));
    }
  }

  void check_finite(const Report& r) {
    for (const auto& [name, m] : r.metrics) {
      if (std::isfinite(m.mean)) continue;
      fail(ErrorCode::diverged,
           "diverged by {} {}: {} is no longer finite; lower the step size. The last checkpoint is good", unit_name(),
           r.done, name);
    }
  }

  void checkpoint(std::optional<double> score = {}) {
    run::Checkpoint c{.step = done_, .score = score};
    NamedTensors& tensors = c.tensors[kAgents];
    for (const Trainee& t : trainees_) {
      for (auto& [name, tensor] : t.agent->state()) {
        tensors.emplace_back(prefix_of(t.seed) + name, std::move(tensor));
      }
    }
    run_.checkpoint(std::move(c));
  }

  TrainSummary summary(const std::optional<Report>& last) {
    TrainSummary s{.config = config_,
                   .directory = run_.paths().directory,
                   .last = last,
                   .mdp = mdp_,
                   .V = trainees_.front().agent->V(),
                   .Q = trainees_.front().agent->pi(),
                   .exact_V = exact_,
                   .pictures = {}};
    if (s.Q.n_states() == 0) s.Q = trainees_.front().agent->Q();
    if (!is_first()) return s;
    const std::string title = config_.env.name + '/' + config_.algorithm;
    s.pictures = write_curves(s.directory, title, unit_name());
    if (mdp_ != nullptr && mdp_->picture()) {
      s.pictures.push_back(s.directory / "values.svg");
      write_file_atomically(s.pictures.back(), values_svg(*mdp_, s.V, s.Q, title));
    }
    return s;
  }

  run::Run& run_;
  const TrainConfig config_;
  const TrainObserver& observer_;
  run::Ranks* const ranks_;                          // or null
  const std::shared_ptr<const env::FiniteMdp> mdp_;  // of a finite environment
  std::vector<Trainee> trainees_;
  std::vector<double> exact_;
  std::optional<Table> pi_;  // that is evaluated, if one is
  int64_t total_ = 0, done_ = 0;
};

}  // namespace

const MeanOfSeeds* Report::find(std::string_view metric) const {
  const auto found = std::ranges::find(metrics, metric, &std::pair<std::string, MeanOfSeeds>::first);
  return found == metrics.end() ? nullptr : &found->second;
}

namespace {

// What these ranks can do, with the threads of each: those of one host share its processors.
TrainConfig checked(TrainConfig config, run::Ranks* ranks) {
  config.check();
  if (ranks != nullptr) config.check_ranks(ranks->size());
  if (config.threads == 0 && ranks != nullptr)
    config.threads = std::max(1, available_cpus() / ranks->group().ranks_on_this_host());
  set_pool_threads(config.n_threads());
  return config;
}

TrainConfig config_from(std::string text, const std::filesystem::path& directory) {
  return run::read_config<TrainConfig>({{run::RunPaths{directory}.config().string(), std::move(text)}}, {});
}

// The first rank observes, the others only may be asked to stop.
TrainObserver observer_of(const run::Ranks* ranks, const TrainObserver& observer) {
  if (ranks == nullptr || ranks->is_first()) return observer;
  return {.should_stop = observer.should_stop};
}

}  // namespace

TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& given,
                   std::unique_ptr<comm::Group> group) {
  const std::string text = run::write_config(config);
  const auto ranks = run::make_ranks(std::move(group), config.parallel, text);
  const TrainObserver observer = observer_of(ranks.get(), given);
  return run::on_all_ranks(ranks.get(), [&] {
    const TrainConfig here = checked(config, ranks.get());
    run::Run run = run::begin_run(ranks.get(), directory,
                                  {.seed = static_cast<uint64_t>(config.seed),
                                   .keep_checkpoints = config.keep_checkpoints,
                                   .config_toml = text,
                                   .record = run::record_of_this_process(std::move(command_line)),
                                   .clock = {}});
    TrainingRun training(run, here, observer, ranks.get());
    if (observer.on_note) {
      observer.on_note(fmt::format("run {}: {}/{}, {} {}", directory.string(), config.env.name, config.algorithm,
                                   config.seeds, config.seeds == 1 ? "training" : "trainings"));
      if (ranks != nullptr) observer.on_note(ranks->about());
    }
    return training.work();
  });
}

TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& given, std::unique_ptr<comm::Group> group) {
  run::ResumedRun resumed = run::open_run(group.get(), directory);
  const TrainConfig config = config_from(resumed.run.config_toml(), directory);
  static_cast<void>(command_line);  // nothing here depends on the instruction set
  const auto ranks = run::make_ranks(std::move(group), config.parallel, resumed.run.config_toml());
  const TrainObserver observer = observer_of(ranks.get(), given);
  return run::on_all_ranks(ranks.get(), [&] {
    const TrainConfig here = checked(config, ranks.get());
    TrainingRun training(resumed.run, here, observer, ranks.get());
    training.restore(resumed.checkpoint);
    if (observer.on_note) {
      observer.on_note(fmt::format("run {}: goes on after {}", directory.string(), resumed.checkpoint.step));
      if (ranks != nullptr) observer.on_note(ranks->about());
    }
    return training.work();
  });
}

TrainConfig config_of_run(const std::filesystem::path& directory) {
  return config_from(read_file(run::RunPaths{directory}.config()), directory);
}

Trained load_run(const std::filesystem::path& directory, Which which) {
  const std::filesystem::path checkpoints = run::RunPaths{directory}.checkpoints();
  const auto folder = !std::filesystem::is_directory(checkpoints) ? std::nullopt
                      : which == Which::best                      ? run::best_checkpoint(checkpoints)
                                                                  : run::latest_checkpoint(checkpoints);
  if (!folder) {
    fail(ErrorCode::not_found, "{}: not a run with a checkpoint; train one with `gradus train`", directory.string());
  }
  const run::Checkpoint checkpoint = run::load_checkpoint(*folder);
  Trained t{.config = config_of_run(directory), .agent = nullptr};
  const auto seed = static_cast<uint64_t>(t.config.seed);
  TrainConfig alone = t.config;
  alone.seeds = 1;
  t.agent = make_agent(alone, seed);
  restore_agent(checkpoint, seed, *t.agent);
  return t;
}

}  // namespace gradus::rl
