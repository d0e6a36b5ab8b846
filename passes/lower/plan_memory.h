// Where the buffers of one entry point lie in its arena.
//
// A life is a range of steps; buffers whose lives meet must not overlap. Sizes are formulas, so they are sorted into
// classes whose members can be compared for certain: constants, and multiples of one monomial (64·N and 256·N, not
// N·S). Each class is packed exactly by its coefficients, largest first at the lowest gap that fits; the classes lie
// one behind the other. What is no multiple of a monomial ((N + 2)·W), or of one by no whole number of 64-byte lines
// (4·N·S), shares slots as large as the max of their members' formulas, rounded up. Packing n buffers costs n²
// comparisons: microseconds for a hundred. Test: test/passes/plan_memory_test.cpp.
#pragma once

#include "ir/program.h"

namespace lapidary::lowering {

// Fills in the offsets of entry.arena, entry.arena_bytes, and the slots of entry.registers.
void plan_memory(DimPool&, EntryPoint&);

}  // namespace lapidary::lowering
