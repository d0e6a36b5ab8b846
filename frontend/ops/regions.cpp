// Operators that read regions of interest of images: RoiAlign, MaxRoiPool.
#include <limits>

#include "frontend/ops/interpolation.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

int64_t pooled_extent(int64_t extent, const char* name) {
  constexpr int64_t kMost = 1 << 16;
  if (extent < 1 || extent > kMost) fail("{} must be from 1 to {}, got {}", name, kMost, extent);
  return extent;
}

// One axis of RoiAlign: start and size of the bins of each region, [R].
struct RoiBins {
  Value *start, *size;
  int64_t bins, samples;
  Dim extent;

  // The positions [R, samples · bins] that are sampled: the middles of `samples` parts of each bin.
  Value* positions(GraphBuilder& build) const {
    DimPool& dims = build.module.dims;
    const Dim regions = start->type.shape[0], one = dims.constant(1), parts = dims.constant(samples),
              count = dims.constant(bins);
    const auto row = [&](Dim extent, double shift, double scale) {
      Value* i = build.convert(build.iota(DType::I64, {extent}, 0), size->type.dtype);
      return build.mul(build.add(i, build.like(i, shift)), build.like(i, scale));
    };
    Value* part = build.reshape(row(parts, 0.5, 1.0 / static_cast<double>(samples)), {parts, one});
    Value* place = build.reshape(build.add(part, row(count, 0, 1)), {dims.mul(parts, count)});  // in bins
    const auto column = [&](Value* v) { return build.reshape(v, {regions, one}); };
    return build.add(column(start), build.mul(place, column(size)));
  }

  // Two taps a position; both weigh nothing where it is more than an element outside.
  std::vector<Tap> taps(GraphBuilder& build) const {
    Value* y = positions(build);
    Value *length = number(build, extent, y->type.dtype), *one = build.like(y, 1), *zero = build.like(y, 0);
    Value* counts = both(build, less_equal(build, build.like(y, -1), y), less_equal(build, y, length));
    Value* last = build.sub(length, one);
    Value* inside = least(build, greatest(build, y, zero), last);
    Value* low = floor(build, inside);
    Value* part = build.sub(inside, low);
    return {{index_inside(build, low, extent), build.select(counts, build.sub(one, part), zero)},
            {index_inside(build, build.add(low, one), extent), build.select(counts, part, zero)}};
  }
};

// The weight of each pixel of the axis in the mean over the samples of a bin, [R, bins, extent], where a bin has
// ceil(size) samples: y(i) = a + (i + 1/2) · s. With C(t) the number of samples below t and S their sum, pixel h gets
// Σ (y - (h-1)) over those in [h-1, h) and Σ ((h+1) - y) over those in [h, h+1); the first and the last pixel also
// stand for samples up to one element outside.
Value* weights_of_pixels(GraphBuilder& build, Value* start, Value* size, int64_t bins, Dim extent) {
  DimPool& dims = build.module.dims;
  const DType wide = DType::F64;
  const Dim regions = start->type.shape[0], count = dims.constant(bins), one = dims.constant(1);
  const auto column = [&](Value* v) { return build.reshape(build.convert(v, wide), {regions, one, one}); };
  Value *bin_size = column(size), *zero = build.like(bin_size, 0);
  Value* samples = greatest(build, build.scalar_op(ScalarOp::Ceil, {bin_size}), zero);
  Value* divisor = greatest(build, samples, build.like(samples, 1));
  Value* step = build.div(bin_size, divisor);
  step = build.select(less(build, zero, samples), step, build.like(step, 1));
  Value* bin = build.reshape(build.convert(build.iota(DType::I64, {count}, 0), wide), {count, one});
  Value* first = build.add(column(start), build.mul(bin, bin_size));  // [R, bins, 1]
  Value* edge = build.convert(build.iota(DType::I64, {dims.add(extent, dims.constant(2))}, 0), wide);
  edge = build.sub(edge, build.like(edge, 1));  // -1 … extent
  Value *length = number(build, extent, wide), *half = build.like(edge, 0.5);
  Value* steps = build.div(build.sub(edge, first), step);
  Value* below =
      build.select(build.broadcast_to(build.scalar_op(ScalarOp::Equal, {edge, length}), steps->type.shape),
                   floor(build, build.add(steps, half)), build.scalar_op(ScalarOp::Ceil, {build.sub(steps, half)}));
  below = least(build, greatest(build, below, zero), samples);
  Value* sums = build.add(build.mul(below, first), build.mul(build.mul(below, below), build.mul(step, half)));
  const auto from = [&](Value* v, int64_t begin) { return build.slice_axis(v, 2, dims.constant(begin), extent); };
  Value* pixel = build.convert(build.iota(DType::I64, {extent}, 0), wide);
  Value *before = build.sub(from(below, 1), from(below, 0)), *after = build.sub(from(below, 2), from(below, 1));
  Value *one_less = build.sub(pixel, build.like(pixel, 1)), *one_more = build.add(pixel, build.like(pixel, 1));
  Value* left = build.sub(build.sub(from(sums, 1), from(sums, 0)), build.mul(one_less, before));
  Value* right = build.sub(build.mul(one_more, after), build.sub(from(sums, 2), from(sums, 1)));
  left = build.select(
      build.broadcast_to(build.scalar_op(ScalarOp::Equal, {pixel, build.like(pixel, 0)}), left->type.shape), before,
      left);
  right = build.select(build.broadcast_to(build.scalar_op(ScalarOp::Equal, {one_more, length}), right->type.shape),
                       after, right);
  return build.convert(build.div(build.add(left, right), divisor), size->type.dtype);
}

