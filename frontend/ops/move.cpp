// Operators that move elements without computing: transpose, slices, concatenation, padding, tiling, depth and space.
#include <algorithm>
#include <numeric>

#include "frontend/ops/common.h"
#include "frontend/ops/told_axes.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Values transpose(Node& node) {
  int rank = node.rank();
  std::vector<int64_t> perm = node.integers("perm");
  if (!node.has("perm")) {
    perm = axes_from(0, rank);
    std::reverse(perm.begin(), perm.end());
  }
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != axes_from(0, rank)) fail("perm {} is not a permutation of 0..{}", to_text(perm), rank - 1);
  return {node.build.transpose(node.input(0), perm)};
}

Values concat(Node& node) {
  int64_t axis = node.integer_or("axis", 1);  // Concat-1
  return {node.build.concat(node.inputs(), normalized_axis(axis, node.rank()))};
}

// --- Slice -----------------------------------------------------------------------------------------------------------

struct Cut {
  Dim start, size;
};

// A position given from the front, or from the back when negative, brought into [low, high].
Dim clamped(DimPool& dims, Dim at, Dim extent, Dim low, Dim high) {
  constexpr int64_t kFar = INT32_MAX;  // exporters' "to the end"
  std::optional<int64_t> known = value_of(at);
  if (known && *known >= kFar && !value_of(extent)) return high;
  if (known && *known <= -kFar && !value_of(extent)) return low;
  if (speaks_of_elements(at)) {  // far is far enough, and leaves sums in range
    constexpr int64_t kBeyond = INT64_C(1) << 41;
    at = dims.max(dims.min(at, dims.constant(kBeyond)), dims.constant(-kBeyond));
  }
  Interval where = range(at);
  Dim from_front = where.lo >= 0  ? at
                   : where.hi < 0 ? dims.add(at, extent)
                                  : dims.select(dims.less(at, dims.constant(0)), dims.add(at, extent), at);
  return dims.max(low, dims.min(from_front, high));
}

// numpy's slice of an axis: forwards from start to before end, or backwards.
Cut cut(DimPool& dims, Dim start, Dim end, Dim step, Dim extent) {
  Dim zero = dims.constant(0), one = dims.constant(1), minus_one = dims.constant(-1);
  if (range(step).lo <= 0 && range(step).hi > 0) {
    Dim backwards = dims.less(step, zero);
    Cut there = cut(dims, start, end, dims.max(step, one), extent),
        back = cut(dims, start, end, dims.min(step, minus_one), extent);
    return {dims.select(backwards, back.start, there.start), dims.select(backwards, back.size, there.size)};
  }
  if (range(step).lo > 0) {
    Dim first = clamped(dims, start, extent, zero, extent), last = clamped(dims, end, extent, zero, extent);
    return {first, dims.max(zero, dims.ceildiv(dims.sub(last, first), step))};
  }
  Dim top = dims.sub(extent, one);
  Dim first = clamped(dims, start, extent, zero, top), last = clamped(dims, end, extent, minus_one, top);
  return {first, dims.max(zero, dims.ceildiv(dims.sub(first, last), dims.neg(step)))};
}

std::vector<int64_t> numbers_of(const Shape& known) {
  std::vector<int64_t> numbers;
  for (Dim dim : known) numbers.push_back(*value_of(dim));
  return numbers;
}

Shape as_dims(DimPool& dims, const std::vector<int64_t>& numbers) {
  Shape result;
  for (int64_t number : numbers) result.push_back(dims.constant(number));
  return result;
}

// What is cut of each axis: with axes that only a run can tell it is a formula for every axis, and a step that only a
// run can tell is left to the indices of a gather.
struct Cuts {
  Shape starts, ends, steps;  // of every axis
};

