#include "gradus/env/vec_env.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>

#include <limits>

#include "gradus/env/catalogue.h"
#include "tests/core/expect_error.h"
#include "tests/env/random_ends_env.h"

namespace gradus::env {
namespace {

using Envs = std::unique_ptr<VecEnv>;
using ::testing::Each;

constexpr Autoreset kModes[] = {Autoreset::same_step, Autoreset::next_step, Autoreset::disabled};

Envs random_ends(const VecConfig& config) {
  return make_vec_env([] { return std::make_unique<RandomEndsEnv>(); }, config);
}

VecConfig any_config(Autoreset mode) {
  const int64_t batch_size = *rc::gen::inRange(1, 6), num_batches = *rc::gen::inRange(1, 5);
  return {.num_envs = batch_size * num_batches,
          .batch_size = batch_size,
          .num_threads = *rc::gen::inRange(1, 4),
          .autoreset = mode,
          .first_env = *rc::gen::inRange(0, 3)};
}

std::vector<float> any_actions(int64_t n, Rng& rng) {
  std::vector<float> actions(static_cast<size_t>(n));
  for (float& a : actions) a = static_cast<float>(rng.below(3));
  return actions;
}

std::vector<uint8_t> ended_rows(const VecStep& s) {
  std::vector<uint8_t> mask;
  for (int64_t i = 0; i < s.size(); ++i) mask.push_back(s.ended(i));
  return mask;
}

template <class T>
std::vector<T> copy(std::span<const T> s) {
  return {s.begin(), s.end()};
}

// What a plain loop over one environment sees.
class Plain {
 public:
  Plain(uint64_t seed, int64_t index) : seed_(seed), index_(index) { begin(); }

  void begin() {
    const Observation o = env_.reset(episode_seed(seed_, index_, episode_++), {});
    observation = {static_cast<float>(o[0]), static_cast<float>(o[1])};
    episode_return = 0;
    length = 0;
  }
  StepResult step(float action) {
    const double a = action - 1;  // the space starts at -1
    const StepResult r = env_.step({&a, 1});
    observation = {static_cast<float>(r.observation[0]), static_cast<float>(r.observation[1])};
    episode_return += r.reward;
    ++length;
    return r;
  }

  std::vector<float> observation;
  double episode_return = 0;
  int64_t length = 0;

