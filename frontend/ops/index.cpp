// Operators that read through indices, and those that find them.
#include <algorithm>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* integer(Node& node, DType dtype, Dim value) { return node.build.dims_tensor({value}, {}, dtype); }

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

// The indexed axes become one, and so do the index tuples: row-major positions.
// With batch_dims b, the first b axes of both go together: each tuple is preceded by its own place there.
Values gather_nd(Node& node) {
  Value *data = node.input(0), *indices = node.input(1);
  GraphBuilder& build = node.build;
  const Shape& shape = data->type.shape;
  const int64_t batch = node.integer_or("batch_dims", 0);
  if (batch < 0 || (batch > 0 && batch >= std::min(node.rank(), node.rank(1))))
    fail("batch_dims {}, data and indices have ranks {} and {}", batch, node.rank(), node.rank(1));
  const Shape inner(shape.begin() + batch, shape.end());
  const IndexTuples tuples = index_tuples(node, inner, indices);
  Value* position = tuples.positions;
  if (batch > 0) {
    Dim extent = node.dims().product(std::span(inner).first(tuples.width));
    Value* outside =
        integer(node, DType::I64, node.dims().mul(extent, node.dims().product(std::span(shape).first(batch))));
    Value* inside = build.scalar_op(ScalarOp::Less, {position, integer(node, DType::I64, extent)});
    Value* place = nullptr;
    for (int axis = 0; axis < batch; ++axis) {
      Value* here = build.iota(DType::I64, position->type.shape, axis);
      place = place ? build.add(build.mul(place, integer(node, DType::I64, shape[axis])), here) : here;
    }
    position = build.add(build.mul(place, integer(node, DType::I64, extent)), position);
    position = build.select(inside, position, outside);
  }
  Shape flat = {node.dims().product(std::span(shape).first(batch + tuples.width))};
  flat.insert(flat.end(), inner.begin() + tuples.width, inner.end());
  return {build.gather(build.reshape(data, flat), position, 0)};
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

// A number of any type.
Dim depth_of(Node& node) {
  if (!is_float(node.type(1).dtype)) return node.extent(1);
  std::optional<Scalar> depth = scalar_of(node.build.module, node.input(1));
  if (!depth) {
    Value* whole = node.build.convert(node.input(1), DType::I64);
    if (value_of(node.dims().product(whole->type.shape)) != 1)
      fail("depth is {}, expected one element", to_string(whole->type));
    return node.build.to_host(whole, {1, INT64_C(1) << 40})->elements.at(0);
  }
  if (!(depth->number >= 1 && depth->number < 1e15)) fail("depth {} must be at least 1", depth->number);
  return node.dims().constant(static_cast<int64_t>(depth->number));
}

// values = [off, on]; indices outside of [-depth, depth) give all off.
Values one_hot(Node& node) {
  Value *indices = node.input(0), *values = node.input(2);
  Dim depth = depth_of(node);
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
