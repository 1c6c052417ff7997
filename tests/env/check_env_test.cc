#include "gradus/env/check_env.h"

#include <gmock/gmock.h>

#include <limits>
#include <map>

#include "gradus/env/catalogue.h"
#include "tests/core/expect_error.h"
#include "tests/env/random_ends_env.h"

namespace gradus::env {
namespace {

using ::testing::HasSubstr;

using Findings = std::map<std::string, Finding>;

Findings findings(const EnvFactory& make, int64_t steps = 300) {
  Findings all;
  const bool well = check_env(make, {.steps = steps}, [&](const Finding& f) { all[f.check] = f; });
  bool none_failed = true;
  for (const auto& [check, f] : all) none_failed = none_failed && f.verdict != Verdict::failed;
  EXPECT_EQ(well, none_failed);
  return all;
}

template <class E>
Findings findings() {
  return findings([] { return std::make_unique<E>(); });
}

void expect_failed(const Findings& all, const std::string& check, const std::string& part) {
  ASSERT_TRUE(all.contains(check));
  EXPECT_EQ(all.at(check).verdict, Verdict::failed);
  EXPECT_THAT(all.at(check).detail, HasSubstr(part));
}

TEST(CheckEnv, FindsNothingWrongWithASoundOne) {
  for (const auto& [check, f] : findings<RandomEndsEnv>()) EXPECT_NE(f.verdict, Verdict::failed) << check << f.detail;
}

TEST(CheckEnv, FindsNothingWrongInTheCatalogue) {
  for (const NamedEnvironment& e : environments()) {
    EnvConfig c;
    c.name = e.name;
    for (const auto& [check, f] : findings([&] { return make_env(c); })) {
      EXPECT_NE(f.verdict, Verdict::failed) << e.name << " " << check << ": " << f.detail;
    }
  }
}

TEST(CheckEnv, JudgesEndsOnlyWhereItHasSeenThem) {
  struct Endless : RandomEndsEnv {
    StepResult step(std::span<const double> action) override {
      over_ = false;
      StepResult r = RandomEndsEnv::step(action);
      r.terminated = r.truncated = false;
      return r;
    }
  };
  const Findings all = findings<Endless>();
  for (const char* check : {"time limit", "after end", "autoreset"}) {
    EXPECT_EQ(all.at(check).verdict, Verdict::not_seen) << all.at(check).detail;
  }
}

TEST(CheckEnv, SeesBoundsTheWrongWayRound) {
  struct Turned : RandomEndsEnv {
    Turned() { spec_.observation_space = Box{.low = {0, 1}, .high = {0, -1}}; }
  };
  const Findings all = findings<Turned>();
  expect_failed(all, "spaces", "observation_space: low[1] is 1, high[1] is -1");
  EXPECT_EQ(all.size(), 1u);
  struct Empty : RandomEndsEnv {
    Empty() { spec_.action_space = Discrete{.n = 0}; }
  };
  expect_failed(findings<Empty>(), "spaces", "action_space: n is 0");
}

TEST(CheckEnv, SeesAFirstObservationOfAnotherSize) {
  struct Short : RandomEndsEnv {
    Observation reset(std::optional<uint64_t> seed, const Options& options) override {
      return RandomEndsEnv::reset(seed, options).first(1);
    }
  };
  const Findings all = findings<Short>();
  expect_failed(all, "reset", "episode 0, step 0: the observation of reset has 1 numbers, but its space Box(2) has 2");
  expect_failed(all, "autoreset", "environment 0, episode 0, step 0: the observation has 1 numbers");
}

// Steps like the other, then spoils the result of an episode's third step.
template <class Spoil>
struct Spoiled : RandomEndsEnv {
  Observation reset(std::optional<uint64_t> seed, const Options& options) override {
    step_ = 0;
    return RandomEndsEnv::reset(seed, options);
  }
  StepResult step(std::span<const double> action) override {
    StepResult r = RandomEndsEnv::step(action);
    if (++step_ == 3) Spoil()(r, observation_);
    return r;
  }
  int step_ = 0;
};

struct MakeNan {
  void operator()(StepResult&, std::array<double, 2>& o) const { o[1] = std::numeric_limits<double>::quiet_NaN(); }
};
struct LeaveBox {
  void operator()(StepResult&, std::array<double, 2>& o) const { o[1] = 1.5; }
};
struct PayNan {
  void operator()(StepResult& r, std::array<double, 2>&) const { r.reward = std::numeric_limits<double>::quiet_NaN(); }
};

TEST(CheckEnv, SeesWhatIsNotFiniteOrOutsideItsSpace) {
  expect_failed(findings<Spoiled<MakeNan>>(), "step", ", step 3: the observation[1] is nan, not finite as float32");
  expect_failed(findings<Spoiled<LeaveBox>>(), "step", ", step 3: the observation[1] is 1.5, not in [0, 1]");
  expect_failed(findings<Spoiled<PayNan>>(), "step", ", step 3: the reward is nan");
}

TEST(CheckEnv, SeesASeedWithoutEffect) {
  struct Deaf : RandomEndsEnv {
    Observation reset(std::optional<uint64_t>, const Options& options) override {
      return RandomEndsEnv::reset(episode_++ % 10, options);
    }
    uint64_t episode_ = 0;
  };
  expect_failed(findings<Deaf>(), "seed", "seeds 1 and 2 give the same starts");
}

TEST(CheckEnv, SeesRandomnessBesideTheSeed) {
  struct Shared : RandomEndsEnv {  // one stream for all
    StepResult step(std::span<const double> action) override {
      static Rng rng(1, Purpose::test);
      StepResult r = RandomEndsEnv::step(action);
      r.reward = rng.uniform();
      return r;
    }
  };
  const Findings all = findings<Shared>();
  expect_failed(all, "determinism", "episode 0, step 1: the reward is ");
  expect_failed(all, "resume", "differs");
}

TEST(CheckEnv, SeesALifeThatGoesOnAfterReset) {
  struct Haunted : RandomEndsEnv {
    StepResult step(std::span<const double> action) override {
      StepResult r = RandomEndsEnv::step(action);
      r.reward += static_cast<double>(++steps_);  // never set back
      return r;
    }
    int64_t steps_ = 0;
  };
  expect_failed(findings<Haunted>(), "determinism", "two copies, same seed and actions");
}

TEST(CheckEnv, SeesATimeLimitThatIsNotKept) {
  struct Late : RandomEndsEnv {
    Late() { spec_.max_episode_steps = 2; }
  };
  expect_failed(findings<Late>(), "time limit", "step 2: ");
}

TEST(CheckEnv, SeesAStepAfterTheEnd) {
  struct Undead : RandomEndsEnv {
    StepResult step(std::span<const double> action) override {
      over_ = false;
      return RandomEndsEnv::step(action);
    }
  };
  expect_failed(findings<Undead>(), "after end", "the episode is over, but one more step is not refused");
}

TEST(CheckEnv, SeesAnActionThatOughtToBeRefused) {
  struct Meek : RandomEndsEnv {
    StepResult step(std::span<const double>) override { return RandomEndsEnv::step(std::array{0.0}); }
  };
  expect_failed(findings<Meek>(), "actions", "action[0] = -2 is outside Discrete(3, start -1), but is not refused");
}

TEST(CheckEnv, ReportsWhatTheEnvironmentThrows) {
  struct Throwing : RandomEndsEnv {
    StepResult step(std::span<const double>) override { throw std::runtime_error("no more paper"); }
  };
  expect_failed(findings<Throwing>(), "step", "it threw: no more paper");
}

TEST(CheckEnv, PassesOnWhatTheFactoryThrows) {
  const EnvFactory none = []() -> std::unique_ptr<Env> { fail(ErrorCode::not_found, "no such thing"); };
  EXPECT_GRADUS_ERROR(findings(none), not_found, "no such thing");
}

}  // namespace
}  // namespace gradus::env
