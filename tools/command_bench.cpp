// lapidary bench model.onnx: times calls of the compiled model's C interface, and each of its kernels beside what the
// machine can do at most. The compile happens in a process of its own, so that the memory of this one is the running
// model's. Test: test/tools/bench.test.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "ir/error.h"
#include "tools/commands.h"
#include "tools/inputs.h"
#include "tools/machine_peak.h"

namespace lapidary::tools {

namespace {

using Clock = std::chrono::steady_clock;
double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Arguments {
  CompileOptions compile;
  InputOptions inputs;
  double seconds = 3;
  bool json = false, steps = false;
};

struct KernelRow {
  std::string name, origin;
  double ms = 0, gflops = 0, gbytes = 0;  // per run; rates are of this kernel's own time
  double share = 0;                       // of the roofline: whichever of arithmetic and traffic bounds it
  int64_t flops = 0, bytes = 0;
  int steps = 0;
};

struct Times {
  double min, median, p99;
};

Times time_runs(LoadedModel& model, double seconds) {
  std::vector<double> times;
  for (Clock::time_point end =
           Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
       times.size() < 5 || Clock::now() < end;) {
    Clock::time_point start = Clock::now();
    model.run();
    times.push_back(milliseconds_since(start));
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2],
          times[static_cast<size_t>(0.99 * static_cast<double>(times.size() - 1))]};
}

// Each step's least time over some runs, profiled one by one.
std::vector<LoadedModel::StepProfile> profile_steps(LoadedModel& model, double seconds) {
  std::vector<LoadedModel::StepProfile> best;
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int run = 0; run < 5 || Clock::now() < end; ++run) {
    model.profile(true);  // starts from zero
    model.run();
    std::vector<LoadedModel::StepProfile> steps = model.profiles();
    if (best.empty()) best = steps;
    for (size_t i = 0; i < steps.size(); ++i) best[i].nanoseconds = std::min(best[i].nanoseconds, steps[i].nanoseconds);
  }
  model.profile(false);
  return best;
}

// Steps of one kernel on tensors of one size are one row, unless every step is wanted; those with nothing to do are
// none.
std::vector<KernelRow> kernel_rows(const std::vector<LoadedModel::StepProfile>& steps, const MachinePeak& peak,
                                   int threads, bool every_step) {
  std::map<std::string, KernelRow> rows;
  int number = 0;
  for (const LoadedModel::StepProfile& step : steps) {
    if (!step.runs || step.kernel.empty()) continue;
    std::string key =
        every_step ? fmt::format("{:06}", number++) : fmt::format("{} {} {}", step.kernel, step.flops, step.bytes);
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
    row.share = std::max(row.gflops / (peak.gflops * threads), row.gbytes / peak.gbytes);
    sorted.push_back(row);
  }
  if (!every_step)
    std::sort(sorted.begin(), sorted.end(), [](const KernelRow& a, const KernelRow& b) { return a.ms > b.ms; });
  return sorted;
}

// --- the process -----------------------------------------------------------------------------------------------------

// Runs body in a child, which says itself what went wrong; the child's exit status. No thread may have been started.
template <typename Body>
int in_a_child(const Body& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw Error(Fault::File, fmt::format("no process to compile in: {}", std::strerror(errno)));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();  // an error ends the child as it would end any command: see main
    std::fflush(nullptr);
    std::_Exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error(Fault::File, std::strerror(errno));
  if (!WIFEXITED(status))
    throw Error(Fault::Internal, fmt::format("the compile ended with signal {}", WTERMSIG(status)));
  return WEXITSTATUS(status);
}

// A line of /proc/self/status, in kB: VmRSS, the memory this process has now; VmHWM, the most it had at any time. Not
// getrusage, which counts what was before an exec.
int64_t memory_kb(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::strtoll(line.c_str() + field.size() + 1, nullptr, 10);
  return 0;
}

// --- the report ------------------------------------------------------------------------------------------------------

struct Report {
  std::string model;
  std::map<std::string, std::string> shapes;  // of the inputs
  int threads;
  Times times;
  double load_ms, steps_ms;  // opening to the end of the first run; all steps of a profiled run
  int64_t peak_rss_mb;       // of the model, its inputs and outputs: what this process had before is not in it
  MachinePeak peak;
  std::vector<KernelRow> rows;
};

void print_table(const Report& report) {
  fmt::print("{:>9} {:>6} {:>5} {:>8} {:>7} {:>6}  {}\n", "ms", "share", "steps", "GFLOP/s", "GB/s", "peak", "kernel");
  for (const KernelRow& row : report.rows) {
    fmt::print("{:9.4f} {:5.1f}% {:5} {:8.1f} {:7.1f} {:5.0f}%  {}  {}\n", row.ms,
               report.steps_ms > 0 ? 100 * row.ms / report.steps_ms : 0, row.steps, row.gflops, row.gbytes,
               100 * row.share, row.name, row.origin);
  }
  fmt::print("{:9.4f} all steps, of a run's {:.4f}\n", report.steps_ms, report.times.min);
}

