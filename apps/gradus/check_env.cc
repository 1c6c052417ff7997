// gradus check-env ENV [key=value ...] [--json]: whether an environment keeps the rules that learners rely on.
#include "gradus/env/check_env.h"

#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/env/catalogue.h"
#include "gradus/run/config.h"

namespace gradus::app {

namespace {

struct CheckEnvOptions {
  std::string name;
  std::vector<std::string> overrides;
  env::CheckConfig check;
  bool json = false;
};

void declare(CLI::App& command, CheckEnvOptions& o) {
  command.add_option("ENV", o.name, "an environment (`gradus list envs`), or the path of a program of your own")
      ->required();
  command.add_option("key=value", o.overrides, "settings of the environment: max_episode_steps=50");
  command.add_option("--steps", o.check.steps, "random steps of each check")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--seed", o.check.seed, "of environment and actions")->capture_default_str();
  command.add_flag("--json", o.json, "one JSON object per check");
}

std::string_view to_word(env::Verdict verdict) {
  return verdict == env::Verdict::passed ? "ok" : verdict == env::Verdict::failed ? "WRONG" : "-";
}

int check_env(const CheckEnvOptions& o, Output& out) {
  env::EnvConfig config;
  config.name = o.name;
  config = or_usage_error([&] { return run::read_config({}, o.overrides, config); });
  or_usage_error([&] { return env::make_env(config); });
  int64_t n_wrong = 0;
  const auto show = [&](const env::Finding& f) {
    n_wrong += f.verdict == env::Verdict::failed;
    if (o.json) return out.json_line({{"check", f.check}, {"verdict", name(f.verdict)}, {"detail", f.detail}});
    out.text(fmt::format("{:<5}  {:<11}  {}\n", to_word(f.verdict), f.check, f.detail));
  };
  if (env::check_env([&] { return env::make_env(config); }, o.check, show)) return kDone;
  print_error(fmt::format("check-env: {}: {}; see above", o.name,
                          n_wrong == 1 ? "one check fails" : fmt::format("{} checks fail", n_wrong)));
  return kFailed;
}

}  // namespace

void add_check_env_command(CLI::App& app, Work& work) {
  add_command(app, work, "check-env", "Check whether an environment keeps the rules that learners rely on", declare,
              check_env);
}

}  // namespace gradus::app
