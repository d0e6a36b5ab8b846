#include "passes/lower/group_emitter.h"

#include <array>
#include <optional>

#include "ir/error.h"
#include "passes/lower/lanes.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering {

using namespace loops;

GroupEmitter::GroupEmitter(KernelBuilder& builder, const Op& group) : builder(builder), group(group) {
  LPD_CHECK(group.is(OpKind::Group), "{} is not a group", name_of(group.kind));
}

GroupEmitter::Scope::Scope(GroupEmitter& emitter, Block& block)
    : emitter_(emitter),
      outer_(emitter.block_),
      remembered_(emitter.remembered_.size()),
      pinned_(emitter.pinned_.size()) {
  emitter.block_ = &block;
}

GroupEmitter::Scope::~Scope() {
  emitter_.block_ = outer_;
  emitter_.remembered_.resize(remembered_);
  emitter_.pinned_.resize(pinned_);
}

void GroupEmitter::bind(const Value* value, Binding binding) { bindings_[value] = std::move(binding); }

Expr GroupEmitter::value(const Value* value, const Coords& coords) {
  return splat_to(value_or_scalar(value, coords), coords.lanes);
}

namespace {

// What is the same in all lanes is computed once: such a value is remembered whatever the lanes and their mask.
Coords one_lane_if_uniform(const Coords& coords) {
  for (const Coord& coord : coords.axes)
    if (!coord.uniform()) return coords;
  return {coords.axes, 1, nullptr, coords.guard};
}

}  // namespace

Expr GroupEmitter::value_or_scalar(const Value* value, const Coords& given) {
  const Coords coords = given.lanes == 1 ? given : one_lane_if_uniform(given);
  for (size_t i = pinned_.size(); i-- > 0;)
    if (pinned_[i].value == value) return pinned_[i].expr;
  for (size_t i = remembered_.size(); i-- > 0;)
    if (remembered_[i].value == value && same_coords(remembered_[i].coords, coords)) return remembered_[i].expr;
  Expr expr = compute(value, coords);
  if (value->uses.size() > 1) {
    expr = block().let(fmt::format("v{}", value->id), expr);
    remembered_.push_back({value, coords, expr});
  }
  return expr;
}

// A float result narrower than f32 is rounded at every op, though it is computed in f32.
Expr rounded(Expr value, DType dtype) {
  const DType computed = compute_dtype(dtype);
  if (computed == dtype) return value;
  return convert(convert(std::move(value), dtype), computed);
}

std::vector<Coord> broadcast_axes(const Type& type, std::vector<Coord> coords) {
  const size_t rank = type.shape.size();
  coords.erase(coords.begin(), coords.end() - static_cast<std::ptrdiff_t>(rank));
  for (size_t axis = 0; axis < rank; ++axis)
    if (lapidary::value_of(type.shape[axis]) == 1) coords[axis] = at(integer(0));
  return coords;
}

namespace {

Expr apply_all(ScalarOp op, std::vector<Expr> operands) {
  int lanes = 1;
  for (const Expr& operand : operands) lanes = std::max<int>(lanes, operand->type.lanes);
  for (Expr& operand : operands) operand = splat_to(operand, lanes);
  return apply(op, std::move(operands));
}

Expr fma_all(std::vector<Expr> operands) {
  int lanes = 1;
  for (const Expr& operand : operands) lanes = std::max<int>(lanes, operand->type.lanes);
  for (Expr& operand : operands) operand = splat_to(operand, lanes);
  return fma(operands[0], operands[1], operands[2]);
}

// a · b + c behind sums of codes: rounded once, which is nearer and half as many instructions. In floats alone two
// roundings are what the model says.
struct SumOfProduct {
  std::array<const Value*, 3> operands;
};
std::optional<SumOfProduct> sum_of_product(const Op& group, const Op& op) {
  const Op& anchor = anchor_of(group);
  if (!op.is(OpKind::Add) || op.type().dtype != DType::F32 || !anchor.params.has("to")) return std::nullopt;
  if (!anchor.is(OpKind::Conv) && !anchor.is(OpKind::Contract)) return std::nullopt;
  for (int i : {0, 1}) {
    const Op* product = op.operand(i)->producer;
    if (product && product->is(OpKind::Mul) && op.operand(i)->has_one_use())
      return SumOfProduct{{product->operand(0), product->operand(1), op.operand(1 - i)}};
  }
  return std::nullopt;
}

Expr constant_element(Scalar value) { return constant(convert(value, compute_dtype(value.dtype))); }

}  // namespace