Cuts cuts_of(Node& node) {
  DimPool& dims = node.dims();
  const int rank = node.rank();
  const bool operands = node.version >= 10;
  Shape starts = operands ? node.extents(1) : as_dims(dims, node.integers("starts"));
  Shape ends = operands ? node.extents(2) : as_dims(dims, node.integers("ends"));
  const bool some = operands ? node.input(3) != nullptr : node.has("axes");
  Shape axes = as_dims(dims, axes_from(0, static_cast<int>(starts.size())));
  if (some) axes = operands ? node.extents(3) : as_dims(dims, node.integers("axes"));
  Shape steps(starts.size(), dims.constant(1));
  if (operands && node.input(4)) steps = node.extents(4);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    fail("starts, ends, axes and steps have {}, {}, {} and {} elements", starts.size(), ends.size(), axes.size(),
         steps.size());
  }
  if (static_cast<int>(axes.size()) > rank) fail("{} axes, the input has rank {}", axes.size(), rank);
  for (Dim& step : steps) {
    must_hold(node, dims.sub(dims.constant(1), dims.equal(step, dims.constant(0))), "step 0");
    if (auto known = value_of(step)) step = dims.constant(std::clamp<int64_t>(*known, INT32_MIN, INT32_MAX));
  }
  const Shape untouched(rank, dims.constant(0)), whole(rank, dims.constant(1)), &extents = node.type(0).shape;
  if (is_told(axes))
    return {dealt(node, axes, starts, untouched), dealt(node, axes, ends, extents), dealt(node, axes, steps, whole)};
  Cuts cuts{untouched, extents, whole};
  normalized_axes(numbers_of(axes), rank);
  for (size_t k = 0; k < axes.size(); ++k) {
    const int axis = normalized_axis(*value_of(axes[k]), rank);
    cuts.starts[axis] = starts[k], cuts.ends[axis] = ends[k], cuts.steps[axis] = steps[k];
  }
  return cuts;
}

Values slice(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value* x = node.input(0);
  const Cuts cuts = cuts_of(node);
  Shape begin, sizes = x->type.shape;
  std::vector<int64_t> strides;
  for (int axis = 0; axis < x->type.rank(); ++axis) {
    const Dim step = cuts.steps[axis];
    const auto known = value_of(step);
    const Dim furthest = known ? step : dims.max(dims.min(step, dims.constant(INT32_MAX)), dims.constant(INT32_MIN));
    const bool whole = known == 1 && value_of(cuts.starts[axis]) == 0 && cuts.ends[axis] == sizes[axis];
    const Cut part = whole ? Cut{dims.constant(0), sizes[axis]}
                           : cut(dims, cuts.starts[axis], cuts.ends[axis], furthest, sizes[axis]);
    strides.push_back(known.value_or(1));
    begin.push_back(known ? part.start : dims.constant(0));
    if (known) {
      sizes[axis] = part.size;
      continue;
    }
    Params params{{"shape", Shape{part.size}},
                  {"axis", int64_t{0}},
                  {"dtype", DType::I64},
                  {"start", part.start},
                  {"step", furthest}};
    x = build.gather(x, build.create(OpKind::Iota, {}, params).result(), axis, true);
    sizes[axis] = part.size;
  }
  return {build.slice(x, begin, strides, sizes)};
}

// --- Split -----------------------------------------------------------------------------------------------------------

Shape split_sizes(Node& node, Dim extent) {
  int parts = node.output_count();
  if (node.input(1)) return node.sizes(1);
  if (node.has("split")) return as_dims(node.dims(), node.integers("split"));
  if (node.has("num_outputs") && node.integer("num_outputs") != parts)
    fail("num_outputs is {}, the node has {} outputs", node.integer("num_outputs"), parts);
  std::optional<int64_t> known = value_of(extent);
  bool uneven = node.version >= 18;
  if (known && !uneven && *known % parts != 0) fail("cannot split extent {} into {} equal parts", *known, parts);
  Dim each = uneven ? node.dims().ceildiv(extent, node.dims().constant(parts))
                    : node.dims().floordiv(extent, node.dims().constant(parts));
  Shape sizes(parts, each);
  sizes.back() = node.dims().sub(extent, node.dims().mul(each, node.dims().constant(parts - 1)));
  if (range(sizes.back()).hi < 0) fail("cannot split extent {} into {} parts", to_string(extent), parts);
  return sizes;
}

Values split(Node& node) {
  Value* x = node.input(0);
  const int axis = normalized_axis(node.integer_or("axis", 0), x->type.rank());
  const Shape sizes = split_sizes(node, x->type.shape[axis]);
  if (static_cast<int>(sizes.size()) != node.output_count())
    fail("{} for {}", counted(static_cast<int64_t>(sizes.size()), "split size"),
         counted(node.output_count(), "output"));
  return split_into(node, x, axis, sizes);
}

// --- Pad, Tile -------------------------------------------------------------------------------------------------------

// All modes but constant fill with the axis's own elements.
void require_elements(Node& node, int axis, const std::string& mode) {
  Dim extent = node.type(0).shape[axis], none = node.dims().constant(0);
  if (value_of(extent) == 0) fail("mode '{}' needs elements along axis {}", mode, axis);
  if (range(extent).lo > 0) return;
  node.build.module.check(node.dims().less(none, extent),
                          fmt::format("mode '{}' needs elements along axis {}", mode, axis));
}

