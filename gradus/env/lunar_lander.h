// Land a rocket on the moon, on legs, between two flags: Gymnasium's LunarLander-v3 on Box2D. The physics are in
// lander_world.h.
#pragma once

#include <array>
#include <memory>

#include "gradus/env/env.h"
#include "gradus/env/lander_world.h"

namespace gradus::env {

enum class LanderControl { discrete, continuous };

// Observation: LanderWorld::observation; as in Gymnasium, a lander that tumbles may leave the observation space.
//
// Actions, discrete: 0 nothing, 1 the left engine, 2 the main engine, 3 the right engine. Continuous, [main, side]:
// main in (0, 1] gives the main engine 50 to 100 % of its power; beyond 0.5 to either side, side gives a side engine as
// much.
//
// Reward: by how much -100 |(x, y)| - 100 |(x', y')| - 100 |angle| + 10 for each leg on the ground has grown, less 0.3
// for a step of the main engine at full power and 0.03 for one of a side engine. Instead of that -100 where the hull
// touches the ground or x leaves (-1, 1), +100 where the lander has come to rest; both end the episode.
//
// Differs: Box2D is 2.4.1, Gymnasium's 2.3: legs that hit the ground hard bend otherwise, and come to rest later by
// some 15 steps. Observations keep all digits, where Gymnasium rounds to float32.
class LunarLander final : public Env {
 public:
  // Throws invalid_argument where LanderWorld does.
  LunarLander(const LunarLanderConfig& config, LanderControl control);
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `force_x` and `force_y`, the first push, within 1000 newtons.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override;

  static LanderStart draw_start(Rng& rng);
  static LanderEngines engines(LanderControl control, std::span<const double> action);
  static double shaping_of(const std::array<double, 8>& observation);

  struct Outcome {
    double reward;
    bool terminated;
  };
  // What the step that led here pays, and whether it ends the episode.
  //   shaping   of the observation before it; afterwards of the one now
  static Outcome judge(const LanderWorld& world, const LanderEngines& engines, double& shaping);

 private:
  std::array<double, 2> draw_dispersion();

  LunarLanderConfig config_;
  LanderControl control_;
  EnvSpec spec_;
  EpisodeRng episodes_;
  Rng rng_{0, Purpose::environment};  // of the running episode
  std::unique_ptr<LanderWorld> world_;
  double shaping_ = 0;
  std::array<double, 8> observation_{};
  bool over_ = true;
};

}  // namespace gradus::env
