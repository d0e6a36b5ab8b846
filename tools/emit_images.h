// lapidary compile --emit=cubin,ptx: the images of a CUDA target, a file each.
#pragma once

#include <string>
#include <vector>

#include "tools/driver.h"

namespace lapidary::tools {

// Those of `kinds` ("cubin", "ptx"). Files are called model.sm_80.cubin, model.compute_80.ptx, with a number after the
// architecture where it has several; `output` takes the place of "model", or is the name where there is one file.
void emit_images(const CompileOptions&, const std::vector<std::string>& kinds, const std::string& output);

}  // namespace lapidary::tools
