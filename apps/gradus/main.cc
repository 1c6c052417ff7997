// The command line: finds the command, and turns what it throws into one line and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "apps/gradus/command.h"
#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/runtime/interrupt.h"
#include "gradus/runtime/thread.h"

namespace gradus::app {

namespace {

// A file opened later must not become stdout: a database under number 1 would be written over with our text.
void open_missing_standard_streams() {
  for (int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) == -1) ::open("/dev/null", O_RDWR);  // takes the lowest free number: this one
  }
}

std::vector<CLI::App*> all_commands(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

void add_all_commands(CLI::App& app, Work& work) {
  app.set_version_flag("--version", "gradus " GRADUS_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(32);
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
#define GRADUS_COMMAND(name) add_##name##_command(app, work);
#include "apps/gradus/commands.def"
#undef GRADUS_COMMAND
  for (CLI::App* command : all_commands(app)) command->group("Commands");
}

// "gradus bench": the command and those above it.
std::string full_name(const CLI::App& command) {
  return command.get_parent() ? full_name(*command.get_parent()) + " " + command.get_name() : command.get_name();
}

// The command that the leading words name. Throws UsageError at a word that names none.
CLI::App& find_command(CLI::App& app, std::span<char* const> words) {
  std::vector<std::string_view> known;
  for (const CLI::App* command : all_commands(app)) known.push_back(command->get_name());
  if (known.empty() || (!words.empty() && words[0][0] == '-')) return app;
  if (words.empty()) throw UsageError(fmt::format("no command is given; `{} --help` lists them", full_name(app)));
  if (std::find(known.begin(), known.end(), words[0]) == known.end()) {
    throw UsageError(fmt::format("there is no command `{0} {1}`; the nearest is `{0} {2}`, and `{0} --help` lists all",
                                 full_name(app), words[0], nearest_name(words[0], known)));
  }
  return find_command(*app.get_subcommand(words[0]), words.subspan(1));
}

// "; the nearest option is --json" for an unknown one.
std::string nearest_option(const CLI::App& command, std::string_view unknown) {
  std::vector<std::string_view> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back(name);
  }
  if (!unknown.starts_with("--") || known.empty()) return "";
  const std::string_view word = unknown.substr(2, unknown.find('=') - 2);
  return fmt::format("; the nearest option is --{}", nearest_name(word, known));
}

std::string describe(const CLI::ParseError& error, CLI::App& app, const CLI::App& command) {
  // CLI11 complains of what is missing first, but a mistyped word is often why it is missing.
  std::vector<std::string> unexpected = app.remaining(/*recurse=*/true);
  std::erase(unexpected, "--");  // it only says where the words of another command begin
  const std::string what = unexpected.empty() ? error.what()
                                              : fmt::format("unexpected argument {}{}", unexpected[0],
                                                            nearest_option(command, unexpected[0]));
  return fmt::format("{}; see `{} --help`", what, full_name(command));
}

int run(int argc, char** argv, Output& out) {
  CLI::App app("Gradus: from a policy's first step to reasoning", "gradus");
  Work work;
  add_all_commands(app, work);
  const CLI::App& command = find_command(app, std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.text(app.help());
    return kDone;
  } catch (const CLI::CallForVersion&) {
    out.text(app.version() + "\n");
    return kDone;
  } catch (const CLI::ParseError& e) {
    throw UsageError(describe(e, app, command));
  }
  return work(out);
}

int fail_with(int exit_code, std::string_view message) {
  print_error(message);
  return exit_code;
}

int run_and_report(int argc, char** argv) {
  Output out(STDOUT_FILENO);
  try {
    runtime::name_this_thread("main", 0);
    return run(argc, argv, out);
  } catch (const OutputClosed&) {
    return kDone;
  } catch (const UsageError& e) {
    return fail_with(kWrongUsage, e.what());
  } catch (const Error& e) {
    return fail_with(e.code() == ErrorCode::interrupted ? kInterrupted : kFailed, e.what());
  } catch (const std::bad_alloc&) {
    return fail_with(kFailed, "out of memory; take a smaller model or batch");
  } catch (const std::exception& e) {
    return fail_with(kFailed, e.what());
  }
}

}  // namespace

}  // namespace gradus::app

int main(int argc, char** argv) {
  gradus::app::open_missing_standard_streams();
  gradus::runtime::ignore_write_signals();
  return gradus::app::run_and_report(argc, argv);
}