 private:
  uint64_t seed_;
  int64_t index_;
  uint64_t episode_ = 0;
  RandomEndsEnv env_;
};

// One row of a step against the plain loop; `over`: the plain environment has ended and not begun again.
void expect_plain_step(Plain& plain, bool& over, float action, const VecStep& s, int64_t row, Autoreset mode) {
  const auto i = static_cast<size_t>(row);
  const auto observation = copy(s.observations.subspan(2 * i, 2));
  if (over) {  // next_step
    plain.begin();
    over = false;
    EXPECT_TRUE(s.is_reset[i]);
    EXPECT_EQ(observation, plain.observation);
    EXPECT_EQ(s.rewards[i], 0);
    EXPECT_FALSE(s.ended(row));
    return;
  }
  const StepResult r = plain.step(action);
  EXPECT_FALSE(s.is_reset[i]);
  EXPECT_EQ(s.rewards[i], r.reward);
  EXPECT_EQ(s.terminated[i], r.terminated);
  EXPECT_EQ(s.truncated[i], r.truncated);
  EXPECT_EQ(copy(s.next_observation(row)), plain.observation);
  over = r.terminated || r.truncated;
  if (over) {
    EXPECT_EQ(copy(s.final_observations.subspan(2 * i, 2)), plain.observation);
    EXPECT_EQ(s.episode_returns[i], plain.episode_return);
    EXPECT_EQ(s.episode_lengths[i], plain.length);
    if (mode == Autoreset::same_step) {
      plain.begin();
      over = false;
    }
  }
  EXPECT_EQ(observation, plain.observation);
}

TEST(VecEnv, EveryRowIsThatOfAPlainEnvironmentInEveryModeOnAnyThreads) {
  for (const Autoreset mode : kModes) {
    RC_ASSERT(rc::check("step", [mode](uint64_t seed) {
      const Envs envs = random_ends(any_config(mode));
      std::vector<Plain> plain;
      const std::vector<float> first = copy(envs->reset(seed));
      for (int64_t i = 0; i < envs->num_envs(); ++i) {
        plain.emplace_back(seed, envs->config().first_env + i);
        const auto k = static_cast<ptrdiff_t>(2 * i);
        EXPECT_EQ((std::vector<float>{first.begin() + k, first.begin() + k + 2}), plain.back().observation);
      }
      Rng rng(seed, Purpose::test);
      std::vector<char> over(plain.size());
      for (int step = 0; step < 20; ++step) {
        const std::vector<float> actions = any_actions(envs->num_envs(), rng);
        const VecStep s = envs->step(actions);
        for (size_t i = 0; i < plain.size(); ++i) {
          bool is_over = over[i] != 0;
          expect_plain_step(plain[i], is_over, actions[i], s, static_cast<int64_t>(i), mode);
          over[i] = is_over;
        }
        if (mode != Autoreset::disabled) continue;
        envs->reset_where(ended_rows(s));
        for (size_t i = 0; i < plain.size(); ++i) {
          if (std::exchange(over[i], false)) plain[i].begin();
        }
      }
      RC_ASSERT(!::testing::Test::HasFailure());
    }));
  }
}

TEST(VecEnv, SentBatchesComeBackInOrderWithTheResultsOfStep) {
  RC_ASSERT(rc::check("send, recv", [](uint64_t seed) {
    const Envs a = random_ends(any_config(Autoreset::same_step));
    VecConfig whole = a->config();
    whole.batch_size = 0;
    const Envs b = random_ends(whole);
    a->reset(seed);
    b->reset(seed);
    Rng rng(seed, Purpose::test);
    for (int step = 0; step < 10; ++step) {
      const std::vector<float> actions = any_actions(b->num_envs(), rng);
      const VecStep all = b->step(actions);
      const auto size = static_cast<size_t>(a->batch_size());
      // As many under way as there are, or one at a time.
      const int64_t under_way = step % 2 == 0 ? a->num_batches() : 1;
      for (int64_t sent = 0, received = 0; received < a->num_batches(); ++received) {
        for (; sent < a->num_batches() && sent < received + under_way; ++sent) {
          a->send(std::span(actions).subspan(static_cast<size_t>(sent) * size, size));
        }
        const VecStep s = a->recv();
        RC_ASSERT(s.first == received * a->batch_size());
        const auto first = static_cast<size_t>(s.first);
        RC_ASSERT(copy(s.rewards) == copy(all.rewards.subspan(first, size)));
        RC_ASSERT(copy(s.observations) == copy(all.observations.subspan(2 * first, 2 * size)));
        RC_ASSERT(copy(s.terminated) == copy(all.terminated.subspan(first, size)));
      }
    }
  }));
}

TEST(VecEnv, ARestoredOneGoesOnWithTheSameBits) {
  for (const Autoreset mode : {Autoreset::same_step, Autoreset::next_step}) {
    RC_ASSERT(rc::check("state, restore", [mode](uint64_t seed) {
      VecConfig config = any_config(mode);
      const Envs whole = random_ends(config);
      config.num_threads = *rc::gen::inRange(1, 4);
      const Envs resumed = random_ends(config);
      whole->reset(seed);
      Rng rng(seed, Purpose::test);
      const int before = *rc::gen::inRange(0, 30);
      for (int i = 0; i < before; ++i) whole->step(any_actions(whole->num_envs(), rng));
      const VecState state = whole->state();
      resumed->restore(state);
      RC_ASSERT(resumed->state() == state);
      for (int i = 0; i < 20; ++i) {
        const std::vector<float> actions = any_actions(whole->num_envs(), rng);
        const VecStep a = whole->step(actions), b = resumed->step(actions);
        RC_ASSERT(copy(a.observations) == copy(b.observations));
        RC_ASSERT(copy(a.rewards) == copy(b.rewards));
        RC_ASSERT(copy(a.is_reset) == copy(b.is_reset));
        for (int64_t row = 0; row < a.size(); ++row) {
          if (!a.ended(row)) continue;
          const auto k = static_cast<size_t>(row);
          RC_ASSERT(a.episode_returns[k] == b.episode_returns[k]);
          RC_ASSERT(a.episode_lengths[k] == b.episode_lengths[k]);
        }
      }
      RC_ASSERT(whole->state() == resumed->state());
    }));
  }
}

TEST(VecEnv, TheTurnOfBatchesIsPartOfTheState) {
  const Envs a = random_ends({.num_envs = 3, .batch_size = 1, .num_threads = 2});
  const Envs b = random_ends({.num_envs = 3, .batch_size = 1});
  a->reset(4);
  a->send(std::vector<float>{1});
  a->recv();
  b->restore(a->state());
  b->send(std::vector<float>{1});
  EXPECT_EQ(b->recv().first, 1);
}

TEST(VecEnv, ResetGoesOnToTheNextEpisodeAndASeedBeginsAnew) {
  const Envs envs = random_ends({.num_envs = 4});
  const std::vector<float> first = copy(envs->reset(7)), second = copy(envs->reset());
  EXPECT_NE(first, second);
  EXPECT_EQ(copy(envs->reset(7)), first);
  EXPECT_EQ(copy(envs->reset()), second);
}

TEST(VecEnv, EnvironmentsOfOneSeedDiffer) {
  const Envs envs = random_ends({.num_envs = 2});
  const auto first = envs->reset(7);
  EXPECT_NE(first[0], first[2]);
}

TEST(VecEnv, AResetWithBatchesUnderWayDropsThem) {
  const Envs envs = random_ends({.num_envs = 4, .batch_size = 2, .num_threads = 2});
  const std::vector<float> first = copy(envs->reset(7));
  envs->send(std::vector<float>{0, 1});
  EXPECT_EQ(copy(envs->reset(7)), first);
  envs->send(std::vector<float>{0, 1});
  EXPECT_EQ(envs->recv().first, 0);
}

TEST(VecEnv, StepsTheCatalogueOnOneAndThreeThreadsAlike) {
  for (const NamedEnvironment& e : environments()) {
    EnvConfig c;
    c.name = e.name;
    const auto make = [&] { return make_env(c); };
    const Envs one = make_vec_env(make, {.num_envs = 6}), three = make_vec_env(make, {.num_envs = 6, .num_threads = 3});
    EXPECT_EQ(copy(one->reset(3)), copy(three->reset(3))) << e.name;
    const std::vector<float> actions(static_cast<size_t>(6 * one->action_size()), 0);
    for (int i = 0; i < 50; ++i) {
      const VecStep a = one->step(actions), b = three->step(actions);
      ASSERT_EQ(copy(a.observations), copy(b.observations)) << e.name;
      ASSERT_EQ(copy(a.rewards), copy(b.rewards)) << e.name;
    }
  }
}

// Hands its actions back, and ends nothing.
class Echo : public RandomEndsEnv {
 public:
  explicit Echo(const Space& actions) {
    spec_.action_space = actions;
    spec_.observation_space = Box{.low = {-kAnything}, .high = {kAnything}};
  }
  Observation reset(std::optional<uint64_t>, const Options&) override { return {observation_.data(), 1}; }
  StepResult step(std::span<const double> action) override {
    observation_[0] = action[0];
    return {.observation = {observation_.data(), 1}, .reward = action[0]};
  }
};

TEST(VecEnv, ABoundRoundedToFloatIsTheBound) {
  const Space space = Box{.low = {-0.1}, .high = {0.1}};  // as floats, both are outside
  const Envs envs = make_vec_env([&] { return std::make_unique<Echo>(space); }, {.num_envs = 3});
  envs->reset();
  const VecStep s = envs->step(std::vector<float>{0.1F, -0.1F, 0.05F});
  EXPECT_EQ(copy(s.rewards), (std::vector<double>{0.1, -0.1, 0.05F}));
}

// Fails in its fourth step, as told.
class Broken : public RandomEndsEnv {
 public:
  enum class How { observation_nan, observation_infinite, reward_nan, reward_infinite, observation_short, throws };
  explicit Broken(How how) : how_(how) {}
  Observation reset(std::optional<uint64_t>, const Options&) override { return observation_; }
  StepResult step(std::span<const double>) override {
    StepResult r{.observation = observation_, .reward = 1};
    if (++steps_ < 4) return r;
    if (how_ == How::observation_nan) observation_[1] = std::numeric_limits<double>::quiet_NaN();
    if (how_ == How::observation_infinite) observation_[0] = 1e300;  // as a float
    if (how_ == How::reward_nan) r.reward = std::numeric_limits<double>::quiet_NaN();
    if (how_ == How::reward_infinite) r.reward = -1e300;
    if (how_ == How::observation_short) r.observation = r.observation.first(1);
    if (how_ == How::throws) fail(ErrorCode::io, "the screen is black");
    return r;
  }

