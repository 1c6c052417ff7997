// `gradus bench rl`: networks trained by the agents that `train` makes, on one thread, beside that thread's peak.
#include "bench/rl_networks.h"

#include <algorithm>

#include "bench/alternation.h"
#include "bench/peak_loops.h"
#include "bench/preset_config.h"
#include "gradus/core/thread_pool.h"
#include "gradus/rl/evaluation.h"

namespace gradus::bench {

namespace {

// Multiply-adds of a network's layers for one row: all of them, and those of the first. A pass over the rows, be it
// forward, to the weights' gradients or to the inputs' (which ends before the first layer, unless they are wanted),
// takes 2 FLOPs for each.
struct Layers {
  double all = 0, first = 0;

  Layers(double inputs, const std::vector<int64_t>& hidden, double outputs) {
    first = inputs * static_cast<double>(hidden.front());
    for (const int64_t width : hidden) {
      all += inputs * static_cast<double>(width);
      inputs = static_cast<double>(width);
    }
    all += inputs * outputs;
  }
  double trained() const { return 3 * all - first; }  // forward and backward
};

constexpr double kObservation = 3, kTorque = 1;  // Pendulum's numbers
constexpr int64_t kBins = 11;                    // torques that dqn chooses from

// FLOPs of one update and of acting once before it, product by product as the files in gradus/rl/deep/ compute them.
// Activations, losses, Adam and what follows slowly count nothing.
double flops_per_update(std::string_view algorithm, const rl::TrainConfig& c) {
  const Layers mu(kObservation, c.network.hidden, kTorque), pi(kObservation, c.network.hidden, 2 * kTorque),
      q(kObservation + kTorque, c.network.hidden, 1),
      choices(kObservation, c.network.hidden, static_cast<double>(kBins));
  const double fitted = 3 * q.all;   // a critic: its inputs' gradients are computed, too
  const double climbed = 2 * q.all;  // forward, and back to the action
  const auto B = static_cast<double>(c.replay.batch_size);
  if (algorithm == "dqn") return 2 * (B * (2 * choices.all + choices.trained()) + choices.all);  // double: two targets
  if (algorithm == "ddpg") return 2 * (B * (mu.all + q.all + fitted + mu.trained() + climbed) + mu.all);
  if (algorithm == "td3") {
    const double delayed = (mu.trained() + climbed) / static_cast<double>(c.td3.policy_delay);
    return 2 * (B * (mu.all + 2 * q.all + 2 * fitted + delayed) + mu.all);
  }
  GRADUS_CHECK(algorithm == "sac");
  return 2 * (B * (pi.all + 2 * q.all + 2 * fitted + pi.trained() + 2 * climbed) + pi.all);
}

// Updates of networks 256-256 from minibatches of 256, one after each step of Pendulum, as training makes them.
void off_policy_speed(const std::string& algorithm, int rounds, const Sink& sink) {
  constexpr int64_t kFilled = 1000, kUpdates = 20;
  std::vector<std::string> settings = {"algorithm=" + algorithm};
  if (algorithm == "dqn") settings.insert(settings.end(), {fmt::format("action_bins={}", kBins), "dqn.double=true"});
  rl::TrainConfig config = preset_config("pendulum/ddpg", std::move(settings));
  config.network.hidden = {256, 256};
  config.replay.batch_size = 256;
  config.replay.learning_starts = kFilled;
  config.steps = int64_t{1} << 40;  // for schedules
  const auto agent = rl::make_agent(config, 1);
  rl::TrainingStats stats;
  int64_t done = agent->train(0, kFilled, 1, stats);
  Alternation turns;
  PeakLoops peak(turns);
  const auto learning = turns.add([&] { done = agent->train(done, done + kUpdates, 1, stats); });
  turns.run(rounds);
  const double seconds = turns.median_s(learning) / kUpdates, flops = flops_per_update(algorithm, config);
  sink({{"networks", "pendulum/" + algorithm + ", 256-256, 256 rows"},
        {"updates_per_s", 1 / seconds},
        {"us_per_update", 1e6 * seconds},
        {"mflop_per_update", 1e-6 * flops},
        {"gflops", 1e-9 * flops / seconds},
        {"peak_gflops", peak.gflops()},
        {"share_of_peak", 1e-9 * flops / seconds / peak.gflops()}});
}

// PPO on Pendulum as RLtools' example of it is set: a whole training a measurement, of a seed of its own.
void ppo_speed(int rounds, const Sink& sink) {
  rl::TrainConfig config = preset_config("pendulum/ppo", {});
  config.steps = 300'000;
  config.n_envs = 4;
  config.learner.gamma = 0.9;
  config.network.hidden = {64, 64};
  config.network.activation = "tanh";
  config.network.learning_rate = 1e-3;
  config.on_policy.n_steps = 1024;
  config.on_policy.batch_size = 256;
  config.on_policy.n_epochs = 2;
  config.on_policy.gae_lambda = 0.95;
  config.on_policy.log_std_init = 0.693;  // a deviation of 2
  config.on_policy.ent_coef = 0;
  config.normalize = {.observations = true, .rewards = true};
  std::vector<std::unique_ptr<rl::Agent>> agents;  // of seeds 1, 2, ...
  int64_t steps = 0;
  Alternation turns;
  PeakLoops peak(turns);
  const auto training = turns.add([&] {
    const uint64_t seed = agents.size() + 1;
    agents.push_back(rl::make_agent(config, seed));
    rl::TrainingStats stats;
    steps = agents.back()->train(0, config.steps, seed, stats);
  });
  turns.run(rounds);
  // Each step acts once and is valued once, and is then trained on in every epoch; policy and critic have one shape.
  const Layers layers(kObservation, config.network.hidden, 1);
  const auto epochs = static_cast<double>(config.on_policy.n_epochs);
  const double flops = 2 * static_cast<double>(steps) * 2 * (layers.all + epochs * layers.trained());
  const double seconds = turns.median_s(training);
  std::vector<double> returns;
  for (const auto& agent : agents) returns.push_back(rl::evaluate_greedy(*agent, 1, 100, 1000).total_reward.mean);
  std::ranges::sort(returns);
  sink({{"networks", std::string("pendulum/ppo as RLtools sets it")},
        {"seconds", seconds},
        {"steps", steps},
        {"steps_per_s", static_cast<double>(steps) / seconds},
        {"gflop", 1e-9 * flops},
        {"gflops", 1e-9 * flops / seconds},
        {"share_of_peak", 1e-9 * flops / seconds / peak.gflops()},
        {"seeds", std::ssize(returns)},
        {"return_median", returns[returns.size() / 2]},
        {"return_min", returns.front()},
        {"return_max", returns.back()}});
}

}  // namespace

void network_speed(int rounds, const Sink& sink) {
  const int threads_before = pool().size();
  set_pool_threads(1);
  for (const char* algorithm : {"dqn", "ddpg", "td3", "sac"}) off_policy_speed(algorithm, rounds, sink);
  ppo_speed(rounds, sink);
  set_pool_threads(threads_before);
}

}  // namespace gradus::bench
