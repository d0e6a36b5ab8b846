#include "passes/lower/reduction_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "ir/error.h"

namespace lapidary::lowering {

bool is_reduction_op(const Op& op) {
  return op.is(OpKind::ReduceSum) || op.is(OpKind::ReduceProd) || op.is(OpKind::ReduceMax) ||
         op.is(OpKind::ReduceMin) || op.is(OpKind::ReduceMean);
}

bool ReductionPlan::is_reduced(const IterationSpace& space, int axis) const {
  for (size_t i = 0; i < reduced.size(); ++i)
    for (int digit : space.digits[i])
      if (digit == axis) return reduced[i];
  LPD_UNREACHABLE("an axis of no tensor axis");
}

Shape ReductionPlan::kept_shape() const {
  Shape shape;
  for (size_t i = 0; i < reduced.size(); ++i)
    if (!reduced[i]) shape.push_back(full.shape[i]);
  return shape;
}

Coords ReductionPlan::kept(const Coords& full_coords) const {
  std::vector<Coord> axes;
  for (size_t i = 0; i < reduced.size(); ++i)
    if (!reduced[i]) axes.push_back(full_coords.axes[i]);
  return full_coords.with(std::move(axes));
}

namespace {

// More than a load or two: worth a store and a load.
bool is_dear(const Op& op) {
  if (op.is(OpKind::Gather) || op.is(OpKind::GatherElements) || op.is(OpKind::Pad) || op.is(OpKind::Concat))
    return true;
  if (!is_scalar_op(op.kind)) return false;
  static constexpr ScalarOp kDear[] = {
      ScalarOp::Exp,   ScalarOp::Log,   ScalarOp::Sin,  ScalarOp::Cos,     ScalarOp::Tan,  ScalarOp::Asin,
      ScalarOp::Acos,  ScalarOp::Atan,  ScalarOp::Sinh, ScalarOp::Cosh,    ScalarOp::Tanh, ScalarOp::Asinh,
      ScalarOp::Acosh, ScalarOp::Atanh, ScalarOp::Erf,  ScalarOp::Sigmoid, ScalarOp::Pow};
  return std::find(std::begin(kDear), std::end(kDear), scalar_op(op.kind)) != std::end(kDear);
}

// How many reductions lie one behind the other before each value.
std::map<const Value*, size_t> levels_of(const Region& region) {
  std::map<const Value*, size_t> levels;
  for (const Op& op : region.ops) {
    size_t level = 0;
    for (const Value* operand : op.operands) level = std::max(level, levels[operand]);
    for (const auto& result : op.results) levels[result.get()] = level + (is_reduction_op(op) ? 1 : 0);
  }
  return levels;
}

// Values computed for `roots`, up to reductions and what is staged already.
void collect_needed(const Value* root, const std::set<const Value*>& staged, std::set<const Value*>& needed) {
  if (!needed.insert(root).second || staged.contains(root)) return;
  if (!root->producer || is_reduction_op(*root->producer)) return;
  for (const Value* operand : root->producer->operands) collect_needed(operand, staged, needed);
}

struct Planner {
  const Region& region;
  ReductionPlan& plan;

  std::vector<const Value*> roots(size_t pass) const {
    std::vector<const Value*> result;
    if (pass < plan.passes.size())
      for (const Op* op : plan.passes[pass].reductions) result.push_back(op->operand(0));
    else
      for (uint32_t index : plan.full_results) result.push_back(region.results()[index]);
    return result;
  }

