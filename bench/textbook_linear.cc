// Linear value functions: Zhao's fixed points (Figs. 8.7 and 8.8) and Sutton & Barto's mountain car (Fig. 10.2).
#include <fmt/format.h>

#include <cmath>

#include "bench/textbook.h"
#include "bench/textbook_trials.h"
#include "gradus/env/grid_world.h"
#include "gradus/env/mountain_car.h"
#include "gradus/rl/coordinates.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/oracles.h"
#include "gradus/rl/linear/sarsa_linear.h"
#include "gradus/rl/linear/td_linear.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::bench {

namespace {

struct KnownFixedPoint {
  std::unique_ptr<rl::Features> features;
  std::string name;
  double fixed_point, best_fit, simulated_least, simulated_most;
};

std::vector<KnownFixedPoint> known_fixed_points(const env::Box& box) {
  std::vector<KnownFixedPoint> all;
  const auto polynomial = [&](int64_t order) { return std::make_unique<rl::Polynomial>(box, order); };
  const auto fourier = [&](int64_t q) { return std::make_unique<rl::Fourier>(box, q); };
  all.push_back({polynomial(1), "polynomial, 3", .2228, .2215, .22, .24});
  all.push_back({polynomial(2), "polynomial, 6", .1935, .1919, .20, .21});
  all.push_back({polynomial(3), "polynomial, 10", .1251, .1246, .16, .17});
  all.push_back({fourier(1), "Fourier, q = 1", .2067, .2063, .21, .22});
  all.push_back({fourier(2), "Fourier, q = 2", .1374, .1360, .14, .16});
  all.push_back({fourier(3), "Fourier, q = 3", .0973, .0925, .10, .13});
  return all;
}

// Where the mean of all TD updates leads: w <- w + alpha sum_s d(s) (r + gamma P v - v)(s) phi(s), until it stays.
std::vector<double> expected_td(const env::FiniteMdp& mdp, const rl::Table& pi, const rl::Table& phi) {
  const std::vector<double> d = rl::stationary_distribution(mdp, pi);
  const int64_t n = phi.n_actions();
  std::vector<double> w(static_cast<size_t>(n), 0.0);
  double change = 1;
  for (int64_t k = 0; k < 20'000'000 && change > 1e-13; ++k) {
    std::vector<double> V(phi.n_states(), 0.0);
    for (int64_t s = 0; s < phi.n_states(); ++s) {
      for (int64_t i = 0; i < n; ++i) V[static_cast<size_t>(s)] += phi(s, i) * w[static_cast<size_t>(i)];
    }
    const std::vector<double> target = rl::values_of(pi, rl::action_values_of(mdp, V, 0.9));
    change = 0;
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t s = 0; s < V.size(); ++s) sum += d[s] * (target[s] - V[s]) * phi(static_cast<int64_t>(s), i);
      w[static_cast<size_t>(i)] += 0.5 * sum;
      change = std::max(change, std::abs(sum));
    }
  }
  return w;
}

// The end of TD-Linear: 500 episodes of 500 steps, alpha .0005, first weights N(0, 1).
double simulated_error(const rl::Features& features, const std::shared_ptr<const env::FiniteMdp>& mdp,
                       const rl::LinearOracle& oracle, uint64_t seed) {
  Rng rng(seed, Purpose::init);
  std::vector<double> w(static_cast<size_t>(features.n()));
  for (double& x : w) x = rng.normal();
  env::FiniteEnv env(mdp, {.id = "grid", .max_episode_steps = 500});
  rl::CoordinateEnv points(env);
  rl::TdLinear<rl::Features> td(features, {.alpha = 0.0005, .gamma = 0.9}, std::move(w));
  const auto uniform = [](env::Observation, Rng& r) { return rl::Choice{.a = rl::pick(5, r)}; };
  points.reset(seed, {});
  for (int episode = 0; episode < 500; ++episode) td.episode(points, uniform, rng);
  return oracle.rmse({td.V().weights().begin(), td.V().weights().end()});
}

