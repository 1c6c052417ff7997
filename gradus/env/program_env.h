// An environment that is a program of the user's: it writes what it is, then reads a JSON object a line and writes one
// line for each. The format that users see is docs/environments.md, an example examples/environment/my_env.py.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/runtime/child_process.h"

namespace gradus::env {

struct ProgramEnvConfig {
  double timeout_s = 60;

  template <class F>
  void fields(F& f) {
    f("timeout_s", timeout_s, "for each answer of an environment that is a program");
  }
};

// Whether an environment's name means a program: it holds a '/', or ends in ".py".
bool names_program(std::string_view name);

// One running program. An answer that fails is final: the program is stopped, and every later call fails.
class ProgramEnv final : public Env {
 public:
  // Starts it and waits for its first line. A .py file that is not executable is run by python3 from PATH.
  // Every function throws timeout at the deadline, peer_lost when the program has ended, corrupt on a bad answer, all
  // with the last words of its stderr; the constructor, too, not_found when there is no such file, invalid_argument
  // when it cannot be run, or on a timeout that is not above 0.
  ProgramEnv(std::string program, const ProgramEnvConfig& config);

  const EnvSpec& spec() const override { return spec_; }                    // without a time limit
  int64_t own_max_episode_steps() const { return own_max_episode_steps_; }  // that the program asks for; 0: none
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;  // options go to the program
  StepResult step(std::span<const double> action) override;

 private:
  template <class Read>
  void read_answer(std::string_view line, std::string_view must_be, Read read);
  template <class F>
  std::string talk(F f);
  std::string start();
  std::string ask(const nlohmann::json& request);

  std::string program_;  // as the user wrote it
  std::chrono::milliseconds timeout_;
  std::unique_ptr<runtime::ChildProcess> child_;  // null after a failure
  EnvSpec spec_;
  int64_t own_max_episode_steps_ = 0;
  std::vector<double> observation_;
  bool over_ = true;
};

}  // namespace gradus::env
