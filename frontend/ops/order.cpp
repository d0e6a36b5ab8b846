// Operators along the order of an axis: sorting, running sums, reversal.
#include "frontend/ops/told_axes.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// Up to opset 9 k is an attribute, from 11 on the order is a choice.
Values top_k(Node& node) {
  Value* x = node.input(0);
  const int axis = node.axis("axis", x->type.rank());
  Dim k = node.version >= 10 ? node.extent(1) : node.dims().constant(node.integer("k"));
  Dim extent = x->type.shape[static_cast<size_t>(axis)];
  if (range(k).hi < 0 || value_of(node.dims().less(extent, k)) == 1)
    fail("k is {}, axis {} has extent {}", to_string(k), axis, to_string(extent));
  Params params{{"axis", int64_t{axis}}, {"k", k}, {"largest", node.integer_or("largest", 1) != 0 ? int64_t{1} : 0}};
  Op& op = node.build.create(OpKind::TopK, {x}, params);
  return {op.result(0), op.result(1)};
}

// The extents of input 0 as three: those before the axis, its own, and those behind.
Shape around(Node& node, Dim axis) {
  DimPool& dims = node.dims();
  const Dim one = dims.constant(1);
  Shape three(3, one);
  for (int i = 0; i < node.rank(); ++i) {
    Dim at = dims.constant(i), extent = node.type(0).shape[static_cast<size_t>(i)];
    three[0] = dims.mul(three[0], dims.select(dims.less(at, axis), extent, one));
    three[1] = dims.select(dims.equal(at, axis), extent, three[1]);
    three[2] = dims.mul(three[2], dims.select(dims.less(axis, at), extent, one));
  }
  return three;
}

template <ScalarOp combine>
Values running(Node& node) {
  Value* x = node.input(0);
  const bool told = is_told_operand(node, 1);
  const int axis = told ? 1 : normalized_axis(node.constant(1), node.rank());
  if (told) x = node.build.reshape(x, around(node, told_axis(node, node.extent(1), node.rank())));
  Params params{{"axis", int64_t{axis}}, {"op", std::string(name_of(combine))}};
  if (node.integer("exclusive")) params.set("exclusive", int64_t{1});
  if (node.integer("reverse")) params.set("reverse", int64_t{1});
  Value* y = node.build.create(OpKind::Scan, {x}, params).result();
  return {told ? node.build.reshape(y, node.type(0).shape) : y};
}

// The first lengths[b] elements along the time axis in reverse: element t comes from lengths[b] - 1 - t.
Values reverse_sequence(Node& node) {
  Value *x = node.input(0), *lengths = node.input(1);
  const int rank = node.rank(), batch = node.axis("batch_axis", rank), time = node.axis("time_axis", rank);
  if (rank < 2 || batch == time) fail("batch_axis {} and time_axis {} of rank {}", batch, time, rank);
  if (node.rank(1) != 1) fail("sequence_lens has rank {}, expected 1", node.rank(1));
  GraphBuilder& build = node.build;
  const Shape& shape = x->type.shape;
  Dim steps = shape[static_cast<size_t>(time)];
  must_be_lengths(node, lengths, steps);
  const auto number = [&](Dim value) { return build.dims_tensor({value}, {}, DType::I64); };
  Value* length = build.reshape(build.convert(lengths, DType::I64), {shape[static_cast<size_t>(batch)], build.dim(1)});
  Value* step = build.iota(DType::I64, {steps}, 0);
  Value* last = build.sub(length, number(build.dim(1)));
  Value* source = build.select(build.scalar_op(ScalarOp::Less, {step, length}), build.sub(last, step), step);
  if (batch > time) source = build.transpose(source, {1, 0});
  source = build.broadcast(source, {std::min(batch, time), std::max(batch, time)}, shape);
  return {build.gather_elements(x, source, time)};
}

Values bit_cast(Node& node) {
  return {node.build.create(OpKind::BitCast, {node.input(0)}, {{"to", node.dtype("to")}}).result()};
}

constexpr OpEntry kOps[] = {{"BitCast", bit_cast},
                            {"CumProd", running<ScalarOp::Mul>},
                            {"CumSum", running<ScalarOp::Add>},
                            {"ReverseSequence", reverse_sequence},
                            {"TopK", top_k}};

}  // namespace

std::span<const OpEntry> order_ops() { return kOps; }

}  // namespace lapidary::frontend
