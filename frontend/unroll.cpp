// Bodies imported once for each iteration: of a Loop that cannot be one in the graph, such as one whose sequences have
// parts of different shapes, and of SequenceMap. The number of iterations, and of nodes in all of them, is limited.
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"
#include "frontend/ops/sequence.h"

namespace lapidary::frontend {
namespace {

constexpr int64_t kMostUnrolledNodes = 20'000;

// Of elements that the host reads of a value made since.
bool speaks_of_later(Dim dim, uint32_t first) {
  if (!speaks_of_elements(dim)) return false;
  if (dim->kind == DimKind::Element) return dim->value_id >= first;
  return std::ranges::any_of(dim->operands, [&](Dim operand) { return speaks_of_later(operand, first); });
}

}  // namespace

void Importer::count_unrolled(const GraphProto& graph) {
  unrolled_nodes_ += nodes_in(graph) + 1;
  if (unrolled_nodes_ > kMostUnrolledNodes) unsupported("bodies of more than {} nodes, unrolled", kMostUnrolledNodes);
}

// Of iteration k, which draws random numbers of its own.
Importer::Bindings Importer::unrolled_results(const GraphProto& graph, int64_t k, Scope& inner, const Frame& frame) {
  RegionWriter& writer = inner.writer;
  GraphBuilder& build = writer.build;
  Value* const step = step_in(writer);
  if (step) writer.step = step_of_iteration(build, step, build.dims_tensor({build.dim(k)}, {}));
  Bindings results = graph_results(graph, inner, frame);
  writer.step = step;
  return results;
}

// Nothing where only a run can tell whether the body asks for one more iteration.
std::optional<Importer::Bindings> Importer::unroll(const LoopBody& loop, int64_t trips, Scope& scope,
                                                   const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const Origin origin = build.origin;
  const GraphProto& graph = loop.graph;
  Scope around{scope.writer, &scope};
  load_initializers(graph, around);
  Bindings carried = loop.given;
  const size_t scanned = static_cast<size_t>(graph.output_size()) - 1 - carried.size();
  std::vector<std::vector<Value*>> slices(scanned);
  Value* condition = loop.condition ? loop.condition : build.scalar(DType::Bool, 1);
  for (int64_t k = 0; k < trips; ++k) {
    const auto goes_on = scalar_of(*module_, condition);
    if (!goes_on) return std::nullopt;
    if (goes_on->integer == 0) break;
    count_unrolled(graph);
    Scope inner{scope.writer, &around};
    int input = 0;
    const auto bind = [&](Binding binding) {
      const onnx::ValueInfoProto& declared = graph.input(input++);
      binding.optional |= declared.type().has_optional_type();
      inner.values[declared.name()] = std::move(binding);
    };
    build.origin = origin;
    bind(as_declared(build, build.dims_tensor({build.dim(k)}, {}), graph.input(0)));
    bind(as_declared(build, condition, graph.input(1)));
    for (const Binding& binding : carried) bind(binding);
    const Bindings results = unrolled_results(graph, k, inner, frame);
    build.origin = origin;
    if (!results[0].value) fail("the body's condition is {}, expected bool", to_string(results[0]));
    condition = as_scalar(build, results[0].value, "the body's condition");
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = results[i + 1];
    for (size_t i = 0; i < scanned; ++i) slices[i].push_back(results[1 + carried.size() + i].value);
  }
  for (std::vector<Value*>& stack : slices) {
    if (stack.empty()) unsupported("a scanned output of no iterations");
    for (Value*& slice : stack) {
      if (!slice) fail("a scanned output is a sequence or an optional");
      slice = build.expand_axes(slice, {0});
    }
    carried.push_back(build.concat(stack, 0));
  }
  return carried;
}

// The body once for each part of the first sequence, with the same part of the others; tensors are for all.
Importer::Bindings Importer::import_sequence_map(const NodeProto& node, const Attributes& attributes,
                                                 const Bindings& inputs, Scope& scope, const Frame& frame) {
  const GraphProto& graph = attributes.at("body")->g();
  if (graph.input_size() != std::ssize(inputs))
    fail("the body takes {}, expected {}", counted(graph.input_size(), "input"), inputs.size());
  if (graph.output_size() != node.output_size())
    fail("the body yields {}, the node has {}", counted(graph.output_size(), "value"),
         counted(node.output_size(), "output"));
  for (const Binding& input : inputs)
    if (input.sequence && !known_length(module_->dims, *input.sequence)) return map_stacks(graph, inputs, scope, frame);
  return map_parts(graph, inputs, scope, frame);
}

// As many parts as only a run can tell: a loop over stacks.
Importer::Bindings Importer::map_stacks(const GraphProto& graph, const Bindings& inputs, Scope& scope,
                                        const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  Scope around{scope.writer, &scope};
  LoopBody loop{graph, length_of(module_->dims, *inputs[0].sequence), false, nullptr, {}};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const onnx::ValueInfoProto& argument = graph.input(static_cast<int>(i));
    if (!inputs[i].sequence) {
      around.values[argument.name()] = inputs[i];
      continue;
    }
    if (inputs[i].sequence->runs.empty()) unsupported("an empty sequence beside one whose length only a run can tell");
    Value* stack = stack_of(build, *inputs[i].sequence, "a length that only a run can tell");
    module_->check(module_->dims.equal(loop.trips, stack->type.shape[0]),
                   module_->describe(build.origin) + ": sequences must have one length");
    loop.scanned.push_back({static_cast<int>(i), stack, 0, false});
  }
  const uint32_t first = module_->next_value_id;
  Bindings results = roll(loop, around, frame);
  for (Binding& result : results) {
    const Type& type = result.value->type;
    for (size_t axis = 1; axis < type.shape.size(); ++axis)
      if (speaks_of_later(type.shape[axis], first))
        unsupported("parts of different shapes, as many as only a run can tell");
    result = Sequence{type.dtype, {{result.value, Sequence::Run::Kind::Stack}}};
  }
  return results;
}

