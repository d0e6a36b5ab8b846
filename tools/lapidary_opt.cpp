// lapidary-opt: text IR in, some passes by name, text IR out. What lit tests drive.
//
//   lapidary-opt file.graph --passes=fold-constants,form-groups
//   lapidary-opt file.graph --lower            (prints the program's steps and kernels)
//   lapidary-opt file.loops --kernel           (parses, verifies and prints one kernel)
//   lapidary-opt file.graph --all --lower --check-values     (and runs it before, between and after: same_values.h)
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "ir/error.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/pipeline.h"
#include "tools/same_values.h"

namespace {
using namespace lapidary;

std::string read_all(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
  } else {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error(Fault::File, "cannot be read");
    text << file.rdbuf();
  }
  return text.str();
}

void fail_on(const std::vector<std::string>& violations) {
  if (violations.empty()) return;
  std::string all = violations.front();
  for (size_t i = 1; i < violations.size(); ++i) all += "\n" + violations[i];
  throw Error(Fault::Input, all);
}

struct Arguments {
  std::string file = "-";
  std::vector<std::string> passes;
  std::string vector_width = "64", capability;
  int64_t memory_budget = 0;
  bool all = false, lower = false, kernel = false, origins = false, check_values = false;
};

// A device of the capability, "80" or "90a".
void aim_at_gpu(Target& target, const std::string& capability) {
  target.arch = Arch::Cuda;
  target.capability = std::stoi(capability);
  target.capability_only = capability.ends_with('a');
  target.vector_bytes = 16;
}

Program lowered(Module& module, const passes::Options& options) {
  if (const std::string op = passes::outside_of_groups(module); !op.empty())
    throw Error(
        Fault::Usage,
        fmt::format("--lower makes kernels of groups, and a {} is in none (see --all, --passes=form-groups)", op));
  Program program = passes::lower(module, options);
  for (const loops::Kernel& kernel : program.kernels)
    for (const std::string& violation : verify(kernel))
      throw Error(Fault::Internal,
                  fmt::format("a {} kernel is malformed: {}\n{}", kernel.family, violation, print_kernel(kernel)));
  return program;
}

int run(const Arguments& arguments) {
  std::string text = read_all(arguments.file);
  if (arguments.kernel) {
    loops::Kernel kernel = parse_kernel(text);
    fail_on(verify(kernel));
    fmt::print("{}", print_kernel(kernel));
    return 0;
  }
  std::unique_ptr<Module> module = parse_module(text);
  fail_on(verify(*module));
  passes::Options options;
  options.target.vector_bytes = std::stoi(arguments.vector_width);
  if (options.target.vector_bytes < 64) options.target.vector_registers = 16;
  options.memory_budget = arguments.memory_budget;
  if (!arguments.capability.empty()) aim_at_gpu(options.target, arguments.capability);
  std::optional<tools::SameValues> values;
  if (arguments.check_values) values.emplace(*module);
  options.after_pass = [&](const std::string& pass, double, const Module& now) {
    if (values) values->expect(now, fmt::format("after pass '{}'", pass));
  };
  if (arguments.all) passes::run_graph_passes(*module, options);
  passes::run_passes(*module, arguments.passes, options);
  if (!arguments.lower) {
    fmt::print("{}", print_module(*module, {.origins = arguments.origins}));
    return 0;
  }
  Program program = lowered(*module, options);
  if (values) values->expect(program);
  fmt::print("{}", print_program(program));
  for (const loops::Kernel& kernel : program.kernels) fmt::print("{}", print_kernel(kernel));
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs passes over Lapidary's text IR"};
  Arguments arguments;
  app.add_option("file", arguments.file, "text IR; - for standard input");
  app.add_option("--passes", arguments.passes, "passes to run, in this order")->delimiter(',')->allow_extra_args(false);
  app.add_option("--vector-bytes", arguments.vector_width, "register width lowering aims at")
      ->check(CLI::IsMember({"16", "32", "64"}));
  app.add_option("--capability", arguments.capability, "for a CUDA device of this capability")
      ->check(CLI::IsMember({"75", "80", "86", "89", "90", "90a", "100", "120"}));
  app.add_option("--memory-budget", arguments.memory_budget, "bytes that may be live at once, for pass recompute");
  app.add_flag("--all", arguments.all, "run the whole list of graph passes first");
  app.add_flag("--lower", arguments.lower, "lower to kernels and print the program");
  app.add_flag("--check-values", arguments.check_values,
               "fail where a pass or lowering changes the numbers, on seeded random inputs");
  app.add_flag("--origins", arguments.origins, "print the node each op came from");
  app.add_flag("--kernel", arguments.kernel, "the input is one kernel: parse, verify, print")
      ->excludes("--passes", "--all", "--lower", "--check-values", "--origins");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) { return app.exit(error) == 0 ? 0 : static_cast<int>(Fault::Usage); }
  try {
    return run(arguments);
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", arguments.file, error.what());
    return static_cast<int>(error.fault);
  }
}
