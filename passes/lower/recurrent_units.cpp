#include "passes/lower/recurrent_units.h"

#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

int64_t pitch_of_units(int64_t hidden, int lanes) {
  return lanes == 1 ? hidden : (hidden + kPanel - 1) / kPanel * kPanel;
}

LoweredStep RecurrentUnits::for_each(Module& module, const Target& target, const char* family, const char* schedule,
                                     int64_t count, const Body& body) const {
  KernelBuilder builder(module, target, family, schedule);
  GroupEmitter emit(builder, group);
  builder.for_gpu = true;
  std::vector<Dim> extents = {builder.dim(directions), batch};
  if (target.is_gpu()) extents.push_back(builder.dim(count));
  const std::vector<Expr> axes = builder.split_task(extents);
  const Expr row = builder.body.let("line", add(mul(axes[0], builder.parameter(batch)), axes[1]));
  if (target.is_gpu())
    body(emit, builder.body, axes, row, axes[2]);
  else
    serial(builder.body, "u", integer(0), integer(count), lanes,
           [&](Block& block, Expr unit) { body(emit, block, axes, row, unit); });
  LoweredStep step = single_step(builder.finish(module.dims.product(extents)));
  step.flops = builder.dim(0);
  return step;
}

Coords RecurrentUnits::at_state(const std::vector<Expr>& axes, const Expr& unit) const {
  return {{at(axes[0]), at(axes[1]), along(unit)},
          lanes,
          lanes > 1 ? first_lanes(sub(integer(hidden), unit), lanes) : nullptr};
}

}  // namespace lapidary::lowering
