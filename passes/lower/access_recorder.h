// What a dry run of the group emitter learns about addresses: for each load and store its stride along each axis of
// the iteration space. Axes whose strides always nest can be walked as one.
#pragma once

#include <optional>
#include <vector>

#include "ir/dim.h"

namespace lapidary::lowering {

struct AccessRecorder {
  explicit AccessRecorder(std::vector<Dim> axes) : extents(std::move(axes)), opaque(extents.size(), false) {}

  std::vector<Dim> extents;                // of the axes; a tensor sliced from the front may be longer
  std::vector<std::vector<Dim>> accesses;  // strides in elements, by axis; null: 0
  std::vector<bool> opaque;                // used otherwise than by a stride: a comparison, a division, an iota
  struct Split {
    int axis;
    Dim inner;
  };
  std::optional<Split> split;  // the first axis that a reshape wants as two digits, the inner of this extent
};

}  // namespace lapidary::lowering
