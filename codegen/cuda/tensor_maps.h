// Operands that Hopper's copy engine moves (TMA): the tensor that an operand of a product or of attention walks over,
// read off the address of its element (line, k). What it is told comes from the host (lpd_tensor_map), which knows the
// kernel's integers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

// `factor`, times an integer of the kernel when `integer` is not negative.
struct MapNumber {
  int64_t factor = 0;
  int integer = -1;
};

// Innermost dimension first; its elements are adjacent. Lines of a box are permuted in 128 bytes.
struct TensorMap {
  int buffer = 0;  // of the kernel's
  DType dtype = DType::F16;
  bool is_rounded = true;          // f32 to tf32
  MapNumber offset;                // in elements
  std::vector<MapNumber> extents;  // what lies beyond is 0
  std::vector<MapNumber> strides;  // in elements, from the second dimension on
  std::vector<int> box;
};

// Where a task's tile lies in it: the coordinates of its first line and of its first k, which a product or attention
// counts on from there, and those in the third and fourth dimension.
struct MappedOperand {
  TensorMap map;
  loops::Expr line, k;
  std::vector<loops::Expr> others;
};

// Results that go by way of staging memory: in the loop over a thread's elements, pairs or single ones, `store` is to
// write there. From there the copy engine stores them, or the threads do, whole rows `stride` apart.
struct StagedResults {
  const loops::StmtNode *loop, *store;
  std::optional<MappedOperand> place;  // null: the threads
  loops::Expr base, stride;            // element (row, column) is at base + row * stride + column
  loops::Expr row, column;             // where a tile begins
  loops::Expr row_end, column_end;     // what guards the store; null: nothing does
  bool is_by_pairs() const { return *loops::value_of(loop->step) == 2; }
};

// What the epilogue of results that the engine stores takes of a tensor of their own shape, whose tile comes behind the
// product's operands (device/wgmma_residual.h): pairs of elements that it loads.
struct MappedResidual {
  loops::Expr load;
  MappedOperand place;
  int64_t slots;  // of the ring
};

struct MappedOperands {
  struct Named {
    const char* name;                      // a and b, or q, k and v
    std::optional<MappedOperand> operand;  // null: the threads must move it
  };
  std::vector<Named> operands;
  std::optional<StagedResults> results;
  std::optional<MappedResidual> residual;

  const std::optional<MappedOperand>& of(std::string_view name) const;
};
MappedOperands mapped_operands(const loops::Kernel&);  // of a kernel of warpgroups; of others, none

// A kernel's schedule, and what the copy engine moves: of what it multiplies " copy=tma", of some operands alone "
// copy=tma:a" or " copy=tma:k,v"; then " residual=tma", and of its results " store=tma",
// or " store=rows" where the threads store them.
std::string schedule_of(const loops::Kernel&);

// What the kernel is given behind its integers, in order.
std::vector<TensorMap> tensor_maps(const loops::Kernel&);

}  // namespace lapidary::codegen::cuda
