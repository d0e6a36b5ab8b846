#include "tools/driver.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "codegen/cuda/image_cache.h"
#include "frontend/import.h"
#include "ir/error.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/training.h"

namespace lapidary::tools {

std::string stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

std::map<std::string, std::vector<int64_t>> parse_shapes(const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const std::string& text : texts) {
    size_t equals = text.rfind('=');
    auto wrong = [&] {
      return Error(Fault::Usage, fmt::format("--shape takes NAME=1x3x224x224, got '{}'", printable(text)));
    };
    if (equals == std::string::npos || equals + 1 == text.size()) throw wrong();
    std::vector<int64_t> extents;
    for (size_t at = equals + 1; at <= text.size();) {
      size_t end = std::min(text.find('x', at), text.size());
      char* stop = nullptr;
      std::string number = text.substr(at, end - at);
      long long extent = std::strtoll(number.c_str(), &stop, 10);
      if (number.empty() || *stop || extent < 0 || extent == LLONG_MAX) throw wrong();
      extents.push_back(extent);
      at = end + 1;
    }
    shapes[text.substr(0, equals)] = std::move(extents);
  }
  return shapes;
}

std::map<std::string, int64_t> parse_counts(const char* option, const char* example,
                                            const std::vector<std::string>& texts) {
  std::map<std::string, int64_t> counts;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');  // names may hold '=' themselves
    const std::string number = equals == std::string::npos ? "" : text.substr(equals + 1);
    char* stop = nullptr;
    const long long count = std::strtoll(number.c_str(), &stop, 10);
    if (equals == 0 || number.empty() || *stop || count < 0 || count == LLONG_MAX)
      throw Error(Fault::Usage, fmt::format("{} takes {}, got '{}'", option, example, printable(text)));
    counts[text.substr(0, equals)] = count;
  }
  return counts;
}

namespace {

std::map<std::string, bool> parse_optionals(const std::vector<std::string>& texts) {
  std::map<std::string, bool> present;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    const std::string said = equals == std::string::npos ? "" : text.substr(equals + 1);
    if (equals == 0 || (said != "present" && said != "absent"))
      throw Error(Fault::Usage, fmt::format("--optional takes NAME=present or NAME=absent, got '{}'", printable(text)));
    present[text.substr(0, equals)] = said == "present";
  }
  return present;
}

}  // namespace

namespace {

void warn_of_f32(const CompileOptions& options) {
  if (options.f32 == "ieee" || options.quiet) return;
  for (const Target& target : codegen::resolve_targets(options.target))
    if (target.is_gpu() && !target.has_tensor_cores())
      fmt::print(stderr, "warning: --f32={} has no effect on {}, whose tensor cores multiply no such numbers\n",
                 options.f32, fmt::join(target.images, ", "));
}

}  // namespace

std::unique_ptr<Module> import(const CompileOptions& options) {
  warn_of_f32(options);
  Diagnostics diagnostics;
  frontend::ImportOptions import_options;
  import_options.shapes = parse_shapes(options.shapes);
  import_options.lengths = parse_counts("--length", "NAME=3", options.lengths);
  import_options.present = parse_optionals(options.optionals);
  import_options.training = options.train.has_value();
  const auto asked = [&](const char* option) {
    return options.train && std::ranges::find(options.train->asked, option) != options.train->asked.end();
  };
  import_options.training_info = options.train && !asked("--loss") && !asked("--optimizer");
  if (options.train) import_options.seed = options.train->seed;
  std::unique_ptr<Module> module = frontend::import_model(options.model, import_options, diagnostics);
  if (!options.quiet) {
    for (const Diagnostic& warning : diagnostics.warnings()) fmt::print(stderr, "warning: {}\n", warning.message);
  }
  if (!diagnostics.failed()) return module;
  // Wrong beats unsupported: what cannot be right need not be supported.
  const std::vector<Diagnostic>& errors = diagnostics.errors();
  Fault fault = errors.front().fault;
  std::string all;
  for (const Diagnostic& error : errors) {
    if (error.fault == Fault::Input && fault == Fault::Unsupported) fault = Fault::Input;
    all += (all.empty() ? "" : "\n") + error.message;
  }
  throw Error(fault, all);
}

