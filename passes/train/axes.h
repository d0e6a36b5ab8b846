// All axes of a value: what is summed to one number.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "ir/graph.h"

namespace lapidary::train {

inline std::vector<int64_t> all_axes(const Value* x) {
  std::vector<int64_t> axes(static_cast<size_t>(x->type.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

}  // namespace lapidary::train
