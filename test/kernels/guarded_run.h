// Runs a lowered program as compiled code, step by step as the runtime would, but with each buffer (arena buffers,
// inputs, outputs, weights, each thread-private stage) in a guarded block of its own. An arena buffer can be touched
// only during its planned life and begins it poisoned; inputs and weights cannot be written. An access outside of what
// a step was given ends the run with an Error that names step, kernel, buffer and distance.
//
// Placed at their blocks' ends, a step's tasks are dealt out in pieces, the last one first, since threads may finish
// in any order; placed at their beginnings, one call does all rounds, as in a run with one thread.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "codegen/cpu/load.h"
#include "ir/interpreter.h"
#include "test/cuda/emulated_kernels.h"
#include "test/kernels/guarded_block.h"

namespace lapidary::test {

// The kernels of many programs, compiled for one target and linked once: equal ones are one. Those of a GPU are
// emulated.
class CompiledKernels {
 public:
  size_t add(const Program&);  // its number
  void compile(const Target&, int jobs = 2);
  lpd_kernel kernel(size_t program, uint32_t index) const {
    const uint32_t kernel = kernels_of_.at(program).at(index);
    return emulated_ ? (*emulated_)[kernel] : (*loaded_)[kernel];
  }
  size_t count() const { return all_.kernels.size(); }

 private:
  Program all_;
  std::vector<std::vector<uint32_t>> kernels_of_;
  std::unique_ptr<codegen::cpu::LoadedKernels> loaded_;
  std::unique_ptr<EmulatedKernels> emulated_;
};

class GuardedProgram {
 public:
  // `rounds_apart`: a call never does more than one round, as a GPU's launches do not.
  GuardedProgram(const Program&, std::function<lpd_kernel(uint32_t)>, Placement, bool rounds_apart = false);
  // Of the first entry point. Throws Error{Fault::Internal}.
  std::vector<Tensor> run(std::span<const Tensor> inputs) const;

 private:
  const Program& program_;
  std::function<lpd_kernel(uint32_t)> kernel_;
  Placement placement_;
  bool rounds_apart_;
  std::vector<GuardedBlock> weights_;
};

}  // namespace lapidary::test