// x[batch[r]]: the image of each region.
Value* image_of_each(GraphBuilder& build, Value* x, Value* batch) {
  return build.gather(x, build.convert(batch, DType::I64), 0);
}

Values roi_align(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *rois = node.input(1), *batch = node.input(2);
  if (node.rank() != 4 || node.rank(1) != 2 || node.rank(2) != 1)
    fail("X, rois and batch_indices have ranks {}, {} and {}, expected 4, 2 and 1", node.rank(), node.rank(1),
         node.rank(2));
  const std::string mode = node.text("mode");
  if (mode != "avg" && mode != "max") fail("mode '{}' is neither avg nor max", printable(mode));
  const bool half_pixel = node.version >= 16 && node.text("coordinate_transformation_mode") == "half_pixel";
  const int64_t samples = node.integer("sampling_ratio");
  if (samples < 0 || samples > 1024) fail("sampling_ratio {}", samples);
  if (samples == 0 && mode == "max") unsupported("sampling_ratio 0 in mode max");
  const int64_t pooled[2] = {pooled_extent(node.integer("output_height"), "output_height"),
                             pooled_extent(node.integer("output_width"), "output_width")};
  const DType computed = computed_type(x->type.dtype);
  const Dim regions = rois->type.shape[0], one = dims.constant(1);
  Value* corners = build.convert(rois, computed);
  corners = build.sub(build.mul(corners, build.like(corners, node.number("spatial_scale"))),
                      build.like(corners, half_pixel ? 0.5 : 0));
  const auto corner = [&](int64_t i) {
    return build.drop_axes(build.slice_axis(corners, 1, dims.constant(i), one), {1});
  };
  std::vector<std::vector<Tap>> axes;
  Value* weights[2] = {};
  for (int axis = 0; axis < 2; ++axis) {
    Value* start = corner(1 - axis);
    Value* length = build.sub(corner(3 - axis), start);
    if (!half_pixel) length = greatest(build, length, build.like(length, 1));
    Value* size = build.div(length, build.like(length, static_cast<double>(pooled[axis])));
    const Dim extent = x->type.shape[static_cast<size_t>(axis) + 2];
    if (samples == 0)
      weights[axis] = weights_of_pixels(build, start, size, pooled[axis], extent);
    else
      axes.push_back(RoiBins{start, size, pooled[axis], samples, extent}.taps(build));
  }
  if (samples == 0) {
    Value* image = build.convert(x, computed);
    const bool single = value_of(x->type.shape[0]) == 1;
    Value* rows = single ? build.contract(weights[0], build.drop_axes(image, {0}), "rph,chw->rpcw")
                         : build.contract(weights[0], image_of_each(build, image, batch), "rph,rchw->rpcw");
    Value* y = build.transpose(build.contract(rows, weights[1], "rpcw,rqw->rpcq"), {0, 2, 1, 3});
    return {build.convert(y, x->type.dtype)};
  }
  // All pairs of a row and a column, [R, samples · bins]: neighbouring bins lie side by side.
  const Dim parts = dims.constant(samples), high = dims.constant(pooled[0]), wide = dims.constant(pooled[1]);
  const Dim sampled_parts = dims.mul(parts, parts), bins = dims.mul(high, wide);
  const auto spread = [&](Value* v, int64_t axis) {
    Value* table = build.reshape(v, {regions, parts, axis == 0 ? high : wide});
    return build.reshape(build.broadcast(table, {0, axis + 1, axis + 3}, {regions, parts, parts, high, wide}),
                         {regions, dims.mul(sampled_parts, bins)});
  };
  for (int axis = 0; axis < 2; ++axis)
    for (Tap& tap : axes[static_cast<size_t>(axis)]) tap = {spread(tap.index, axis), spread(tap.weight, axis)};
  Value* images = image_of_each(build, build.convert(x, computed), batch);
  const Shape grid = {regions, x->type.shape[1], sampled_parts, bins};
  Value* y = nullptr;
  if (mode == "avg") {
    y = build.reduce(OpKind::ReduceMean, build.reshape(sampled(build, images, axes), grid), {2});
  } else {  // the greatest of the weighted taps
    for (const Tap& row : axes[0])
      for (const Tap& column : axes[1]) {
        Value* tap = sampled(build, images, {{row}, {column}});
        y = y ? greatest(build, y, tap) : tap;
      }
    y = build.reduce(OpKind::ReduceMax, build.reshape(y, grid), {2});
  }
  y = build.reshape(y, {regions, x->type.shape[1], high, wide});
  return {build.convert(y, x->type.dtype)};
}

