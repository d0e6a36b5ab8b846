// lapidary inspect model.onnx: what is in a model, what it costs, and what it would take on devices of a table. Nothing
// of it runs, but for the measuring of this CPU's peak. Test: test/tools/inspect.test.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "ir/error.h"
#include "tools/commands.h"
#include "tools/inspect_report.h"

namespace lapidary::tools {

namespace {

struct Arguments {
  CompileOptions compile;
  std::vector<std::string> hints;
  OwnCosts costs;
  bool json = false;
};

int run(const Arguments& arguments) {
  const Inspection inspection = inspect(arguments.compile, parse_counts("--hint", "SYMBOL=128", arguments.hints));
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int threads = arguments.compile.threads > 0 ? std::min(arguments.compile.threads, cores) : cores;
  std::vector<Estimate> estimates;
  if (inspection.open.empty()) estimates = estimate(inspection, threads, arguments.costs);
  if (arguments.json)
    fmt::print(
        "{}\n",
        inspection_json(inspection, estimates, threads).dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  else
    fmt::print("{}", inspection_text(inspection, estimates, threads));
  return 0;
}

}  // namespace

void add_inspect_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Tells what is in a model, what it costs, and estimates what it would take on other devices");
  auto arguments = std::make_shared<Arguments>();
  add_compile_options(*command, arguments->compile);
  command->add_option("--hint", arguments->hints, "SYMBOL=128: an extent to put into the formulas, which stay symbolic")
      ->allow_extra_args(false);
  command
      ->add_option("--watts", arguments->costs.watts, "what this machine draws under load, for its row of the devices")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--dollars-per-hour", arguments->costs.dollars_per_hour, "what this machine costs, likewise")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", arguments->json, "a JSON report, with every step and buffer");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace lapidary::tools
