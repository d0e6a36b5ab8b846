#include "tools/bench_report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ir/error.h"

namespace lapidary::tools {

namespace {

using Json = nlohmann::json;

// Names in models need not be UTF-8.
std::string dump(const Json& json) { return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"; }

// What a kernel takes of a device: registers and bytes spilled of a thread, shared memory of a block.
std::string needs_head(const Report& report) {
  return report.plain ? fmt::format(" {:>4} {:>7} {:>7}", "regs", "spilled", "shared") : "";
}
std::string needs_text(const Report& report, const KernelRow& row) {
  return report.plain ? fmt::format(" {:4} {:7} {:7}", row.registers, row.local_bytes, row.shared_bytes) : "";
}

std::string table_text(const Report& report) {
  std::string text = fmt::format("{:>9} {:>6} {:>5} {:>8} {:>7} {:>6}{}  {}\n", "ms", "share", "steps", "GFLOP/s",
                                 "GB/s", "peak", needs_head(report), "kernel");
  for (const KernelRow& row : report.rows) {
    text += fmt::format("{:9.4f} {:5.1f}% {:5} {:8.1f} {:7.1f} {:>6}{}  {}  {}\n", row.ms,
                        report.steps_ms > 0 ? 100 * row.ms / report.steps_ms : 0, row.steps, row.gflops, row.gbytes,
                        share_text(row, report.peak), needs_text(report, row), row.name, row.origin);
  }
  if (report.plain) text += report.plain->text();
  return text + fmt::format("{:9.4f} all steps, of a run's {:.4f}\n", report.steps_ms, report.times.min);
}

}  // namespace

// More than memory's bandwidth comes from the caches, whose own is not measured.
std::string share_text(const KernelRow& row, const MachinePeak& peak) {
  if (peak.gflops <= 0) return "-";
  return row.share > 1 ? "cache" : fmt::format("{:.0f}%", 100 * row.share);
}

std::string report_text(const Report& report) {
  std::string shapes;
  for (const auto& [name, shape] : report.shapes) shapes += fmt::format(", {} {}", printable(name), shape);
  std::string text = fmt::format(
      "{}: {} thread{}{}: min {:.3f} ms, median {:.3f} ms, p99 {:.3f} ms; opening and first run {:.1f} ms; {} MB\n",
      report.model, report.threads, report.threads == 1 ? "" : "s", shapes, report.times.min, report.times.median,
      report.times.p99, report.load_ms, report.peak_rss_mb);
  text += report.millijoules ? fmt::format("energy: {:.4g} mJ a run, of all CPU packages\n", *report.millijoules)
                             : fmt::format("energy: not measured: {}\n", report.no_energy);
  for (const Peer& peer : report.peers)
    text +=
        fmt::format("{}: min {:.3f} ms, median {:.3f} ms: {:.2f} and {:.2f} times as long\n", peer.name, peer.min_ms,
                    peer.median_ms, peer.min_ms / report.times.min, peer.median_ms / report.times.median);
  if (report.peak.gflops > 0)
    text += fmt::format("machine: {:.0f} GFLOP/s float32 a core, {:.1f} GB/s of memory\n", report.peak.gflops,
                        report.peak.gbytes);
  return text + table_text(report);
}

std::string report_json(const Report& report) {
  Json json = {{"model", report.model},
               {"threads", report.threads},
               {"shapes", report.shapes},
               {"min_ms", report.times.min},
               {"median_ms", report.times.median},
               {"p99_ms", report.times.p99},
               {"load_ms", report.load_ms},
               {"steps_ms", report.steps_ms},
               {"peak_rss_mb", report.peak_rss_mb},
               {"energy_mj", report.millijoules ? Json(*report.millijoules) : Json()},
               {"peak_gflops", report.peak.gflops},
               {"peak_gbytes", report.peak.gbytes},
               {"plain_kernels", report.plain ? Json(report.plain->operators()) : Json()},
               {"host_kernels", report.plain ? Json(report.plain->host_operators()) : Json()},
               {"opened_composites", report.plain ? Json(report.plain->opened_composites()) : Json()},
               {"kernels", Json::array()},
               {"peers", Json::array()}};
  for (const KernelRow& row : report.rows) {
    json["kernels"].push_back({{"kernel", row.name},
                               {"origin", row.origin},
                               {"ms", row.ms},
                               {"steps", row.steps},
                               {"flops", row.flops},
                               {"bytes", row.bytes},
                               {"gflops", row.gflops},
                               {"gbytes", row.gbytes},
                               {"share", row.share},
                               {"registers", row.registers},
                               {"local_bytes", row.local_bytes},
                               {"shared_bytes", row.shared_bytes}});
  }
  for (const Peer& peer : report.peers)
    json["peers"].push_back({{"name", peer.name}, {"min_ms", peer.min_ms}, {"median_ms", peer.median_ms}});
  return dump(json);
}

// What took no time did not run, or took less than the clock shows.
std::string trace_json(const std::string& model, const std::vector<LoadedModel::StepProfile>& steps) {
  Json events = Json::array();
  events.push_back({{"name", "process_name"}, {"ph", "M"}, {"pid", 1}, {"args", {{"name", model}}}});
  double start = 0;  // microseconds
  for (size_t i = 0; i < steps.size(); ++i) {
    const LoadedModel::StepProfile& step = steps[i];
    if (!step.runs || step.kernel.empty() || step.nanoseconds <= 0) continue;
    const double duration = static_cast<double>(step.nanoseconds) * 1e-3;
    events.push_back({{"name", step.kernel},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", start},
                      {"dur", duration},
                      {"args", {{"step", i}, {"origin", step.origin}, {"flops", step.flops}, {"bytes", step.bytes}}}});
    start += duration;
  }
  return dump({{"traceEvents", events},
               {"displayTimeUnit", "ns"},
               {"otherData", {{"steps", "of one run, laid end to end; a step in a loop is one slice"}}}});
}

std::vector<Peer> read_peers(const std::string& file, const std::string& model) {
  std::ifstream stream(file);
  if (!stream) throw Error(Fault::File, fmt::format("{}: {}", printable(file), std::strerror(errno)));
  std::vector<Peer> peers;
  try {
    const Json json = Json::parse(stream);
    for (const Json& row : json.is_array() ? json : Json::array({json})) {
      if (row.at("model").get<std::string>() != model) continue;
      const int threads = row.at("threads");
      const std::string with = fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s");
      std::string prefix;  // compare.py names the peer, bench --json has none
      for (const auto& [key, value] : row.items())
        if (key.ends_with("_min_ms") && key != "lapidary_min_ms") prefix = key.substr(0, key.size() - 6);
      peers.push_back({(prefix.empty() ? printable(file) : printable(prefix.substr(0, prefix.size() - 1))) + with,
                       row.at(prefix + "min_ms"), row.at(prefix + "median_ms")});
    }
  } catch (const Json::exception&) {
    throw Error(Fault::Input,
                fmt::format("{}: not what bench --json or bench/compare.py --json writes", printable(file)));
  }
  if (peers.empty())
    throw Error(Fault::Input, fmt::format("{}: no figures of '{}' in it", printable(file), printable(model)));
  return peers;
}

}  // namespace lapidary::tools
