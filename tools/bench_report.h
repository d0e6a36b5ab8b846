// What `bench` measured, and how it is shown: a table, JSON, a page of HTML, a trace. Tests: test/tools/bench.test,
// test/tools/bench_files.test.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/inspection.h"
#include "tools/loaded_model.h"
#include "tools/machine_peak.h"

namespace lapidary::tools {

struct KernelRow {
  std::string name, origin;
  double ms = 0, gflops = 0, gbytes = 0;  // per run; rates are of this kernel's own time
  double share = 0;                       // of the roofline: whichever of arithmetic and traffic bounds it
  int64_t flops = 0, bytes = 0;
  int steps = 0;
  int registers = 0, local_bytes = 0, shared_bytes = 0;  // on a device, as lpd_step_profile tells them
};

struct Times {
  double min, median, p99;
};

struct Peer {  // measured by another run, not beside this one
  std::string name;
  double min_ms, median_ms;
};

struct Report {
  std::string model;
  std::map<std::string, std::string> shapes;  // of the inputs
  int threads;
  Times times;
  double load_ms, steps_ms;           // opening to the end of the first run; all steps of a profiled run
  int64_t peak_rss_mb;                // of the model, its inputs and outputs: what this process had before is not in it
  std::optional<double> millijoules;  // a run, of all CPU packages
  std::string no_energy;              // why there is none
  MachinePeak peak;
  std::vector<KernelRow> rows;
  std::optional<PlainSteps> plain;  // of GPUs: what has no schedule for them
  std::vector<Peer> peers;
};

// "97%"; of rows that the caches served: "cache"; where the peak is not known: "-".
std::string share_text(const KernelRow&, const MachinePeak&);
std::string report_text(const Report&);
std::string report_json(const Report&);
std::string report_html(const Report&, const Inspection&);  // one file that needs no other

// For chrome://tracing and Perfetto: one run's steps, laid end to end.
std::string trace_json(const std::string& model, const std::vector<LoadedModel::StepProfile>&);

// Of a file that `bench --json` or bench/compare.py --json has written; those of `model` when it holds several.
std::vector<Peer> read_peers(const std::string& file, const std::string& model);

}  // namespace lapidary::tools
