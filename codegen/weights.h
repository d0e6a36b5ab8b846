// Writing a product's weights: their bytes are produced once, by all threads, straight into the file.
#pragma once

#include "codegen/host/tables.h"
#include "codegen/output_file.h"

namespace lapidary::codegen {

// Fills the bytes at `file_offset` (a multiple of 4096) of the file being made.
void write_weights(const ConstantTable&, const host::WeightLayout&, const OutputFile&, int64_t file_offset, int jobs);

}  // namespace lapidary::codegen