Expr GroupEmitter::load_operand(uint32_t argument, const Coords& coords) {
  const Value* outer = group.operand(static_cast<int>(argument));
  if (outer->producer && outer->producer->is(OpKind::Constant)) {
    Scalar splat_value;
    if (builder.module.constants.is_splat(outer->producer->params.constant("value"), &splat_value))
      return constant_element(splat_value);
  }
  return load(builder.operand(outer), address(outer->type, coords), coords);
}

Expr GroupEmitter::load_constant(const Op& op, const Coords& coords) {
  const ConstantId id = op.params.constant("value");
  Scalar splat_value;
  if (builder.module.constants.is_splat(id, &splat_value)) return constant_element(splat_value);
  return load(builder.weight(id), address(op.type(), coords), coords);
}

Expr GroupEmitter::compute(const Value* value, const Coords& coords) {
  if (auto found = bindings_.find(value); found != bindings_.end()) return found->second(coords);
  if (!value->producer) return load_operand(value->index, coords);
  const Op& op = *value->producer;
  switch (op.kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    {
      if (const auto sum = sum_of_product(group, op)) {
        std::vector<Expr> operands;
        for (const Value* operand : sum->operands) operands.push_back(value_or_scalar(operand, coords));
        return fma_all(std::move(operands));
      }
      std::vector<Expr> operands;
      for (const Value* operand : op.operands) operands.push_back(value_or_scalar(operand, coords));
      return rounded(apply_all(scalar_op(op.kind), std::move(operands)), value->type.dtype);
    }
    case OpKind::Convert: {
      const DType to = op.params.dtype("to");
      return convert(convert(value_or_scalar(op.operand(0), coords), to), compute_dtype(to));
    }
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Transpose:
    case OpKind::Slice:
    case OpKind::Relayout:
      return value_or_scalar(op.operand(0), backward(op, coords));
    case OpKind::Constant:
      return load_constant(op, coords);
    case OpKind::DimsTensor:
      return dims_tensor(op, coords);
    case OpKind::Iota:
      return iota(op, coords);
    case OpKind::Concat:
      return concat(op, coords);
    case OpKind::Pad:
      return pad(op, coords);
    case OpKind::Gather:
    case OpKind::GatherElements:
      return gather(op, coords);
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
    case OpKind::ReduceMean:
    case OpKind::Contract:
    case OpKind::Conv:
    case OpKind::ConvTranspose:
    case OpKind::ConvFilterGradient:
    case OpKind::MaxPool:
    case OpKind::AveragePool:
    case OpKind::MaxPoolTap:
    case OpKind::MaxPoolGradient:
      return emit_op_loops(*this, op, coords);
    case OpKind::ToHost:
    case OpKind::HostCall:
    case OpKind::TruePositions:
    case OpKind::Suppress:
    case OpKind::Scatter:
    case OpKind::Scan:
    case OpKind::TopK:
    case OpKind::BitCast:
    case OpKind::Loop:
    case OpKind::If:
    case OpKind::Composite:
    case OpKind::Group:
    case OpKind::Yield:
      break;
  }
  throw Error(Fault::Unsupported,
              fmt::format("{}: no kernel for {} inside a group", builder.module.describe(op.origin), name_of(op.kind)));
}

