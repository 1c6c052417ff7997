#include "gradus/rl/train.h"

#include <chrono>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/thread_pool.h"
#include "gradus/rl/curves.h"
#include "gradus/rl/picture.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/run/config.h"
#include "gradus/run/run_folder.h"

namespace gradus::rl {

namespace {

constexpr char kAgents[] = "agents.safetensors";
constexpr int64_t kCheckpoints = 10;  // of a run
// States that a sweep over all, and a linear system, take no time for.
constexpr int64_t kMostSwept = 20000, kMostSolved = 1000;

void use_threads(const TrainConfig& config) {
  set_pool_threads(config.threads > 0 ? static_cast<int>(config.threads) : available_cpus());
}

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
    fail(e.code(), "checkpoint of step {}: {}, of seed {}: {}", checkpoint.step, kAgents, seed, e.what());
  }
}

// One training: its trials, and what to do with them.
class TrainingRun {
 public:
  TrainingRun(run::Run& run, const TrainConfig& config, const TrainObserver& observer)
      : run_(run), config_(config), observer_(observer), mdp_(mdp_of(config)) {
    for (int64_t i = 0; i < config.seeds; ++i) {
      const auto seed = static_cast<uint64_t>(config.seed + i);
      trials_.emplace_back(make_agent(config, seed), seed);
    }
    if (mdp_ == nullptr) return;
    exact_ = exact_values(*mdp_, config);
    if (find_algorithm(config.algorithm).learns == Learns::prediction) pi_ = evaluated_policy(*mdp_, config.learner);
  }

  void restore(const run::Checkpoint& checkpoint) {
    for (Trial& trial : trials_) {
      restore_agent(checkpoint, trial.seed(), trial.agent());
      trial.continue_after(checkpoint.step);
    }
    done_ = checkpoint.step;
  }

  TrainSummary work() {
    const int64_t per_report = (config_.episodes + config_.reports - 1) / config_.reports;
    const int64_t per_checkpoint = std::max(per_report, config_.episodes / kCheckpoints);
    int64_t saved = done_;
    if (done_ == 0) checkpoint();  // from here on there is something to resume from
    if (observer_.on_begin) observer_.on_begin(done_, config_.episodes);
    std::optional<Report> last;
    while (done_ < config_.episodes) {
      const int64_t n = std::min(per_report - done_ % per_report, config_.episodes - done_);
      const auto start = std::chrono::steady_clock::now();
      run_trials(trials_, n);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      done_ += n;
      last = report(seconds);
      for (Trial& trial : trials_) trial.continue_after(done_);
      if (observer_.on_report) observer_.on_report(*last, config_.episodes);
      const bool stop = observer_.should_stop && observer_.should_stop();
      if (stop || done_ == config_.episodes || done_ - saved >= per_checkpoint) {
        checkpoint();
        saved = done_;
      }
      if (stop && done_ < config_.episodes) {
        const std::string folder = run_.paths().directory.string();
        fail(ErrorCode::interrupted, "interrupted after episode {}; go on with `gradus resume {}`", done_, folder);
      }
    }
    return summary(last);
  }

 private:
  Report report(double seconds) {
    std::vector<double> total_reward, length, td_error, residual, value_error;
    int64_t steps = 0;
    for (const Trial& trial : trials_) {
      double reward = 0, squares = 0;
      int64_t n_steps = 0, n_updates = 0;
      for (const EpisodeStats& e : trial.episodes()) {
        reward += e.total_reward;
        n_steps += e.length;
        squares += e.squared_td_error;
        n_updates += e.updates;
      }
      const auto n = static_cast<double>(trial.episodes().size());
      total_reward.push_back(reward / n);
      length.push_back(static_cast<double>(n_steps) / n);
      td_error.push_back(std::sqrt(squares / static_cast<double>(std::max<int64_t>(1, n_updates))));
      if (mdp_ != nullptr && mdp_->n_states() <= kMostSwept) residual.push_back(residual_of(trial.agent()));
      if (!exact_.empty()) value_error.push_back(rms_error(trial.agent().V(), exact_));
      steps += n_steps;
    }
    Report r{.episode = done_,
             .total_reward = mean_of_seeds(total_reward),
             .length = mean_of_seeds(length),
             .td_error = mean_of_seeds(td_error),
             .bellman_residual = {},
             .value_error = {},
             .steps_per_s = static_cast<double>(steps) / std::max(seconds, 1e-9)};
    run::NamedValues values;
    const auto add = [&](const std::string& name, const MeanOfSeeds& m) {
      values.emplace_back(name + "_mean", m.mean);
      values.emplace_back(name + "_standard_error", m.standard_error);
    };
    add("return", r.total_reward);
    add("length", r.length);
    add("td_error", r.td_error);
    if (!residual.empty()) add("bellman_residual", *(r.bellman_residual = mean_of_seeds(residual)));
    if (!exact_.empty()) add("value_error", *(r.value_error = mean_of_seeds(value_error)));
    run_.log(done_, "train", std::move(values));
    check_finite(r);
    return r;
  }

