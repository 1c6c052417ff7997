// gradus bench env: steps a second of each environment, alone and in VecEnv.
#include <memory>

#include "bench/alternation.h"
#include "bench/bench.h"
#include "gradus/env/catalogue.h"
#include "gradus/env/vec_env.h"

namespace gradus::bench {

namespace {

constexpr int64_t kEnvs = 256, kRows = 64;

// Actions of kRows steps of kEnvs environments, drawn beforehand: only the environments are measured.
template <class T>
std::vector<T> draw_actions(const env::Space& space) {
  const auto size = static_cast<size_t>(env::size_of(space));
  const auto* d = std::get_if<env::Discrete>(&space);
  Rng rng(1, Purpose::test);
  std::vector<double> action(size);
  std::vector<T> actions;
  for (int64_t i = 0; i < kRows * kEnvs; ++i) {
    env::sample(space, rng, action);
    if (std::is_same_v<T, float> && d != nullptr) action[0] -= static_cast<double>(d->start);
    for (const double x : action) actions.push_back(static_cast<T>(x));
  }
  return actions;
}

// As many steps of one environment; ended episodes are followed by the next.
double step_alone(env::Env& env, const std::vector<double>& actions, int64_t n_steps) {
  const auto size = static_cast<size_t>(env::size_of(env.spec().action_space));
  double sum = 0;
  for (size_t i = 0; i < static_cast<size_t>(n_steps); ++i) {
    const env::StepResult r = env.step(std::span(actions).subspan(i % (kRows * kEnvs) * size, size));
    sum += r.reward;
    if (r.terminated || r.truncated) env.reset();
  }
  return sum;
}

double step_together(env::VecEnv& envs, const std::vector<float>& actions, int64_t n_calls) {
  const auto size = static_cast<size_t>(kEnvs * envs.action_size());
  double sum = 0;
  for (size_t i = 0; i < static_cast<size_t>(n_calls); ++i) {
    sum += envs.step(std::span(actions).subspan(i % kRows * size, size)).rewards[0];
  }
  return sum;
}

void env_speed(std::string_view name, const EnvOptions& options, const Sink& sink) {
  env::EnvConfig config;
  config.name = name;
  const auto make = [&] { return env::make_env(config); };
  const auto vec = [&](int threads) { return env::make_vec_env(make, {.num_envs = kEnvs, .num_threads = threads}); };
  const std::unique_ptr<env::Env> alone = make();
  const std::unique_ptr<env::VecEnv> one = vec(1), two = vec(2);
  alone->reset(1);
  one->reset(1);
  two->reset(1);
  const auto doubles = draw_actions<double>(alone->spec().action_space);
  const auto floats = draw_actions<float>(alone->spec().action_space);

  const int64_t calls = options.steps / kEnvs, steps = calls * kEnvs;
  volatile double rewards = 0;  // so that nothing is left out
  Alternation turns;
  const auto by_one = turns.add([&] { rewards = rewards + step_together(*one, floats, calls); });
  const auto by_two = turns.add([&] { rewards = rewards + step_together(*two, floats, calls); });
  const auto by_itself = turns.add([&] { rewards = rewards + step_alone(*alone, doubles, steps); });
  turns.run(options.rounds);
  const auto rate = [&](Alternation::Id id) { return static_cast<double>(steps) / turns.median_s(id); };
  sink({{"what", std::string(name)},
        {"num_envs", kEnvs},
        {"alone_steps_per_s", rate(by_itself)},
        {"vec_steps_per_s", rate(by_one)},
        {"two_threads_steps_per_s", rate(by_two)},
        {"vec_to_alone", rate(by_one) / rate(by_itself)},
        {"two_to_one", rate(by_two) / rate(by_one)}});
}

}  // namespace

void env(const EnvOptions& options, const Sink& sink) {
  if (!options.name.empty()) return env_speed(options.name, options, sink);
  for (const env::NamedEnvironment& e : env::environments()) env_speed(e.name, options, sink);
}

}  // namespace gradus::bench