Importer::Bindings Importer::map_parts(const GraphProto& graph, const Bindings& inputs, Scope& scope,
                                       const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const Origin origin = build.origin;
  std::vector<std::vector<Value*>> parts;  // of each input
  for (const Binding& input : inputs) {
    parts.push_back(input.sequence ? parts_of(build, *input.sequence) : std::vector<Value*>());
    if (input.sequence && parts.back().size() != parts[0].size())
      fail("sequences of {} and {}", counted(std::ssize(parts[0]), "part"), counted(std::ssize(parts.back()), "part"));
  }
  std::vector<Sequence> results;
  for (const auto& output : graph.output()) {
    const auto dtype = dtype_of(output.type().tensor_type().elem_type());
    if (!dtype && parts[0].empty()) fail("the type of '{}' is not declared", printable(output.name()));
    results.push_back({dtype.value_or(DType::Undefined)});
  }
  Scope around{scope.writer, &scope};
  load_initializers(graph, around);
  for (size_t k = 0; k < parts[0].size(); ++k) {
    count_unrolled(graph);
    Scope inner{scope.writer, &around};
    for (size_t i = 0; i < inputs.size(); ++i)
      inner.values[graph.input(static_cast<int>(i)).name()] = inputs[i].sequence ? Binding(parts[i][k]) : inputs[i];
    const Bindings yielded = unrolled_results(graph, static_cast<int64_t>(k), inner, frame);
    build.origin = origin;
    for (size_t i = 0; i < results.size(); ++i) {
      Value* part = yielded[i].value;
      if (!part || yielded[i].optional) fail("the body yields {}, expected a tensor", to_string(yielded[i]));
      if (k == 0) results[i].dtype = part->type.dtype;
      if (part->type.dtype != results[i].dtype)
        fail("parts of {} and {}", name_of(results[i].dtype), name_of(part->type.dtype));
      results[i].runs.push_back({part});
    }
  }
  return {results.begin(), results.end()};
}

}  // namespace lapidary::frontend
