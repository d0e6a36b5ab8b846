// Multiprocessors, f32 lanes of each, memory's speed and the clock under load, by the makers' white papers and data
// sheets:
//
//   7.5  T4 40 x 64, 320 GB/s, 1.6 GHz; RTX 2080 Ti 68 x 64, 616 GB/s, 1.5 GHz          (Turing white paper)
//   8.0  A100 108 x 64, 1555 to 2039 GB/s, 1.4 GHz                                      (A100 data sheet)
//   8.6  A10 72 x 128, 600 GB/s, 1.7 GHz; A40, RTX 3090 82 to 84 x 128, 696 to 936 GB/s, 1.7 GHz    (GA102 white paper)
//   8.9  L4 58 x 128, 300 GB/s; RTX 4090 128 x 128, 1008 GB/s, 2.5 GHz; L40S 142 x 128, 864 GB/s    (Ada white paper)
//   9.0  H100 132 x 128, 3350 GB/s; H200 the same, 4800 GB/s, 1.8 GHz                   (H100 and H200 data sheets)
//   10.0 B200 148 x 128, 8000 GB/s, 1.9 GHz                                             (Blackwell data sheet)
//   12.0 RTX 5090 170 x 128, 1792 GB/s, 2.4 GHz                                         (RTX Blackwell white paper)
#include "ir/gpu_model.h"

namespace lapidary {

const GpuModel& gpu_model(int capability) {
  static constexpr GpuModel kModels[] = {
      {.least_capability = 0, .multiprocessors = 48, .lanes = 64, .memory_bytes = 256},
      {.least_capability = 80, .multiprocessors = 108, .lanes = 64, .memory_bytes = 1280},
      {.least_capability = 86, .multiprocessors = 84, .lanes = 128, .memory_bytes = 512},
      {.least_capability = 89, .multiprocessors = 128, .lanes = 128, .memory_bytes = 416},
      {.least_capability = 90, .multiprocessors = 132, .lanes = 128, .memory_bytes = 2400},
      {.least_capability = 100, .multiprocessors = 148, .lanes = 128, .memory_bytes = 4300},
      {.least_capability = 120, .multiprocessors = 170, .lanes = 128, .memory_bytes = 740}};
  const GpuModel* best = kModels;
  for (const GpuModel& model : kModels)
    if (model.least_capability <= capability) best = &model;
  return *best;
}

}  // namespace lapidary
