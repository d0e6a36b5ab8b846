// Inline SVG of a bench page, and pictures of their own. Tests: test/tools/bench_files.test,
// test/train/train_command.py.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/bench_report.h"

namespace lapidary::tools {

std::string escape_html(std::string_view);  // for text and quoted attributes

// Each kernel's GFLOP/s over its flops per byte, under what the machine can do at most; empty where nothing is to plot.
std::string roofline_svg(const Report&);
// The arena: where each buffer lies, from its first step to its last.
std::string memory_svg(const Inspection&);

struct Curve {
  std::string name, kind;  // kind: "train" or "validation", how it looks
  std::vector<std::pair<double, double>> points;
};
// A whole file. Points that are no numbers are left out.
std::string curves_svg(const std::string& x_name, const std::string& y_name, const std::vector<Curve>&);

}  // namespace lapidary::tools
