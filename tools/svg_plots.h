// Inline SVG of a bench page. Test: test/tools/bench_files.test.
#pragma once

#include <string>
#include <string_view>

#include "tools/bench_report.h"

namespace lapidary::tools {

std::string escape_html(std::string_view);  // for text and quoted attributes

// Each kernel's GFLOP/s over its flops per byte, under what the machine can do at most; empty where nothing is to plot.
std::string roofline_svg(const Report&);
// The arena: where each buffer lies, from its first step to its last.
std::string memory_svg(const Inspection&);

}  // namespace lapidary::tools
