#include "gradus/env/lunar_lander.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>

#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

using Policy = std::function<std::vector<double>(Observation, LanderControl, Rng&)>;

std::vector<double> idle(Observation, LanderControl control, Rng&) {
  return control == LanderControl::discrete ? std::vector<double>{0} : std::vector<double>{0, 0};
}

std::vector<double> random_action(Observation, LanderControl control, Rng& rng) {
  if (control == LanderControl::discrete) return {static_cast<double>(rng.below(4))};
  const double main = 2 * rng.uniform() - 1;
  return {main, 2 * rng.uniform() - 1};
}

// The lander by rule that comes with Gymnasium's environment.
std::vector<double> heuristic(Observation s, LanderControl control, Rng&) {
  const double angle_wanted = std::clamp(0.5 * s[0] + s[2], -0.4, 0.4);
  const bool on_ground = s[6] != 0 || s[7] != 0;
  const double turn = on_ground ? 0 : 0.5 * (angle_wanted - s[4]) - s[5];
  const double climb = on_ground ? -0.5 * s[3] : 0.5 * (0.55 * std::abs(s[0]) - s[1]) - 0.5 * s[3];
  if (control == LanderControl::continuous) {
    return {std::clamp(20 * climb - 1, -1.0, 1.0), std::clamp(-20 * turn, -1.0, 1.0)};
  }
  if (climb > std::abs(turn) && climb > 0.05) return {2};
  return {turn < -0.05 ? 3.0 : turn > 0.05 ? 1.0 : 0.0};
}

struct Moments {
  int n = 0;
  double sum = 0, squares = 0;
  void add(double x) {
    ++n;
    sum += x;
    squares += x * x;
  }
  double mean() const { return sum / n; }
  double deviation() const { return std::sqrt((squares - sum * sum / n) / (n - 1)); }
};

struct Returns {
  Moments returns, lengths;
};

Returns play(const LunarLanderConfig& config, LanderControl control, const Policy& policy, int episodes) {
  TimeLimit env(std::make_unique<LunarLander>(config, control), 1000);
  Rng rng(5, Purpose::test);
  Returns result;
  env.reset(7, {});
  for (int i = 0; i < episodes; ++i) {
    Observation s = env.reset({}, {});
    double total = 0;
    int length = 0;
    for (bool over = false; !over; ++length) {
      const StepResult r = env.step(policy(s, control, rng));
      s = r.observation;
      total += r.reward;
      over = r.terminated || r.truncated;
    }
    result.returns.add(total);
    result.lengths.add(length);
  }
  return result;
}

TEST(LunarLander, Measure) {
  const int n = 3000;
  for (const bool wind : {false, true})
    for (const LanderControl control : {LanderControl::discrete, LanderControl::continuous})
      for (const auto& [name, policy] : std::initializer_list<std::pair<const char*, Policy>>{
               {"idle", idle}, {"random", random_action}, {"heuristic", heuristic}}) {
        const Returns r = play({.wind = wind}, control, policy, n);
        fmt::print("{} {} {}: {:.3f} +- {:.3f}  length {:.3f} {:.3f}\n",
                   control == LanderControl::discrete ? "discrete" : "continuous", wind, name, r.returns.mean(),
                   r.returns.deviation(), r.lengths.mean(), r.lengths.deviation());
      }
}

}  // namespace
}  // namespace gradus::env