Expr GroupEmitter::dims_tensor(const Op& op, const Coords& coords) {
  const auto& elements = op.params.dims("elements");
  const DType dtype = op.params.dtype("dtype");
  Expr position = integer(0);
  for (size_t i = 0; i < coords.axes.size(); ++i) {
    Dim extent = op.type().shape[i];
    Expr along_axis = lane_values(flatten(coords.axes[i], extent), coords.lanes);
    const int lanes = std::max(position->type.lanes, along_axis->type.lanes);
    position =
        add(mul(splat_to(position, lanes), splat_to(builder.literal(extent), lanes)), splat_to(along_axis, lanes));
  }
  const int lanes = position->type.lanes;
  Expr result = constant(convert(Scalar::of_integer(DType::I64, 0), DType::I64), lanes);
  for (size_t i = elements.size(); i-- > 0;) {
    Expr here = apply_all(ScalarOp::Equal, {position, integer(static_cast<int64_t>(i))});
    result = select(here, splat(builder.parameter(elements[i]), lanes), result);
  }
  return convert(result, compute_dtype(dtype));
}

Expr GroupEmitter::iota(const Op& op, const Coords& coords) {
  const int64_t axis = op.params.integer("axis");
  Expr coordinate = lane_values(flatten(coords.axes[axis], op.type().shape[axis]), coords.lanes);
  Dim start = op.params.has("start") ? op.params.dim("start") : builder.dim(0);
  Dim step = op.params.has("step") ? op.params.dim("step") : builder.dim(1);
  Expr scaled = apply_all(ScalarOp::Mul, {coordinate, builder.parameter(step)});
  Expr value = apply_all(ScalarOp::Add, {scaled, builder.parameter(start)});
  return rounded(convert(value, compute_dtype(op.params.dtype("dtype"))), op.params.dtype("dtype"));
}

namespace {

// Narrows what may be touched to where `inside` holds.
Coords narrowed(Coords coords, const Expr& inside) {
  if (!inside) return coords;
  Expr& kept = inside->type.lanes == 1 && coords.lanes > 1 ? coords.guard
               : coords.lanes == 1                         ? coords.guard
                                                           : coords.mask;
  kept = both(kept, inside);
  return coords;
}

}  // namespace

// Each part is loaded under the mask of its range; the first range that holds the coordinate wins.
Expr GroupEmitter::concat(const Op& op, const Coords& coords) {
  const int64_t axis = op.params.integer("axis");
  DimPool& dims = builder.module.dims;
  const Coord flat = flatten(coords.axes[axis], op.type().shape[axis]);
  Dim begin = builder.dim(0);
  std::vector<std::pair<Expr, Expr>> parts;  // inside, value
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Value* operand = op.operands[i];
    const bool only = i + 1 == op.operands.size() && parts.empty();
    if (value_of(operand->type.shape[axis]) == 0 && !only) continue;
    Dim end = dims.add(begin, operand->type.shape[axis]);
    if (end == begin && i > 0) continue;  // nothing, which no range can tell from its neighbour
    const bool first = value_of(begin) == 0, last = end == op.type().shape[axis];
    Expr inside = in_range(flat, first ? nullptr : builder.parameter(begin), last ? nullptr : builder.parameter(end),
                           coords.lanes);
    Coords where = narrowed(coords, inside);
    if (inside && range(operand->type.shape[axis]).lo < 1)
      where.guard = both(where.guard, less(integer(0), builder.parameter(operand->type.shape[axis])));
    where.axes[axis] = shift(flat, dims.neg(begin), nullptr, coords.lanes);
    parts.push_back({inside, value_or_scalar(operand, where)});
    if (!inside) break;
    begin = end;
  }
  Expr result = parts.back().second;
  for (size_t i = parts.size() - 1; i-- > 0;)
    result = apply_all(ScalarOp::Select, {parts[i].first, parts[i].second, result});
  return result;
}

namespace {

Expr absolute(const Expr& value) { return apply(ScalarOp::Abs, {value}); }

}  // namespace

