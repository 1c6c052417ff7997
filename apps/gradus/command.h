// The frame of a command. A new one is a file NAME.cc that defines add_NAME_command, and a line in commands.def:
//
//   struct PlayOptions { std::string run; };
//   void declare(CLI::App& command, PlayOptions& o) { command.add_option("run", o.run, "run folder")->required(); }
//   int play(const PlayOptions& o, Output& out) { ...; return kDone; }
//   void add_play_command(CLI::App& app, Work& work) { add_command(app, work, "play", "show an episode", declare,
//   play); }
//
// A command throws on failure: gradus::Error, UsageError. It holds no logic of its own; that is in the library.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "apps/gradus/output.h"
#include "gradus/core/error.h"

namespace gradus::app {

// Of the process. Interrupted is what a shell shows for a program ended by Ctrl-C.
enum ExitCode : int { kDone = 0, kFailed = 1, kWrongUsage = 2, kInterrupted = 130 };

// What the user typed cannot be meant; for what CLI11 cannot check by itself. Ends with kWrongUsage.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A number from `least` on, and finite.
inline CLI::Validator at_least(double least) {
  return CLI::Validator(
      [least](std::string& word) -> std::string {
        double number = 0;
        const bool ok = CLI::detail::lexical_cast(word, number) && number >= least && number <= 1e18;
        return ok ? "" : fmt::format("{} is not a number of at least {}", word, least);
      },
      "");
}

// f(), for what interprets words of the command line: an invalid_argument there is a wrong usage.
template <class F>
auto or_usage_error(F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    if (e.code() == ErrorCode::invalid_argument) throw UsageError(e.what());
    throw;
  }
}

// What the chosen command does once all options are parsed; returns the exit code.
using Work = std::function<int(Output&)>;

// Adds a command to `parent`, with its options declared once. When the user chooses it, `work` becomes run(options,
// out).
//   work  outlives the parsing of `parent`
// Returns the new command. A command with commands below it (bench) is a plain add_subcommand with
// require_subcommand(1).
template <class Options>
CLI::App* add_command(CLI::App& parent, Work& work, const std::string& name, const std::string& description,
                      void (*declare)(CLI::App&, Options&), int (*run)(const Options&, Output&)) {
  auto options = std::make_shared<Options>();
  CLI::App* command = parent.add_subcommand(name, description);
  declare(*command, *options);
  command->callback([&work, options, run] { work = [options, run](Output& out) { return run(*options, out); }; });
  return command;
}

#define GRADUS_COMMAND(name) void add_##name##_command(CLI::App& app, Work& work);
#include "apps/gradus/commands.def"
#undef GRADUS_COMMAND

}  // namespace gradus::app
