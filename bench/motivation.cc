// gradus bench motivation: what trust regions and deterministic policies are for, measured.
//   step sizes  CartPole by policies that take one step from what they collected: how far the size of that step may be
//               from the best one. A learning rate counts weights, a trust region how far the policy itself moves.
//   actions     Pendulum, its torque cut into ever more choices for dqn, which has to find the best of them, beside
//               ddpg, whose policy is climbed to it.
#include <algorithm>
#include <chrono>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "bench/preset_config.h"
#include "gradus/core/file.h"
#include "gradus/core/thread_pool.h"
#include "gradus/rl/evaluation.h"
#include "gradus/run/chart.h"
#include "gradus/run/progress.h"

namespace gradus::bench {

namespace {

// Four decades in halves, from the smallest; of delta as of learning rates, ten times higher.
constexpr double kStepSizes[] = {1e-5, 3.16e-5, 1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1};
constexpr double kDeltaToLearningRate = 10;
constexpr int64_t kBins[] = {3, 11, 51, 501};
constexpr int64_t kEpisodes = 100;  // greedy ones, at the end of a training

// Greedy returns at the end of the trainings of seeds 1 ... n, side by side on pool().
struct OfSeeds {
  std::vector<double> returns;
  double seconds = 0;  // of a training, median

  Row row(Row row) const {
    row.insert(row.end(), {{"return_median", median(returns)},
                           {"return_min", std::ranges::min(returns)},
                           {"return_max", std::ranges::max(returns)},
                           {"seeds", std::ssize(returns)},
                           {"seconds", seconds}});
    return row;
  }
};

OfSeeds train_seeds(const rl::TrainConfig& config, int64_t n_seeds) {
  OfSeeds result{.returns = std::vector<double>(static_cast<size_t>(n_seeds))};
  std::vector<double> seconds(result.returns.size());
  parallel_for(n_seeds, [&](int64_t i) {
    const auto seed = static_cast<uint64_t>(i + 1);
    const auto agent = rl::make_agent(config, seed);
    rl::TrainingStats stats;
    const auto start = std::chrono::steady_clock::now();
    agent->train(0, config.steps, seed, stats);
    const auto k = static_cast<size_t>(i);
    seconds[k] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.returns[k] = rl::evaluate_greedy(*agent, seed, kEpisodes, 1000).total_reward.mean;
  });
  result.seconds = median(seconds);
  return result;
}

// The same 1024 steps to an update for all but a2c, which has its preset's: many small ones. A learning rate is the
// critic's, too, which keeps that of the preset under npg and trpo.
run::Chart step_sizes(const MotivationOptions& o, const Sink& sink) {
  run::Chart chart{.title = fmt::format("CartPole after {} steps, by the size of a step",
                                        run::format_count(static_cast<double>(o.cartpole_steps))),
                   .x = {.label = "learning rate (reinforce, a2c); a tenth of delta (npg, trpo)", .log_base = 10},
                   .y = {.label = fmt::format("greedy return, median of {} seeds", o.seeds), .covers = {0, 500}}};
  for (const char* algorithm : {"reinforce", "a2c", "npg", "trpo"}) {
    const std::string_view name = algorithm;
    const bool natural = name == "npg" || name == "trpo";
    run::Series series{.name = algorithm, .markers = true};
    for (const double size : kStepSizes) {
      const double delta = kDeltaToLearningRate * size;
      const OfSeeds seeds = train_seeds(
          preset_config(
              name == "a2c" ? "cartpole/a2c" : "cartpole/trpo",
              {fmt::format("algorithm={}", name), fmt::format("steps={}", o.cartpole_steps),
               natural ? fmt::format("trust_region.delta={}", delta) : fmt::format("network.learning_rate={}", size)}),
          o.seeds);
      sink(seeds.row({{"env", std::string("cartpole")},
                      {"algorithm", std::string(name)},
                      {"setting", std::string(natural ? "delta" : "learning_rate")},
                      {"value", natural ? delta : size}}));
      series.points.emplace_back(size, median(seeds.returns));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

// Networks, buffer, minibatches and discount of pendulum/ddpg for both.
run::Chart actions(const MotivationOptions& o, const Sink& sink) {
  const std::string steps = fmt::format("steps={}", o.pendulum_steps);
  run::Chart chart{.title = fmt::format("Pendulum after {} steps, by the torques to choose from",
                                        run::format_count(static_cast<double>(o.pendulum_steps))),
                   .x = {.label = "torques to choose from", .log_base = 10},
                   .y = {.label = fmt::format("greedy return, median of {} seeds", o.seeds)},
                   .y_right = {.label = "seconds of training", .covers = {0}}};
  run::Series dqn{.name = "dqn", .markers = true}, ddpg{.name = "ddpg"},
      dqn_seconds{.name = "dqn, seconds", .right_axis = true, .markers = true},
      ddpg_seconds{.name = "ddpg, seconds", .right_axis = true};
  const auto add_row = [&](const OfSeeds& seeds, const char* algorithm, int64_t bins) {
    sink(seeds.row({{"env", std::string("pendulum")}, {"algorithm", std::string(algorithm)}, {"bins", bins}}));
  };
  for (const int64_t bins : kBins) {
    const OfSeeds seeds = train_seeds(
        preset_config("pendulum/ddpg", {"algorithm=dqn", steps, fmt::format("action_bins={}", bins), "dqn.double=true",
                                        "network.clip_norm=10", "replay.target_update_interval=200",
                                        "exploration.fraction=0.25", "exploration.final_eps=0.05"}),
        o.seeds);
    add_row(seeds, "dqn", bins);
    dqn.points.emplace_back(static_cast<double>(bins), median(seeds.returns));
    dqn_seconds.points.emplace_back(static_cast<double>(bins), seeds.seconds);
  }
  const OfSeeds seeds = train_seeds(preset_config("pendulum/ddpg", {steps}), o.seeds);
  add_row(seeds, "ddpg", 0);
  for (const int64_t bins : {std::begin(kBins)[0], std::end(kBins)[-1]}) {
    ddpg.points.emplace_back(static_cast<double>(bins), median(seeds.returns));
    ddpg_seconds.points.emplace_back(static_cast<double>(bins), seeds.seconds);
  }
  chart.series = {std::move(dqn), std::move(ddpg), std::move(dqn_seconds), std::move(ddpg_seconds)};
  return chart;
}

}  // namespace

void motivation(const MotivationOptions& options, const Sink& sink) {
  const auto draw = [&](const char* name, const run::Chart& chart) {
    if (options.folder) write_file_atomically(*options.folder / name, run::to_svg(chart));
  };
  draw("step-sizes.svg", step_sizes(options, sink));
  draw("binned-actions.svg", actions(options, sink));
}

}  // namespace gradus::bench
