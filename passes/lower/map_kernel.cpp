#include "passes/lower/map_kernel.h"

#include "ir/layout.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kChunk = 4096;         // elements of a task: about a microsecond of a memory-bound map
constexpr int64_t kLeastInner = 1024;    // fewer, and the task takes in another loop
constexpr int64_t kWorthWaking = 16384;  // elements for which a second thread pays

struct MapEmitter {
  GroupEmitter& emit;
  const IterationSpace& space;
  const Type& type;
  const std::function<void(GroupEmitter&, const Coords&)>& element;
  std::vector<int> loop_axes;
  int lanes;
  std::vector<Expr> index;

  Dim extent(size_t loop) const { return space.axes[loop_axes[loop]].loop_extent; }

  void point(Block& block, int lane_axis, int width, const Expr& mask) {
    GroupEmitter::Scope scope(emit, block);
    Coords coords = space.coords(index, lane_axis, width);
    coords.mask = mask;
    element(emit, with_block_tail(emit, type, std::move(coords)));
  }

  void vectors(Block& block, const Expr& begin, const Expr& end, bool whole) {
    const int axis = loop_axes.back();
    const bool tail = !(whole && known_multiple(extent(loop_axes.size() - 1), lanes));
    vector_loop(block, begin, end, lanes, tail, [&](Block& inner, const Expr& at, const Expr& mask) {
      index[axis] = at;
      point(inner, axis, lanes, mask);
    });
  }

  // Loops `loop`, …, innermost; the first from begin to end.
  void nest(Block& block, size_t loop, const Expr& begin, const Expr& end) {
    if (loop + 1 == loop_axes.size()) return vectors(block, begin, end, true);
    Var var = make_var("i", {}, 0, INT64_MAX / 4);
    index[loop_axes[loop]] = variable(var);
    Block inner;
    nest(inner, loop + 1, integer(0), emit.builder.parameter(extent(loop + 1)));
    block.add(for_loop(var, begin, end, 1, LoopKind::Serial, inner.take()));
  }
};

}  // namespace

Coords with_block_tail(GroupEmitter& emit, const Type& type, Coords coords) {
  if (type.layout.blocked_axis < 0) return coords;
  Dim extent = type.shape[type.layout.blocked_axis];
  if (known_multiple(extent, type.layout.block)) return coords;
  const Coord flat = emit.flatten(coords.axes[type.layout.blocked_axis], extent);
  Expr inside = in_range(flat, nullptr, emit.builder.parameter(extent), coords.lanes);
  coords.mask = both(coords.mask, splat_to(inside, coords.lanes));
  return coords;
}

void vector_loop(Block& outer, Expr begin, Expr end, int lanes, bool has_tail,
                 const std::function<void(Block&, const Expr&, const Expr&)>& body) {
  const auto first = loops::value_of(begin), last = loops::value_of(end);
  if (!has_tail && first == 0 && last == lanes) return body(outer, integer(0), nullptr);
  Expr whole = end;
  if (has_tail) whole = outer.let("whole", add(begin, mul(floordiv(sub(end, begin), integer(lanes)), integer(lanes))));
  Var var = make_var("x", {}, 0, INT64_MAX / 4, known_multiple(begin) % lanes == 0 ? lanes : 1);
  Block inner;
  body(inner, variable(var), nullptr);
  outer.add(for_loop(var, begin, whole, lanes, LoopKind::Serial, inner.take()));
  if (!has_tail) return;
  Block rest;
  Expr mask = rest.let("mask", first_lanes(sub(end, whole), lanes));
  body(rest, whole, mask);
  outer.add(if_then(less(whole, end), rest.take()));
}

int64_t grain_for(int64_t elements) { return std::max<int64_t>(1, kWorthWaking / std::max<int64_t>(elements, 1)); }

LoweredStep map_step(Context& context, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element) {
  if (context.target().is_gpu()) return gpu::map_step(context, group, family, type, element);
  DimPool& dims = context.module.dims;
  IterationSpace space = space_of(dims, type);
  fit_space(space, context.module, context.target(), group,
            [&](GroupEmitter& emit, const Coords& coords) { element(emit, with_block_tail(emit, type, coords)); });
  KernelBuilder builder(context.module, context.target(), family);
  GroupEmitter emit(builder, group);
  MapEmitter map{emit, space, type, element, space.loops(), context.target().f32_lanes(), {}};
  map.index.resize(space.axes.size());
  LoweredStep step;
  if (map.loop_axes.empty()) {
    map.point(builder.body, -1, 1, nullptr);
    step = single_step(builder.finish(dims.constant(1)));
    step.serial = true;
    return step;
  }
  size_t cut = map.loop_axes.size() - 1;
  Dim below = dims.constant(1);
  while (cut > 0 && guess(below) * guess(map.extent(cut)) < kLeastInner) below = dims.mul(below, map.extent(cut--));
  const Dim extent = map.extent(cut), one = dims.constant(1);
  const Dim chunk = dims.max(dims.floordiv(dims.constant(kChunk), dims.max(below, one)), one);
  const bool whole = known_equal(dims.less(chunk, extent), dims.constant(0));  // one chunk takes all
  std::vector<Dim> task_extents;
  for (size_t i = 0; i < cut; ++i) task_extents.push_back(map.extent(i));
  task_extents.push_back(whole ? one : dims.ceildiv(extent, chunk));
  const std::vector<Expr> tasks = builder.split_task(task_extents);
  for (size_t i = 0; i < cut; ++i) map.index[map.loop_axes[i]] = tasks[i];
  Expr begin = integer(0), end = builder.parameter(extent);
  if (!whole) {
    const bool in_vectors = cut + 1 == map.loop_axes.size();
    Expr length = in_vectors ? builder.parameter_multiple_of(chunk, map.lanes) : builder.parameter(chunk);
    begin = builder.body.let("begin", mul(tasks.back(), length));
    end = builder.body.let("end", loops::min(add(begin, length), end));
  }
  map.nest(builder.body, cut, begin, end);
  Dim elements = dims.mul(whole ? extent : dims.min(chunk, extent), below);
  step = single_step(builder.finish(dims.product(task_extents)));
  step.grain = grain_for(guess(elements));
  const auto total = value_of(dims.product(type.shape));
  step.serial = total && *total <= kChunk;
  return step;
}

}  // namespace lapidary::lowering
