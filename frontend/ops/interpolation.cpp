#include "frontend/ops/interpolation.h"

namespace lapidary::frontend {

Value* number(GraphBuilder& build, Dim value, DType dtype) {
  return build.convert(build.dims_tensor({value}, {}, DType::I64), dtype);
}

Value* less(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Less, {a, b}); }
Value* less_equal(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::LessEqual, {a, b}); }
Value* both(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::And, {a, b}); }
Value* least(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Min, {a, b}); }
Value* greatest(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Max, {a, b}); }
Value* floor(GraphBuilder& build, Value* a) { return build.scalar_op(ScalarOp::Floor, {a}); }

Value* index_inside(GraphBuilder& build, Value* position, Dim extent) {
  Value* last = build.sub(number(build, extent, position->type.dtype), build.like(position, 1));
  Value* inside = greatest(build, least(build, position, last), build.like(position, 0));
  return build.convert(inside, DType::I64);
}

Value* is_inside(GraphBuilder& build, Value* position, Dim extent) {
  return both(build, less_equal(build, build.like(position, 0), position),
              less(build, position, number(build, extent, position->type.dtype)));
}

DType computed_type(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

Value* linear_filter(GraphBuilder& build, Value* distance) {
  Value* d = build.scalar_op(ScalarOp::Abs, {distance});
  return build.scalar_op(ScalarOp::Max, {build.sub(build.like(d, 1), d), build.like(d, 0)});
}

Value* cubic_filter(GraphBuilder& build, Value* distance, double a) {
  Value* d = build.scalar_op(ScalarOp::Abs, {distance});
  const auto number = [&](double value) { return build.like(d, value); };
  const auto polynomial = [&](double c3, double c2, double c1, double c0) {
    Value* sum = build.add(build.mul(number(c3), d), number(c2));
    sum = build.add(build.mul(sum, d), number(c1));
    return build.add(build.mul(sum, d), number(c0));
  };
  Value *inner = polynomial(a + 2, -(a + 3), 0, 1), *outer = polynomial(a, -5 * a, 8 * a, -4 * a);
  Value* beyond = build.select(build.scalar_op(ScalarOp::Less, {d, number(2)}), outer, number(0));
  return build.select(build.scalar_op(ScalarOp::LessEqual, {d, number(1)}), inner, beyond);
}

Value* sampled(GraphBuilder& build, Value* x, const std::vector<std::vector<Tap>>& axes) {
  const Shape& shape = x->type.shape;
  Dim places = axes[0][0].index->type.shape[1];
  const Shape result = {shape[0], shape[1], places};
  Value* flat = build.reshape(x, {shape[0], shape[1], build.module.dims.product(std::span(shape).subspan(2))});
  Value* sum = nullptr;
  const std::function<void(size_t, Value*, Value*)> add_taps = [&](size_t axis, Value* position, Value* weight) {
    if (axis == axes.size()) {
      Value* element = build.gather_elements(flat, build.broadcast(position, {0, 2}, result), 2, true);
      if (weight) element = build.mul(element, build.broadcast(weight, {0, 2}, result));
      sum = sum ? build.add(sum, element) : element;
      return;
    }
    for (const Tap& tap : axes[axis]) {
      Value* here = tap.index;
      if (position) here = build.add(build.mul(position, build.dims_tensor({shape[axis + 2]}, {}, DType::I64)), here);
      add_taps(axis + 1, here, weight && tap.weight ? build.mul(weight, tap.weight) : weight ? weight : tap.weight);
    }
  };
  add_taps(0, nullptr, nullptr);
  return sum;
}

}  // namespace lapidary::frontend
