// The commands of `lapidary`. Each function adds its subcommand and, when it is the one given, sets `action`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "tools/driver.h"

namespace lapidary::tools {

void add_compile_command(CLI::App&, std::function<int()>& action);
void add_run_command(CLI::App&, std::function<int()>& action);
void add_train_command(CLI::App&, std::function<int()>& action);
void add_bench_command(CLI::App&, std::function<int()>& action);
void add_inspect_command(CLI::App&, std::function<int()>& action);
void add_operators_command(CLI::App&, std::function<int()>& action);

// The options every command that compiles takes.
void add_compile_options(CLI::App&, CompileOptions&);

}  // namespace lapidary::tools
