// lapidary run model.onnx: compiles into a temporary file and runs once. With --check-every-value, every value that a
// kernel writes becomes an output and is compared with the interpreter's, and the first that differs is named;
// --check-each-kernel does it kernel by kernel.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "ir/error.h"
#include "ir/interpreter.h"
#include "tools/check_kernels.h"
#include "tools/check_values.h"
#include "tools/commands.h"
#include "tools/inputs.h"
#include "tools/tensor_file.h"

namespace lapidary::tools {

namespace {

struct Arguments {
  CompileOptions compile;
  InputOptions inputs;
  std::vector<std::string> outputs;
  RunLimits limits;
  bool check_every_value = false;
  bool check_each_kernel = false;
};

// Readable on one line: control characters and what is no UTF-8 as \xNN, and no more than its beginning.
std::string shown(const std::string& text) {
  constexpr size_t kMost = 60;
  std::string line = "'";
  size_t at = 0;
  for (; at < text.size() && line.size() < kMost;) {
    const uint32_t c = next_code_point(text, at);
    if (c >= kNoCodePoint || c < 0x20 || (c >= 0x7f && c < 0xa0))
      line += fmt::format("\\x{:02x}", c >= kNoCodePoint ? c - kNoCodePoint : c);
    else
      append_code_point(line, c);
  }
  return line + (at < text.size() ? "…'" : "'");
}

// The first few elements, for a look.
std::string preview(const HostTensor& tensor) {
  constexpr int64_t kMost = 8;
  int64_t count = tensor.elements();
  if (static_cast<DType>(tensor.dtype) == DType::String) {
    std::vector<std::string> texts;
    for (int64_t i = 0; i < std::min(count, kMost); ++i) texts.push_back(shown(tensor.strings[static_cast<size_t>(i)]));
    return fmt::format("{}{}", fmt::join(texts, ", "), count > kMost ? ", …" : "");
  }
  Tensor values = Tensor::from_bytes(static_cast<DType>(tensor.dtype), tensor.dims, tensor.bytes);
  std::string text;
  for (int64_t i = 0; i < std::min(count, kMost); ++i) {
    Scalar value = values.at(i);
    text +=
        (i ? ", " : "") + (is_float(value.dtype) ? fmt::format("{:.6g}", value.number) : std::to_string(value.integer));
  }
  return text + (count > kMost ? ", …" : "");
}

int run(Arguments& arguments) {
  must_run_here(arguments.compile);
  Compiled compiled = compile(arguments.compile);
  const TemporaryLibrary library;
  const std::string symbol = codegen::c_identifier(stem(arguments.compile.model));
  write(compiled, arguments.compile, symbol, {.library = library.path()});
  LoadedModel model(library.path(), symbol, arguments.compile.threads, arguments.limits);
  std::vector<std::pair<int, std::string>> files;
  for (const std::string& text : arguments.outputs) files.push_back(split_binding(text, model.outputs(), "--output"));
  const Inputs made = make_inputs(model, arguments.inputs);  // the artifact has the extents of --shape
  const std::vector<HostTensor>& inputs = made.tensors;
  if (!arguments.compile.quiet) warn_of_guesses(made);
  if (arguments.check_each_kernel) return check_each_kernel(arguments.compile, inputs);
  if (arguments.check_every_value) return check_every_value(arguments.compile, inputs);
  about_model(arguments.compile, [&] {
    for (size_t i = 0; i < inputs.size(); ++i) model.bind_input(static_cast<int>(i), inputs[i]);
    model.run();
  });
  for (size_t i = 0; i < model.outputs().size(); ++i) {
    HostTensor output = model.output(static_cast<int>(i));
    fmt::print("{}: {} {}: {}\n", printable(model.outputs()[i].name), name_of(static_cast<DType>(output.dtype)),
               shape_text(output.dims), preview(output));
  }
  for (const auto& [index, file] : files) write_tensor(file, model.outputs()[index].name, model.output(index));
  return 0;
}

}  // namespace

void add_run_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("run", "Compiles a model and runs it once");
  auto arguments = std::make_shared<Arguments>();
  add_compile_options(*command, arguments->compile);
  command->add_option("--input", arguments->inputs.files, "NAME=FILE, .npy or .pb; random when not given")
      ->allow_extra_args(false);
  command->add_option("--output", arguments->outputs, "NAME=FILE to write, .npy or .pb")->allow_extra_args(false);
  command
      ->add_option("--max-memory", arguments->limits.max_bytes,
                   "bytes the run may take beside weights, inputs and "
                   "outputs of known size; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--max-loop", arguments->limits.max_loop, "iterations any loop may take; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--check-every-value", arguments->check_every_value,
                    "compare each kernel's results with the interpreter's");
  command->add_flag("--check-each-kernel", arguments->check_each_kernel,
                    "the same with every kernel on the interpreter's inputs: integers equal, codes at most one apart "
                    "in at most 0.1 %");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
