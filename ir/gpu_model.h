// What passes take a GPU to be when they weigh schedules for it: orders of magnitude, by compute capability, that need
// be right only so far as the choice between two schedules hangs on them. How fast a tile of a product goes on tensor
// cores stands with the tiles (passes/lower/gpu/tiles.cpp); what kernels may use, and not only count on, is in Target.
//
// Devices of one capability differ by up to twice; a row is the one that counts most, or the middle (gpu_model.cpp).
#pragma once

#include <cstdint>

namespace lapidary {

struct GpuModel {
  int least_capability;  // 10 * major + minor
  int64_t multiprocessors;
  int64_t lanes;                         // operations on f32 a clock, of a multiprocessor
  int64_t memory_bytes;                  // a clock, of all of them
  int64_t kernel_start = 4500;           // clocks until another kernel works
  int64_t block_start = 5000;            // clocks of a block beside its loop over k: its start, the first operands' way
  int64_t warpgroup_block_start = 6000;  // the same where the copy engine feeds it
  int64_t store = 5;                     // of a result, in operations of a lane

  int64_t threads() const { return 1024 * multiprocessors; }     // that run at once
  int64_t memory_blocks() const { return 8 * multiprocessors; }  // of threads, that keep the memory busy
};

// The row of the highest capability that is not above it.
const GpuModel& gpu_model(int capability);

}  // namespace lapidary
