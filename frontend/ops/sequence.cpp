// Sequences of tensors. What they hold is known now, part by part or as a stack (frontend/binding.h): these operators
// arrange tensors, and only those that give a tensor write ops.
#include "frontend/ops/sequence.h"

#include <algorithm>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;
using Bindings = std::vector<Binding>;
using Run = Sequence::Run;

Sequence of_parts(DType dtype, const Values& parts) {
  Sequence sequence{dtype};
  for (Value* part : parts) sequence.runs.push_back({part});
  return sequence;
}

Bindings sequence_empty(Node& node) { return {Sequence{node.has("dtype") ? node.dtype("dtype") : DType::F32}}; }

Bindings sequence_construct(Node& node) { return {of_parts(node.type(0).dtype, node.inputs())}; }

Values sequence_length(Node& node) { return {node.build.dims_tensor({length_of(node.dims(), node.sequence(0))}, {})}; }

// --- by position -----------------------------------------------------------------------------------------------------

// The place that operand `input` points to: from 0 to `last`, or from the end of `length` parts.
int64_t place_of(Node& node, int input, int64_t length, int64_t last) {
  const Value* position = as_scalar(node.build, node.input(input), "the position");
  const auto known = scalar_of(node.build.module, position);
  if (!known) unsupported("a position that only a run can tell");
  if (known->integer < -length || known->integer > last)
    fail("position {}, the sequence has {}", known->integer, counted(length, "part"));
  return known->integer < 0 ? known->integer + length : known->integer;
}

Bindings sequence_insert(Node& node) {
  Sequence sequence = node.sequence(0);
  Value* part = node.input(1);
  if (part->type.dtype != sequence.dtype)
    fail("the sequence holds {}, the tensor is {}", name_of(sequence.dtype), to_string(part->type));
  if (!node.input(2)) {
    sequence.runs.push_back({part});
    return {sequence};
  }
  const auto position = scalar_of(node.build.module, node.input(2));
  if (position && position->integer == 0) {
    sequence.runs.insert(sequence.runs.begin(), {part});
    return {sequence};
  }
  Values parts = parts_of(node.build, sequence);
  parts.insert(parts.begin() + place_of(node, 2, std::ssize(parts), std::ssize(parts)), part);
  return {of_parts(sequence.dtype, parts)};
}

Bindings sequence_erase(Node& node) {
  Sequence sequence = node.sequence(0);
  if (sequence.runs.empty()) fail("the sequence is empty");
  if (!node.input(1) && sequence.runs.back().kind == Run::Kind::Part) {
    sequence.runs.pop_back();
    return {sequence};
  }
  Values parts = parts_of(node.build, sequence);
  if (parts.empty()) fail("the sequence is empty");
  const int64_t last = std::ssize(parts) - 1;
  parts.erase(parts.begin() + (node.input(1) ? place_of(node, 1, last + 1, last) : last));
  return {of_parts(sequence.dtype, parts)};
}

// A position that only a run can tell is an index into the stack of all parts.
Values sequence_at(Node& node) {
  const Sequence& sequence = node.sequence(0);
  Value* position = as_scalar(node.build, node.input(1), "the position");
  const auto length = known_length(node.dims(), sequence);
  if (length && scalar_of(node.build.module, position))
    return {part_at(node.build, sequence, place_of(node, 1, *length, *length - 1))};
  if (sequence.runs.empty()) fail("the sequence is empty");
  return {node.build.gather(stack_of(node.build, sequence, "a position that only a run can tell"), position, 0)};
}

// --- to and from tensors ---------------------------------------------------------------------------------------------

// Parts along `axis`: along one of their own, or a new one.
Value* laid_along(GraphBuilder& build, const Run& run, int axis, bool fresh) {
  if (run.kind == Run::Kind::Part) return fresh ? build.expand_axes(run.value, {axis}) : run.value;
  std::vector<int64_t> perm = axes_from(1, run.value->type.rank());
  perm.insert(perm.begin() + axis, 0);
  Value* moved = build.transpose(run.value, perm);
  if (fresh) return moved;
  Shape shape = moved->type.shape;
  shape[axis] = build.module.dims.mul(shape[axis], shape[axis + 1]);
  shape.erase(shape.begin() + axis + 1);
  return build.reshape(moved, shape);
}

