// Axes walked as one by threads that share out the positions on all of them evenly, however long each axis is.
//
// A position counts the innermost axis fastest. A thread divides where it begins by the extents of the axes; then it
// adds the digits of its step to its own, with carry: nothing is divided in the loop.
//
// Example, positions on [B, S] by 16 threads:  thread t begins at [t / S, t mod S] and goes on by [16 / S, 16 mod S]
#pragma once

#include <functional>
#include <vector>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering::gpu {

struct FlatRange {
  std::vector<Dim> extents;  // of the axes, outermost first
  loops::Expr begin, end;    // positions on all of them
};

// How threads take turns.
struct FlatTurns {
  loops::Expr thread;  // which of them this is
  int threads = 1;
  int at_once = 1;  // positions that a thread stands at in one round of its loop, so that loads of all are under way
};

// Adds a thread's loop over its positions to `outer`. `body` gets the block, which of those at once this is, and the
// place on each of the axes.
void walk_flat(KernelBuilder&, Block& outer, const FlatRange&, const FlatTurns&,
               const std::function<void(Block&, int slot, const std::vector<loops::Expr>& place)>& body);

}  // namespace lapidary::lowering::gpu
