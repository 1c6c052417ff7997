#include "gradus/env/catalogue.h"

#include <set>

#include "gradus/env/finite_env.h"
#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

EnvConfig named(std::string_view name, int64_t max_episode_steps = -1) {
  EnvConfig c;
  c.name = name;
  c.max_episode_steps = max_episode_steps;
  return c;
}

// An action of each space that is always allowed.
std::vector<double> some_action(const Space& space, Rng& rng) {
  std::vector<double> action(static_cast<size_t>(size_of(space)));
  sample(space, rng, action);
  return action;
}

TEST(Catalogue, NamesAreUniqueAndEveryEntrySaysWhatItIsAndWhereFrom) {
  std::set<std::string_view> names;
  for (const NamedEnvironment& e : environments()) {
    EXPECT_TRUE(names.insert(e.name).second) << e.name;
    EXPECT_FALSE(e.description.empty()) << e.name;
    EXPECT_FALSE(e.source.empty()) << e.name;
  }
}

TEST(Catalogue, EveryEnvironmentIsMadeUnderItsName) {
  for (const NamedEnvironment& e : environments()) EXPECT_EQ(make_env(named(e.name))->spec().id, e.name);
}

TEST(Catalogue, EveryEnvironmentStaysWithinItsSpaces) {
  Rng rng(1, Purpose::test);
  for (const NamedEnvironment& e : environments()) {
    const auto env = make_env(named(e.name, 50));
    for (int episode = 0; episode < 20; ++episode) {
      ASSERT_TRUE(contains(env->spec().observation_space, env->reset())) << e.name;
      for (bool over = false; !over;) {
        const StepResult r = env->step(some_action(env->spec().action_space, rng));
        ASSERT_TRUE(contains(env->spec().observation_space, r.observation)) << e.name;
        over = r.terminated || r.truncated;
      }
    }
  }
}

TEST(Catalogue, EveryEnvironmentRepeatsItselfForASeed) {
  for (const NamedEnvironment& e : environments()) {
    const auto a = make_env(named(e.name, 30)), b = make_env(named(e.name, 30));
    Rng rng(1, Purpose::test);
    EXPECT_EQ(a->reset(11)[0], b->reset(11)[0]) << e.name;
    for (bool over = false; !over;) {
      const std::vector<double> action = some_action(a->spec().action_space, rng);
      const StepResult x = a->step(action), y = b->step(action);
      EXPECT_EQ(x.observation[0], y.observation[0]) << e.name;
      EXPECT_EQ(x.reward, y.reward) << e.name;
      EXPECT_EQ(x.terminated, y.terminated) << e.name;
      over = x.terminated || x.truncated;
    }
  }
}

TEST(Catalogue, AnEnvironmentIsATableExactlyIfItsObservationIsOneNumberFromAList) {
  for (const NamedEnvironment& e : environments()) {
    const auto env = make_env(named(e.name));
    EXPECT_EQ(env->finite() != nullptr, std::holds_alternative<Discrete>(env->spec().observation_space)) << e.name;
  }
}

TEST(Catalogue, TimeLimitsAndThresholdsAreGymnasiums) {
  struct Registered {
    std::string_view name;
    int64_t max_episode_steps;
    std::optional<double> reward_threshold;
  };
  for (const Registered& r : {Registered{"cliff", 0, {}},
                              {"blackjack", 0, {}},
                              {"frozenlake", 100, 0.70},
                              {"taxi", 200, 8},
                              {"mountaincar", 200, -110},
                              {"mountaincar-continuous", 999, 90},
                              {"cartpole", 500, 475},
                              {"pendulum", 200, {}},
                              {"acrobot", 500, -100}}) {
    const auto env = make_env(named(r.name));
    EXPECT_EQ(env->spec().max_episode_steps, r.max_episode_steps) << r.name;
    EXPECT_EQ(env->spec().reward_threshold, r.reward_threshold) << r.name;
  }
  EnvConfig large = named("frozenlake");
  large.frozenlake.map = "8x8";
  EXPECT_EQ(make_env(large)->spec().max_episode_steps, 200);
  EXPECT_EQ(make_env(large)->spec().reward_threshold, 0.85);
}

TEST(Catalogue, TheTimeLimitOfTheSettingReplacesTheEnvironmentsOwn) {
  for (const NamedEnvironment& e : environments()) {
    EXPECT_EQ(make_env(named(e.name, 7))->spec().max_episode_steps, 7) << e.name;
    EXPECT_EQ(make_env(named(e.name, 0))->spec().max_episode_steps, 0) << e.name;
  }
}

TEST(Catalogue, SettingsReachTheEnvironment) {
  EnvConfig c = named("walk");
  c.walk.states = 19;
  EXPECT_EQ(make_env(c)->finite()->n_states(), 21);
}

TEST(Catalogue, AnUnknownNameIsRefusedWithTheNearest) {
  EXPECT_GRADUS_ERROR(make_env(named("clif")), invalid_argument,
                      "environment 'clif' is not known; did you mean 'cliff'?");
}

TEST(Catalogue, ATimeLimitBelowMinusOneIsRefused) {
  EXPECT_GRADUS_ERROR(make_env(named("cliff", -2)), invalid_argument, "max_episode_steps is -2");
}

}  // namespace
}  // namespace gradus::env
