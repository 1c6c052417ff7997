#include "gradus/env/program_env.h"

#include <unistd.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::env {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kHello =
    R"(first {"observation_space": SPACE, "action_space": SPACE, "max_episode_steps": N, "reward_threshold": X}, the )"
    R"(last two as you like, where SPACE is {"n": N, "start": N} or {"low": [X, ...], "high": [X, ...]})";
constexpr std::string_view kReset = R"({"observation": [X, ...]} for a reset)";
constexpr std::string_view kStep =
    R"({"observation": [X, ...], "reward": X, "terminated": true or false, "truncated": true or false} for a step)";

// What is wrong with an answer; its place and what it must be are told by who asked.
struct BadAnswer {
  std::string what;
};

template <class... Args>
void expect(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw BadAnswer{fmt::format(format, std::forward<Args>(args)...)};
}

void expect_keys(const Json& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    expect(std::ranges::find(known, key) != known.end(), "the key {} is not known", quote_text(key));
  }
}

const Json& member(const Json& object, const char* key) {
  expect(object.contains(key), "it has no '{}'", key);
  return object.at(key);
}

double number(const Json& value, std::string_view what) {
  expect(value.is_number(), "{} is not a number", what);
  return value.get<double>();
}

bool boolean(const Json& value, std::string_view what) {
  expect(value.is_boolean(), "{} is not true or false", what);
  return value.get<bool>();
}

int64_t whole(const Json& value, std::string_view what, int64_t least) {
  expect(value.is_number_integer() && value.get<int64_t>() >= least, "{} is not a whole number of at least {}", what,
         least);
  return value.get<int64_t>();
}

// Numbers; null is no bound.
std::vector<double> bounds(const Json& list, std::string_view what, double none) {
  expect(list.is_array() && !list.empty(), "{} is not a list of numbers", what);
  std::vector<double> out;
  for (const Json& x : list) out.push_back(x.is_null() ? none : number(x, what));
  return out;
}

Space to_space(const Json& value, std::string_view what) {
  expect(value.is_object(), "{} is not an object", what);
  if (value.contains("n")) {
    expect_keys(value, {"n", "start"});
    const int64_t start =
        value.contains("start") ? whole(value["start"], "start", std::numeric_limits<int32_t>::min()) : 0;
    return Discrete{.n = whole(value["n"], "n", 1), .start = start};
  }
  expect_keys(value, {"low", "high"});
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Box box{.low = bounds(member(value, "low"), "low", -kInfinity),
          .high = bounds(member(value, "high"), "high", kInfinity)};
  expect(box.low.size() == box.high.size(), "{} has {} numbers in low, but {} in high", what, box.low.size(),
         box.high.size());
  return box;
}

void read_observation(const Json& value, const Space& space, std::vector<double>& out) {
  if (std::holds_alternative<Discrete>(space) && value.is_number()) {
    out[0] = value.get<double>();
    return;
  }
  expect(value.is_array(), "observation is not a list of numbers");
  expect(value.size() == out.size(), "observation has {} numbers, but its space has {}", value.size(), out.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = number(value[i], fmt::format("observation[{}]", i));
}

EnvSpec to_spec(const Json& hello, const std::string& program) {
  expect_keys(hello, {"observation_space", "action_space", "max_episode_steps", "reward_threshold"});
  EnvSpec spec{.id = program,
               .observation_space = to_space(member(hello, "observation_space"), "observation_space"),
               .action_space = to_space(member(hello, "action_space"), "action_space")};
  if (hello.contains("reward_threshold")) spec.reward_threshold = number(hello["reward_threshold"], "reward_threshold");
  return spec;
}

std::vector<std::string> command(const std::string& program) {
  const bool runs_alone = ::access(program.c_str(), X_OK) == 0;
  if (!runs_alone && program.ends_with(".py") && ::access(program.c_str(), R_OK) == 0) return {"python3", program};
  // A plain file name means the file here, not a program of that name on PATH.
  return {program.find('/') == program.npos ? "./" + program : program};
}

}  // namespace

