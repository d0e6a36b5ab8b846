// `run --check-each-kernel`: every kernel by itself, on the interpreter's values, so that nothing adds up.
#pragma once

#include "tools/driver.h"
#include "tools/loaded_model.h"

namespace lapidary::tools {

// Compiles the model cut between its kernels, runs it, and compares each kernel's results, and the integer sums of
// products and convolutions inside them, with the interpreter's. Where codes are what the model as imported calls a
// value of its own, they are compared with those: what passes rewrite on the way to them is held to the bound too.
// Needs all extents known. Exit status: 0 when all results are within the bounds of kernel_report.h, 1 otherwise.
int check_each_kernel(const CompileOptions&, const std::vector<HostTensor>& inputs);

}  // namespace lapidary::tools
