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

constexpr char kTables[] = "tables.safetensors";
constexpr int64_t kCheckpoints = 10;  // of a run

void use_threads(const TrainConfig& config) {
  set_pool_threads(config.threads > 0 ? static_cast<int>(config.threads) : available_cpus());
}

// The table that defines a finite environment; null for another.
std::shared_ptr<const env::FiniteMdp> mdp_of(const TrainConfig& config) {
  const std::unique_ptr<env::Env> env = env::make_env(config.env);
  return env->finite() == nullptr ? nullptr : env->finite()->shared_mdp();
}

// What the algorithm's values should become; empty where it is not finite, or too large to solve in no time.
std::vector<double> exact_values(const env::FiniteMdp& mdp, const TrainConfig& config) {
  constexpr int64_t kMostSwept = 20000, kMostSolved = 1000;
  try {
    if (find_algorithm(config.algorithm).learns == Learns::control) {
      if (mdp.n_states() > kMostSwept) return {};
      return value_iteration(mdp, {.gamma = config.learner.gamma, .tolerance = 1e-10, .most_iterations = 100000}).V;
    }
    if (mdp.n_states() > kMostSolved) return {};
    const LearnerConfig& t = config.learner;
    return evaluate_policy(mdp, named_policy(mdp, t.policy, t.policy_eps, t.gamma), t.gamma);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::diverged) throw;
    return {};
  }
}

std::string tensor_name(uint64_t seed, const std::string& table) {
  return fmt::format("seed{}.{}", seed, table);
}

// Throws corrupt when a table is missing or has another size.
void restore_tables(const run::Checkpoint& checkpoint, uint64_t seed, Agent& agent) {
  const auto tables = checkpoint.tensors.find(kTables);
  if (tables == checkpoint.tensors.end()) {
    fail(ErrorCode::corrupt, "checkpoint of step {}: {} is missing", checkpoint.step, kTables);
  }
  for (const auto& [name, table] : agent.tables()) {
    if (table->values().empty()) continue;
    const auto found = std::ranges::find(tables->second, tensor_name(seed, name), &NamedTensors::value_type::first);
    const bool fits = found != tables->second.end() && found->second.dtype() == DType::f64 &&
                      found->second.numel() == static_cast<int64_t>(table->values().size());
    if (!fits) {
      fail(ErrorCode::corrupt, "checkpoint of step {}: the table {} is missing or has another size", checkpoint.step,
           tensor_name(seed, name));
    }
    std::ranges::copy(found->second.span<double>(), table->values().begin());
  }
}

// One training: its trials, and what to do with them.
class TrainingRun {
 public:
  TrainingRun(run::Run& run, const TrainConfig& config, const TrainObserver& observer)
      : run_(run), config_(config), observer_(observer), mdp_(mdp_of(config)) {
    for (int64_t i = 0; i < config.seeds; ++i) {
      trials_.emplace_back(make_agent(config), static_cast<uint64_t>(config.seed + i));
    }
    if (mdp_ != nullptr) exact_ = exact_values(*mdp_, config);
  }

  void restore(const run::Checkpoint& checkpoint) {
    for (Trial& trial : trials_) {
      restore_tables(checkpoint, trial.seed(), trial.agent());
      trial.continue_after(checkpoint.step);
    }
    done_ = checkpoint.step;
  }

  TrainSummary work() {
    const int64_t per_report = (config_.episodes + config_.reports - 1) / config_.reports;
    const int64_t per_checkpoint = std::max(per_report, config_.episodes / kCheckpoints);
    int64_t saved = done_;
    if (done_ == 0) checkpoint();  // from here on there is something to resume from
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
    std::vector<double> total_reward, length, td_error, value_error;
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
      if (!exact_.empty()) value_error.push_back(rms_error(trial.agent().V(), exact_));
      steps += n_steps;
    }
    Report r{.episode = done_,
             .total_reward = mean_of_seeds(total_reward),
             .length = mean_of_seeds(length),
             .td_error = mean_of_seeds(td_error),
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
    if (!exact_.empty()) add("value_error", *(r.value_error = mean_of_seeds(value_error)));
    run_.log(done_, "train", std::move(values));
    check_finite(r);
    return r;
  }

  void check_finite(const Report& r) {
    if (std::isfinite(r.td_error.mean) && (!r.value_error || std::isfinite(r.value_error->mean))) return;
    fail(ErrorCode::diverged,
         "diverged by episode {}: values are no longer finite; lower alpha. The last checkpoint is good", r.episode);
  }

  void checkpoint() {
    run::Checkpoint c{.step = done_};
    NamedTensors& tensors = c.tensors[kTables];
    for (Trial& trial : trials_) {
      for (const auto& [name, table] : trial.agent().tables()) {
        if (table->values().empty()) continue;
        tensors.emplace_back(tensor_name(trial.seed(), name),
                             Tensor::from<double>(table->values(), {table->n_states(), table->n_actions()}));
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
  int64_t done_ = 0;
};

}  // namespace

TrainSummary train(const std::filesystem::path& directory, const TrainConfig& config,
                   std::vector<std::string> command_line, const TrainObserver& observer) {
  config.check();
  use_threads(config);
  make_agent(config);  // what is wrong with it is said before there is a run folder
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
  t.agent = make_agent(t.config);
  restore_tables(checkpoint, static_cast<uint64_t>(t.config.seed), *t.agent);
  return t;
}

}  // namespace gradus::rl