void print_text(const Report& report) {
  std::string shapes;
  for (const auto& [name, shape] : report.shapes) shapes += fmt::format(", {} {}", printable(name), shape);
  fmt::print(
      "{}: {} thread{}{}: min {:.3f} ms, median {:.3f} ms, p99 {:.3f} ms; opening and first run {:.1f} ms; {} MB\n",
      report.model, report.threads, report.threads == 1 ? "" : "s", shapes, report.times.min, report.times.median,
      report.times.p99, report.load_ms, report.peak_rss_mb);
  fmt::print("machine: {:.0f} GFLOP/s float32 a core, {:.1f} GB/s of memory\n", report.peak.gflops, report.peak.gbytes);
  print_table(report);
}

void print_json(const Report& report) {
  nlohmann::json json = {{"model", report.model},
                         {"threads", report.threads},
                         {"shapes", report.shapes},
                         {"min_ms", report.times.min},
                         {"median_ms", report.times.median},
                         {"p99_ms", report.times.p99},
                         {"load_ms", report.load_ms},
                         {"steps_ms", report.steps_ms},
                         {"peak_rss_mb", report.peak_rss_mb},
                         {"peak_gflops", report.peak.gflops},
                         {"peak_gbytes", report.peak.gbytes},
                         {"kernels", nlohmann::json::array()}};
  for (const KernelRow& row : report.rows) {
    json["kernels"].push_back({{"kernel", row.name},
                               {"origin", row.origin},
                               {"ms", row.ms},
                               {"steps", row.steps},
                               {"flops", row.flops},
                               {"bytes", row.bytes},
                               {"gflops", row.gflops},
                               {"gbytes", row.gbytes},
                               {"share", row.share}});
  }
  fmt::print("{}\n", json.dump(1));
}

// --- the measuring ---------------------------------------------------------------------------------------------------

// The shapes size the inputs, the artifact stays symbolic: they are only checked here, by the importer.
void compile_for_bench(CompileOptions options, const std::string& symbol, const std::string& library) {
  if (!options.shapes.empty()) {
    CompileOptions check = options;
    check.quiet = true;
    import(check);
    options.shapes.clear();
  }
  write(compile(options), options, symbol, {.library = library});
}

Report measure(const Arguments& arguments, const std::string& symbol, const std::string& library) {
  const CompileOptions& options = arguments.compile;
  Report report;
  report.model = stem(options.model);
  report.threads = options.threads;
  const int64_t before_kb = memory_kb("VmRSS");
  const Inputs inputs = make_inputs(LoadedModel(library, symbol, 1), arguments.inputs);
  if (!options.quiet) warn_of_guesses(inputs);

  Clock::time_point start = Clock::now();
  LoadedModel model(library, symbol, options.threads);
  for (size_t i = 0; i < inputs.tensors.size(); ++i) model.bind_input(static_cast<int>(i), inputs.tensors[i]);
  model.run();
  report.load_ms = milliseconds_since(start);
  for (int i = 0; i < 3; ++i) model.run();
  report.times = time_runs(model, arguments.seconds);
  report.peak_rss_mb = (memory_kb("VmHWM") - before_kb) / 1024;
  for (size_t i = 0; i < inputs.tensors.size(); ++i)
    report.shapes[model.inputs()[i].name] = shape_text(inputs.tensors[i].dims);
  const std::vector<LoadedModel::StepProfile> steps = profile_steps(model, std::max(0.2, arguments.seconds / 3));
  report.steps_ms = 0;
  for (const LoadedModel::StepProfile& step : steps) report.steps_ms += static_cast<double>(step.nanoseconds) * 1e-6;
  report.peak = measure_peak(options.threads);
  report.rows = kernel_rows(steps, report.peak, options.threads, arguments.steps);
  return report;
}

int run(Arguments& arguments) {
  CompileOptions& options = arguments.compile;
  must_run_here(options);
  if (options.threads == 0) options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  TemporaryFolder folder;
  const std::string symbol = codegen::c_identifier(stem(options.model)), library = folder.path() + "/" + symbol + ".so";
  const int status = in_a_child([&] { compile_for_bench(options, symbol, library); });
  if (status) return status;
  arguments.inputs.shapes = parse_shapes(options.shapes);
  const Report report = measure(arguments, symbol, library);
  arguments.json ? print_json(report) : print_text(report);
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "bench", "Times a compiled model and each of its kernels, with one thread unless told otherwise");
  auto arguments = std::make_shared<Arguments>();
  arguments->compile.threads = 1;
  add_compile_options(*command, arguments->compile);
  command->get_option("--shape")->description(
      "an input's extents while timing: NAME=1x3x224x224; the artifact stays symbolic");
  command->get_option("--threads")->description("threads to run with; 0: one for each core")->capture_default_str();
  command->add_option("--input", arguments->inputs.files, "NAME=FILE, .npy or .pb; random when not given")
      ->allow_extra_args(false);
  command->add_option("--seconds", arguments->seconds, "of measuring")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "a JSON report instead of the table");
  command->add_flag("--steps", arguments->steps, "a row for every step, in order, instead of one for each kernel");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