  double residual_of(Agent& agent) const {
    const double gamma = config_.learner.gamma;
    return pi_ ? bellman_residual(*mdp_, *pi_, agent.V(), gamma) : optimality_residual(*mdp_, agent.Q(), gamma);
  }

  void check_finite(const Report& r) {
    if (std::isfinite(r.td_error.mean) && (!r.value_error || std::isfinite(r.value_error->mean))) return;
    fail(ErrorCode::diverged,
         "diverged by episode {}: values are no longer finite; lower alpha. The last checkpoint is good", r.episode);
  }

  void checkpoint() {
    run::Checkpoint c{.step = done_};
    NamedTensors& tensors = c.tensors[kAgents];
    for (const Trial& trial : trials_) {
      for (auto& [name, tensor] : trial.agent().state()) {
        tensors.emplace_back(prefix_of(trial.seed()) + name, std::move(tensor));
      }
    }
    run_.checkpoint(std::move(c));
  }

  TrainSummary summary(const std::optional<Report>& last) {
    TrainSummary s{.config = config_,
                   .directory = run_.paths().directory,
                   .last = last,
                   .mdp = mdp_,
                   .V = trials_.front().agent().V(),
                   .Q = trials_.front().agent().Q(),
                   .exact_V = exact_,
                   .pictures = {}};
    const std::string title = config_.env.name + '/' + config_.algorithm;
    s.pictures = write_curves(s.directory, title);
    if (mdp_ != nullptr && mdp_->picture()) {
      s.pictures.push_back(s.directory / "values.svg");
      write_file_atomically(s.pictures.back(), values_svg(*mdp_, s.V, s.Q, title));
    }
    return s;
  }

  run::Run& run_;
  const TrainConfig config_;
  const TrainObserver& observer_;
  const std::shared_ptr<const env::FiniteMdp> mdp_;  // of a finite environment
  std::vector<Trial> trials_;
  std::vector<double> exact_;
  std::optional<Table> pi_;  // that is evaluated, if one is
  int64_t done_ = 0;
};

}  // namespace

TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer) {
  config.check();
  use_threads(config);
  run::Run run(directory, {.seed = static_cast<uint64_t>(config.seed),
                           .keep_checkpoints = config.keep_checkpoints,
                           .config_toml = run::write_config(config),
                           .record = run::record_of_this_process(std::move(command_line)),
                           .clock = {}});
  TrainingRun training(run, config, observer);
  if (observer.on_note) {
    observer.on_note(fmt::format("run {}: {}/{}, {} {} of {} episodes", directory.string(), config.env.name,
                                 config.algorithm, config.seeds, config.seeds == 1 ? "training" : "trainings",
                                 config.episodes));
  }
  return training.work();
}

TrainSummary resume(const std::filesystem::path& directory, std::vector<std::string> command_line,
                    const TrainObserver& observer) {
  run::ResumedRun resumed = run::Run::open(directory);
  const TrainConfig config = config_of_run(directory);
  config.check();
  use_threads(config);
  static_cast<void>(command_line);  // nothing here depends on the instruction set
  TrainingRun training(resumed.run, config, observer);
  training.restore(resumed.checkpoint);
  if (observer.on_note) {
    observer.on_note(fmt::format("run {}: goes on after episode {}", directory.string(), resumed.checkpoint.step));
  }
  return training.work();
}

TrainConfig config_of_run(const std::filesystem::path& directory) {
  const std::filesystem::path path = run::RunPaths{directory}.config();
  return run::read_config<TrainConfig>({{path.string(), read_file(path)}}, {});
}

Trained load_run(const std::filesystem::path& directory) {
  const run::RunPaths paths{directory};
  const auto folder =
      std::filesystem::is_directory(paths.checkpoints()) ? run::latest_checkpoint(paths.checkpoints()) : std::nullopt;
  if (!folder) {
    fail(ErrorCode::not_found, "{}: not a run with a checkpoint; train one with `gradus train`", directory.string());
  }
  const run::Checkpoint checkpoint = run::load_checkpoint(*folder);
  Trained t{.config = config_of_run(directory), .agent = nullptr};
  const auto seed = static_cast<uint64_t>(t.config.seed);
  t.agent = make_agent(t.config, seed);
  restore_agent(checkpoint, seed, *t.agent);
  return t;
}

}  // namespace gradus::rl