 private:
  How how_;
  int steps_ = 0;
};

// The third of five is broken, and the fifth, too.
Envs with_broken(Broken::How how, int num_threads) {
  const auto make = [n = 0, how]() mutable -> std::unique_ptr<Env> {
    ++n;
    if (n == 3 || n == 5) return std::make_unique<Broken>(how);
    return std::make_unique<RandomEndsEnv>();
  };
  return make_vec_env(make, {.num_envs = 5, .num_threads = num_threads});
}

TEST(VecEnv, WhatIsNotFiniteOrOfAnotherSizeIsAnErrorWithItsPlace) {
  using enum Broken::How;
  const std::vector<float> stay(5, 1);
  for (const int threads : {1, 3}) {
    const auto fails = [&](Broken::How how) {
      const Envs envs = with_broken(how, threads);
      envs->reset(1);
      for (int i = 0; i < 3; ++i) envs->step(stay);
      envs->step(stay);
    };
    EXPECT_GRADUS_ERROR(fails(observation_nan), diverged, "environment 2, episode 0, step 4: observation[1] is nan");
    EXPECT_GRADUS_ERROR(fails(observation_infinite), diverged,
                        "environment 2, episode 0, step 4: observation[0] is 1e+300");
    EXPECT_GRADUS_ERROR(fails(reward_nan), diverged, "environment 2, episode 0, step 4: reward is nan");
    EXPECT_GRADUS_ERROR(fails(reward_infinite), diverged, "environment 2, episode 0, step 4: reward is -1e+300");
    EXPECT_GRADUS_ERROR(fails(observation_short), invalid_argument,
                        "environment 2, episode 0, step 4: the observation has 1 numbers, but its space has 2");
    EXPECT_GRADUS_ERROR(fails(throws), io, "environment 2, episode 0, step 4: the screen is black");
  }
}

TEST(VecEnv, NothingGoesOnAfterAnErrorButAReset) {
  const Envs envs = with_broken(Broken::How::throws, 2);
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>(5, 1)), invalid_argument, "step: reset first");
  envs->reset(1);
  for (int i = 0; i < 3; ++i) envs->step(std::vector<float>(5, 1));
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>(5, 1)), io, "environment 2");
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>(5, 1)), invalid_argument, "step: reset first");
  EXPECT_GRADUS_ERROR(envs->state(), invalid_argument, "state: reset first");
  envs->reset(1);
  EXPECT_NO_THROW(envs->state());
}