void must_not_overwrite(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  for (const std::string& output : outputs) {
    std::error_code none;
    for (const std::string& input : inputs)
      if (!output.empty() && std::filesystem::equivalent(input, output, none))
        throw Error(Fault::Usage, fmt::format("'{}' would be overwritten, and it is read", printable(output)));
  }
}

namespace {

passes::F32Products f32_products(const CompileOptions& options, const Target& target) {
  if (options.f32 == "ieee") return passes::F32Products::IEEE;
  if (!target.is_gpu())
    throw Error(Fault::Usage, fmt::format("--f32={}: target '{}' is no GPU", options.f32, target.name));
  return std::ranges::find(passes::kF32Products, options.f32, &passes::F32ProductsName::name)->products;
}

}  // namespace

passes::Options pass_options(const CompileOptions& options, const Target& target) {
  passes::Options result;
  result.target = target;
  result.numerics = options.numerics == "strict" ? passes::Numerics::Strict : passes::Numerics::Default;
  result.f32_products = f32_products(options, target);
  if (options.train) result.memory_budget = options.train->memory_budget;
  result.gpu_tile = options.gpu_tile;
  result.skip = options.skip_passes;
  result.after_pass = [options](const std::string& pass, double seconds, const Module& module) {
    if (options.time_passes) fmt::print(stderr, "{:8.1f} ms  {}\n", seconds * 1e3, pass);
    bool dump = std::find_if(options.dump_after.begin(), options.dump_after.end(), [&](const std::string& name) {
                  return name == "all" || name == pass;
                }) != options.dump_after.end();
    if (dump) fmt::print(stderr, "// after {}\n{}", pass, print_module(module, {.origins = true}));
  };
  return result;
}

codegen::ArtifactOptions artifact_options(const CompileOptions& options) {
  codegen::ArtifactOptions result;
  int cores = std::max(1u, std::thread::hardware_concurrency());
  result.jobs = options.jobs > 0 ? options.jobs : cores;
  result.strict_math = options.numerics == "strict";
  result.seed = options.seed;
  if (!options.no_cache) result.image_cache = codegen::cuda::ImageCache::default_folder();
  if (!options.quiet)
    result.on_warning = [](const std::string& message) { fmt::print(stderr, "warning: {}\n", message); };
  if (options.time_passes) {
    result.on_stage = [](const std::string& stage, double seconds) {
      fmt::print(stderr, "{:8.1f} ms  {}\n", seconds * 1e3, stage);
    };
  }
  return result;
}

namespace {
template <typename Body>
void timed(const CompileOptions& options, const char* what, Body body) {
  auto start = std::chrono::steady_clock::now();
  body();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.time_passes) fmt::print(stderr, "{:8.1f} ms  {}\n", seconds * 1e3, what);
}

void tell(const train::TrainNotes& notes, const train::TrainOptions& options) {
  const auto parameters = [](size_t count) { return fmt::format("{} parameter{}", count, count == 1 ? "" : "s"); };
  fmt::print(stderr, "note: trains {} of {} numbers{}\n", parameters(notes.trained.size()), notes.numbers,
             notes.frozen.empty() ? "" : fmt::format("; {} frozen", notes.frozen.size()));
  if (!notes.scores_behind.empty())
    fmt::print(stderr, "note: the loss is of the scores that the model's {} takes\n", notes.scores_behind);
  if (notes.wants_logarithms)
    fmt::print(stderr, "warning: {} takes logarithms of probabilities, and the model gives those of a softmax\n",
               options.loss);
  const auto check = [&](const char* option, const std::string& pattern, const std::vector<std::string>& names) {
    const auto matches = [&](const std::string& name) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; };
    if (std::ranges::none_of(names, matches))
      fmt::print(stderr, "warning: {} '{}' matches no parameter\n", option, printable(pattern));
  };
  for (const std::string& pattern : options.freeze) check("--freeze", pattern, notes.frozen);
  std::vector<std::string> moving = notes.trained;
  moving.insert(moving.end(), notes.unreached.begin(), notes.unreached.end());
  for (const std::string& pattern : options.only) check("--train-only", pattern, moving);
  for (const std::string& name : notes.unreached)
    fmt::print(stderr, "warning: parameter '{}' does not move: the loss does not depend on it\n", printable(name));
}

