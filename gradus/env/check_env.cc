#include "gradus/env/check_env.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <exception>
#include <limits>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

// Thrown by a check that has seen something wrong.
struct Wrong {
  std::string what;
};

template <class... Args>
void expect(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw Wrong{fmt::format(format, std::forward<Args>(args)...)};
}

Finding passed(std::string detail) {
  return {.check = {}, .verdict = Verdict::passed, .detail = std::move(detail)};
}
Finding not_seen(std::string detail) {
  return {.check = {}, .verdict = Verdict::not_seen, .detail = std::move(detail)};
}

// Where an element is not in its space; "" if it is.
std::string outside(const Space& space, std::span<const double> x) {
  const auto size = static_cast<size_t>(size_of(space));
  if (x.size() != size)
    return fmt::format(" has {} numbers, but its space {} has {}", x.size(), to_string(space), size);
  for (size_t i = 0; i < size; ++i) {
    if (!std::isfinite(static_cast<float>(x[i]))) return fmt::format("[{}] is {}, not finite as float32", i, x[i]);
  }
  if (contains(space, x)) return "";
  const Box* box = std::get_if<Box>(&space);
  if (box == nullptr) return fmt::format(" is {}, not in {}", x[0], to_string(space));
  size_t i = 0;
  while (x[i] >= box->low[i] && x[i] <= box->high[i]) ++i;
  return fmt::format("[{}] is {}, not in [{}, {}]", i, x[i], box->low[i], box->high[i]);
}

// One environment, stepped by random actions; it remembers where it is.
class Walk {
 public:
  Walk(const EnvFactory& make, uint64_t seed)
      : env_(make()), rng_(seed, Purpose::test), action_(size(action_space())) {}

  Env& env() { return *env_; }
  const Space& action_space() const { return env_->spec().action_space; }
  bool over() const { return over_; }
  int64_t length() const { return length_; }
  std::string place() const { return fmt::format("episode {}, step {}", episode_, length_); }

  std::vector<double> reset(std::optional<uint64_t> seed = {}) {
    ++episode_;
    length_ = 0;
    const Observation o = env_->reset(seed);
    over_ = false;
    return {o.begin(), o.end()};
  }
  std::span<const double> any_action() {
    sample(action_space(), rng_, action_);
    return action_;
  }
  StepResult step() { return step(any_action()); }
  StepResult step(std::span<const double> action) {
    ++length_;
    const StepResult r = env_->step(action);
    over_ = r.terminated || r.truncated;
    return r;
  }

 private:
  static size_t size(const Space& space) { return static_cast<size_t>(size_of(space)); }
  std::unique_ptr<Env> env_;
  Rng rng_;
  std::vector<double> action_;
  int64_t episode_ = -1, length_ = 0;
  bool over_ = true;
};

void expect_equal(std::span<const double> a, std::span<const double> b, std::string_view what, const Walk& at) {
  expect(a.size() == b.size(), "{}: an observation of {} numbers, then of {}; {}", at.place(), a.size(), b.size(),
         what);
  for (size_t i = 0; i < a.size(); ++i) {
    expect(std::bit_cast<uint64_t>(a[i]) == std::bit_cast<uint64_t>(b[i]), "{}: observation[{}] is {}, then {}; {}",
           at.place(), i, a[i], b[i], what);
  }
}

void expect_equal(const StepResult& a, const StepResult& b, std::string_view what, const Walk& at) {
  expect_equal(a.observation, b.observation, what, at);
  expect(std::bit_cast<uint64_t>(a.reward) == std::bit_cast<uint64_t>(b.reward), "{}: the reward is {}, then {}; {}",
         at.place(), a.reward, b.reward, what);
  expect(a.terminated == b.terminated && a.truncated == b.truncated,
         "{}: terminated and truncated are {} and {}, then {} and {}; {}", at.place(), a.terminated, a.truncated,
         b.terminated, b.truncated, what);
}