Expr GroupEmitter::pad(const Op& op, const Coords& coords) {
  const std::string& mode = op.params.text("mode");
  const auto &lo = op.params.dims("lo"), &hi = op.params.dims("hi");
  const Shape& from = op.operand(0)->type.shape;
  Coords where = coords;
  Expr inside;
  for (size_t i = 0; i < from.size(); ++i) {
    if (value_of(lo[i]) == 0 && value_of(hi[i]) == 0) continue;
    Coord flat =
        shift(flatten(coords.axes[i], op.type().shape[i]), builder.module.dims.neg(lo[i]), nullptr, coords.lanes);
    flat = flatten(flat, nullptr);
    if (mode == "constant") {
      Expr here = in_range(flat, value_of(lo[i]) == 0 ? nullptr : integer(0),
                           value_of(hi[i]) == 0 ? nullptr : builder.parameter(from[i]), coords.lanes);
      if (here) where = narrowed(std::move(where), here), inside = both(inside, here);
      where.axes[i] = flat;
      continue;
    }
    Expr x = lane_values(flat, coords.lanes);
    Expr extent = splat_to(builder.divisor(from[i]), x->type.lanes);
    Expr zero = splat_to(integer(0), x->type.lanes), one = splat_to(integer(1), x->type.lanes);
    Expr last = sub(extent, one);
    Expr source;
    if (mode == "edge") {
      source = min(max(x, zero), last);
    } else if (mode == "wrap") {
      source = apply(ScalarOp::FloorMod, {x, extent});
    } else if (mode == "reflect") {  // period 2·(n-1): |((x + n - 1) mod period) - (n - 1)|
      Expr period = max(add(last, last), one);
      source = absolute(sub(apply(ScalarOp::FloorMod, {add(x, last), period}), last));
    } else {
      throw Error(Fault::Unsupported, fmt::format("{}: pad mode {}", builder.module.describe(op.origin), mode));
    }
    where.axes[i] = source->type.lanes == 1 ? at(source) : lanewise(source);
  }
  Expr value = value_or_scalar(op.operand(0), where);
  if (!inside) return value;
  Expr fill = op.operands.size() > 1
                  ? value_or_scalar(op.operand(1), coords.with({}))
                  : constant(lapidary::convert(Scalar::of_integer(DType::I64, 0), value->type.dtype));
  return apply_all(ScalarOp::Select, {inside, value, fill});
}

// Negative indices count from the end. One that is out of range all the same sets a flag, which ends the run as a wrong
// input, and is clamped: no input makes a kernel read what is not its own.
Expr GroupEmitter::gather(const Op& op, const Coords& coords) {
  const size_t axis = static_cast<size_t>(op.params.integer("axis"));
  const Value *data = op.operand(0), *indices = op.operand(1);
  const size_t index_rank = indices->type.shape.size();
  const bool elements = op.is(OpKind::GatherElements);
  Coords index_coords = coords;
  if (!elements) index_coords.axes = {coords.axes.begin() + axis, coords.axes.begin() + axis + index_rank};
  Expr index = convert(value_or_scalar(indices, index_coords), DType::I64);
  const int lanes = index->type.lanes;
  Expr extent = splat_to(builder.parameter(data->type.shape[axis]), lanes);
  Expr zero = splat_to(integer(0), lanes);
  if (!op.params.integer_or("inside", 0)) {
    index = block().let("index", select(less(index, zero), add(index, extent), index));
    Expr inside = apply(ScalarOp::And, {apply(ScalarOp::LessEqual, {zero, index}), less(index, extent)});
    flag_unless(inside, index_coords, fmt::format("{}: an index is out of range", builder.module.describe(op.origin)));
  }
  index = max(min(index, sub(extent, splat_to(integer(1), lanes))), zero);
  index = block().let("index", index);
  Coords where = coords;
  if (!elements) {
    where.axes.erase(where.axes.begin() + axis, where.axes.begin() + axis + index_rank);
    where.axes.insert(where.axes.begin() + axis, Coord{});
  }
  where.axes[axis] = lanes == 1 ? at(index) : lanewise(index);
  if (range(data->type.shape[axis]).lo < 1)
    where.guard = both(where.guard, less(integer(0), builder.parameter(data->type.shape[axis])));
  return value_or_scalar(data, where);
}