Values pad(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  const bool operands = node.input(1);  // of opset 11 and later, and of com.microsoft
  Shape pads =
      operands ? node.extents(1) : as_dims(node.dims(), node.integers(node.version == 1 ? "paddings" : "pads"));
  std::vector<int64_t> axes = axes_from(0, rank);
  if (is_told_operand(node, 3)) {
    const Shape told_list = node.extents(3);
    const size_t count = told_list.size();
    if (pads.size() != 2 * count) fail("{} pads for {} axes", pads.size(), count);
    const Shape none(rank, node.dims().constant(0));
    const auto half = pads.begin() + static_cast<std::ptrdiff_t>(count);
    const Shape low = dealt(node, told_list, Shape(pads.begin(), half), none),
                high = dealt(node, told_list, Shape(half, pads.end()), none);
    pads = low;
    pads.insert(pads.end(), high.begin(), high.end());
  } else if (node.input(3)) {
    axes = node.constants(3);
  }
  normalized_axes(axes, rank);
  if (pads.size() != 2 * axes.size()) fail("{} pads for {} axes", pads.size(), axes.size());
  std::string mode = node.text("mode");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap")
    fail("mode '{}' is unknown", printable(mode));
  Shape low(rank, node.dims().constant(0)), high = low;
  for (size_t k = 0; k < axes.size(); ++k) {
    int axis = normalized_axis(axes[k], rank);
    low[axis] = pads[k], high[axis] = pads[k + axes.size()];
    bool padded = value_of(low[axis]) != 0 || value_of(high[axis]) != 0;
    if (mode != "constant" && padded) require_elements(node, axis, mode);
    Dim extent = node.dims().add(x->type.shape[axis], node.dims().add(low[axis], high[axis]));
    if (range(extent).hi < 0) fail("pads leave extent {} of axis {}", to_string(extent), axis);
  }
  Value* fill = operands ? node.input(2) : mode == "constant" ? node.build.like(x, node.number("value")) : nullptr;
  if (fill && fill->type.rank() == 1) fill = node.build.reshape(fill, {});
  return {node.build.pad(x, low, high, mode, mode == "constant" ? fill : nullptr)};
}

// [d0, d1] → [1, d0, 1, d1] → [r0, d0, r1, d1] → [r0·d0, r1·d1]
Value* tiled(Node& node, Value* x, const Shape& repeats) {
  Shape wide, flat;
  std::vector<int64_t> axes;
  for (int i = 0; i < x->type.rank(); ++i) {
    if (range(repeats[i]).hi < 0) fail("repeat {} of axis {}", to_string(repeats[i]), i);
    if (value_of(repeats[i]) != 1) wide.push_back(repeats[i]);
    axes.push_back(static_cast<int64_t>(wide.size()));
    wide.push_back(x->type.shape[i]);
    flat.push_back(node.dims().mul(repeats[i], x->type.shape[i]));
  }
  if (wide.size() == axes.size()) return x;
  return node.build.reshape(node.build.broadcast(x, axes, wide), flat);
}

// Tile-1 repeats one axis.
Values tile(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  Shape repeats(rank, node.dims().constant(1));
  if (node.version < 6) {
    repeats[normalized_axis(node.constant(2), rank)] = node.extent(1);
  } else {
    repeats = node.sizes(1);
  }
  if (static_cast<int>(repeats.size()) != rank) fail("{} repeats, the input has rank {}", repeats.size(), rank);
  return {tiled(node, x, repeats)};
}

// Each axis cut or filled with zeros around its middle; of an odd difference the odd element is at the end.
Values center_crop_pad(Node& node) {
  const int rank = node.rank();
  std::vector<int64_t> axes = node.has("axes") ? node.integers("axes") : axes_from(0, rank);
  normalized_axes(axes, rank);
  const Shape wanted = node.extents(1);
  if (wanted.size() != axes.size()) fail("shape has {} elements for {} axes", wanted.size(), axes.size());
  DimPool& dims = node.dims();
  const Dim zero = dims.constant(0), two = dims.constant(2);
  Shape starts(rank, zero), sizes = node.type(0).shape, low = starts, high = starts;
  for (size_t k = 0; k < axes.size(); ++k) {
    const int axis = normalized_axis(axes[k], rank);
    if (range(wanted[k]).hi < 0) fail("extent {} of axis {}", to_string(wanted[k]), axis);
    Dim cut = dims.max(dims.sub(sizes[axis], wanted[k]), zero),
        filled = dims.max(dims.sub(wanted[k], sizes[axis]), zero);
    starts[axis] = dims.floordiv(cut, two);
    sizes[axis] = dims.sub(sizes[axis], cut);
    low[axis] = dims.floordiv(filled, two);
    high[axis] = dims.sub(filled, low[axis]);
  }
  Value* cropped = node.build.slice(node.input(0), starts, std::vector<int64_t>(rank, 1), sizes);
  return {node.build.pad(cropped, low, high)};
}

