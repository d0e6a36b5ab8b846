// Non-maximum suppression: one task for each batch and class. It walks over the boxes in their order and compares each
// with those it has kept so far, whose list is the task's own memory.
#include "passes/lower/family.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

struct Corners {
  Expr y0, x0, y1, x1;
};

Corners corners_at(Block& block, const Buffer& boxes, const Expr& box) {
  const Expr first = block.let("first", mul(box, integer(4)));
  auto at = [&](int i) { return block.let("corner", load(boxes, add(first, integer(i)))); };
  return {at(0), at(1), at(2), at(3)};
}

Expr area_of(const Corners& c) { return mul(sub(c.y1, c.y0), sub(c.x1, c.x0)); }

}  // namespace

LoweredGroup lower_suppress(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  DimPool& dims = context.module.dims;
  auto operand = [&](int i) { return group.operand(static_cast<int>(op.operand(i)->index)); };
  const Shape& shape = op.type().shape;
  KernelBuilder builder(context.module, context.target(), "suppress");
  const Buffer boxes = builder.operand(operand(0)), order = builder.operand(operand(1)),
               allowed = builder.operand(operand(2)), limit = builder.operand(operand(3)),
               result = builder.result(group.result()), kept = builder.scratch(0, DType::I64, true, true);
  const std::vector<Expr> task = builder.split_task({shape[0], shape[1]});
  const Expr count = builder.parameter(shape[2]), most = builder.parameter(op.params.dim("most"));
  Block& body = builder.body;
  const Expr line = body.let("line", mul(add(mul(task[0], builder.parameter(shape[1])), task[1]), count));
  const Expr first_box = body.let("first_box", mul(task[0], builder.parameter(operand(0)->type.shape[1])));
  const Expr threshold = body.let("threshold", load(limit, integer(0)));
  const Buffer found = body.local("found", {DType::I64}, 1);
  body.add(store(found, integer(0), integer(0)));

  const Var at = make_var("at", {}, 0, INT64_MAX / 8);
  Block each, candidate, compare;
  const Expr place = each.let("place", add(line, variable(at)));
  const Buffer takes = each.local("takes", {DType::I64}, 1);
  const Expr open = apply(ScalarOp::And, {load(allowed, place), less(load(found, integer(0)), most)});
  each.add(store(takes, integer(0), select(open, integer(1), integer(0))));
  const Expr box = candidate.let("box", add(first_box, load(order, place)));
  const Corners mine = corners_at(candidate, boxes, box);
  const Expr my_area = candidate.let("area", area_of(mine));
  const Expr so_far = candidate.let("so_far", load(found, integer(0)));
  const Var other = make_var("other", {}, 0, INT64_MAX / 8);
  const Corners theirs = corners_at(compare, boxes, load(kept, add(line, variable(other))));
  const Expr height = compare.let("height", sub(min(mine.y1, theirs.y1), max(mine.y0, theirs.y0)));
  const Expr width = compare.let("width", sub(min(mine.x1, theirs.x1), max(mine.x0, theirs.x0)));
  const Expr both = compare.let("both", mul(height, width));
  const Expr share = apply(ScalarOp::Div, {both, sub(add(my_area, area_of(theirs)), both)});
  const Expr meet = apply(ScalarOp::And, {less(real(0), height), less(real(0), width)});
  const Expr overlaps = apply(ScalarOp::And, {meet, less(threshold, share)});
  compare.add(if_then(overlaps, {store(takes, integer(0), integer(0))}));
  candidate.add(for_loop(other, integer(0), so_far, 1, LoopKind::Serial, compare.take()));
  candidate.add(if_then(less(integer(0), load(takes, integer(0))),
                        {store(kept, add(line, so_far), box), store(found, integer(0), add(so_far, integer(1)))}));
  each.add(if_then(less(integer(0), load(takes, integer(0))), candidate.take()));
  each.add(store(result, place, less(integer(0), load(takes, integer(0)))));
  body.add(for_loop(at, integer(0), count, 1, LoopKind::Serial, each.take()));
  LoweredGroup lowered;
  lowered.steps.push_back(single_step(builder.finish(dims.mul(shape[0], shape[1]))));
  lowered.scratch.push_back(dims.mul(dims.product(shape), dims.constant(8)));
  return lowered;
}

}  // namespace lapidary::lowering
