// What a product for a GPU holds besides the tables that all have: its kernels as the driver needs them, the maps of
// the copy engine, and the images that they are in, which are an object of their own.
#pragma once

#include <vector>

#include "codegen/cuda/packing.h"
#include "codegen/host/object_file.h"
#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::codegen::host {

// Of the level-th program; gives where in the object its lpd_device_code is.
uint64_t add_device_code(DataObject&, const Program&, uint32_t level, const std::vector<cuda::PackedImage>&);

std::vector<char> image_object(const std::vector<cuda::PackedImage>&, Arch);

}  // namespace lapidary::codegen::host
