// lapidary compile model.onnx → model.so + model.h, or any earlier stage as text.
#include <fmt/format.h>

#include <cstdio>

#include "codegen/output_file.h"
#include "ir/error.h"
#include "ir/text.h"
#include "tools/commands.h"

namespace lapidary::tools {

void add_compile_options(CLI::App& command, CompileOptions& options) {
  command.add_option("model", options.model, "the .onnx file")->required();
  command.add_option("--target", options.target, "native, x86-64-v3, x86-64-v4, znver4, …")->capture_default_str();
  command.add_option("--shape", options.shapes, "fixes an input's extents: NAME=1x3x224x224")->allow_extra_args(false);
  command.add_option("--numerics", options.numerics, "how exact")
      ->check(CLI::IsMember({"strict", "default", "fast"}))
      ->capture_default_str();
  command
      .add_option("--threads", options.threads, "threads the product is tuned for and run with; 0: one for each core")
      ->check(CLI::NonNegativeNumber);
  command.add_option("-j,--jobs", options.jobs, "compile threads; 0: one for each core")->check(CLI::NonNegativeNumber);
  command.add_option("--skip-passes", options.skip_passes, "leave passes out, by name")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--dump-after", options.dump_after, "print the graph after the import, these passes, or all")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_flag("--time-passes", options.time_passes, "print what each stage took");
  command.add_flag("-q,--quiet", options.quiet, "no warnings");
}

namespace {

struct Arguments {
  CompileOptions compile;
  std::string output, emit = "so";
};

void write_text(const std::string& path, const std::string& text) {
  if (path.empty() || path == "-") {
    fmt::print("{}", text);
    return;
  }
  codegen::OutputFile file(path);
  file.write(text);
  file.keep();
}

std::string kernels_text(const Program& program) {
  std::string text;
  for (const loops::Kernel& kernel : program.kernels) text += print_kernel(kernel);
  return text;
}

std::string replace_extension(const std::string& path, const std::string& extension) {
  size_t slash = path.rfind('/'), dot = path.rfind('.');
  bool has_extension = dot != std::string::npos && (slash == std::string::npos || dot > slash);
  return (has_extension ? path.substr(0, dot) : path) + extension;
}

int run(const Arguments& arguments) {
  std::string library = arguments.output.empty() ? stem(arguments.compile.model) + ".so" : arguments.output;
  std::string header = replace_extension(library, ".h");
  if (arguments.emit == "so" && library == header)
    throw Error(Fault::Usage, fmt::format("{}: the library cannot have the header's name", printable(library)));
  if (arguments.emit == "graph") {
    write_text(arguments.output, print_module(*compile_graph(arguments.compile).module, {.origins = true}));
    return 0;
  }
  Compiled compiled = compile(arguments.compile);
  const Program& program = compiled.program;
  codegen::ArtifactOptions artifact = artifact_options(arguments.compile);
  if (arguments.emit == "program") {
    write_text(arguments.output, print_program(program));
  } else if (arguments.emit == "loops") {
    write_text(arguments.output, kernels_text(program));
  } else if (arguments.emit == "llvm") {
    write_text(arguments.output, codegen::llvm_text(program, compiled.target, artifact));
  } else if (arguments.emit == "asm") {
    write_text(arguments.output, codegen::assembly_text(program, compiled.target, artifact));
  } else {
    write(compiled, arguments.compile, codegen::c_identifier(stem(library)), library, header);
  }
  return 0;
}

}  // namespace

void add_compile_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("compile", "Compiles a model into a library with a C header");
  auto arguments = std::make_shared<Arguments>();
  add_compile_options(*command, arguments->compile);
  command->add_option("-o,--output", arguments->output, "where to write; default: the model's name with .so, here");
  command->add_option("--emit", arguments->emit, "what to write")
      ->check(CLI::IsMember({"so", "graph", "program", "loops", "llvm", "asm"}))
      ->capture_default_str();
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
