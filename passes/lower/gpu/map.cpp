// Kernels without a carried dependence on a GPU: a task, and so a thread, is four elements that are neighbours in the
// result, loaded and stored at once (16 bytes of f32), or one where the innermost extent is no multiple of four.
// Neighbouring threads have neighbouring elements, so that a warp's access is whole lines.
#include <fmt/format.h>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering::gpu {

using namespace loops;

LoweredStep map_step(Context& context, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element) {
  constexpr int kLanes = 4;
  DimPool& dims = context.module.dims;
  IterationSpace space = space_of(dims, type);
  fit_space(space, context.module, context.target(), group,
            [&](GroupEmitter& emit, const Coords& coords) { element(emit, with_block_tail(emit, type, coords)); });
  const std::vector<int> axes = space.loops();
  const int inner = axes.empty() ? -1 : axes.back();
  const int lanes = inner >= 0 && known_multiple(space.axes[inner].loop_extent, kLanes) ? kLanes : 1;
  KernelBuilder builder(context.module, context.target(), family, fmt::format("lanes={}", lanes));
  GroupEmitter emit(builder, group);
  std::vector<Dim> extents;
  for (int axis : axes) extents.push_back(space.axes[axis].loop_extent);
  if (inner >= 0) extents.back() = dims.floordiv(extents.back(), dims.constant(lanes));
  const std::vector<Expr> parts = builder.split_task(extents);
  std::vector<Expr> index(space.axes.size());
  for (size_t i = 0; i < axes.size(); ++i) index[axes[i]] = parts[i];
  if (inner >= 0) index[inner] = mul(index[inner], integer(lanes));
  {
    GroupEmitter::Scope scope(emit, builder.body);
    element(emit, with_block_tail(emit, type, space.coords(index, inner, lanes)));
  }
  return single_step(builder.finish(dims.product(extents)));
}

}  // namespace lapidary::lowering::gpu
