// Which axes Resize and Upsample resize, and by how much: from scales or sizes, given or computed of shapes.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

// Result extent / operand extent of one axis: a quotient of extents, or a number of the model and the simplest fraction
// that is this float. 0.7 is meant as 7/10, which keeps positions halfway between two elements exact. Or a number that
// only a run can tell.
struct ResizeScale {
  std::optional<double> factor;
  Dim above = nullptr, below = nullptr;
  Value* told = nullptr;  // f64[]; then there is nothing else
};

struct ResizedAxis {
  int axis;
  Dim from, to;
  ResizeScale scale;
  double roi_begin = 0, roi_end = 1;
  Value *told_begin = nullptr, *told_end = nullptr;  // f64[], where only a run can tell the region
};

bool is_given(Node&, int input);  // not left out, nor an empty list
std::vector<double> known_numbers(Node&, int input);
// The operand's elements as f64[] each.
std::vector<Value*> told_numbers(Node&, int input);
// `axes` of the node's input 0, by so many numbers or by that operand.
std::vector<ResizedAxis> axes_by_scales(Node&, const std::vector<int64_t>& axes, const std::vector<double>& scales);
std::vector<ResizedAxis> axes_by_input(Node&, const std::vector<int64_t>& axes, int input);
std::vector<ResizedAxis> axes_by_sizes(Node&, const std::vector<int64_t>& axes, int input);

}  // namespace lapidary::frontend