bool names_program(std::string_view name) {
  return name.find('/') != name.npos || name.ends_with(".py");
}

ProgramEnv::ProgramEnv(std::string program, const ProgramEnvConfig& config) : program_(std::move(program)) {
  require(config.timeout_s > 0 && config.timeout_s <= 1e6,
          "{}: program.timeout_s is {}, but must be above 0, and at most a million", program_, config.timeout_s);
  timeout_ = std::chrono::milliseconds(static_cast<int64_t>(std::ceil(1e3 * config.timeout_s)));
  read_answer(start(), kHello, [&](const Json& hello) {
    spec_ = to_spec(hello, program_);
    if (hello.contains("max_episode_steps")) {
      own_max_episode_steps_ = whole(hello["max_episode_steps"], "max_episode_steps", 0);
    }
  });
  observation_.resize(static_cast<size_t>(size_of(spec_.observation_space)));
}

// Hands the line as an object to `read`.
template <class Read>
void ProgramEnv::read_answer(std::string_view line, std::string_view must_be, Read read) {
  try {
    const Json answer = try_parse_json(line);
    expect(!answer.is_discarded(),
           "this is not JSON (NaN and Infinity are not; what you print for yourself belongs on stderr)");
    expect(answer.is_object(), "this is no object");
    read(answer);
  } catch (const BadAnswer& bad) {
    const std::string said = child_->last_words();
    child_.reset();
    fail(ErrorCode::corrupt, "environment {}: it wrote {}: {}; it must write {}{}; see docs/environments.md", program_,
         quote_text(line), bad.what, must_be, said);
  }
}

// f(), whose errors end the program and name the environment.
template <class F>
std::string ProgramEnv::talk(F f) {
  try {
    return f();
  } catch (const Error& e) {
    child_.reset();
    fail(e.code(), "environment {}: {}", program_, e.what());
  }
}

std::string ProgramEnv::start() {
  return talk([&] {
    child_ = std::make_unique<runtime::ChildProcess>(command(program_));
    return child_->read_line(std::chrono::steady_clock::now() + timeout_);
  });
}

std::string ProgramEnv::ask(const Json& request) {
  if (!child_) fail(ErrorCode::peer_lost, "environment {}: it was stopped after an error; begin again", program_);
  return talk([&] {
    const std::string line = write_json(request);
    return child_->exchange({&line, 1}, std::chrono::steady_clock::now() + timeout_).front();
  });
}

Observation ProgramEnv::reset(std::optional<uint64_t> seed, const Options& options) {
  over_ = true;
  Json request = {{"call", "reset"}};
  if (seed) request["seed"] = *seed;
  if (!options.empty()) request["options"] = options;
  read_answer(ask(request), kReset, [&](const Json& answer) {
    expect_keys(answer, {"observation", "info"});
    read_observation(member(answer, "observation"), spec_.observation_space, observation_);
  });
  over_ = false;
  return observation_;
}

StepResult ProgramEnv::step(std::span<const double> action) {
  require(!over_, "{}: step: the episode is over; reset first", program_);
  require(contains(spec_.action_space, action), "{}: step: the action is not in {}", program_,
          to_string(spec_.action_space));
  Json request = {{"call", "step"}};
  if (std::holds_alternative<Discrete>(spec_.action_space)) {
    request["action"] = static_cast<int64_t>(action[0]);
  } else {
    request["action"] = std::vector<double>(action.begin(), action.end());
  }
  over_ = true;  // unless it answers
  StepResult r;
  read_answer(ask(request), kStep, [&](const Json& answer) {
    expect_keys(answer, {"observation", "reward", "terminated", "truncated", "info"});
    read_observation(member(answer, "observation"), spec_.observation_space, observation_);
    r = {.observation = observation_,
         .reward = number(member(answer, "reward"), "reward"),
         .terminated = boolean(member(answer, "terminated"), "terminated"),
         .truncated = boolean(member(answer, "truncated"), "truncated")};
  });
  over_ = r.terminated || r.truncated;
  return r;
}

}  // namespace gradus::env
