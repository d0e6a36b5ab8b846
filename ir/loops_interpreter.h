// Runs a kernel statement by statement: the definition of what Loops mean, and the oracle of every emitter. Every load
// and store is checked against its buffer's size; reading what nobody wrote, and two tasks touching one element where
// one of them writes, are reported.
#pragma once

#include <string>
#include <vector>

#include "ir/loops.h"

namespace lapidary::loops {

struct BoundBuffer {
  void* data;        // of a Global buffer, dense elements of its dtype
  int64_t elements;  // size of a Stage buffer too
};

// Throws Error{Fault::Internal} on an out-of-bounds access or a race, naming buffer, index and task.
void interpret(const Kernel&, std::vector<BoundBuffer> buffers, const std::vector<int64_t>& integers,
               int64_t task_begin, int64_t task_end);

}  // namespace lapidary::loops
