// What the kernels of a tree ensemble have in common. Each leaves, for every row, one number (or one for each target)
// of every segment in a scratch buffer [segment][row][leaf width], which a last step reduces in order.
#pragma once

#include "passes/lower/group_emitter.h"
#include "passes/lower/tree_tables.h"

namespace lapidary::lowering {

struct TreeEnsembleForm {
  Context& context;
  const Op& group;
  const Op& op;
  const Trees& trees;
  const Slots& slots;
  Dim rows;
};

struct TreeVariant {
  LoweredVariant variant;
  std::vector<int64_t> targets;  // of each segment
};

// Walks down the trees, node by node, several in step to hide the latency of the loads.
TreeVariant walk_one_row(const TreeEnsembleForm&, Dim when);  // row by row, several trees at once
TreeVariant walk_rows(const TreeEnsembleForm&, Dim when);     // a block of rows a task, several at once in one tree
// Asks all splits of a tree for a block of rows; see tree_bits.cpp. Not of every forest.
bool has_tree_bits(const Trees&, const Target&);
TreeVariant ask_all_splits(const TreeEnsembleForm&, int vectors, Dim when);  // vectors of rows a task

loops::Expr combined(const Trees&, loops::Expr a, loops::Expr b);
loops::Expr nothing(const Trees&, int lanes);
loops::Expr load_index(const loops::Buffer&, loops::Expr index);  // an i32 as an index

}  // namespace lapidary::lowering
