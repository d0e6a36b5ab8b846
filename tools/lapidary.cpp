// lapidary: the command line. Each command is one file, command_NAME.cpp; see commands.h.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "ir/error.h"
#include "tools/commands.h"

namespace {
int exit_code(lapidary::Fault fault) { return static_cast<int>(fault); }
}  // namespace

int main(int argc, char** argv) {
  using namespace lapidary;
  CLI::App app{"Cuts ONNX models into native code"};
  app.set_version_flag("--version", LAPIDARY_VERSION);
  app.require_subcommand(1);
  std::function<int()> action;
  tools::add_compile_command(app, action);
  tools::add_run_command(app, action);
  tools::add_bench_command(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(Fault::Usage);
  }
  try {
    return action();
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    if (error.fault == Fault::Internal) fmt::print(stderr, "this is a bug in lapidary {}: please report it with the model\n", LAPIDARY_VERSION);
    return exit_code(error.fault);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "out of memory\n");
    return exit_code(Fault::File);
  }
}
