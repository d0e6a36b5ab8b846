// Scan: a Loop whose iterations gather their slices, and whose results may lie along any axis.
#include <algorithm>

#include "frontend/control_flow.h"

namespace lapidary::frontend {

Importer::Bindings Importer::import_scan(const NodeProto& node, int opset, const Attributes& attributes,
                                         const Bindings& inputs, Scope& scope, const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const GraphProto& graph = attributes.at("body")->g();
  const bool batched = opset < 9;  // Scan-8: lengths first, and an axis of batches before all others
  std::vector<Value*> given;
  for (size_t i = batched ? 1 : 0; i < inputs.size(); ++i) given.push_back(inputs[i].value);
  if (batched && !inputs.empty() && inputs[0].value) unsupported("sequence_lens of Scan before opset 9");
  if (std::ranges::find(given, nullptr) != given.end()) fail("an input is left out");
  const int64_t scanned = attributes.at("num_scan_inputs")->i(), count = std::ssize(given);
  if (scanned < 1 || scanned > count) fail("num_scan_inputs is {}, there are {}", scanned, counted(count, "input"));
  const int64_t states = count - scanned, slices = graph.output_size() - states;
  if (graph.input_size() != count) fail("the body takes {}, expected {}", counted(graph.input_size(), "input"), count);
  if (slices < 0 || graph.output_size() != node.output_size())
    fail("the body yields {}, the node has {}", counted(graph.output_size(), "value"),
         counted(node.output_size(), "output"));
  auto list = [&](const char* name, int64_t size) {
    std::vector<int64_t> values(static_cast<size_t>(size), 0);
    auto found = attributes.find(name);
    if (found == attributes.end()) return values;
    if (found->second->ints_size() != size)
      fail("{} has {} entries, expected {}", name, found->second->ints_size(), size);
    return std::vector<int64_t>(found->second->ints().begin(), found->second->ints().end());
  };
  if (batched)
    for (Value*& value : given) {
      if (value->type.rank() < 1 || value_of(value->type.shape[0]) != 1)
        unsupported("Scan before opset 9 over a batch of more than 1");
      value = build.drop_axes(value, {0});
    }
  for (const char* name : {"directions", "scan_input_directions", "scan_output_directions"}) {
    auto found = attributes.find(name);
    if (found == attributes.end()) continue;
    for (int64_t direction : found->second->ints())
      if (direction != 0 && direction != 1) fail("{} has {}, expected 0 or 1", name, direction);
  }
  LoopBody loop{graph, nullptr, false, nullptr, {given.begin(), given.begin() + states}};
  const std::vector<int64_t> axes = list("scan_input_axes", scanned),
                             directions = list(batched ? "directions" : "scan_input_directions", scanned);
  DimPool& dims = module_->dims;
  for (size_t i = 0; i < static_cast<size_t>(scanned); ++i) {
    Value* whole = given[static_cast<size_t>(states) + i];
    if (whole->type.rank() == 0) fail("scanned input {} has rank 0", i);
    const int axis = normalized_axis(axes[i], whole->type.rank());
    const Dim extent = whole->type.shape[static_cast<size_t>(axis)];
    if (!loop.trips) loop.trips = extent;
    if (known_unequal(loop.trips, extent))
      fail("scanned inputs have {} and {} elements along their axes", to_string(loop.trips), to_string(extent));
    module_->check(dims.equal(loop.trips, extent),
                   module_->describe(build.origin) + ": scanned inputs must have one number of slices");
    loop.scanned.push_back({static_cast<int>(states) + static_cast<int>(i), whole, axis, directions[i] != 0});
  }
  Bindings results = roll(loop, scope, frame);
  const std::vector<int64_t> out_axes = list("scan_output_axes", slices),
                             out_directions = list("scan_output_directions", slices);
  for (size_t i = 0; i < static_cast<size_t>(slices); ++i) {
    Value*& stack = results[static_cast<size_t>(states) + i].value;
    const int rank = stack->type.rank();
    if (out_directions[i] != 0) {
      Shape starts(static_cast<size_t>(rank), dims.constant(0));
      std::vector<int64_t> steps(static_cast<size_t>(rank), 1);
      starts[0] = dims.sub(stack->type.shape[0], dims.constant(1)), steps[0] = -1;
      stack = build.slice(stack, starts, steps, stack->type.shape);
    }
    std::vector<int64_t> perm = axes_from(1, rank);
    perm.insert(perm.begin() + normalized_axis(out_axes[i], rank), 0);
    stack = build.transpose(stack, perm);
  }
  if (batched)
    for (Binding& result : results) result.value = build.expand_axes(result.value, {0});
  return results;
}

}  // namespace lapidary::frontend