// Bins of whole pixels, from floor(p · size) to ceil((p + 1) · size) behind the region's first; an empty one gives 0.
// The maximum is taken over rows, then over columns, of all pixels that are in the bin.
Values max_roi_pool(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *rois = node.input(1);
  if (node.rank() != 4 || node.rank(1) != 2)
    fail("X and rois have ranks {} and {}, expected 4 and 2", node.rank(), node.rank(1));
  const std::vector<int64_t> pooled = positive_list(node, "pooled_shape", 2, 1);
  const DType computed = computed_type(x->type.dtype);
  const Dim regions = rois->type.shape[0], one = dims.constant(1);
  Value* table = build.convert(rois, computed);
  const auto column = [&](int64_t i) {
    return build.drop_axes(build.slice_axis(table, 1, dims.constant(i), one), {1});
  };
  const auto scaled = [&](int64_t i) {  // half away from zero, as C's round
    Value* v = build.mul(column(i), build.like(table, node.number("spatial_scale")));
    Value* magnitude = floor(build, build.add(build.scalar_op(ScalarOp::Abs, {v}), build.like(v, 0.5)));
    return build.mul(build.scalar_op(ScalarOp::Sign, {v}), magnitude);
  };
  Value* inside[2];
  for (int axis = 0; axis < 2; ++axis) {
    Value *first = scaled(2 - axis), *last = scaled(4 - axis);
    Value* length = greatest(build, build.add(build.sub(last, first), build.like(first, 1)), build.like(first, 1));
    Value* size = build.div(length, build.like(length, static_cast<double>(pooled[axis])));
    const Dim bins = dims.constant(pooled[axis]), extent = x->type.shape[static_cast<size_t>(axis) + 2];
    Value* bin = build.convert(build.iota(DType::I64, {bins}, 0), computed);
    const auto edge = [&](ScalarOp rounding, double next) {
      Value* at = build.mul(build.add(bin, build.like(bin, next)), build.reshape(size, {regions, one}));
      at = build.add(build.scalar_op(rounding, {at}), build.reshape(first, {regions, one}));
      Value* length_here = number(build, extent, computed);
      return build.reshape(least(build, greatest(build, at, build.like(at, 0)), length_here), {regions, bins, one});
    };
    Value* pixel = build.convert(build.iota(DType::I64, {extent}, 0), computed);
    inside[axis] =
        both(build, less_equal(build, edge(ScalarOp::Floor, 0), pixel), less(build, pixel, edge(ScalarOp::Ceil, 1)));
  }
  const Dim channels = x->type.shape[1], height = x->type.shape[2], width = x->type.shape[3];
  const Dim tall = dims.constant(pooled[0]), wide = dims.constant(pooled[1]);
  Value* images = image_of_each(build, build.convert(x, computed), column(0));
  const auto reduced = [&](Value* y, Value* mask, std::vector<int64_t> axes, std::vector<int64_t> mask_axes,
                           const Shape& shape, int64_t along) {
    Value* all = build.broadcast(y, std::move(axes), shape);
    Value* masked = build.select(build.broadcast(mask, std::move(mask_axes), shape), all,
                                 build.like(y, -std::numeric_limits<double>::infinity()));
    return build.reduce(OpKind::ReduceMax, masked, {along});
  };
  Value* y = reduced(images, inside[0], {0, 1, 3, 4}, {0, 2, 3}, {regions, channels, tall, height, width}, 3);
  y = reduced(y, inside[1], {0, 1, 2, 4}, {0, 3, 4}, {regions, channels, tall, wide, width}, 4);
  const auto any = [&](Value* mask) { return build.reduce(OpKind::ReduceMax, build.convert(mask, computed), {2}); };
  Value* filled = build.mul(build.reshape(any(inside[0]), {regions, one, tall, one}),
                            build.reshape(any(inside[1]), {regions, one, one, wide}));
  y = build.select(less(build, build.like(y, 0), filled), y, build.like(y, 0));
  return {build.convert(y, x->type.dtype)};
}

constexpr OpEntry kOps[] = {{"MaxRoiPool", max_roi_pool}, {"RoiAlign", roi_align}};

}  // namespace

std::span<const OpEntry> region_ops() { return kOps; }

}  // namespace lapidary::frontend
