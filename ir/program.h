// A Program is data: what codegen eats and the runtime executes. Per entry point a flat list of steps over kernels,
// a memory plan, and the signature. Every number is a Dim, evaluated into a slot table: when shapes are bound, or,
// where it speaks of elements (to_host, a loop's iteration), by the Elements step that reads them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/constant.h"
#include "ir/dim.h"
#include "ir/graph.h"
#include "ir/loops.h"

namespace lapidary {

struct EntryPoint;

struct BufferRef {
  enum class Base : uint8_t { None, Arena, Weights, Input, Output, Flag, Register, State };
  Base base = Base::None;
  uint32_t index = 0;  // Input, Output: which one. Weights, Flag: index into Program::weights, flags. Arena, Register:
                       // into the entry point's arena, registers. State: into the module's states
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

// Kernels do the work; the other steps are the host's, done by one thread between kernels: they decide which steps
// come next and how large what only the data can tell is. A run of kernel steps that no branch enters is one parallel
// region.
enum class StepKind : uint8_t {
  Kernel,
  Elements,      // reads the integers of buffer 0, or, without one, `amount`, a loop's counter: `elements` get their
                 // values, what follows from them is evaluated and checked
  Reserve,       // register buffer 0 gets room for `amount` bytes at least; with `keep`, what it holds stays
  Provide,       // buffer 0, an output whose extents were not known before, gets its memory
  Branch,        // to `target` when `amount` is 0; always, when there is none
  BranchUnless,  // to `target` when the bool in buffer 0 is false
  LoopBegin,     // the counter of iterations, the element, is -1; so is its copy for kernels, where there is one, an
                 // i64 in buffer 0
  LoopNext,      // adds 1 to the counter; to `target` when it has reached `amount`
  Swap,          // the registers buffer 0 and buffer 1 exchange what they hold
  HostCall,    // `call`, a function of the runtime: buffer 0 is the dictionary of strings, where it needs one, the last
               // one its result; `integers` are the result's elements and what else it is told
  HostKernel,  // of a program for a device: a kernel that a thread of the host runs, on copies of its buffers
};
inline bool runs_kernel(StepKind kind) { return kind == StepKind::Kernel || kind == StepKind::HostKernel; }
std::string_view name_of(StepKind);
inline bool jumps(StepKind kind) {
  return kind == StepKind::Branch || kind == StepKind::BranchUnless || kind == StepKind::LoopNext;
}

struct Step {
  StepKind kind = StepKind::Kernel;
  std::vector<BufferRef> buffers;  // Kernel: one for each of the kernel's buffers; Stage ones are {None}
  Origin origin = 0;

  // Kernel, HostKernel
  std::vector<Variant> variants;
  bool barrier_before = true;  // false when each thread reads only what it wrote, or nothing of the step before
  bool serial = false;         // run by one thread: too small to split
  int64_t grain = 1;           // least tasks for a thread
  Dim flops = nullptr, bytes = nullptr;  // work and least traffic, for reports

  // the host's
  Dim amount = nullptr;
  uint32_t target = 0;  // index of a step
  bool keep = false;
  DType dtype{};              // Elements: of the integers
  std::vector<Dim> elements;  // leaves. Elements: in the order of the buffer. LoopBegin, LoopNext: the counter, of
                              // which no other step's formulas speak
  const Op* call = nullptr;   // HostCall: the op in the module
  std::vector<Dim> integers;
  std::vector<Dim> buffer_bytes;  // HostCall, HostKernel: of each buffer; the dictionary's and stages' are not told
};

struct ArenaBuffer {
  Dim bytes;
  Dim offset;                              // a multiple of 64, chosen by plan_memory
  uint32_t first_step = 0, last_step = 0;  // inclusive life
};

// Memory of its own that grows when it must: for values whose sizes only a run can tell, and for those a loop hands on.
struct Register {
  uint32_t first_step = 0, last_step = 0;  // inclusive life
  uint32_t slot = 0;                       // those of one slot share their memory; chosen by plan_memory
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
  std::vector<Register> registers;
  uint32_t register_slots = 0;
};

// For each step: does a parallel region begin with it? (True of branch targets too; of other host steps it says
// nothing.)
std::vector<bool> region_begins(const EntryPoint&);

struct Program {
  std::string name;
  std::string f32_products;                      // how a GPU's kernels multiply f32, "ieee" or "tf32"; "" of a CPU's
  Module* module = nullptr;                      // owns Dims, constants and origins; must outlive the program
  std::vector<loops::Kernel> kernels;            // no two equal
  std::map<std::string, uint32_t> kernel_index;  // of what add_kernel takes for equal; its memory
  std::vector<ConstantId> weights;               // no two equal; stored 64-byte aligned in this order
  std::vector<EntryPoint> entries;
  std::vector<Check> checks;
  std::vector<std::string> flags;  // i32s that are 0 before a run: what is wrong with the input when one is set
};

// Adds a kernel unless an equal one is there; returns its index.
uint32_t add_kernel(Program&, loops::Kernel);
uint32_t add_weight(Program&, ConstantId);
bool begins_as_zeros(const Module&, const State&);  // such a one needs no weight
uint32_t add_flag(Program&, std::string message);
std::string print_program(const Program&);  // steps, buffers, plan: what --emit=program shows and lit tests check

}  // namespace lapidary
