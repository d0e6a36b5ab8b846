// A Program is data: what codegen eats and the runtime executes. Per entry point a flat list of steps over kernels,
// a memory plan, and the signature. Every number is a Dim, evaluated into a slot table when shapes are bound.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/constant.h"
#include "ir/dim.h"
#include "ir/graph.h"
#include "ir/loops.h"

namespace lapidary {

struct BufferRef {
  enum class Base : uint8_t { None, Arena, Weights, Input, Output, Flag };
  Base base = Base::None;
  uint32_t index = 0;    // Input, Output: which one. Weights, Flag: index into Program::weights, flags. Arena: index
                         // into Plan
  Dim offset = nullptr;  // bytes added to it; null is 0
  bool operator==(const BufferRef&) const = default;
};

struct Variant {              // one kernel that can do the step; the first whose `when` holds is taken
  uint32_t kernel;            // index into Program::kernels
  Dim when = nullptr;         // null: always
  Dim tasks;                  // iterations of the kernel's Task loop in one round
  Dim rounds = nullptr;       // null: 1. Round r runs tasks [r * tasks, (r + 1) * tasks), split over the team, with a
                              // barrier after each: a recurrence over time is one step
  std::vector<Dim> integers;  // one for each of the kernel's integer parameters
  Dim stage_bytes = nullptr;  // per-thread scratch the kernel's Stage buffers share; null is 0
  std::vector<Dim> stage_offsets;  // one for each Stage buffer among the kernel's buffers, in order
};

struct Step {
  std::vector<Variant> variants;
  std::vector<BufferRef> buffers;  // one for each of the kernel's buffers; Stage ones are {None}
  bool barrier_before = true;      // false when each thread reads only what it wrote, or nothing of the step before
  bool serial = false;             // run by one thread: too small to split
  int64_t grain = 1;               // least tasks for a thread
  Origin origin = 0;
  Dim flops = nullptr, bytes = nullptr;  // work and least traffic, for reports
};

struct ArenaBuffer {
  Dim bytes;
  Dim offset;                              // a multiple of 64, chosen by plan_memory
  uint32_t first_step = 0, last_step = 0;  // inclusive life
};

struct TensorInfo {
  std::string name;  // the model's own, raw
  DType dtype;
  Shape shape;
};

struct EntryPoint {
  std::string name;  // "run"
  std::vector<TensorInfo> inputs, outputs;
  std::vector<Step> steps;
  std::vector<ArenaBuffer> arena;
  Dim arena_bytes = nullptr;
};

struct Program {
  std::string name;
  Module* module = nullptr;                      // owns Dims, constants and origins; must outlive the program
  std::vector<loops::Kernel> kernels;            // no two equal
  std::map<std::string, uint32_t> kernel_index;  // of canonical_text; add_kernel's memory
  std::vector<ConstantId> weights;               // no two equal; stored 64-byte aligned in this order
  std::vector<EntryPoint> entries;
  std::vector<Check> checks;
  std::vector<std::string> flags;  // i32s that are 0 before a run: what is wrong with the input when one is set
};

// Adds a kernel unless an equal one is there; returns its index.
uint32_t add_kernel(Program&, loops::Kernel);
uint32_t add_weight(Program&, ConstantId);
uint32_t add_flag(Program&, std::string message);
std::string print_program(const Program&);  // steps, buffers, plan: what --emit=program shows and lit tests check

}  // namespace lapidary
