// The page of `bench --html`: one file with its style and pictures in it, no script. All text goes through escape_html.
#include <fmt/format.h>

#include "ir/error.h"
#include "tools/svg_plots.h"

namespace lapidary::tools {

namespace {

constexpr const char* kStyle = R"(
body { font: 14px/1.5 sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { padding: 1px 10px; text-align: right; white-space: nowrap; }
td.l, th.l { text-align: left; white-space: normal; } tr:nth-child(even) { background: #f4f4f4; }
svg { width: 100%; font-size: 11px; } .grid { stroke: #ddd; } .roof { stroke: #b33; stroke-width: 2; }
circle { fill: #36c; fill-opacity: .6; } rect { stroke: #fff; stroke-width: .5; }
.b0 { fill: #4878a8; } .b1 { fill: #e49444; } .b2 { fill: #6a9f58; } .b3 { fill: #a87c9f; } .b4 { fill: #85b6b2; }
.b5 { fill: #967662; }
)";

std::string section(const char* title, const std::string& content) {
  return content.empty() ? "" : fmt::format("<h2>{}</h2>\n{}", title, content);
}

std::string row(std::initializer_list<std::string> numbers, const std::string& text, const char* cell = "td") {
  std::string html = "<tr>";
  for (const std::string& number : numbers) html += fmt::format("<{0}>{1}</{0}>", cell, escape_html(number));
  return html + fmt::format("<{0} class=\"l\">{1}</{0}></tr>\n", cell, escape_html(text));
}

std::string table(const std::string& rows) { return "<table>\n" + rows + "</table>\n"; }

std::string summary(const Report& report) {
  std::string shapes;
  for (const auto& [name, shape] : report.shapes) shapes += fmt::format(", {} {}", printable(name), shape);
  std::string html = fmt::format(
      "<p>{} thread{}{}: min {:.3f} ms, median {:.3f} ms, p99 {:.3f} ms; opening and first run {:.1f} ms; {} MB</p>\n",
      report.threads, report.threads == 1 ? "" : "s", escape_html(shapes), report.times.min, report.times.median,
      report.times.p99, report.load_ms, report.peak_rss_mb);
  const std::string energy = report.millijoules
                                 ? fmt::format("{:.4g} mJ a run, of all CPU packages", *report.millijoules)
                                 : "not measured: " + report.no_energy;
  return html + fmt::format("<p>Energy: {}</p>\n", escape_html(energy));
}

std::string peers(const Report& report) {
  if (report.peers.empty()) return "";
  std::string rows = row({"min ms", "median ms", "times as long"}, "", "th");
  rows += row({fmt::format("{:.3f}", report.times.min), fmt::format("{:.3f}", report.times.median), "1"}, "this run");
  for (const Peer& peer : report.peers)
    rows += row({fmt::format("{:.3f}", peer.min_ms), fmt::format("{:.3f}", peer.median_ms),
                 fmt::format("{:.2f}", peer.min_ms / report.times.min)},
                peer.name);
  return table(rows) + "<p>The others were measured in runs of their own, not beside this one.</p>\n";
}

std::string kernels(const Report& report) {
  std::string rows = row({"ms", "share", "steps", "GFLOP/s", "GB/s", "peak"}, "kernel", "th");
  for (const KernelRow& kernel : report.rows)
    rows += row({fmt::format("{:.4f}", kernel.ms),
                 fmt::format("{:.1f}%", report.steps_ms > 0 ? 100 * kernel.ms / report.steps_ms : 0),
                 fmt::format("{}", kernel.steps), fmt::format("{:.1f}", kernel.gflops),
                 fmt::format("{:.1f}", kernel.gbytes), share_text(kernel, report.peak)},
                kernel.name + "  " + kernel.origin);
  return table(rows) +
         fmt::format("<p>{:.4f} ms all steps, of a run's {:.4f}</p>\n", report.steps_ms, report.times.min);
}

std::string roofline(const Report& report) {
  const std::string svg = roofline_svg(report);
  if (svg.empty()) return "";
  return svg + fmt::format(
                   "<p>{:.0f} GFLOP/s float32 a core and {:.1f} GB/s of memory, measured in this run; the larger a "
                   "dot, the more of the time. Kernels that read from caches, compute on codes or save "
                   "multiplications (Winograd) may lie above.</p>\n",
                   report.peak.gflops, report.peak.gbytes);
}

std::string memory(const Inspection& plan) {
  std::string html = fmt::format(
      "<p>The arena at its peak: {}{} bytes. Workspace of each thread: {} bytes.</p>\n", escape_html(plan.peak.formula),
      plan.peak.value ? fmt::format(" = {}", *plan.peak.value) : "", escape_html(plan.workspace.formula));
  if (!plan.registers.empty()) {
    std::string rows = row({"slot", "first step", "last step"}, "sized at run time, not in the peak", "th");
    for (const Inspection::Register& held : plan.registers)
      rows += row({fmt::format("{}", held.slot), fmt::format("{}", held.first_step), fmt::format("{}", held.last_step)},
                  held.origin);
    html += table(rows);
  }
  return memory_svg(plan) + html;
}

std::string groups(const Inspection& plan) {
  std::string rows = row({"groups", "ops", "in the largest"}, "family", "th");
  for (const auto& [family, found] : plan.groups)
    rows +=
        row({fmt::format("{}", found.groups), fmt::format("{}", found.ops), fmt::format("{}", found.largest)}, family);
  return table(rows);
}

}  // namespace

std::string report_html(const Report& report, const Inspection& plan) {
  const std::string title = escape_html(printable(report.model));
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>{1}</style>\n"
      "</head>\n<body>\n<h1>{0}</h1>\n",
      title, kStyle);
  html += summary(report) + section("Against", peers(report)) + section("Kernels", kernels(report));
  html += section("Roofline", roofline(report)) + section("Memory plan", memory(plan));
  return html + section("Fused groups", groups(plan)) + "</body>\n</html>\n";
}

}  // namespace lapidary::tools
