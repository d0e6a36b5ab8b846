#include "passes/lower/contraction_form.h"

#include <algorithm>

#include "ir/contract_spec.h"
#include "ir/error.h"

namespace lapidary::lowering {

using namespace loops;

Dim ContractionForm::extent(char letter) const {
  const size_t in_a = a_letters.find(letter), in_b = b_letters.find(letter);
  if (in_a == std::string::npos) return b()->type.shape[in_b];
  Dim of_a = a()->type.shape[in_a];
  // Both have it: equal, but maybe known of one alone.
  return in_b == std::string::npos || lapidary::value_of(of_a) ? of_a : b()->type.shape[in_b];
}

Shape ContractionForm::shape(const std::string& letters) const {
  Shape extents;
  for (char letter : letters) extents.push_back(extent(letter));
  return extents;
}

Dim ContractionForm::extent(DimPool& dims, const std::string& letters) const { return dims.product(shape(letters)); }

ContractionForm contraction_form(const Op& contract) {
  const ContractSpec spec = contract_spec(contract);
  ContractionForm form;
  form.contract = &contract;
  form.a_letters = spec.left;
  form.b_letters = spec.right;
  form.out_letters = spec.result;
  auto has = [](const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; };
  // Lanes run along the result's last axis; when operand 0 owns it, the operands change places.
  if (!form.out_letters.empty() && !has(form.b_letters, form.out_letters.back())) {
    std::swap(form.a_letters, form.b_letters);
    form.swapped = true;
  }
  for (char letter : form.out_letters) {
    bool in_a = has(form.a_letters, letter), in_b = has(form.b_letters, letter);
    (in_a && in_b ? form.batch : in_a ? form.rows : form.columns) += letter;
  }
  for (char letter : form.b_letters) {
    if (!has(form.out_letters, letter)) form.depth += letter;
  }
  return form;
}

namespace {

// The coordinates of each letter of a class from one flat one.
void spread(GroupEmitter& emit, const ContractionForm& form, const std::string& letters, Expr flat, bool lanes,
            int count, std::map<char, Coord>& into) {
  if (letters.empty()) return;
  Coord one = lanes ? along(flat) : at(flat);
  if (letters.size() == 1) {
    into[letters[0]] = one;
    return;
  }
  DimPool& dims = emit.builder.module.dims;
  std::vector<Coord> parts = emit.reshape({one}, {form.extent(dims, letters)}, form.shape(letters), count);
  for (size_t i = 0; i < letters.size(); ++i) into[letters[i]] = parts[i];
}

}  // namespace

Coords coords_of(GroupEmitter& emit, const ContractionForm& form, const std::string& letters, const FormCoords& where) {
  std::map<char, Coord> of;
  spread(emit, form, form.batch, where.batch, false, where.lanes, of);
  spread(emit, form, form.rows, where.row, false, where.lanes, of);
  spread(emit, form, form.columns, where.column, where.along == FormCoords::Lanes::Columns, where.lanes, of);
  spread(emit, form, form.depth, where.depth, where.along == FormCoords::Lanes::Depth, where.lanes, of);
  Coords coords;
  for (char letter : letters) coords.axes.push_back(of.at(letter));
  coords.lanes = where.lanes;
  coords.mask = where.mask;
  return coords;
}

namespace {

std::vector<int64_t> known_shape(const Type& type) {
  std::vector<int64_t> shape;
  for (Dim extent : type.shape) shape.push_back(lapidary::value_of(extent).value_or(-1));
  return shape;
}

}  // namespace

std::optional<ConstantId> constant_behind(Module& module, const Op& group, const Value* value) {
  if (!value->producer) {  // an argument of the region: look at the group's operand
    const Op* producer = group.operand(value->index)->producer;
    if (!producer || !producer->is(OpKind::Constant)) return std::nullopt;
    return producer->params.constant("value");
  }
  const Op& op = *value->producer;
  if (op.is(OpKind::Constant)) return op.params.constant("value");
  if (!op.is(OpKind::Transpose) && !op.is(OpKind::Reshape)) return std::nullopt;
  std::optional<ConstantId> source = constant_behind(module, group, op.operand(0));
  if (!source) return std::nullopt;
  if (op.is(OpKind::Transpose)) {
    return module.constants.transformed(*source,
                                        {.kind = Transform::Kind::Transpose, .axes = op.params.integers("perm")});
  }
  return module.constants.transformed(*source, {.kind = Transform::Kind::Reshape, .shape = known_shape(op.type())});
}

std::optional<ConstantId> packed_columns(Module& module, const Op& group, const ContractionForm& form, int panels,
                                         const Atom& atom) {
  if (!form.batch.empty()) return std::nullopt;
  std::optional<ConstantId> weight = constant_behind(module, group, form.b());
  if (!weight) return std::nullopt;
  std::vector<int64_t> order;
  for (char letter : form.depth + form.columns) order.push_back(static_cast<int64_t>(form.b_letters.find(letter)));
  ConstantTable& constants = module.constants;
  if (!std::is_sorted(order.begin(), order.end())) {
    weight = constants.transformed(*weight, {.kind = Transform::Kind::Transpose, .axes = order});
  }
  int64_t depth = *lapidary::value_of(form.extent(module.dims, form.depth));
  int64_t columns = *lapidary::value_of(form.extent(module.dims, form.columns));
  if (constants[*weight].shape != std::vector<int64_t>{depth, columns}) {
    weight = constants.transformed(*weight, {.kind = Transform::Kind::Reshape, .shape = {depth, columns}});
  }
  int64_t unit = int64_t{kPanel} * panels;
  int64_t padded = (columns + unit - 1) / unit * unit;
  if (padded != columns) {
    weight = constants.transformed(*weight, {.kind = Transform::Kind::Pad, .shape = {depth, padded}});
  }
  const auto kind = atom.depth == 1 ? Transform::Kind::PackPanels : Transform::Kind::PackDots;
  return constants.transformed(*weight, {.kind = kind, .block = kPanel});
}

namespace {

bool mentions(const Expr& expr, const Expr& variable) {
  if (expr->kind == ExprKind::Variable) return expr->var == variable->var;
  return std::ranges::any_of(expr->args, [&](const Expr& argument) { return mentions(argument, variable); });
}

}  // namespace

std::optional<AffineOperand> affine_operand(GroupEmitter& emit, const Value* value, DType dtype,
                                            const std::function<Coords(Expr, Expr)>& where) {
  std::vector<const Op*> maps;
  while (value->producer) {
    const Op& op = *value->producer;
    bool index_map =
        op.is(OpKind::Transpose) || op.is(OpKind::Reshape) || op.is(OpKind::Slice) || op.is(OpKind::Broadcast);
    if (!index_map) return std::nullopt;
    maps.push_back(&op);
    value = op.operand(0);
  }
  const Value* operand = emit.group.operand(value->index);
  if (operand->type.dtype != dtype) return std::nullopt;
  auto address = [&](Expr row, Expr depth) -> Expr {
    Coords coords = where(row, depth);
    for (const Op* op : maps) coords = emit.backward(*op, coords);
    emit.literal_strides = true;
    GroupEmitter::Address found = emit.address(operand->type, coords);
    emit.literal_strides = false;
    return found.lanewise ? nullptr : found.base;
  };
  // Linear when a step by one is the same from anywhere.
  Expr row = variable(make_var("r", {}, 0, INT32_MAX)), depth = variable(make_var("k", {}, 0, INT32_MAX));
  Expr here = address(row, depth), below = address(add(row, integer(1)), depth),
       beside = address(row, add(depth, integer(1)));
  if (!here || !below || !beside) return std::nullopt;
  Expr row_stride = sub(below, here), depth_stride = sub(beside, here);
  for (const Expr& stride : {row_stride, depth_stride})
    if (mentions(stride, row) || mentions(stride, depth)) return std::nullopt;
  return AffineOperand{emit.builder.operand(operand), address(integer(0), integer(0)), row_stride, depth_stride};
}

}  // namespace lapidary::lowering
