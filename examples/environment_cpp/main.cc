// An environment of your own, checked, then learned by PPO: hover at height 0 with a thrust of down, nothing or up.
//   hover [STEPS]     a second with the default
#include <gradus/gradus.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace {

namespace env = gradus::env;
namespace rl = gradus::rl;

class Hover final : public env::Env {
 public:
  const env::EnvSpec& spec() const override { return spec_; }

  env::Observation reset(std::optional<uint64_t> seed, const env::Options&) override {
    gradus::Rng rng = episodes_.next(seed);  // same seed, same episodes
    state_ = {rng.uniform() - 0.5, 0};
    over_ = false;
    return state_;
  }

  env::StepResult step(std::span<const double> action) override {
    gradus::require(!over_, "hover: step: the episode is over; reset first");
    gradus::require(contains(spec_.action_space, action), "hover: step: the action is not 0, 1 or 2");
    auto& [height, speed] = state_;
    speed += 0.05 * (action[0] - 1) - 0.1 * speed;
    height += speed;
    over_ = std::abs(height) > 1;
    return {.observation = state_, .reward = 1 - std::abs(height), .terminated = over_};
  }

 private:
  static constexpr double kAny = std::numeric_limits<double>::infinity();
  env::EnvSpec spec_{.id = "hover",
                     .observation_space = env::Box{.low = {-2, -kAny}, .high = {2, kAny}},
                     .action_space = env::Discrete{.n = 3}};
  env::EpisodeRng episodes_;
  std::array<double, 2> state_{};
  bool over_ = true;
};

std::unique_ptr<env::Env> make_hover() {
  return std::make_unique<env::TimeLimit>(std::make_unique<Hover>(), 200);
}

double mean_return(rl::Agent& agent) {
  constexpr int kEpisodes = 20;
  double sum = 0;
  for (int i = 0; i < kEpisodes; ++i) {
    gradus::Rng rng(1, gradus::Purpose::held_out, static_cast<uint64_t>(i));
    for (const rl::PlayedStep& step : agent.play(rng, 200)) sum += step.reward;
  }
  return sum / kEpisodes;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int64_t steps = argc > 1 ? std::atoll(argv[1]) : 100'000;
    const auto say = [](const env::Finding& f) {
      std::printf("%-8s  %-11s  %s\n", std::string(name(f.verdict)).c_str(), f.check.c_str(), f.detail.c_str());
    };
    if (!env::check_env(make_hover, {}, say)) return 1;

    const auto& ppo = *std::ranges::find(rl::deep_algorithms(), "ppo", &rl::DeepAlgorithm::name);
    const auto agent = ppo.by_steps(make_hover, {.n_envs = 8, .total_steps = steps}, 1);
    std::printf("mean return before: %.1f\n", mean_return(*agent));
    rl::TrainingStats stats;
    agent->train(0, steps, 1, stats);
    std::printf("mean return after %d steps: %.1f of 200\n", static_cast<int>(steps), mean_return(*agent));
    return 0;
  } catch (const gradus::Error& error) {
    std::fprintf(stderr, "hover: %s\n", error.what());
    return 1;
  }
}