void check_space(const Space& space, std::string_view what) {
  constexpr int64_t kExact = int64_t{1} << 24;  // whole numbers below are exact as float32
  if (const Discrete* d = std::get_if<Discrete>(&space)) {
    expect(d->n >= 1 && d->n <= kExact, "{}: n is {}, but must be 1 to {}", what, d->n, kExact);
    return;
  }
  const Box& box = std::get<Box>(space);
  expect(!box.low.empty(), "{}: a Box without numbers", what);
  expect(box.low.size() == box.high.size(), "{}: low has {} numbers, high {}", what, box.low.size(), box.high.size());
  for (size_t i = 0; i < box.low.size(); ++i) {
    expect(box.low[i] <= box.high[i], "{}: low[{}] is {}, high[{}] is {}", what, i, box.low[i], i, box.high[i]);
  }
}

Finding check_spaces(const EnvFactory& make, const CheckConfig&) {
  const auto env = make();
  check_space(env->spec().observation_space, "observation_space");
  check_space(env->spec().action_space, "action_space");
  expect(env->spec().max_episode_steps >= 0, "max_episode_steps is {}", env->spec().max_episode_steps);
  return passed(fmt::format("observations {}, actions {}", to_string(env->spec().observation_space),
                            to_string(env->spec().action_space)));
}

Finding check_reset(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed);
  constexpr int64_t kEpisodes = 20;
  for (int64_t i = 0; i < kEpisodes; ++i) {
    const auto o = walk.reset(i == 0 ? std::optional(c.seed) : std::nullopt);
    const std::string wrong = outside(walk.env().spec().observation_space, o);
    expect(wrong.empty(), "{}: the observation of reset{}", walk.place(), wrong);
  }
  return passed(fmt::format("{} episodes begun", kEpisodes));
}

Finding check_step(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed);
  int64_t ends = 0;
  for (int64_t i = 0; i < c.steps; ++i) {
    if (walk.over()) walk.reset(i == 0 ? std::optional(c.seed) : std::nullopt);
    const StepResult r = walk.step();
    const std::string wrong = outside(walk.env().spec().observation_space, r.observation);
    expect(wrong.empty(), "{}: the observation{}", walk.place(), wrong);
    expect(std::isfinite(static_cast<float>(r.reward)), "{}: the reward is {}, not finite as float32", walk.place(),
           r.reward);
    ends += walk.over();
  }
  return passed(fmt::format("{} steps, {} episodes ended", c.steps, ends));
}

using Starts = std::vector<std::vector<double>>;

Starts starts_of(Walk& walk, uint64_t seed) {
  constexpr int64_t kEpisodes = 10;
  Starts starts;
  for (int64_t i = 0; i < kEpisodes; ++i) starts.push_back(walk.reset(i == 0 ? std::optional(seed) : std::nullopt));
  return starts;
}

Finding check_seed(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed), copy(make, c.seed);
  const Starts first = starts_of(walk, c.seed);
  const Starts other = starts_of(walk, c.seed + 1);
  const Starts again = starts_of(walk, c.seed), elsewhere = starts_of(copy, c.seed);
  for (size_t i = 0; i < first.size(); ++i) {
    expect(first[i] == again[i], "seed {} twice: start {} differs", c.seed, i);
    expect(first[i] == elsewhere[i], "seed {} in two copies: start {} differs", c.seed, i);
  }
  const bool random = first != Starts(first.size(), first[0]);
  if (!random && first == other) return passed("every episode starts in the same place");
  expect(first != other, "seeds {} and {} give the same starts, though starts differ within a seed", c.seed,
         c.seed + 1);
  return passed("equal for a seed, others for another");
}

Finding check_determinism(const EnvFactory& make, const CheckConfig& c) {
  Walk a(make, c.seed), b(make, c.seed);
  // b has lived before, and its life must not matter.
  b.reset(c.seed + 7);
  for (int i = 0; i < 10 && !b.over(); ++i) b.step(std::vector<double>(a.any_action().begin(), a.any_action().end()));
  constexpr std::string_view kWhat = "two copies, same seed and actions";
  Rng rng(c.seed, Purpose::test, 1);
  std::vector<double> action(a.any_action().size());
  for (int64_t i = 0; i < c.steps; ++i) {
    if (a.over() || i == 0) {
      const auto seed = i == 0 ? std::optional(c.seed) : std::nullopt;
      expect_equal(a.reset(seed), b.reset(seed), kWhat, a);
    }
    sample(a.action_space(), rng, action);
    const StepResult x = a.step(action), y = b.step(action);
    expect_equal(x, y, kWhat, a);
  }
  return passed(fmt::format("{} steps with the same bits", c.steps));
}

