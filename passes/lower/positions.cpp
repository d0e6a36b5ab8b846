// The positions of the true elements of a mask, in order: one thread walks over it and counts. How many there are was
// counted before (the sum of the mask, which the host reads), so the result has just the room it needs.
#include "passes/lower/family.h"

namespace lapidary::lowering {

using namespace loops;

LoweredGroup lower_positions(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  const Value* mask = group.operand(static_cast<int>(op.operand(0)->index));
  KernelBuilder builder(context.module, context.target(), "positions");
  const Buffer from = builder.operand(mask), to = builder.result(group.result());
  const Expr count = builder.parameter(op.params.dim("count")), extent = builder.parameter(mask->type.shape[0]);
  const Buffer found = builder.body.local("found", {DType::I64}, 1);
  builder.body.add(store(found, integer(0), integer(0)));
  const Var at = make_var("at", {}, 0, INT64_MAX / 4);
  Block body, taken;
  const Expr place = taken.let("place", load(found, integer(0)));
  taken.add(
      if_then(less(place, count), {store(to, place, variable(at)), store(found, integer(0), add(place, integer(1)))}));
  body.add(if_then(load(from, variable(at)), taken.take()));
  builder.body.add(for_loop(at, integer(0), extent, 1, LoopKind::Serial, body.take()));
  LoweredStep step = single_step(builder.finish(context.module.dims.constant(1)));
  step.serial = true;
  return {.steps = {std::move(step)}};
}

}  // namespace lapidary::lowering
