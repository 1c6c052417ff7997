// The physics of Gymnasium's LunarLander-v3 in Box2D: bodies, engines, wind, contacts. All its randomness is an
// argument; drawing it, rewards and ends are in lunar_lander.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "gradus/env/frame.h"

class b2Body;
class b2RevoluteJoint;
class b2World;

namespace gradus::env {

struct LunarLanderConfig {
  double gravity = -10;
  bool wind = false;
  double wind_power = 15;
  double turbulence_power = 1.5;

  template <class F>
  void fields(F& f) {
    f("gravity", gravity, "between -12 and 0");
    f("wind", wind, "whether wind pushes and turns the lander in the air");
    f("wind_power", wind_power, "strongest push; 0 to 20 is sensible");
    f("turbulence_power", turbulence_power, "strongest turn; 0 to 2 is sensible");
  }
};

// What is drawn before an episode's first step.
struct LanderStart {
  std::array<double, 12> heights{};  // of the ground before it is smoothed, [0, kHeight / 2)
  double force_x = 0, force_y = 0;   // on the lander in the first step, [-1000, 1000)
  int64_t wind = 0, turbulence = 0;  // where in their patterns they begin, [-9999, 9999)
};

// Throttles of one step.
struct LanderEngines {
  double main = 0;  // 0, or 0.5 to 1
  double side = 0;  // the same with a sign: below 0 the left engine, above it the right
};

class LanderWorld {
 public:
  static constexpr double kScale = 30, kWidth = 600 / kScale, kHeight = 400 / kScale;  // pixels a metre; metres
  static constexpr double kStepsPerSecond = 50;
  static constexpr int kChunks = 11;                 // of the ground
  static constexpr double kPadHeight = kHeight / 4;  // of the landing pad, in the middle of the ground

  // Throws invalid_argument unless gravity is between -12 and 0 and the powers between 0 and 1000.
  LanderWorld(const LunarLanderConfig& config, const LanderStart& start);
  ~LanderWorld();

  // One fiftieth of a second.
  //   dispersion   where the engines' impulses act, beside their place; each [-1, 1)
  void step(const LanderEngines& engines, std::array<double, 2> dispersion);

  // [x, y, x', y', angle, angular velocity, left leg, right leg], scaled as Gymnasium does: the pad is at (0, 0) and
  // the edges of the view at x = -1 and 1; a leg is 1 on the ground and 0 in the air.
  std::array<double, 8> observation() const;
  bool crashed() const;  // the hull has touched the ground
  bool awake() const;    // false once Box2D has put it to rest
  Frame frame() const;

 private:
  struct Contacts;

  void make_ground(const std::array<double, 12>& heights);
  void make_lander(const LanderStart& start);
  void make_leg(int side);
  void blow();
  void limit_legs();
  void fire_main(double power, std::array<double, 2> dispersion);
  void fire_side(double throttle, std::array<double, 2> dispersion);

  LunarLanderConfig config_;
  int64_t wind_ = 0, turbulence_ = 0;
  LanderEngines engines_;  // of the last step, for the picture
  std::array<Point, kChunks> ground_{};
  std::unique_ptr<Contacts> contacts_;
  std::unique_ptr<b2World> world_;
  b2Body* lander_ = nullptr;       // the world's
  std::array<b2Body*, 2> legs_{};  // left, right
  std::array<b2RevoluteJoint*, 2> joints_{};
};

}  // namespace gradus::env