Finding check_time_limit(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed);
  const int64_t limit = walk.env().spec().max_episode_steps;
  if (limit == 0) return not_seen("there is no time limit");
  int64_t longest = 0;
  for (int64_t steps = 0; steps < std::max(c.steps, 4 * limit) && longest < limit; steps += walk.length()) {
    walk.reset(steps == 0 ? std::optional(c.seed) : std::nullopt);
    bool truncated = false;
    while (!walk.over()) {
      truncated = walk.step().truncated;
      expect(walk.over() || walk.length() < limit, "{}: the episode goes on beyond max_episode_steps = {}",
             walk.place(), limit);
    }
    expect(truncated || walk.length() < limit, "{}: max_episode_steps, but not truncated", walk.place());
    longest = std::max(longest, walk.length());
  }
  if (longest < limit) return not_seen(fmt::format("random episodes ended before {} steps", limit));
  return passed(fmt::format("truncated after {} steps", limit));
}

// Steps until an episode ends; false when none does.
bool walk_to_end(Walk& walk, uint64_t seed, int64_t steps) {
  walk.reset(seed);
  for (int64_t i = 0; i < steps && !walk.over(); ++i) walk.step();
  return walk.over();
}

bool refuses(Walk& walk, std::span<const double> action) {
  try {
    walk.env().step(action);
  } catch (const Error&) {
    return true;
  }
  return false;
}

Finding check_after_end(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed);
  const int64_t steps = std::max(c.steps, walk.env().spec().max_episode_steps);
  if (!walk_to_end(walk, c.seed, steps)) return not_seen(fmt::format("no episode ended within {} steps", steps));
  const std::string place = walk.place();
  expect(refuses(walk, walk.any_action()), "{}: the episode is over, but one more step is not refused", place);
  walk.reset();
  walk.step();
  return passed(fmt::format("refused after {}", place));
}

// Actions outside the space, and how each is called.
std::vector<std::pair<std::vector<double>, std::string>> actions_outside(const Space& space) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> inside(static_cast<size_t>(size_of(space)));
  Rng rng(1, Purpose::test);
  sample(space, rng, inside);
  std::vector<std::pair<std::vector<double>, std::string>> out;
  const auto add = [&](size_t i, double value) {
    out.emplace_back(inside, fmt::format("action[{}] = {}", i, value));
    out.back().first[i] = value;
  };
  if (const Discrete* d = std::get_if<Discrete>(&space)) {
    const auto first = static_cast<double>(d->start);
    for (const double x : {first - 1, first + static_cast<double>(d->n), first + 0.5, kNan}) add(0, x);
  } else {
    const Box& box = std::get<Box>(space);
    for (size_t i = 0; i < inside.size(); ++i) {
      if (std::isfinite(box.low[i])) add(i, box.low[i] - 1);
      if (std::isfinite(box.high[i])) add(i, box.high[i] + 1);
      add(i, kNan);
    }
  }
  out.emplace_back(inside, "an action with a number too many");
  out.back().first.push_back(0);
  inside.pop_back();
  out.emplace_back(inside, "an action with a number too few");
  return out;
}

Finding check_actions(const EnvFactory& make, const CheckConfig& c) {
  Walk walk(make, c.seed);
  const auto actions = actions_outside(walk.action_space());
  walk.reset(c.seed);
  for (const auto& [action, what] : actions) {
    if (walk.over()) walk.reset();
    expect(refuses(walk, action), "{}: {} is outside {}, but is not refused", walk.place(), what,
           to_string(walk.action_space()));
    walk.step();
  }
  return passed(fmt::format("{} actions outside refused", actions.size()));
}