void td_linear(const TextbookOptions& o, const TextbookSink& sink) {
  const auto mdp = env::grid_world({});
  const rl::Table pi = rl::uniform_policy(25, 5);
  const rl::Coordinates at = rl::coordinates_of(*mdp);
  for (const KnownFixedPoint& k : known_fixed_points(at.box)) {
    const rl::Table phi = rl::feature_matrix(*k.features, at.points);
    const rl::LinearOracle oracle(*mdp, pi, phi, rl::stationary_distribution(*mdp, pi), 0.9);
    const std::string table = "Zhao 8.7, 8.8: " + k.name,
                      about = "linear values of the uniform policy: root mean square error";
    const double fixed_point = oracle.rmse(oracle.td_fixed_point());
    sink({table, about, "TD fixed point", k.fixed_point, fixed_point, 5e-5});
    sink({table, about, "best fit", k.best_fit, oracle.rmse(oracle.least_value_error()), 5e-5});
    sink({table, about, "the mean TD update, iterated", fixed_point, oracle.rmse(expected_td(*mdp, pi, phi)), 1e-6,
          "beside the closed form"});
    std::vector<double> ends;
    for (int64_t seed = 1; seed <= o.seeds; ++seed) {
      ends.push_back(simulated_error(*k.features, mdp, oracle, static_cast<uint64_t>(seed)));
    }
    const rl::MeanOfSeeds m = rl::mean_of_seeds(ends);
    // A range of single runs: the mean of ours may be out of it by three times the deviation of a run.
    const double deviation = m.standard_error * std::sqrt(static_cast<double>(o.seeds));
    sink({table, about, "TD-Linear, 500 x 500 steps", (k.simulated_least + k.simulated_most) / 2, m.mean,
          (k.simulated_most - k.simulated_least) / 2 + deviation,
          fmt::format("known as a range of single runs, {} to {}; allowed one deviation of ours more",
                      k.simulated_least, k.simulated_most)});
  }
}

// Steps per episode of Sarsa with 8 tilings of 8 x 8, eps 0, 6 runs known.
void mountain_car(const TextbookOptions& o, const TextbookSink& sink) {
  struct Known {
    double alpha;  // by 8 tilings
    double first50, to100, to500;
  };
  const env::Box box{.low = {-1.2, -0.07}, .high = {0.5, 0.07}};
  for (const Known& k : {Known{.1, 565, 212, 137}, Known{.2, 408, 167, 129}, Known{.5, 282, 142, 118}}) {
    std::vector<double> first50, to100, to500;
    for (int64_t seed = 1; seed <= std::max<int64_t>(6, o.seeds / 5); ++seed) {
      const rl::TileCoding tiles(box, 8, 8);
      rl::SarsaLinear<rl::TileCoding> sarsa(tiles, 3, {.alpha = k.alpha / 8, .gamma = 1, .eps = 0});
      env::MountainCar car;
      car.reset(static_cast<uint64_t>(seed), {});
      std::vector<double> steps;
      for (uint64_t episode = 0; episode < 500; ++episode) {
        Rng rng(static_cast<uint64_t>(seed), Purpose::sample, episode);
        steps.push_back(static_cast<double>(sarsa.episode(car, rng).length));
      }
      const auto mean = [&](size_t begin, size_t end) {
        double sum = 0;
        for (size_t i = begin; i < end; ++i) sum += steps[i];
        return sum / static_cast<double>(end - begin);
      };
      first50.push_back(mean(0, 50));
      to100.push_back(mean(90, 100));
      to500.push_back(mean(400, 500));
    }
    const auto compare = [&](const char* cell, double book, const std::vector<double>& ours) {
      const rl::MeanOfSeeds m = rl::mean_of_seeds(ours);
      sink({fmt::format("S&B 10.2: alpha {}/8", k.alpha), "mountain car: steps per episode, Sarsa with tile coding",
            cell, book, m.mean, 0.5 + three_standard_errors(m)});
    };
    compare("episodes 1 to 50", k.first50, first50);
    compare("episodes 91 to 100", k.to100, to100);
    compare("episodes 401 to 500", k.to500, to500);
  }
}

}  // namespace

void textbook_linear(const TextbookOptions& options, const TextbookSink& sink) {
  td_linear(options, sink);
  mountain_car(options, sink);
}

}  // namespace gradus::bench
