// What the graphs inside nodes have in common; private to if.cpp, loop.cpp and scan.cpp. A graph inside a node is
// imported as a region.
#pragma once

#include <set>

#include "frontend/importer.h"

namespace lapidary::frontend {

// The region's arguments in this order; those not listed are not used.
void arrange_arguments(Region&, const std::vector<Value*>& order);
// Some exporters declare conditions and counts with one axis of one element.
Value* as_scalar(GraphBuilder&, Value*, const char* what);
// The one element of a scalar, read by the host where only a run can tell.
Dim element_of(GraphBuilder&, Value* scalar, Interval = {kDimMin, kDimMax});

struct Importer::LoopBody {
  struct Scanned {
    Value* whole;
    int axis;
    bool reverse;
  };
  const GraphProto& graph;
  Dim trips;
  bool counts;                  // Loop: the body takes the iteration and a condition, and yields a condition first
  Value* condition;             // before the first iteration; null: true
  std::vector<Value*> carried;  // what they start as
  std::vector<Scanned> scanned;
  std::set<std::pair<size_t, size_t>> changing;  // (carried value, axis)
  std::set<size_t> kept;  // carried values that the body hands on as they are: no part of the loop

  bool changes(size_t i) const {
    return std::ranges::any_of(changing, [&](const auto& entry) { return entry.first == i; });
  }
};

}  // namespace lapidary::frontend
