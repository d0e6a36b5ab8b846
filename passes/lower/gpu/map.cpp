// Kernels without a carried dependence on a GPU: a task, and so a thread, is a packet of elements that are neighbours
// in the result, loaded and stored at once: 16 bytes of them, or fewer where the innermost extent is no multiple.
// Neighbouring threads have neighbouring packets, so that a warp's access is whole lines. Transposes go by tiles.
#include <fmt/format.h>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/pixels.h"
#include "passes/lower/gpu/transpose.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering::gpu {

using namespace loops;

LoweredStep map_step(Context& context, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element) {
  DimPool& dims = context.module.dims;
  IterationSpace space = space_of(dims, type);
  fit_space(space, context.module, context.target(), group,
            [&](GroupEmitter& emit, const Coords& coords) { element(emit, with_block_tail(emit, type, coords)); });
  if (auto step = pixels_step(context.module, context.target(), group, family, type, space, element))
    return std::move(*step);
  {
    KernelBuilder builder(context.module, context.target(), family, "tile=64x64");
    if (auto step = transpose_step(builder, group, type, space, element)) return std::move(*step);
  }
  const std::vector<int> axes = space.loops();
  const int inner = axes.empty() ? -1 : axes.back();
  const int lanes = inner >= 0 ? packet_lanes(group, space.axes[inner].loop_extent) : 1;
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
