// Prediction: mean estimation (Zhao, chapters 5 and 6), the random walks of Sutton & Barto (Figs. 6.2 and 7.2).
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>

#include "bench/textbook.h"
#include "bench/textbook_trials.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/random_walk.h"
#include "gradus/rl/mean_estimation.h"

namespace gradus::bench {

namespace {

using rl::MeanOfSeeds;
using rl::Trial;

// Fig. 5.2: 200 flips of +-1. Fig. 6.5: points of a square of side 20, steps 1 / k. In both Var(mean) = sigma^2 / n.
void mean_estimation(const TextbookSink& sink) {
  constexpr int kRuns = 20000;
  const std::array coin = {1.0, -1.0};
  const std::array fair = {0.5, 0.5};
  sink({"Zhao 5.2", "the mean of fair flips of +-1", "expectation, from the model", 0, rl::expectation(coin, fair),
        1e-15});
  const auto mean_square = [&](int n, double variance, auto draw) {
    double sum = 0;
    for (int run = 0; run < kRuns; ++run) {
      Rng rng(1, Purpose::test, static_cast<uint64_t>(run));
      rl::MeanEstimate w({0}, {});
      for (int k = 0; k < n; ++k) {
        const double x = draw(rng);
        w.add({&x, 1});
      }
      sum += w.value()[0] * w.value()[0];
    }
    // Of a normal mean the square has deviation sqrt(2) Var(mean).
    return std::pair(sum / kRuns, 3 * std::sqrt(2.0 / kRuns) * variance / n);
  };
  const auto [flips, flips_error] = mean_square(200, 1, [](Rng& rng) { return rng.bits32() % 2 == 0 ? 1.0 : -1.0; });
  sink({"Zhao 5.2", "the mean of fair flips of +-1", "variance of the mean of 200", 1.0 / 200, flips, flips_error});
  const double variance = 20.0 * 20 / 12;
  const auto [square, square_error] = mean_square(100, variance, [](Rng& rng) { return 20 * rng.uniform() - 10; });
  sink({"Zhao 6.5", "stochastic gradient descent to the mean of a square of side 20, steps 1 / k",
        "variance of a coordinate after 100", variance / 100, square, square_error});
}

// The error after some episodes, a mean over runs; the first number is before the first.
void random_walk_curves(const TextbookSink& sink) {
  constexpr int64_t kRuns = 500;
  const env::FiniteEnv env(env::random_walk({}), {.id = "walk"});
  const std::vector<double> exact = {1.0 / 6, 2.0 / 6, 3.0 / 6, 4.0 / 6, 5.0 / 6};
  struct Known {
    const char* algorithm;
    double alpha;
    std::array<double, 6> errors;  // after 0, 10, 25, 50, 75 and 100 episodes
  };
  constexpr std::array<int64_t, 6> kEpisodes = {0, 10, 25, 50, 75, 100};
  for (const Known& k : {Known{"td0", 0.05, {.236, .175, .110, .052, .037, .036}},
                         Known{"td0", 0.10, {.236, .129, .057, .051, .055, .056}},
                         Known{"td0", 0.15, {.236, .095, .058, .070, .071, .071}},
                         Known{"mc-prediction", 0.01, {.236, .212, .183, .144, .116, .098}}}) {
    auto trials = trials_of(env, k.algorithm, {.gamma = 1, .alpha = k.alpha, .q0 = 0.5, .visits = "every"}, kRuns);
    for (size_t i = 0; i < kEpisodes.size(); ++i) {
      rl::run_trials(trials, kEpisodes[i] - (i == 0 ? 0 : kEpisodes[i - 1]));
      std::vector<double> errors;
      for (const Trial& t : trials) errors.push_back(rms_error(t.agent().V(), exact));
      const MeanOfSeeds m = rl::mean_of_seeds(errors);
      sink({fmt::format("S&B 6.2: {}, alpha {}", k.algorithm, k.alpha), "random walk of 5 states: error, 500 runs",
            fmt::format("{} episodes", kEpisodes[i]), k.errors[i], m.mean, 5e-4 + three_standard_errors(m)});
    }
  }
}

// The error over the first 10 episodes, at the best step size of each n.
void n_step_curves(const TextbookSink& sink) {
  constexpr int64_t kRuns = 100;
  const env::FiniteEnv env(env::random_walk({.states = 19, .reward_left = -1, .reward_right = 1}), {.id = "walk"});
  std::vector<double> exact;
  for (int s = 1; s <= 19; ++s) exact.push_back(-1 + s / 10.0);
  struct Known {
    int64_t n;
    double alpha, error;
  };
  for (const Known& k :
       {Known{1, .8, .349}, Known{2, .6, .285}, Known{4, .4, .273}, Known{8, .2, .288}, Known{16, .1, .329}}) {
    auto trials = trials_of(env, "n-step-td", {.gamma = 1, .alpha = k.alpha, .n = k.n}, kRuns);
    std::vector<double> errors(trials.size(), 0.0);
    for (int episode = 0; episode < 10; ++episode) {
      rl::run_trials(trials, 1);
      for (size_t i = 0; i < trials.size(); ++i) errors[i] += rms_error(trials[i].agent().V(), exact) / 10;
    }
    const MeanOfSeeds m = rl::mean_of_seeds(errors);
    sink({"S&B 7.2", "19 states: error over the first 10 episodes, 100 runs, n-step TD",
          fmt::format("n = {}, alpha {}", k.n, k.alpha), k.error, m.mean, 5e-4 + three_standard_errors(m)});
  }
}

}  // namespace

void textbook_prediction(const TextbookOptions&, const TextbookSink& sink) {
  mean_estimation(sink);
  random_walk_curves(sink);
  n_step_curves(sink);
}

}  // namespace gradus::bench
