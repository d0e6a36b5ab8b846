// What the graphs inside nodes have in common; private to if.cpp, loop*.cpp, scan.cpp and unroll.cpp. A graph inside a
// node is imported as a region.
#pragma once

#include <set>

#include "frontend/importer.h"

namespace lapidary::frontend {

constexpr int64_t kMostUnrolled = 1000;  // iterations of a loop

// Imported by the importer itself, not by a table of operators: it holds graphs, or names values around it.
bool needs_scope(const onnx::OpSchema&);
int64_t nodes_in(const GraphProto&);  // with those of the graphs inside
// The region's arguments in this order; those not listed are not used.
void arrange_arguments(Region&, const std::vector<Value*>& order);
// The iteration or the condition as the body takes it, which may be with one axis.
Value* as_declared(GraphBuilder&, Value* scalar, const onnx::ValueInfoProto& declared);
// The one element of a scalar, read by the host where only a run can tell.
Dim element_of(GraphBuilder&, Value* scalar, Interval = {kDimMin, kDimMax});

// The values of a region's own that the host reads in it, and whether an extent is made of any of those.
std::set<uint32_t> elements_read_in(const Region&);
bool speaks_of(Dim, const std::set<uint32_t>& ids);

struct Importer::LoopBody {
  struct Scanned {
    int input;  // of the body
    Value* whole;
    int axis;
    bool reverse;
  };
  const GraphProto& graph;
  Dim trips;
  bool counts;       // Loop: the body takes the iteration and a condition, and yields a condition first
  Value* condition;  // before the first iteration; null: true
  Bindings given;    // what the carried names start as
  std::vector<Scanned> scanned = {};

  // What the body is taken to do, until it turns out otherwise.
  std::set<size_t> growing = {};                      // sequences among `given` that it only appends to
  std::map<size_t, Value*> stacks = {};               // sequences carried as one tensor
  std::set<std::pair<size_t, size_t>> changing = {};  // (tensor, axis)
  std::set<size_t> kept = {};                         // tensors that it hands on as they are: no part of the loop

  // The tensors that are carried, indexed in `changing` and `kept`: those of all that is given, but of no growing one.
  std::vector<Value*> carried() const;
  bool changes(size_t tensor) const {
    return std::ranges::any_of(changing, [&](const auto& entry) { return entry.first == tensor; });
  }
  bool has_sequences() const {
    return std::ranges::any_of(given, [](const Binding& binding) { return binding.sequence != nullptr; });
  }
  void assume_growing(size_t index) {
    growing.insert(index);
    changing.clear(), kept.clear();
  }
  void assume_stacks(GraphBuilder&);  // instead of growing ones, where they can be
  void assume_any_shape();
};

// A body imported on the assumptions of LoopBody.
struct Importer::Attempt {
  std::unique_ptr<Region> region;
  std::unique_ptr<RegionWriter> writer;
  Value *iteration = nullptr, *condition_before = nullptr, *condition_after = nullptr;  // conditions: null for none
  std::vector<Value*> carried = {}, holders = {};  // arguments; a holder is null where the shape stays
  Bindings before = {}, after = {};                // what the carried names are at either end of the body
  std::vector<Value*> yielded = {}, slices = {};
  std::vector<size_t> appended = {};  // for each of `after`: parts, the slices behind those of scanned outputs
  bool failed = false, held = true;   // held: the assumptions
};

}  // namespace lapidary::frontend
