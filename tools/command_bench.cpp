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
#include <thread>

#include "codegen/output_file.h"
#include "ir/error.h"
#include "ir/loops.h"
#include "tools/bench_report.h"
#include "tools/commands.h"
#include "tools/energy.h"
#include "tools/inputs.h"

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
  std::string html, trace;           // files to write
  std::vector<std::string> against;  // files to read
};

// Fills in the times and the energy.
void time_runs(LoadedModel& model, double seconds, Report& report) {
  std::vector<double> times;
  const EnergyMeter energy;
  for (Clock::time_point end =
           Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
       times.size() < 5 || Clock::now() < end;) {
    Clock::time_point start = Clock::now();
    model.run();
    times.push_back(milliseconds_since(start));
  }
  if (const std::optional<double> joules = energy.joules())
    report.millijoules = *joules * 1e3 / static_cast<double>(times.size());
  report.no_energy = energy.why_not();
  std::sort(times.begin(), times.end());
  report.times = {times.front(), times[times.size() / 2],
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
    row.registers = step.registers, row.local_bytes = step.local_bytes, row.shared_bytes = step.shared_bytes;
  }
  std::vector<KernelRow> sorted;
  for (auto& [key, row] : rows) {
    row.gflops = row.ms > 0 ? static_cast<double>(row.flops) / row.ms * 1e-6 : 0;
    row.gbytes = row.ms > 0 ? static_cast<double>(row.bytes) / row.ms * 1e-6 : 0;
    if (peak.gflops > 0) row.share = std::max(row.gflops / (peak.gflops * threads), row.gbytes / peak.gbytes);
    sorted.push_back(row);
  }
  if (!every_step)
    std::sort(sorted.begin(), sorted.end(), [](const KernelRow& a, const KernelRow& b) { return a.ms > b.ms; });
  return sorted;
}

PlainSteps plain_steps(const std::vector<LoadedModel::StepProfile>& steps) {
  PlainSteps found;
  for (const LoadedModel::StepProfile& step : steps)
    if (!step.kernel.empty() && step.kernel != "host") found.add(step.kernel, step.origin);
  return found;
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

struct Measured {
  Report report;
  std::vector<LoadedModel::StepProfile> one_run;
  std::vector<std::vector<int64_t>> shapes;  // of the inputs
};

Measured measure(const Arguments& arguments, const std::string& symbol, const std::string& library) {
  const CompileOptions& options = arguments.compile;
  Measured measured;
  Report& report = measured.report;
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
  time_runs(model, arguments.seconds, report);
  report.peak_rss_mb = (memory_kb("VmHWM") - before_kb) / 1024;
  for (size_t i = 0; i < inputs.tensors.size(); ++i) {
    report.shapes[model.inputs()[i].name] = shape_text(inputs.tensors[i].dims);
    measured.shapes.push_back(inputs.tensors[i].dims);
  }
  const std::vector<LoadedModel::StepProfile> steps = profile_steps(model, std::max(0.2, arguments.seconds / 3));
  report.steps_ms = 0;
  for (const LoadedModel::StepProfile& step : steps) report.steps_ms += static_cast<double>(step.nanoseconds) * 1e-6;
  model.profile(true);
  model.run();
  measured.one_run = model.profiles();
  const bool gpu = codegen::resolve_targets(options.target)[0].is_gpu();
  if (gpu) report.plain = plain_steps(steps);
  if (gpu) report.millijoules.reset(), report.no_energy = "that of a GPU is not read";
  report.peak = gpu ? MachinePeak{} : measure_peak(options.threads);
  report.rows = kernel_rows(steps, report.peak, options.threads, arguments.steps);
  return measured;
}

// The plan of the artifact, which is symbolic, for the shapes it ran with.
Inspection plan_of(CompileOptions options, const std::vector<std::vector<int64_t>>& shapes) {
  options.shapes.clear();
  options.quiet = true;
  return inspect(options, shapes);
}

// A file that is wanted, created before the measuring: one that cannot be written is found at once.
std::optional<codegen::OutputFile> open_file(const std::string& path) {
  return path.empty() ? std::nullopt : std::make_optional<codegen::OutputFile>(path);
}

void write_file(std::optional<codegen::OutputFile>& file, const std::string& text) {
  file->write(text);
  file->keep();
}

int run(Arguments& arguments) {
  CompileOptions& options = arguments.compile;
  must_run_here(options);
  must_not_overwrite({options.model}, {arguments.html, arguments.trace});
  must_not_overwrite(arguments.against, {arguments.html, arguments.trace});
  if (options.threads == 0) options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<Peer> peers;
  for (const std::string& file : arguments.against)
    for (Peer& peer : read_peers(file, stem(options.model))) peers.push_back(std::move(peer));
  const TemporaryLibrary temporary;
  const std::string symbol = codegen::c_identifier(stem(options.model)), library = temporary.path();
  const int status = in_a_child([&] { compile_for_bench(options, symbol, library); });
  if (status) return status;
  std::optional<codegen::OutputFile> html = open_file(arguments.html), trace = open_file(arguments.trace);
  arguments.inputs.shapes = parse_shapes(options.shapes);
  Measured measured = measure(arguments, symbol, library);
  measured.report.peers = peers;
  if (html) write_file(html, report_html(measured.report, plan_of(options, measured.shapes)));
  if (trace) write_file(trace, trace_json(measured.report.model, measured.one_run));
  fmt::print("{}", arguments.json ? report_json(measured.report) : report_text(measured.report));
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
  command->add_option("--html", arguments->html,
                      "a page to write: kernels, roofline, memory plan; needs no other file");
  command->add_option("--trace", arguments->trace, "the steps of one run to write, for Perfetto or chrome://tracing");
  command
      ->add_option("--against", arguments->against,
                   "figures to show beside: a file of bench --json or bench/compare.py --json")
      ->allow_extra_args(false);
  command->add_flag("--steps", arguments->steps, "a row for every step, in order, instead of one for each kernel");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