void add_training(Module& module, bool trains_itself, const CompileOptions& options, const passes::Options& passes) {
  if (trains_itself) {
    if (!options.train->asked.empty())
      throw Error(Fault::Usage,
                  fmt::format("{}: the model's training_info says how it is trained; --loss and --optimizer "
                              "leave that aside",
                              fmt::join(options.train->asked, ", ")));
    if (!options.quiet) fmt::print(stderr, "note: trained as the model's training_info says\n");
    return;
  }
  const train::TrainNotes notes = passes::run_training_passes(module, *options.train, passes);
  if (!options.quiet) tell(notes, *options.train);
}

void check_dump_names(const CompileOptions& options) {
  for (const std::string& name : options.dump_after)
    if (name != "all" && name != "import" && !(options.train && name == passes::kDifferentiate))
      passes::pass_named(name);
}
void check_kernels(const Program& program) {
  for (const loops::Kernel& kernel : program.kernels) {
    std::vector<std::string> violations = verify(kernel);
    if (!violations.empty())
      throw Error(Fault::Internal,
                  fmt::format("a {} kernel is malformed: {}", kernel.family, fmt::join(violations, "; ")));
  }
}

}  // namespace

Compiled compile_graph(const CompileOptions& options) {
  Compiled result;
  check_dump_names(options);
  const std::vector<Target> targets = codegen::resolve_targets(options.target);
  result.target = targets[0];
  for (size_t i = 1; i < targets.size(); ++i) result.lower_levels.emplace_back(Program(), targets[i]);
  if (options.threads > 0) result.target.threads = options.threads;
  for (auto& [program, target] : result.lower_levels) target.threads = result.target.threads;
  passes::Options passes = pass_options(options, result.target);
  const auto start = std::chrono::steady_clock::now();
  result.module = import(options);
  passes.after_pass("import", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                    *result.module);
  result.trains_itself = frontend::trains_itself(*result.module);
  about_model(options, [&] {
    if (options.train) add_training(*result.module, result.trains_itself, options, passes);
    passes::run_graph_passes(*result.module, passes);
  });
  return result;
}

void must_run_here(const CompileOptions& options) {
  const Target target = codegen::resolve_targets(options.target)[0];
  if (target.arch != Arch::X86_64 && !target.is_gpu())
    throw Error(Fault::Usage,
                fmt::format("target '{}' is not for this machine: only compile takes it", options.target));
}

namespace {

void warn_of_budget(const Program& program, const CompileOptions& options) {
  if (!options.train || options.train->memory_budget <= 0 || options.quiet) return;
  for (const EntryPoint& entry : program.entries)
    if (const auto bytes = value_of(entry.arena_bytes); bytes && *bytes > options.train->memory_budget)
      fmt::print(stderr, "warning: {} takes {} bytes of memory at least, --memory-budget is {}\n", entry.name, *bytes,
                 options.train->memory_budget);
}

}  // namespace

