// Small values that a pass can compute: scales, zero points, biases.
#pragma once

#include <optional>
#include <vector>

#include "ir/interpreter.h"

namespace lapidary::passes {

// A value computed from constants by a few ops.
std::optional<Tensor> evaluated(const Module&, const Value*, int depth = 6);
// The only number a value holds.
std::optional<Scalar> evaluated_scalar(const Module&, const Value*);
bool is_zero(const Module&, const Value*);  // integers that are 0, all of them
// A number for each index of `axis`, or one for all, as `axis` of the result it belongs to, of `rank` axes.
std::optional<std::vector<double>> along_axis(const Module&, const Value*, int axis, int rank);

}  // namespace lapidary::passes
