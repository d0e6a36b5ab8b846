// Loops over the threads of a block that does a task.
#pragma once

#include <array>
#include <functional>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering::gpu {

// Adds a Thread loop over the builder's threads to the task.
void for_each_thread(KernelBuilder&, const std::function<void(Block&, const loops::Expr& thread)>& body);

// Adds a serial loop that all threads take together: `body` adds what is in it to the task.
void for_all_threads(KernelBuilder&, const loops::Var&, const loops::Expr& begin, const loops::Expr& end, int64_t step,
                     const std::function<void()>& body);

// A loop over the threads, and in it over the first `count` elements of a fragment that each of them holds, `step` at a
// time.
void for_each_held(KernelBuilder&, const loops::Buffer& fragment, int64_t count, int step,
                   const std::function<void(Block&, const loops::Expr& thread, const loops::Expr& element)>& body);
// All of them.
void for_each_held(KernelBuilder&, const loops::Buffer& fragment, int step,
                   const std::function<void(Block&, const loops::Expr& thread, const loops::Expr& element)>& body);

// Which threads of a block have a line together.
struct ThreadLines {
  int each = 1;   // threads of a line, a power of two
  int apart = 1;  // from one of a line to the next: 1, or as many as there are lines

  loops::Expr part_of(const loops::Expr& thread) const;  // of the thread within its line
  loops::Expr before(const loops::Expr& thread, int parts) const;
};
// Adds to the task what combines each thread's total in `totals[0]`, shared memory, with those of all before it in its
// line, in log2(each) steps; tells which of the buffers has the result.
int scan_threads(KernelBuilder&, const std::array<loops::Buffer, 2>& totals, const ThreadLines&,
                 const std::function<loops::Expr(const loops::Expr& before, const loops::Expr& total)>& combined);

}  // namespace lapidary::lowering::gpu