Values concat_from_sequence(Node& node) {
  const Sequence& sequence = node.sequence(0);
  if (sequence.runs.empty() || known_length(node.dims(), sequence) == 0) fail("the sequence is empty");
  const int64_t fresh = node.integer("new_axis");
  if (fresh != 0 && fresh != 1) fail("new_axis is {}, expected 0 or 1", fresh);
  const int rank = sequence.runs[0].part().rank();
  for (const Run& run : sequence.runs)
    if (run.part().rank() != rank) fail("parts have ranks {} and {}", rank, run.part().rank());
  if (fresh == 0 && rank == 0) fail("parts have rank 0, there is no axis to lay them along");
  const int axis = normalized_axis(node.integer("axis"), rank + static_cast<int>(fresh));
  Values laid;
  for (const Run& run : sequence.runs) laid.push_back(laid_along(node.build, run, axis, fresh == 1));
  return {laid.size() == 1 ? laid[0] : node.build.concat(laid, axis)};
}

// Parts of one element each are a stack; so their number may be a symbol.
Sequence of_single(GraphBuilder& build, Value* x, int axis, bool keeps) {
  std::vector<int64_t> perm = axes_from(0, x->type.rank());
  std::rotate(perm.begin(), perm.begin() + axis, perm.begin() + axis + 1);
  Value* stack = build.transpose(x, perm);
  if (keeps) stack = build.expand_axes(stack, {axis + 1});
  return {x->type.dtype, {{stack, Run::Kind::Stack}}};
}

// Parts of `size` elements each; the last may have fewer.
Shape chunks(Node& node, Dim extent, int64_t size) {
  if (size < 1) fail("split is {}", size);
  const auto known = value_of(extent);
  if (!known) unsupported("parts of {} along an axis of {}", counted(size, "element"), to_string(extent));
  const int64_t whole = *known / size, rest = *known % size;
  if (whole >= kMostParts) unsupported("a sequence of {} parts, more than {}", whole, kMostParts);
  std::vector<Dim> sizes(static_cast<size_t>(whole), node.dims().constant(size));
  if (rest > 0) sizes.push_back(node.dims().constant(rest));
  return sizes;
}

Bindings split_to_sequence(Node& node) {
  Value *x = node.input(0), *split = node.input(1);
  const int axis = node.axis("axis", x->type.rank());
  if (!split) return {of_single(node.build, x, axis, node.integer("keepdims") != 0)};
  if (split->type.rank() > 0) return {of_parts(x->type.dtype, split_into(node, x, axis, node.sizes(1)))};
  const auto size = scalar_of(node.build.module, split);
  if (!size) unsupported("a size of parts that only a run can tell");
  if (size->integer == 1) return {of_single(node.build, x, axis, true)};
  return {of_parts(x->type.dtype, split_into(node, x, axis, chunks(node, x->type.shape[axis], size->integer)))};
}

constexpr OpEntry kOps[] = {{"ConcatFromSequence", concat_from_sequence},
                            {"SequenceAt", sequence_at},
                            {"SequenceConstruct", sequence_construct},
                            {"SequenceEmpty", sequence_empty},
                            {"SequenceErase", sequence_erase},
                            {"SequenceInsert", sequence_insert},
                            {"SequenceLength", sequence_length},
                            {"SplitToSequence", split_to_sequence}};

}  // namespace

Value* stack_of(GraphBuilder& build, const Sequence& sequence, const char* what) {
  length_of(build.module.dims, sequence);  // throws where it cannot be read
  Values stacks;
  const Type first = sequence.runs[0].part();
  for (const Run& run : sequence.runs) {
    if (run.part().shape != first.shape)
      unsupported("{}, among parts {} and {}", what, to_string(first), to_string(run.part()));
    stacks.push_back(run.kind == Run::Kind::Part ? build.expand_axes(run.value, {0}) : run.value);
  }
  return stacks.size() == 1 ? stacks[0] : build.concat(stacks, 0);
}

std::span<const OpEntry> sequence_ops() { return kOps; }

}  // namespace lapidary::frontend