// A plain loop over environment `index` of a VecEnv.
struct PlainLoop {
  std::unique_ptr<Env> env;
  int64_t index = 0;
  uint64_t seed = 0, episode = 0;
  std::vector<float> observation{};
  double episode_return = 0;
  int64_t length = 0;
  bool over = false;

  void begin() {
    keep(env->reset(episode_seed(seed, index, episode++)));
    episode_return = 0;
    length = 0;
    over = false;
  }
  StepResult step(std::span<const double> action) {
    const StepResult r = env->step(action);
    keep(r.observation);
    episode_return += r.reward;
    ++length;
    over = r.terminated || r.truncated;
    return r;
  }

 private:
  void keep(Observation o) {
    const Discrete* d = std::get_if<Discrete>(&env->spec().observation_space);
    const double first = d == nullptr ? 0 : static_cast<double>(d->start);
    observation.clear();
    for (const double x : o) observation.push_back(static_cast<float>(x - first));
  }
};

std::string_view name(Autoreset mode) {
  return mode == Autoreset::same_step ? "same_step" : mode == Autoreset::next_step ? "next_step" : "disabled";
}

bool equal(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<uint32_t, float>, std::bit_cast<uint32_t, float>);
}

// What row i of a step must be, if the plain loop takes the same action.
void expect_row(PlainLoop& plain, std::span<const double> action, const VecStep& s, Autoreset mode,
                std::string_view place) {
  const auto i = static_cast<size_t>(plain.index);
  const size_t size = plain.observation.size();
  expect((s.is_reset[i] != 0) == plain.over, "{}: is_reset is {}", place, s.is_reset[i]);
  if (plain.over) {
    plain.begin();
    expect(s.rewards[i] == 0 && !s.ended(plain.index), "{}: a reset pays or ends", place);
  } else {
    const StepResult r = plain.step(action);
    expect(s.rewards[i] == r.reward, "{}: the reward is {}, in a plain loop {}", place, s.rewards[i], r.reward);
    expect((s.terminated[i] != 0) == r.terminated && (s.truncated[i] != 0) == r.truncated,
           "{}: terminated and truncated are {} and {}, in a plain loop {} and {}", place, s.terminated[i],
           s.truncated[i], r.terminated, r.truncated);
    expect(equal(s.next_observation(plain.index), plain.observation), "{}: another observation than in a plain loop",
           place);
    if (plain.over) {
      expect(s.episode_lengths[i] == plain.length && s.episode_returns[i] == plain.episode_return,
             "{}: an episode of {} steps and return {}, in a plain loop {} and {}", place, s.episode_lengths[i],
             s.episode_returns[i], plain.length, plain.episode_return);
      if (mode == Autoreset::same_step) plain.begin();
    }
  }
  expect(equal(s.observations.subspan(i * size, size), plain.observation),
         "{}: another observation to act on than in a plain loop", place);
}

// A random action of each environment, as they take it and as VecEnv does.
struct Actions {
  std::vector<std::vector<double>> plain;
  std::vector<float> vec;
};

Actions draw(const Space& space, int64_t n, Rng& rng) {
  const Discrete* d = std::get_if<Discrete>(&space);
  const double first = d == nullptr ? 0 : static_cast<double>(d->start);
  Actions a;
  std::vector<double> action(static_cast<size_t>(size_of(space)));
  for (int64_t i = 0; i < n; ++i) {
    sample(space, rng, action);
    for (double& x : action) {
      const auto rounded = static_cast<float>(x - first);
      a.vec.push_back(rounded);
      x = first + static_cast<double>(rounded);
    }
    a.plain.push_back(action);
  }
  return a;
}

