// What passes take a GPU to be when they weigh schedules for it: orders of magnitude, by compute capability, that need
// be right only so far as the choice between two schedules hangs on them. How fast a tile of a product goes on tensor
// cores stands with the tiles (passes/lower/gpu/tiles.cpp); what kernels may use, and not only count on, is in Target.
//
// Most devices that a list of architectures names differ by less than their families do: one row serves them all today.
#pragma once

#include <cstdint>

namespace lapidary {

struct GpuModel {
  int least_capability;           // 10 * major + minor
  int64_t multiprocessors;        // from 84 to 148 on boards for servers and large ones for desks
  int64_t lanes;                  // operations on f32 a clock, of a multiprocessor
  int64_t memory_bytes;           // a clock, of all of them: 3 TB/s at 1.3 GHz
  int64_t threads;                // that run at once
  int64_t memory_blocks;          // of threads, that keep the memory busy
  int64_t enough_tiles;           // of a product, to be worth their size
  int64_t kernel_start;           // clocks until another kernel works
  int64_t block_start;            // clocks of a block beside its loop over k: its start, the first operands' way
  int64_t warpgroup_block_start;  // the same where the copy engine feeds it
  int64_t store;                  // of a result, in operations of a lane
};

// The row of the highest capability that is not above it.
const GpuModel& gpu_model(int capability);

}  // namespace lapidary
