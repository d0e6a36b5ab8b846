#include "passes/lower/iteration_space.h"

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/access_recorder.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kMostSplits = 16;  // each is a dry run; real groups want at most three

void split_axis(DimPool& dims, IterationSpace& space, int axis, Dim inner) {
  for (auto& digits : space.digits)
    for (size_t i = 0; i < digits.size(); ++i) {
      if (digits[i] > axis)
        ++digits[i];
      else if (digits[i] == axis)
        digits.insert(digits.begin() + i + 1, axis), ++i, digits[i] = axis + 1;
    }
  IterationSpace::Axis& outer = space.axes[axis];
  Dim rest = dims.floordiv(outer.extent, inner);
  outer = {rest, rest};
  space.axes.insert(space.axes.begin() + axis + 1, {inner, inner});
}

// Is axis a, followed by axis b, walked without a gap by this access?
bool nests(DimPool& dims, const std::vector<Dim>& strides, int a, int b, Dim inner_extent) {
  Dim zero = dims.constant(0);
  Dim outer = strides[a] ? strides[a] : zero, inner = strides[b] ? strides[b] : zero;
  return outer == dims.mul(inner, inner_extent);
}

std::vector<bool> axes_of(const IterationSpace& space, const std::vector<bool>& reduced) {
  std::vector<bool> result(space.axes.size(), false);
  for (size_t i = 0; i < reduced.size(); ++i)
    for (int axis : space.digits[i]) result[axis] = reduced[i];
  return result;
}

void collapse(DimPool& dims, IterationSpace& space, const AccessRecorder& recorder, const std::vector<bool>& reduced) {
  for (size_t b = space.axes.size(); b-- > 1;) {
    const size_t a = b - 1;
    bool joins = !recorder.opaque[a] && !recorder.opaque[b] && reduced[a] == reduced[b];
    for (const auto& strides : recorder.accesses)
      joins = joins && nests(dims, strides, static_cast<int>(a), static_cast<int>(b), space.axes[b].extent);
    if (!joins) continue;
    space.axes[a].loop_extent = nullptr;
  }
  for (size_t b = space.axes.size(); b-- > 0;) {  // the innermost of a run walks it all
    if (!space.axes[b].loop_extent) continue;
    for (size_t a = b; a > 0 && !space.axes[a - 1].loop_extent; --a)
      space.axes[b].loop_extent = dims.mul(space.axes[b].loop_extent, space.axes[a - 1].extent);
  }
}

}  // namespace

std::vector<int> IterationSpace::loops() const {
  std::vector<int> result;
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i].loop_extent) result.push_back(static_cast<int>(i));
  return result;
}

Coords IterationSpace::coords(const std::vector<Expr>& index, int lane_axis, int lanes) const {
  Coords result;
  result.lanes = lanes;
  for (const auto& axis_digits : digits) {
    Coord coord;
    for (int axis : axis_digits) {
      Digit digit{index[axis] ? index[axis] : integer(0), nullptr, axes[axis].extent, axis};
      if (axis == lane_axis && lanes > 1) digit.step = integer(1);
      coord.digits.push_back(std::move(digit));
    }
    result.axes.push_back(std::move(coord));
  }
  return result;
}

IterationSpace space_of(DimPool& dims, const Type& type) {
  IterationSpace space;
  space.digits.resize(type.shape.size());
  for (const PhysicalAxis& physical : physical_axes(dims, type)) {
    const bool blocked = type.layout.blocked_axis == physical.axis;
    Dim extent = type.shape[physical.axis], block = dims.constant(type.layout.block);
    if (blocked) extent = physical.inner ? block : dims.ceildiv(extent, block);
    if (value_of(extent) == 1 && !blocked) continue;
    space.digits[physical.axis].push_back(static_cast<int>(space.axes.size()));
    space.axes.push_back({extent, extent});
  }
  return space;
}

void fit_space(IterationSpace& space, Module& module, const Target& target, const Op& group,
               const std::function<void(GroupEmitter&, const Coords&)>& visit, const std::vector<bool>& reduced) {
  for (int round = 0;; ++round) {
    LPD_CHECK(round <= kMostSplits, "an iteration space that splits without end");
    KernelBuilder builder(module, target, "dry-run");
    GroupEmitter emit(builder, group);
    std::vector<Dim> extents;
    for (const IterationSpace::Axis& axis : space.axes) extents.push_back(axis.extent);
    AccessRecorder recorder(std::move(extents));
    emit.recorder = &recorder;
    Block block;
    GroupEmitter::Scope scope(emit, block);
    std::vector<Expr> index;
    for (size_t i = 0; i < space.axes.size(); ++i) index.push_back(variable(make_var("i", {}, 0, INT64_MAX / 4)));
    visit(emit, space.coords(index, -1, 1));
    if (!recorder.split) {
      collapse(module.dims, space, recorder, axes_of(space, reduced));
      return;
    }
    split_axis(module.dims, space, recorder.split->axis, recorder.split->inner);
  }
}

int64_t guess(Dim dim) {
  return evaluate(dim,
                  [](Dim leaf) -> std::optional<int64_t> {
                    return std::clamp<int64_t>(64, leaf->interval.lo, leaf->interval.hi);
                  })
      .value_or(64);
}

}  // namespace lapidary::lowering