Finding check_autoreset(const EnvFactory& make, const CheckConfig& c) {
  constexpr int64_t kEnvs = 3;
  int64_t ends = 0;
  for (const Autoreset mode : {Autoreset::same_step, Autoreset::next_step, Autoreset::disabled}) {
    const auto envs = make_vec_env(make, {.num_envs = kEnvs, .num_threads = 2, .autoreset = mode});
    std::vector<PlainLoop> plain;
    envs->reset(c.seed);
    for (int64_t i = 0; i < kEnvs; ++i) {
      plain.push_back({.env = make(), .index = i, .seed = c.seed});
      plain.back().begin();
    }
    Rng rng(c.seed, Purpose::test, 2);
    const int64_t n_steps = std::max(c.steps / kEnvs, envs->spec().max_episode_steps + 1);
    for (int64_t step = 0; step < n_steps; ++step) {
      const Actions actions = draw(envs->spec().action_space, kEnvs, rng);
      const VecStep s = envs->step(actions.vec);
      std::vector<uint8_t> mask;
      for (int64_t i = 0; i < kEnvs; ++i) {
        const auto k = static_cast<size_t>(i);
        expect_row(plain[k], actions.plain[k], s, mode,
                   fmt::format("{}, environment {}, step {} of all", name(mode), i, step + 1));
        mask.push_back(s.ended(i));
        ends += s.ended(i);
      }
      if (mode != Autoreset::disabled) continue;
      envs->reset_where(mask);
      for (PlainLoop& p : plain) {
        if (p.over) p.begin();
      }
    }
  }
  if (ends == 0) return not_seen("the same bits as plain loops, but no episode ended");
  return passed(fmt::format("the same bits as plain loops, {} ends in three modes", ends));
}

Finding check_resume(const EnvFactory& make, const CheckConfig& c) {
  constexpr int64_t kEnvs = 2;
  const VecConfig config{.num_envs = kEnvs};
  const auto whole = make_vec_env(make, config), resumed = make_vec_env(make, config);
  Rng rng(c.seed, Purpose::test, 3);
  const int64_t before = 1 + rng.below(std::max<int64_t>(c.steps / 2, 1)), after = c.steps / 2;
  whole->reset(c.seed);
  for (int64_t i = 0; i < before; ++i) whole->step(draw(whole->spec().action_space, kEnvs, rng).vec);
  resumed->restore(whole->state());
  for (int64_t i = 0; i < after; ++i) {
    const std::vector<float> actions = draw(whole->spec().action_space, kEnvs, rng).vec;
    const VecStep a = whole->step(actions), b = resumed->step(actions);
    expect(equal(a.observations, b.observations) && std::ranges::equal(a.rewards, b.rewards) &&
               std::ranges::equal(a.terminated, b.terminated) && std::ranges::equal(a.truncated, b.truncated),
           "step {} after the replay of {} steps differs", i + 1, before);
  }
  return passed(fmt::format("replayed after {} steps, the same bits for {} more", before, after));
}

}  // namespace

std::string_view name(Verdict verdict) {
  return verdict == Verdict::passed ? "passed" : verdict == Verdict::failed ? "failed" : "not_seen";
}

bool check_env(const EnvFactory& make, const CheckConfig& config,
               const std::function<void(const Finding&)>& on_finding) {
  require(config.steps >= 1, "check_env: {} steps; at least 1 is needed", config.steps);
  make();
  struct Check {
    std::string_view name;
    Finding (*run)(const EnvFactory&, const CheckConfig&);
  };
  bool all_well = true;
  for (const Check& check : {Check{"spaces", check_spaces},
                             {"reset", check_reset},
                             {"step", check_step},
                             {"seed", check_seed},
                             {"determinism", check_determinism},
                             {"time limit", check_time_limit},
                             {"after end", check_after_end},
                             {"actions", check_actions},
                             {"autoreset", check_autoreset},
                             {"resume", check_resume}}) {
    Finding finding;
    try {
      finding = check.run(make, config);
    } catch (const Wrong& wrong) {
      finding = {.check = {}, .verdict = Verdict::failed, .detail = wrong.what};
    } catch (const std::exception& e) {
      finding = {.check = {}, .verdict = Verdict::failed, .detail = fmt::format("it threw: {}", e.what())};
    }
    finding.check = check.name;
    on_finding(finding);
    if (finding.verdict != Verdict::failed) continue;
    all_well = false;
    if (check.name == "spaces") return false;
  }
  return all_well;
}

}  // namespace gradus::env
