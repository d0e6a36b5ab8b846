#include "ir/gpu_model.h"

namespace lapidary {

const GpuModel& gpu_model(int capability) {
  static constexpr GpuModel kModels[] = {{.least_capability = 0,
                                          .multiprocessors = 128,
                                          .lanes = 128,
                                          .memory_bytes = 2400,
                                          .threads = 128 * 1024,
                                          .memory_blocks = 1024,
                                          .enough_tiles = 96,
                                          .kernel_start = 2500,
                                          .block_start = 1200,
                                          .warpgroup_block_start = 2000,
                                          .store = 5}};
  const GpuModel* best = kModels;
  for (const GpuModel& model : kModels)
    if (model.least_capability <= capability && model.least_capability >= best->least_capability) best = &model;
  return *best;
}

}  // namespace lapidary