void GroupEmitter::flag_unless(Expr holds, const Coords& coords, const std::string& message) {
  if (loops::value_of(holds) == 1) return;
  const int lanes = holds->type.lanes;
  if (coords.mask && lanes > 1) holds = apply(ScalarOp::Or, {holds, apply(ScalarOp::Not, {coords.mask})});
  Expr wrong = apply(ScalarOp::Not, {holds});
  if (lanes > 1) {
    Expr ones = select(wrong, splat_to(loops::constant(Scalar::of_integer(DType::I32, 1)), lanes),
                       splat_to(loops::constant(Scalar::of_integer(DType::I32, 0)), lanes));
    wrong = less(loops::constant(Scalar::of_integer(DType::I32, 0)), loops::reduce(ScalarOp::Max, ones));
  }
  Stmt set = loops::store(builder.flag(message), integer(0), loops::constant(Scalar::of_integer(DType::I32, 1)));
  block().add(if_then(both(coords.guard, wrong), {set}));
}

// --- forwards --------------------------------------------------------------------------------------------------------

void GroupEmitter::store_results(const Value* anchor, const Coords& coords, Expr value) {
  const size_t first = pinned_.size();
  const auto find = [&](const Value* wanted) -> const Remembered* {
    for (size_t i = first; i < pinned_.size(); ++i)
      if (pinned_[i].value == wanted) return &pinned_[i];
    return nullptr;
  };
  pinned_.push_back({anchor, coords, block().let("result", value)});
  for (const Op& op : group.regions[0]->ops) {
    if (op.is(OpKind::Yield)) {
      for (uint32_t i = 0; i < op.operands.size(); ++i)
        if (const Remembered* pinned = find(op.operands[i])) store(i, pinned->coords, pinned->expr);
      continue;
    }
    const Remembered* source = nullptr;
    for (const Value* operand : op.operands) {
      const Remembered* pinned = find(operand);
      if (!pinned) continue;
      const bool agree = !source || same_coords(source->coords, pinned->coords);
      if (!agree || (!maps_forward(op) && !is_scalar_op(op.kind)))
        throw Error(Fault::Unsupported, fmt::format("{}: {} after the anchor of a fused group",
                                                    builder.module.describe(op.origin), name_of(op.kind)));
      source = source ? source : pinned;
    }
    if (!source) continue;
    const Coords there = forward(op, source->coords);
    Expr expr = is_scalar_op(op.kind) || op.is(OpKind::Convert) ? compute(op.result(), there) : source->expr;
    pinned_.push_back({op.result(), there, op.result()->has_one_use() ? expr : block().let("result", expr)});
  }
  pinned_.resize(first);
}

bool results_follow(const Op& group, const Op* anchor) {
  std::map<const Value*, std::vector<const Op*>> ways;  // the ops that moved elements since the anchor
  for (const auto& result : anchor->results) ways[result.get()] = {};
  for (const Op& op : group.regions[0]->ops) {
    if (&op == anchor) continue;
    const std::vector<const Op*>* way = nullptr;
    for (const Value* operand : op.operands) {
      const auto found = ways.find(operand);
      if (found == ways.end()) {
        if (op.is(OpKind::Yield)) return false;
        continue;
      }
      if (!op.is(OpKind::Yield) && (!maps_forward(op) || (way && *way != found->second))) return false;
      way = &found->second;
    }
    if (!way || op.is(OpKind::Yield)) continue;
    std::vector<const Op*> longer = *way;
    if (!is_scalar_op(op.kind) && !op.is(OpKind::Convert)) longer.push_back(&op);
    ways[op.result()] = std::move(longer);
  }
  return true;
}

bool GroupEmitter::follows(const Value* anchor, uint32_t index) const {
  std::vector<const Value*> reached = {anchor};
  const auto is_reached = [&](const Value* value) {
    return std::find(reached.begin(), reached.end(), value) != reached.end();
  };
  for (const Op& op : group.regions[0]->ops) {
    if (op.is(OpKind::Yield)) return is_reached(op.operands[index]);
    if (maps_forward(op) && std::any_of(op.operands.begin(), op.operands.end(), is_reached))
      reached.push_back(op.result());
  }
  return false;
}

}  // namespace lapidary::lowering