void lower(Compiled& compiled, const CompileOptions& options) {
  if (const std::string op = passes::outside_of_groups(*compiled.module); !op.empty())
    throw Error(Fault::Usage, fmt::format("--skip-passes: kernels are made of groups, and a {} is in none", op));
  const auto lower_for = [&](Program& program, const Target& target) {
    timed(options, "lower", [&] { program = passes::lower(*compiled.module, pass_options(options, target)); });
    timed(options, "verify kernels", [&] { check_kernels(program); });
  };
  about_model(options, [&] {
    lower_for(compiled.program, compiled.target);
    for (auto& [program, target] : compiled.lower_levels) lower_for(program, target);
  });
}

namespace {

int64_t most_arena_bytes(const Program& program) {
  int64_t most = 0;
  for (const EntryPoint& entry : program.entries) most = std::max(most, value_of(entry.arena_bytes).value_or(0));
  return most;
}

Compiled compile_once(const CompileOptions& options) {
  Compiled result = compile_graph(options);
  lower(result, options);
  return result;
}

// With this in the place of the budget; what was to be said of the model was said.
Compiled compile_within(CompileOptions options, int64_t bytes) {
  options.quiet = true;
  options.train->memory_budget = bytes;
  return compile_once(options);
}

// What kernels need beside the values of the graph, and what is lost between buffers, shows when all is lowered. Of a
// first try that takes more than the budget: the one that makes least anew and does not, or that takes least.
Compiled compile_to_fit(Compiled first, const CompileOptions& options) {
  const int64_t budget = options.train->memory_budget;
  constexpr int kTries = 5;
  int64_t fits = 1, too_much = budget;
  Compiled best = compile_within(options, fits);
  if (most_arena_bytes(best.program) > budget)
    return most_arena_bytes(first.program) < most_arena_bytes(best.program) ? std::move(first) : std::move(best);
  for (int i = 0; i < kTries && too_much > fits + 1; ++i) {
    // The least that is possible is near most budgets that the first try misses: nearer to those than to 1.
    const int64_t aim = i == 0 ? too_much - too_much / 8 : fits + (too_much - fits) / 2;
    Compiled tried = compile_within(options, aim);
    if (most_arena_bytes(tried.program) <= budget)
      fits = aim, best = std::move(tried);
    else
      too_much = aim;
  }
  return best;
}

}  // namespace

Compiled compile(const CompileOptions& options) {
  Compiled result = compile_once(options);
  if (!options.train || options.train->memory_budget <= 0) return result;
  if (most_arena_bytes(result.program) > options.train->memory_budget)
    result = compile_to_fit(std::move(result), options);
  warn_of_budget(result.program, options);
  return result;
}

std::vector<codegen::Level> Compiled::levels() const {
  std::vector<codegen::Level> all = {{program, target}};
  for (const auto& [lower_program, lower_target] : lower_levels) all.push_back({lower_program, lower_target});
  return all;
}

std::vector<codegen::cuda::Image> compile_images(const Compiled& compiled, const codegen::ArtifactOptions& options,
                                                 const std::function<bool(const std::string&)>& wanted) {
  const std::vector<codegen::Level> all = compiled.levels();
  std::vector<Target> targets;
  for (const codegen::Level& level : all) {
    targets.push_back(level.target);
    std::erase_if(targets.back().images, [&](const std::string& image) { return !wanted(image); });
  }
  std::vector<codegen::Level> levels;
  for (size_t i = 0; i < all.size(); ++i) levels.push_back({all[i].program, targets[i]});
  return codegen::cuda::compile_images(levels, options);
}

void write(const Compiled& compiled, const CompileOptions& options, const std::string& symbol,
           const codegen::Products& products) {
  about_model(options,
              [&] { codegen::write_products(compiled.levels(), symbol, products, artifact_options(options)); });
}

namespace {

// Names are never used twice: a library that is open is found again by its name.
std::string temporary_name() {
  const char* folder = std::getenv("TMPDIR");
  return fmt::format("{}/lapidary-{:08x}.so", folder && *folder ? folder : "/tmp", std::random_device()());
}

}  // namespace

TemporaryLibrary::TemporaryLibrary() : file_(temporary_name()) {}

}  // namespace lapidary::tools
