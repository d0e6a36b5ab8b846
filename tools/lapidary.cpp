// lapidary: the command line. Each command is one file, command_NAME.cpp; see commands.h.
#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>

#include "ir/error.h"
#include "tools/commands.h"

namespace lapidary {
namespace {

int exit_code(Fault fault) { return static_cast<int>(fault); }

// Not fmt::print, which throws when stderr is a full disk.
void say(const std::string& line) { std::fputs((line + "\n").c_str(), stderr); }

// Help and version are printed; wrong usage is one line, like every other message.
int answer(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  std::string command = "lapidary", what = error.what();
  for (const CLI::App* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  what[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(what[0])));
  say(fmt::format("{}: {} (see {} --help)", command, printable(what), command));
  return exit_code(Fault::Usage);
}

// The command the line starts with, when there is none of that name.
std::optional<std::string> unknown_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::string known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == argv[1]) return {};
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  return fmt::format("lapidary: there is no command '{}'; there are {}", printable(argv[1]), known);
}

// What was printed may not have arrived: a full disk shows itself only now.
void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    throw Error(Fault::File, fmt::format("standard output: {}", std::strerror(errno)));
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 20);  // large tables go back to the system when they are freed
#endif
  using namespace lapidary;
  CLI::App app{"Cuts ONNX models into native code"};
  app.set_version_flag("--version", LAPIDARY_VERSION);
  app.require_subcommand(1);
  std::function<int()> action;
  tools::add_compile_command(app, action);
  tools::add_run_command(app, action);
  tools::add_train_command(app, action);
  tools::add_bench_command(app, action);
  tools::add_inspect_command(app, action);
  tools::add_operators_command(app, action);
  if (const auto wrong = unknown_command(app, argc, argv)) {
    say(*wrong);
    return exit_code(Fault::Usage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) { return answer(app, error); }
  try {
    int code = action();
    flush_output();
    return code;
  } catch (const Error& error) {
    say(error.what());
    if (error.fault == Fault::Internal)
      say("this is a bug in lapidary " LAPIDARY_VERSION ": please report it with the model");
    return exit_code(error.fault);
  } catch (const std::bad_alloc&) {
    say("out of memory");
    return exit_code(Fault::File);
  } catch (const std::system_error& error) {  // printing to a full disk, a thread too many
    say(error.what());
    return exit_code(Fault::File);
  } catch (const std::exception& error) {
    say(fmt::format("{}: this is a bug in lapidary " LAPIDARY_VERSION ": please report it with the model",
                    error.what()));
    return exit_code(Fault::Internal);
  }
}
