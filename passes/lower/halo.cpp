#include "passes/lower/halo.h"

#include <algorithm>

#include "ir/layout.h"
#include "passes/lower/coords.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering {

using namespace loops;

bool has_halo(const Type& type) {
  return std::ranges::any_of(type.layout.halo, [](const Halo& halo) { return halo != Halo{}; });
}

namespace {

struct HaloFiller {
  KernelBuilder& builder;
  const Value* value;
  std::vector<PhysicalAxis> axes;
  Buffer buffer;

  Halo halo(size_t axis) const { return axes[axis].inner ? Halo{} : value->type.layout.halo_of(axes[axis].axis); }

  void run(Block& block, const Expr& begin, int64_t extents, Dim stride) {
    if (extents == 0) return;
    Dim count = builder.module.dims.mul(builder.dim(extents), stride);
    const int lanes = builder.target.f32_lanes();
    const auto known = value_of(count);
    Expr end = known && *known <= 4 * lanes ? integer(*known) : builder.parameter(count);
    Expr fill = constant(convert(Scalar::of_float(DType::F64, value->type.layout.fill), buffer->element.dtype), lanes);
    vector_loop(
        block, integer(0), end, lanes, !known_multiple(count, lanes),
        [&](Block& inner, const Expr& x, const Expr& mask) { inner.add(store(buffer, add(begin, x), fill, mask)); });
  }

  // Everything at `begin` from `axis` inwards, its halos only.
  void fill(Block& block, size_t axis, const Expr& begin) {
    bool any = false;
    for (size_t i = axis; i < axes.size(); ++i) any = any || halo(i) != Halo{};
    if (!any) return;
    const Halo here = halo(axis);
    Dim extent = value->type.shape[axes[axis].axis], stride = axes[axis].stride;
    DimPool& dims = builder.module.dims;
    run(block, begin, here.lo, stride);
    Expr after = add(begin, builder.parameter(dims.mul(dims.add(extent, dims.constant(here.lo)), stride)));
    run(block, after, here.hi, stride);
    Var var = make_var("h", {}, 0, INT64_MAX / 4);
    Block inner;
    Expr first = here.lo ? add(begin, builder.parameter(dims.mul(dims.constant(here.lo), stride))) : begin;
    fill(inner, axis + 1, add(first, mul(variable(var), builder.parameter(stride))));
    std::vector<Stmt> body = inner.take();
    if (!body.empty())
      block.add(for_loop(var, integer(0), builder.parameter(extent), 1, LoopKind::Serial, std::move(body)));
  }
};

// A thread for each place, or block of channels, of which those in the halo store.
LoweredStep gpu_halo_step(HaloFiller& filler, const std::vector<PhysicalAxis>& own_axes) {
  KernelBuilder& builder = filler.builder;
  DimPool& dims = builder.module.dims;
  std::vector<Dim> extents;
  for (const PhysicalAxis& axis : own_axes)
    if (!axis.inner) extents.push_back(axis.extent);
  const std::vector<Expr> places = builder.split_task(extents);
  Expr begin = integer(0), outside;
  for (size_t axis = 0; axis < places.size(); ++axis) {
    begin = add(begin, mul(places[axis], builder.parameter(filler.axes[axis].stride)));
    const Halo halo = filler.halo(axis);
    if (halo == Halo{}) continue;
    const Dim end = dims.add(filler.value->type.shape[filler.axes[axis].axis], dims.constant(halo.lo));
    for (const Expr& beyond :
         {less(places[axis], integer(halo.lo)), apply(ScalarOp::LessEqual, {builder.parameter(end), places[axis]})})
      outside = outside ? apply(ScalarOp::Or, {outside, beyond}) : beyond;
  }
  Block inner;
  const Dim each = own_axes.back().inner ? own_axes.back().extent : builder.dim(1);
  filler.run(inner, builder.body.let("begin", begin), 1, each);
  builder.body.add(if_then(outside, inner.take()));
  return single_step(builder.finish(dims.product(extents)));
}

}  // namespace

LoweredStep halo_step(Context& context, const Value* result) {
  KernelBuilder builder(context.module, context.target(), "halo");
  DimPool& dims = context.module.dims;
  HaloFiller filler{builder, result, physical_axes(dims, result->type), builder.result(result)};
  std::vector<Dim> outer;
  Type own = result->type;
  own.layout.leading = nullptr;  // of a slice of more channels
  const std::vector<PhysicalAxis> own_axes = physical_axes(dims, own);
  if (context.target().is_gpu()) {
    LoweredStep step = gpu_halo_step(filler, own_axes);
    step.flops = dims.constant(0);
    return step;
  }
  while (filler.halo(outer.size()) == Halo{}) outer.push_back(own_axes[outer.size()].extent);
  const std::vector<Expr> tasks = builder.split_task(outer);
  Expr begin = integer(0);
  for (size_t i = 0; i < outer.size(); ++i) begin = add(begin, mul(tasks[i], builder.parameter(filler.axes[i].stride)));
  filler.fill(builder.body, outer.size(), builder.body.let("begin", begin));
  LoweredStep step = single_step(builder.finish(dims.product(outer)));
  step.grain = 16;
  step.flops = dims.constant(0);  // the kernel's that fills the inside
  return step;
}

}  // namespace lapidary::lowering
