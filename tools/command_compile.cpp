// lapidary compile model.onnx → model.so + model.h, other products, or any earlier stage as text.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "codegen/cuda/compile.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/output_file.h"
#include "ir/error.h"
#include "ir/text.h"
#include "runtime/lapidary.h"
#include "tools/commands.h"
#include "tools/emit_images.h"
#include "tools/train_options.h"

namespace lapidary::tools {

namespace {

std::vector<std::string> f32_names() {
  std::vector<std::string> names;
  for (const auto& [name, products] : passes::kF32Products) names.emplace_back(name);
  return names;
}

}  // namespace

void add_compile_options(CLI::App& command, CompileOptions& options) {
  command.add_option("model", options.model, "the .onnx file")->required();
  command
      .add_option("--target", options.target,
                  "native; x86-64 for any; x86-64-v3, x86-64-v4, znver4, …; aarch64; cuda; cuda:sm_80,sm_90a,…")
      ->capture_default_str();
  command.add_option("--shape", options.shapes, "fixes an input's extents: NAME=1x3x224x224")->allow_extra_args(false);
  command
      .add_option("--length", options.lengths,
                  "parts of an input that is a sequence: NAME=3; inputs NAME[0] to NAME[2]")
      ->allow_extra_args(false);
  command
      .add_option("--optional", options.optionals, "whether an optional input is there: NAME=present or NAME=absent")
      ->allow_extra_args(false);
  command.add_option("--numerics", options.numerics, "how exact")
      ->check(CLI::IsMember({"strict", "default"}))
      ->capture_default_str();
  command
      .add_option("--f32", options.f32, "how a GPU multiplies f32 by f32: ieee, or on tensor cores, rounded to a type")
      ->check(CLI::IsMember(f32_names()))
      ->capture_default_str();
  command
      .add_option("--threads", options.threads, "threads the product is tuned for and run with; 0: one for each core")
      ->check(CLI::Range(0, LPD_MAX_THREADS));
  command.add_option("-j,--jobs", options.jobs, "compile threads; 0: one for each core")
      ->check(CLI::Range(0, LPD_MAX_THREADS));
  command.add_flag("--no-cache", options.no_cache, "compile CUDA kernels anew, and keep none of them");
  command
      .add_option("--gpu-tile", options.gpu_tile,
                  "of a product's tiles on a GPU, only those with this in their schedule")
      ->group("");  // to measure them
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
  TrainArguments train;
  bool trains = false, checks_gradients = false;
  std::string output;
  std::string weights = "model";
  std::vector<std::string> emit = {"so"};
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

struct ProductKind {
  const char *name, *extension;
  std::string codegen::Products::*path;
};
constexpr ProductKind kProducts[] = {{"so", ".so", &codegen::Products::library},
                                     {"obj", ".o", &codegen::Products::object},
                                     {"archive", ".a", &codegen::Products::archive},
                                     {"exe", "", &codegen::Products::program},
                                     {"header", ".h", &codegen::Products::header}};
constexpr const char* kTexts[] = {"graph", "program", "loops", "llvm", "asm", "cuda"};
constexpr const char* kImages[] = {"cubin", "ptx"};

bool is_text(const std::string& kind) { return std::ranges::find(kTexts, kind) != std::end(kTexts); }
bool is_image(const std::string& kind) { return std::ranges::find(kImages, kind) != std::end(kImages); }

// "model", "seeded", "seeded=7"
std::optional<uint64_t> parse_weights(const std::string& text) {
  if (text == "model") return {};
  if (text == "seeded") return 0;
  const std::string prefix = "seeded=";
  uint64_t seed = 0;
  const char* end = text.data() + text.size();
  if (text.starts_with(prefix))
    if (const auto [stop, error] = std::from_chars(text.data() + prefix.size(), end, seed);
        stop == end && error == std::errc())
      return seed;
  throw Error(Fault::Usage, fmt::format("--weights takes model, seeded or seeded=SEED, got '{}'", printable(text)));
}

// Some kinds are of CPUs, some of CUDA devices.
void check_target(const Arguments& arguments) {
  const bool gpu = codegen::resolve_targets(arguments.compile.target)[0].is_gpu();
  for (const std::string& kind : arguments.emit) {
    const bool of_cpu = kind == "llvm" || kind == "asm", of_gpu = kind == "cuda" || is_image(kind);
    if (gpu ? of_cpu : of_gpu)
      throw Error(Fault::Usage, fmt::format("--emit={} is for {}, which target '{}' is not", kind,
                                            of_cpu ? "CPUs" : "CUDA devices", printable(arguments.compile.target)));
  }
}

// One product goes to --output; several share its name, each with its own extension. The header lies beside them.
codegen::Products products_of(const Arguments& arguments) {
  const std::string base = arguments.output.empty() ? stem(arguments.compile.model) : arguments.output;
  const bool as_given = arguments.emit.size() == 1 && !arguments.output.empty();
  codegen::Products products;
  for (const ProductKind& kind : kProducts) {
    if (std::ranges::find(arguments.emit, kind.name) == arguments.emit.end()) continue;
    products.*kind.path = as_given                   ? base
                          : arguments.output.empty() ? base + kind.extension
                                                     : replace_extension(base, kind.extension);
  }
  const bool has_interface = !(products.library + products.object + products.archive).empty();
  if (has_interface && products.header.empty())
    products.header = arguments.output.empty() ? base + ".h" : replace_extension(base, ".h");
  for (const auto path : {&codegen::Products::library, &codegen::Products::object, &codegen::Products::archive})
    if (has_interface && products.*path == products.header)
      throw Error(Fault::Usage,
                  fmt::format("{}: the library cannot have the header's name", printable(products.header)));
  return products;
}

int emit_text(const Arguments& arguments) {
  const std::string& kind = arguments.emit[0];
  if (arguments.emit.size() > 1) throw Error(Fault::Usage, "--emit: a stage as text comes alone");
  must_not_overwrite({arguments.compile.model}, {arguments.output});
  if (kind == "graph") {
    write_text(arguments.output, print_module(*compile_graph(arguments.compile).module, {.origins = true}));
    return 0;
  }
  const Compiled compiled = compile(arguments.compile);
  const codegen::ArtifactOptions artifact = artifact_options(arguments.compile);
  std::string text;
  uint32_t level = 0;
  for (const auto& [program, target] : compiled.levels()) {
    if (kind == "program") text += print_program(program);
    if (kind == "loops") text += kernels_text(program);
    if (kind == "llvm") text += codegen::llvm_text(program, target, artifact);
    if (kind == "cuda" && level > 0) text += fmt::format("// level {}: a unit of its own\n", level);
    if (kind == "cuda") text += codegen::cuda::cuda_text(program, level, artifact.strict_math);
    if (kind == "asm") text += codegen::assembly_text(program, target, artifact);
    ++level;
  }
  write_text(arguments.output, text);
  return 0;
}

int run(const Arguments& arguments) {
  check_target(arguments);
  if (std::ranges::any_of(arguments.emit, is_text)) return emit_text(arguments);
  for (const Target& target : codegen::resolve_targets(arguments.compile.target))
    if (target.is_gpu()) codegen::cuda::Nvrtc::get().must_support(target.images);  // found out before the long work
  if (std::ranges::any_of(arguments.emit, is_image)) {
    if (!std::ranges::all_of(arguments.emit, is_image))
      throw Error(Fault::Usage, "--emit: cubin and ptx come without other products");
    emit_images(arguments.compile, arguments.emit, arguments.output);
    return 0;
  }
  const codegen::Products products = products_of(arguments);
  must_not_overwrite({arguments.compile.model},
                     {products.library, products.object, products.archive, products.program, products.header});
  const std::string& named_after = arguments.output.empty() ? arguments.compile.model : arguments.output;
  Compiled compiled = compile(arguments.compile);
  write(compiled, arguments.compile, codegen::c_identifier(stem(named_after)), products);
  return 0;
}

}  // namespace

void add_compile_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command =
      app.add_subcommand("compile", "Compiles a model into a library with a C header, or another product");
  auto arguments = std::make_shared<Arguments>();
  add_compile_options(*command, arguments->compile);
  command->add_option("-o,--output", arguments->output,
                      "where to write; several products share its name. Default: the model's name, here");
  command
      ->add_option("--weights", arguments->weights,
                   "model, or seeded=SEED: made up when the product is opened, which then is small and good to measure "
                   "with; its outputs mean nothing")
      ->capture_default_str();
  command->add_flag("--train", arguments->trains,
                    "entry points train_step and eval_step beside run: see --loss and --optimizer");
  add_train_options(*command, arguments->train);
  command->add_flag("--check-gradients", arguments->checks_gradients,
                    "one more result of train_step, finite: whether loss, gradients and parameters are numbers");
  std::vector<std::string> kinds;
  for (const ProductKind& kind : kProducts) kinds.push_back(kind.name);
  kinds.insert(kinds.end(), std::begin(kImages), std::end(kImages));
  kinds.insert(kinds.end(), std::begin(kTexts), std::end(kTexts));
  command
      ->add_option("--emit", arguments->emit,
                   "what to write: products, separated by commas (so, obj and archive come with their header), the "
                   "images of CUDA devices, or a stage as text")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(kinds))
      ->capture_default_str();
  command->callback([arguments, &action] {
    action = [arguments] {
      arguments->compile.seed = parse_weights(arguments->weights);
      if (arguments->checks_gradients && !arguments->trains)
        throw Error(Fault::Usage, "--check-gradients needs --train");
      if (arguments->trains) arguments->compile.train = parse_train(arguments->train);
      if (arguments->trains) arguments->compile.train->updates.reports_finite = arguments->checks_gradients;
      return run(*arguments);
    };
  });
}

}  // namespace lapidary::tools
