// lapidary bench model.onnx: times calls of the compiled model's C interface, and each of its kernels beside what the
// machine can do at most.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "ir/error.h"
#include "tools/commands.h"
#include "tools/inputs.h"
#include "tools/machine_peak.h"

namespace lapidary::tools {

namespace {

using Clock = std::chrono::steady_clock;
double milliseconds_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

struct Arguments {
  CompileOptions compile;
  InputOptions inputs;
  double seconds = 3;
  bool json = false, steps = false;
};

struct KernelRow {
  std::string name, origin;
  double ms = 0, gflops = 0, gbytes = 0;   // per run; rates are of this kernel's own time
  int64_t flops = 0, bytes = 0;
  int steps = 0;
};

struct Times { double min, median, p99; };

Times time_runs(LoadedModel& model, double seconds) {
  std::vector<double> times;
  for (Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
       times.size() < 5 || Clock::now() < end;) {
    Clock::time_point start = Clock::now();
    model.run();
    times.push_back(milliseconds_since(start));
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2], times[static_cast<size_t>(0.99 * static_cast<double>(times.size() - 1))]};
}

// Each step's least time over some runs, profiled one by one.
std::vector<LoadedModel::StepProfile> profile_steps(LoadedModel& model, double seconds) {
  std::vector<LoadedModel::StepProfile> best;
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int run = 0; run < 5 || Clock::now() < end; ++run) {
    model.profile(true);   // starts from zero
    model.run();
    std::vector<LoadedModel::StepProfile> steps = model.profiles();
    if (best.empty()) best = steps;
    for (size_t i = 0; i < steps.size(); ++i) best[i].nanoseconds = std::min(best[i].nanoseconds, steps[i].nanoseconds);
  }
  model.profile(false);
  return best;
}

// Steps of one kernel on tensors of one size are one row, unless every step is wanted.
std::vector<KernelRow> kernel_rows(LoadedModel& model, double seconds, bool every_step) {
  std::map<std::string, KernelRow> rows;
  int number = 0;
  for (const LoadedModel::StepProfile& step : profile_steps(model, seconds)) {
    if (!step.runs) continue;
    std::string key = every_step ? fmt::format("{:06}", number++) : fmt::format("{} {} {}", step.kernel, step.flops, step.bytes);
    KernelRow& row = rows[key];
    row.name = step.kernel;
    if (row.origin.empty()) row.origin = step.origin;
    row.ms += static_cast<double>(step.nanoseconds) * 1e-6;
    row.flops += step.flops;
    row.bytes += step.bytes;
    ++row.steps;
  }
  std::vector<KernelRow> sorted;
  for (auto& [key, row] : rows) {
    row.gflops = row.ms > 0 ? static_cast<double>(row.flops) / row.ms * 1e-6 : 0;
    row.gbytes = row.ms > 0 ? static_cast<double>(row.bytes) / row.ms * 1e-6 : 0;
    sorted.push_back(row);
  }
  if (!every_step) std::sort(sorted.begin(), sorted.end(), [](const KernelRow& a, const KernelRow& b) { return a.ms > b.ms; });
  return sorted;
}

void print_table(const std::vector<KernelRow>& rows, const MachinePeak& peak, int threads) {
  double total = 0;
  for (const KernelRow& row : rows) total += row.ms;
  fmt::print("{:>9} {:>6} {:>5} {:>8} {:>7} {:>6}  {}\n", "ms", "share", "steps", "GFLOP/s", "GB/s", "peak", "kernel");
  for (const KernelRow& row : rows) {
    // The share of the roofline: whichever of arithmetic and traffic bounds it.
    double share = std::max(row.gflops / (peak.gflops * threads), row.gbytes / peak.gbytes);
    fmt::print("{:9.4f} {:5.1f}% {:5} {:8.1f} {:7.1f} {:5.0f}%  {}  {}\n", row.ms, 100 * row.ms / total, row.steps, row.gflops, row.gbytes,
               100 * share, row.name, row.origin);
  }
}

int run(Arguments& arguments) {
  arguments.inputs.shapes = parse_shapes(arguments.compile.shapes);
  arguments.compile.shapes.clear();   // they size the inputs; the artifact stays symbolic
  Compiled compiled = compile(arguments.compile);
  TemporaryFolder folder;
  std::string symbol = codegen::c_identifier(stem(arguments.compile.model)), library = folder.path() + "/" + symbol + ".so";
  write(compiled, arguments.compile, symbol, library, folder.path() + "/" + symbol + ".h");
  compiled = {};

  Clock::time_point start = Clock::now();
  LoadedModel model(library, symbol, arguments.compile.threads);
  std::vector<HostTensor> inputs = make_inputs(model, arguments.inputs);
  for (size_t i = 0; i < inputs.size(); ++i) model.bind_input(static_cast<int>(i), inputs[i]);
  model.run();
  double load_ms = milliseconds_since(start);
  for (int i = 0; i < 3; ++i) model.run();
  Times times = time_runs(model, arguments.seconds);
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::vector<KernelRow> rows = kernel_rows(model, std::max(0.2, arguments.seconds / 3), arguments.steps);
  int threads = arguments.compile.threads;
  MachinePeak peak = measure_peak(threads);
  if (!arguments.json) {
    fmt::print("{}: {} threads: min {:.3f} ms, median {:.3f} ms, p99 {:.3f} ms; opening and first run {:.1f} ms\n", stem(arguments.compile.model),
               threads, times.min, times.median, times.p99, load_ms);
    fmt::print("machine: {:.0f} GFLOP/s float32 a core, {:.1f} GB/s of memory\n", peak.gflops, peak.gbytes);
    print_table(rows, peak, threads);
    return 0;
  }
  nlohmann::json report = {{"model", stem(arguments.compile.model)}, {"threads", threads}, {"min_ms", times.min}, {"median_ms", times.median},
                           {"p99_ms", times.p99}, {"load_ms", load_ms}, {"peak_rss_mb", usage.ru_maxrss / 1024},
                           {"peak_gflops", peak.gflops}, {"peak_gbytes", peak.gbytes}, {"kernels", nlohmann::json::array()}};
  for (const KernelRow& row : rows) {
    report["kernels"].push_back({{"kernel", row.name}, {"origin", row.origin}, {"ms", row.ms}, {"steps", row.steps}, {"flops", row.flops},
                                 {"bytes", row.bytes}, {"gflops", row.gflops}, {"gbytes", row.gbytes}});
  }
  fmt::print("{}\n", report.dump(1));
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("bench", "Times a compiled model and each of its kernels");
  auto arguments = std::make_shared<Arguments>();
  arguments->compile.threads = 1;
  add_compile_options(*command, arguments->compile);
  command->add_option("--input", arguments->inputs.files, "NAME=FILE, .npy or .pb; random when not given")->allow_extra_args(false);
  command->add_option("--seconds", arguments->seconds, "of measuring")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_flag("--json", arguments->json, "a JSON report instead of the table");
  command->add_flag("--steps", arguments->steps, "a row for every step, in order, instead of one for each kernel");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