TEST(VecEnv, WithoutAutoresetAnEndedEnvironmentIsNotStepped) {
  const Envs envs = make_vec_env([] { return std::make_unique<TimeLimit>(std::make_unique<RandomEndsEnv>(), 1); },
                                 {.num_envs = 2, .autoreset = Autoreset::disabled});
  envs->reset();
  EXPECT_THAT(envs->step(std::vector<float>{1, 1}).truncated, Each(1));
  envs->reset_where(std::vector<uint8_t>{1, 0});
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>{1, 1}), invalid_argument,
                      "environment 1, episode 0, step 1: step: the episode is over; reset_where first");
}

TEST(VecEnv, AnActionOutsideIsRefusedWithItsPlace) {
  const Envs envs = random_ends({.num_envs = 2});
  envs->reset();
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>{0, 3}), invalid_argument, "environment 1, episode 0, step 1: ");
}

TEST(VecEnv, RefusesToRestoreWhatDoesNotLeadToTheSamePlace) {
  const Envs envs = random_ends({.num_envs = 3});
  envs->reset(5);
  VecState state = envs->state();
  state.observations[3] += 1;
  EXPECT_GRADUS_ERROR(envs->restore(state), corrupt, "restore: environment 1 did not come to where it was");
  state = {};
  EXPECT_GRADUS_ERROR(envs->restore(state), invalid_argument, "restore: the state is of 0 environments");
}

TEST(VecEnv, RefusesCallsOutOfTurn) {
  const Envs envs = random_ends({.num_envs = 2, .batch_size = 1, .resumable = false});
  envs->reset();
  EXPECT_GRADUS_ERROR(envs->recv(), invalid_argument, "recv: no batch is under way");
  EXPECT_GRADUS_ERROR(envs->send(std::vector<float>(2)), invalid_argument, "send: there are 2 numbers");
  EXPECT_GRADUS_ERROR(envs->state(), invalid_argument, "resumable");
  envs->send(std::vector<float>{1});
  EXPECT_GRADUS_ERROR(envs->step(std::vector<float>(2)), invalid_argument, "step: 1 batches are under way");
  envs->send(std::vector<float>{1});
  EXPECT_GRADUS_ERROR(envs->send(std::vector<float>{1}), invalid_argument, "send: all 2 batches are under way");
}

TEST(VecEnv, RefusesABadConfig) {
  EXPECT_GRADUS_ERROR(random_ends({.num_envs = 0}), invalid_argument, "num_envs is 0");
  EXPECT_GRADUS_ERROR(random_ends({.num_envs = 4, .batch_size = 3}), invalid_argument, "batch_size is 3");
  EXPECT_GRADUS_ERROR(random_ends({.num_threads = 0}), invalid_argument, "0 threads");
  const auto mixed = [n = 0]() mutable -> std::unique_ptr<Env> { return std::make_unique<Echo>(Discrete{.n = ++n}); };
  EXPECT_GRADUS_ERROR(make_vec_env(mixed, {.num_envs = 2}), invalid_argument, "environment 1 has other spaces");
}

}  // namespace
}  // namespace gradus::env