// --- depth and space -------------------------------------------------------------------------------------------------

Dim divided(Node& node, Dim extent, int64_t by, const char* what) {
  std::optional<int64_t> known = value_of(extent);
  if (known && *known % by != 0) fail("{} {} is not a multiple of {}", what, *known, by);
  return node.dims().floordiv(extent, node.dims().constant(by));
}

int64_t block_size(Node& node) {
  constexpr int64_t kMost = 1 << 20;
  int64_t block = node.integer("blocksize");
  if (block < 1 || block > kMost) fail("blocksize must be from 1 to {}, got {}", kMost, block);
  if (node.rank() != 4) fail("input has rank {}, expected 4", node.rank());
  return block;
}

// DCR: a pixel's channels lie block by block; CRD: each channel's block lies together. Older opsets know DCR alone.
bool blocks_first(Node& node) {
  std::string mode = node.has("mode") ? node.text("mode") : "DCR";
  if (mode != "DCR" && mode != "CRD") fail("mode '{}' is neither DCR nor CRD", printable(mode));
  return mode == "DCR";
}

Values depth_to_space(Node& node) {
  int64_t b = block_size(node);
  const Shape& s = node.type(0).shape;
  Dim block = node.dims().constant(b), channels = divided(node, s[1], b * b, "channel count");
  bool depth_first = blocks_first(node);
  Value* parts = node.build.reshape(node.input(0), depth_first ? Shape{s[0], block, block, channels, s[2], s[3]}
                                                               : Shape{s[0], channels, block, block, s[2], s[3]});
  Value* moved = node.build.transpose(
      parts, depth_first ? std::vector<int64_t>{0, 3, 4, 1, 5, 2} : std::vector<int64_t>{0, 1, 4, 2, 5, 3});
  return {node.build.reshape(moved, {s[0], channels, node.dims().mul(s[2], block), node.dims().mul(s[3], block)})};
}

Values space_to_depth(Node& node) {
  int64_t b = block_size(node);
  const Shape& s = node.type(0).shape;
  Dim block = node.dims().constant(b), height = divided(node, s[2], b, "height"),
      width = divided(node, s[3], b, "width");
  Value* parts = node.build.reshape(node.input(0), {s[0], s[1], height, block, width, block});
  Value* moved = node.build.transpose(
      parts, blocks_first(node) ? std::vector<int64_t>{0, 3, 5, 1, 2, 4} : std::vector<int64_t>{0, 1, 3, 5, 2, 4});
  return {node.build.reshape(moved, {s[0], node.dims().mul(s[1], node.dims().constant(b * b)), height, width})};
}

constexpr OpEntry kOps[] = {
    {"CenterCropPad", center_crop_pad},
    {"Concat", concat},
    {"DepthToSpace", depth_to_space},
    {"Pad", pad},
    {"Pad", pad, "data: T, pads: i64, value?: T -> output: T | mode = \"constant\" | T = f16 f32 f64"},
    {"Slice", slice},
    {"SpaceToDepth", space_to_depth},
    {"Split", split},
    {"Tile", tile},
    {"Transpose", transpose}};

}  // namespace

Values split_into(Node& node, Value* x, int axis, const Shape& sizes) {
  const Dim extent = x->type.shape[axis], none = node.dims().constant(0);
  Dim sum = none;
  for (Dim size : sizes) {
    if (range(size).hi < 0) fail("split size {}", to_string(size));
    sum = node.dims().add(sum, size);
  }
  if (known_unequal(sum, extent))
    fail("split sizes sum to {}, axis {} has {}", to_string(sum), axis, to_string(extent));
  if (!known_equal(sum, extent))
    node.build.module.check(node.dims().equal(sum, extent), fmt::format("split sizes must sum to axis {}", axis));
  Values results;
  Dim at = none;
  for (Dim size : sizes) {
    results.push_back(node.build.slice_axis(x, axis, at, size));
    at = node.dims().add(at, size);
  }
  return results;
}

std::span<const OpEntry> move_ops() { return kOps; }

}  // namespace lapidary::frontend