  // Later definitions first, so that only the last dear value of a chain is staged.
  void choose_staged() {
    std::set<const Value*> staged;
    for (auto op = region.ops.rbegin(); op != region.ops.rend(); ++op) {
      if (op->results.size() != 1 || op->type().shape != plan.full.shape || !is_dear(*op)) continue;
      std::optional<size_t> first;
      bool again = false;
      for (size_t pass = 0; pass <= plan.passes.size(); ++pass) {
        std::set<const Value*> needed;
        for (const Value* root : roots(pass)) collect_needed(root, staged, needed);
        if (!needed.contains(op->result())) continue;
        again = first.has_value();
        if (!first) first = pass;
      }
      if (!again) continue;
      staged.insert(op->result());
      auto& list = plan.passes[*first].staged;
      list.insert(list.begin(), op->result());
    }
  }
};

// Where a yielded value lies: 1 in the full space, 0 in the kept one, -1 unknown.
int space_of_value(const ReductionPlan& plan, const Shape& kept, const Value* value) {
  if (value->type.shape == plan.full.shape) return 1;
  if (value->type.shape == kept) return 0;
  if (!value->producer || !maps_forward(*value->producer)) return -1;
  for (const Value* operand : value->producer->operands)
    if (int found = space_of_value(plan, kept, operand); found >= 0) return found;
  return -1;
}

// The layout that the walk follows: that of the first operand or result of the full shape with channel blocks.
Layout walking_layout(const Op& group, const Shape& shape) {
  const auto blocked = [&](const Value* value) {
    return value->type.shape == shape && value->type.layout.blocked_axis >= 0;
  };
  Layout layout;
  const Value* found = nullptr;
  for (const Value* operand : group.operands)
    if (!found && blocked(operand)) found = operand;
  for (const auto& result : group.results)
    if (!found && blocked(result.get())) found = result.get();
  if (!found) return layout;
  layout.blocked_axis = found->type.layout.blocked_axis;
  layout.block = found->type.layout.block;
  layout.last = found->type.layout.last;
  return layout;
}

}  // namespace

std::optional<ReductionPlan> plan_reductions(DimPool&, const Op& group) {
  const Region& region = *group.regions[0];
  ReductionPlan plan;
  auto levels = levels_of(region);
  const Op* first = nullptr;
  for (const Op& op : region.ops) {
    if (!is_reduction_op(op)) continue;
    if (!first) {
      first = &op;
      plan.full = Type::tensor(DType::F32, op.operand(0)->type.shape);
      plan.reduced.assign(plan.full.shape.size(), false);
      for (int64_t axis : op.params.integers("axes")) plan.reduced[axis] = true;
    }
    if (op.operand(0)->type.shape != plan.full.shape || op.params.integers("axes") != first->params.integers("axes"))
      return {};
    const size_t pass = levels[op.operand(0)];
    if (plan.passes.size() <= pass) plan.passes.resize(pass + 1);
    plan.passes[pass].reductions.push_back(&op);
  }
  if (!first) return {};
  plan.full.layout = walking_layout(group, plan.full.shape);
  const Shape kept = plan.kept_shape();
  for (uint32_t i = 0; i < group.results.size(); ++i) {
    const int space = space_of_value(plan, kept, region.results()[i]);
    if (space < 0) return {};
    (space ? plan.full_results : plan.kept_results).push_back(i);
  }
  Planner{region, plan}.choose_staged();
  return plan;
}

Coords locate_result(GroupEmitter& emit, const ReductionPlan& plan, const Value* yielded, const Coords& coords,
                     bool full) {
  const Shape kept = plan.kept_shape();
  if (yielded->type.shape == (full ? plan.full.shape : kept)) return coords;
  for (const Value* operand : yielded->producer->operands)
    if (space_of_value(plan, kept, operand) == (full ? 1 : 0))
      return emit.forward(*yielded->producer, locate_result(emit, plan, operand, coords, full));
  LPD_UNREACHABLE("a result of no space");
}

void store_located(GroupEmitter& emit, const ReductionPlan& plan, uint32_t index, const Coords& coords, bool full) {
  const Value* yielded = emit.group.regions[0]->results()[index];
  const Coords where = locate_result(emit, plan, yielded, coords, full);
  emit.store(index, where, emit.value(yielded, where));
}

loops::Expr finished_reduction(KernelBuilder& builder, const ReductionPlan& plan, const Op& reduction,
                               loops::Expr total) {
  if (reduction.is(OpKind::ReduceMean)) {
    Dim count = builder.dim(1);
    for (size_t i = 0; i < plan.reduced.size(); ++i)
      if (plan.reduced[i]) count = builder.module.dims.mul(count, plan.full.shape[i]);
    const loops::Expr divisor = convert(builder.parameter(count), total->type.dtype);
    total = loops::apply(ScalarOp::Div, {total, splat_to(divisor, total->type.lanes)});
  }
  return rounded(total, reduction.type().dtype);
}

}  // namespace lapidary::lowering
