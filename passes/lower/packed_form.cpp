#include "passes/lower/packed_form.h"

#include "ir/error.h"

namespace lapidary::lowering {

namespace {

const Value* operand_of(const Op& group, const Op& op, int index) { return group.operand(op.operand(index)->index); }

ConstantId constant_of(const Op& group, const Op& op, int index) {
  const Op* source = operand_of(group, op, index)->producer;
  LPD_CHECK(source && source->is(OpKind::Constant), "packed weights are no constant");
  return source->params.constant("value");
}

}  // namespace

PackedForm::PackedForm(Module& module, const Op& group, const Op& composite)
    : op(composite),
      a(operand_of(group, op, 0)),
      bits(static_cast<int>(op.params.integer("bits"))),
      depth(op.params.integer("k")),
      block(op.params.integer("block")),
      columns(*value_of(op.type().shape.back())),
      rows(module.dims.product(Shape(op.type().shape.begin(), op.type().shape.end() - 1))),
      codes(constant_of(group, op, 1)),
      scales(constant_of(group, op, 2)) {
  if (op.operands.size() > 3) zeros = constant_of(group, op, 3);
}

Dim PackedForm::flops(DimPool& dims) const { return dims.mul(dims.constant(2 * depth * columns), rows); }

Coords PackedForm::result_at(GroupEmitter& emit, loops::Expr row, Coord column, int lanes) const {
  const Shape& shape = op.type().shape;
  const Shape outer(shape.begin(), shape.end() - 1);
  Coords coords;
  coords.lanes = lanes;
  if (outer.size() == 1) coords.axes = {at(row)};
  if (outer.size() > 1) coords.axes = emit.reshape({at(row)}, {rows}, outer, lanes);
  coords.axes.push_back(std::move(column));
  return coords;
}

}  // namespace lapidary::lowering
