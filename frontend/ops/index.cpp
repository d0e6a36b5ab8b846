// Operators that read through indices, and those that find them.
#include <algorithm>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* integer(Node& node, DType dtype, Dim value) { return node.build.dims_tensor({value}, {}, dtype); }

// Constant indices are looked at now; others are the run's affair. Consecutive ones go round these extents.
void check_indices(Node& node, const Value* indices, std::span<const Dim> extents) {
  auto known = scalars_of(node.build.module, indices);
  if (!known) return;
  for (size_t i = 0; i < known->size(); ++i) {
    std::optional<int64_t> size = value_of(extents[i % extents.size()]);
    int64_t index = (*known)[i].integer;
    if (size && (index < -*size || index >= *size)) fail("index {} not in [{}, {}]", index, -*size, *size - 1);
  }
}

Values gather(Node& node) {
  int axis = node.axis("axis", node.rank());
  check_indices(node, node.input(1), std::span(node.type(0).shape).subspan(axis, 1));
  return {node.build.gather(node.input(0), node.input(1), axis)};
}

Values gather_elements(Node& node) {
  int axis = node.axis("axis", node.rank());
  if (node.rank(1) != node.rank()) fail("indices have rank {}, data has {}", node.rank(1), node.rank());
  check_indices(node, node.input(1), std::span(node.type(0).shape).subspan(axis, 1));
  return {node.build.gather_elements(node.input(0), node.input(1), axis)};
}

// The batch's and the indexed axes become one, and so do the index tuples: row-major positions.
Values gather_nd(Node& node) {
  Value *data = node.input(0), *indices = node.input(1);
  const Shape& shape = data->type.shape;
  const int last = indices->type.rank() - 1;
  const int64_t batch = node.integer_or("batch_dims", 0);
  if (batch < 0 || batch > std::min(last, data->type.rank() - 1)) fail("batch_dims {}", batch);
  std::optional<int64_t> width = last >= 0 ? value_of(indices->type.shape[last]) : std::nullopt;
  if (!width) unsupported("index tuples of unknown length");
  if (*width < 1 || batch + *width > data->type.rank())
    fail("index tuples have {} elements, data has rank {}", *width, data->type.rank());
  check_indices(node, indices, std::span(shape).subspan(batch, *width));
  indices = node.build.convert(indices, DType::I64);
  const Shape tuples(indices->type.shape.begin(), indices->type.shape.end() - 1);
  Value* position = nullptr;
  for (int axis = 0; axis < batch + *width; ++axis) {
    Value *index, *extent = integer(node, DType::I64, shape[axis]);
    if (axis < batch) {
      if (known_unequal(tuples[axis], shape[axis]))
        fail("batch axis {} has {} and {} elements", axis, to_string(shape[axis]), to_string(tuples[axis]));
      index = node.build.iota(DType::I64, tuples, axis);
    } else {
      Dim part = node.dims().constant(axis - batch);
      index = node.build.drop_axes(node.build.slice_axis(indices, last, part, node.dims().constant(1)), {last});
      Value* negative =
          node.build.scalar_op(ScalarOp::Less, {index, integer(node, DType::I64, node.dims().constant(0))});
      index = node.build.select(negative, node.build.add(index, extent), index);
    }
    position = position ? node.build.add(node.build.mul(position, extent), index) : index;
  }
  Shape flat = {node.dims().product(std::span(shape).first(batch + *width))};
  flat.insert(flat.end(), shape.begin() + batch + *width, shape.end());
  return {node.build.gather(node.build.reshape(data, flat), position, 0)};
}

// The first (or last) place of the extreme value: the least of the positions that hold it. NaN counts as extreme.
Value* place_of_extreme(Node& node, Value* x, OpKind kind, int axis, bool keep, bool last) {
  Value* extreme = node.build.reduce(kind, x, {axis}, true);
  Value* holds = node.build.scalar_op(ScalarOp::Equal, {x, extreme});
  if (is_float(x->type.dtype))
    holds = node.build.scalar_op(ScalarOp::Or, {holds, node.build.scalar_op(ScalarOp::IsNan, {x})});
  Value* places = node.build.iota(DType::I64, x->type.shape, axis);
  Value* none = integer(node, DType::I64, last ? node.dims().constant(-1) : x->type.shape[axis]);
  return node.build.reduce(last ? OpKind::ReduceMax : OpKind::ReduceMin, node.build.select(holds, places, none), {axis},
                           keep);
}

template <OpKind kind>
Values arg_extreme(Node& node) {
  int axis = node.axis("axis", node.rank());
  return {place_of_extreme(node, node.input(0), kind, axis, node.integer("keepdims") != 0,
                           node.integer_or("select_last_index", 0) != 0)};
}

// 1 at the first maximum along the axis; up to opset 12 along all axes from `axis` on.
Values hardmax(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank(), axis = node.axis("axis", rank);
  bool flattens = node.version < 13 && axis != rank - 1;
  Value* y = flattens ? flattened(node, x, axis) : x;
  int along = flattens ? 1 : axis;
  Value* first = place_of_extreme(node, y, OpKind::ReduceMax, along, true, false);
  Value* hit = node.build.convert(
      node.build.scalar_op(ScalarOp::Equal, {node.build.iota(DType::I64, y->type.shape, along), first}), x->type.dtype);
  return {flattens ? node.build.reshape(hit, x->type.shape) : hit};
}

// values = [off, on]; indices outside of [-depth, depth) give all off.
Values one_hot(Node& node) {
  Value *indices = node.input(0), *values = node.input(2);
  Dim depth = node.extent(1);
  if (range(depth).hi < 1) fail("depth {} must be at least 1", to_string(depth));
  if (values->type.rank() != 1 || (value_of(values->type.shape[0]).value_or(2) != 2))
    fail("values must have two elements");
  int rank = indices->type.rank() + 1, axis = normalized_axis(node.integer("axis"), rank);
  Value* wanted = node.build.convert(indices, DType::I64);
  Value* negative = node.build.scalar_op(ScalarOp::Less, {wanted, integer(node, DType::I64, node.dims().constant(0))});
  wanted = node.build.select(negative, node.build.add(wanted, integer(node, DType::I64, depth)), wanted);
  wanted = node.build.expand_axes(wanted, {axis});
  Shape shape = wanted->type.shape;
  shape[axis] = depth;
  Value* hit = node.build.scalar_op(ScalarOp::Equal, {node.build.iota(DType::I64, shape, axis), wanted});
  auto value = [&](int64_t k) {
    return node.build.drop_axes(node.build.slice_axis(values, 0, node.dims().constant(k), node.dims().constant(1)),
                                {0});
  };
  return {node.build.select(hit, value(1), value(0))};
}

constexpr OpEntry kOps[] = {{"ArgMax", arg_extreme<OpKind::ReduceMax>},
                            {"ArgMin", arg_extreme<OpKind::ReduceMin>},
                            {"Gather", gather},
                            {"GatherElements", gather_elements},
                            {"GatherND", gather_nd},
                            {"GatherND", gather_nd,
                             "data: T, indices: Tind -> output: T | |"
                             " T = u8 u16 u32 u64 i8 i16 i32 i64 f16 f32 f64 bool, Tind = i32 i64"},
                            {"Hardmax", hardmax},
                            {"OneHot", one_hot}};

}  // namespace

std::span<const OpEntry> index_ops() { return kOps; }

}  // namespace lapidary::frontend
