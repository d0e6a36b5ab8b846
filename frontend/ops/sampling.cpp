// Operators that read images at positions that are data: GridSample, DeformConv, and regions of interest.
#include "frontend/ops/interpolation.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* number(GraphBuilder& build, Dim value, DType dtype) {
  return build.convert(build.dims_tensor({value}, {}, DType::I64), dtype);
}

Value* less(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Less, {a, b}); }
Value* less_equal(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::LessEqual, {a, b}); }
Value* both(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::And, {a, b}); }
Value* least(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Min, {a, b}); }
Value* greatest(GraphBuilder& build, Value* a, Value* b) { return build.scalar_op(ScalarOp::Max, {a, b}); }
Value* floor(GraphBuilder& build, Value* a) { return build.scalar_op(ScalarOp::Floor, {a}); }

// A position that holds a whole number, as an index inside of [0, extent).
Value* index_inside(GraphBuilder& build, Value* position, Dim extent) {
  Value* last = build.sub(number(build, extent, position->type.dtype), build.like(position, 1));
  Value* inside = greatest(build, least(build, position, last), build.like(position, 0));
  return build.convert(inside, DType::I64);
}

// Is a position that holds a whole number one of the axis?
Value* is_inside(GraphBuilder& build, Value* position, Dim extent) {
  return both(build, less_equal(build, build.like(position, 0), position),
              less(build, position, number(build, extent, position->type.dtype)));
}

DType computed_type(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

// --- GridSample ------------------------------------------------------------------------------------------------------

struct GridAxis {
  Dim extent;
  bool align_corners;
  std::string padding;

  // Mirrored at the borders until inside: the borders are the middles, or the outer edges, of the first and last
  // element.
  Value* reflected(GraphBuilder& build, Value* v) const {
    Value* length = number(build, extent, v->type.dtype);
    Value* low = build.like(v, align_corners ? 0 : -0.5);
    Value* span = align_corners ? build.sub(length, build.like(v, 1)) : length;
    Value* distance = build.scalar_op(ScalarOp::Abs, {build.sub(v, low)});
    Value* safe = greatest(build, span, build.like(v, 0.5));
    Value* turns = floor(build, build.div(distance, safe));
    Value* rest = build.sub(distance, build.mul(turns, safe));
    Value* half = build.mul(turns, build.like(v, 0.5));
    Value* is_even = build.scalar_op(ScalarOp::Equal, {floor(build, half), half});
    Value* inside = build.select(is_even, build.add(low, rest), build.sub(build.add(low, span), rest));
    return build.select(less(build, build.like(v, 0), span), inside, low);
  }

  // From [-1, 1] to elements; where that leaves the axis, back into it.
  Value* position(GraphBuilder& build, Value* grid, const std::string& mode) const {
    Value *length = number(build, extent, grid->type.dtype), *one = build.like(grid, 1);
    Value* shifted = build.add(grid, one);
    Value* v = align_corners ? build.mul(build.mul(shifted, build.like(grid, 0.5)), build.sub(length, one))
                             : build.mul(build.sub(build.mul(shifted, length), one), build.like(grid, 0.5));
    if (mode == "nearest") v = build.scalar_op(ScalarOp::Round, {v});
    if (mode == "cubic") return v;  // as ONNX Runtime and PyTorch, which pad the taps alone
    if (padding == "border") return greatest(build, least(build, v, build.sub(length, one)), build.like(v, 0));
    return padding == "reflection" ? reflected(build, v) : v;
  }

  // One element; with zeros for padding its weight is 0 outside.
  Tap tap(GraphBuilder& build, Value* place, Value* weight) const {
    if (padding == "reflection") place = reflected(build, place);
    if (padding == "zeros") {
      Value* inside = is_inside(build, place, extent);
      weight = weight ? build.select(inside, weight, build.like(weight, 0)) : build.convert(inside, place->type.dtype);
    }
    return {index_inside(build, place, extent), weight};
  }

  std::vector<Tap> taps(GraphBuilder& build, Value* grid, const std::string& mode) const {
    Value* v = position(build, grid, mode);
    if (mode == "nearest") return {tap(build, v, nullptr)};
    Value* base = floor(build, v);
    std::vector<Tap> result;
    const bool cubic = mode == "cubic";
    for (int offset = cubic ? -1 : 0; offset <= (cubic ? 2 : 1); ++offset) {
      Value* place = build.add(base, build.like(v, offset));
      Value* distance = build.sub(place, v);
      result.push_back(
          tap(build, place, cubic ? cubic_filter(build, distance, -0.75) : linear_filter(build, distance)));
    }
    return result;
  }
};

Values grid_sample(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *grid = node.input(1);
  const int rank = node.rank(), spatial = rank - 2;
  std::string mode = node.text("mode");
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  if (mode != "nearest" && mode != "linear" && mode != "cubic") fail("mode '{}' is unknown", printable(mode));
  const std::string padding = node.text("padding_mode");
  if (padding != "zeros" && padding != "border" && padding != "reflection")
    fail("padding_mode '{}' is unknown", printable(padding));
  if (spatial < 1 || node.rank(1) != rank || known_unequal(grid->type.shape.back(), dims.constant(spatial)))
    fail("grid of shape {} for an input of rank {}", to_string(grid->type), rank);
  if (spatial > 3) unsupported("{} spatial axes", spatial);
  const Shape& shape = grid->type.shape;
  Dim places = dims.product(std::span(shape).subspan(1, static_cast<size_t>(spatial)));
  const DType computed = computed_type(grid->type.dtype);
  Value* rows = build.reshape(build.convert(grid, computed), {shape[0], places, dims.constant(spatial)});
  std::vector<std::vector<Tap>> axes;
  for (int i = 0; i < spatial; ++i) {
    Dim column = dims.constant(spatial - 1 - i);  // x comes first
    Value* coordinate = build.drop_axes(build.slice_axis(rows, 2, column, dims.constant(1)), {2});
    const GridAxis axis{x->type.shape[static_cast<size_t>(i) + 2], node.integer("align_corners") != 0, padding};
    axes.push_back(axis.taps(build, coordinate, mode));
  }
  const bool moves = mode == "nearest" && padding != "zeros";
  const DType dtype = x->type.dtype;
  Value* y = sampled(build, moves ? x : build.convert(x, computed), axes);
  if (!moves) y = build.convert(y, dtype);
  Shape result = {x->type.shape[0], x->type.shape[1]};
  result.insert(result.end(), shape.begin() + 1, shape.end() - 1);
  return {build.reshape(y, result)};
}

// --- DeformConv ------------------------------------------------------------------------------------------------------

// Samples between pixels where the offsets point, as columns for a product with the weights.
Values deform_conv(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *w = node.input(1), *offset = node.input(2), *bias = node.input(3), *mask = node.input(4);
  if (node.rank() != 4 || node.rank(1) != 4) unsupported("an input of rank {}", node.rank());
  if (node.rank(2) != 4) fail("offset has rank {}, expected 4", node.rank(2));
  const Shape &image = x->type.shape, &weights = w->type.shape;
  std::vector<int64_t> kernel;
  for (int i = 2; i < 4; ++i) {
    auto known = value_of(weights[static_cast<size_t>(i)]);
    if (!known) unsupported("a kernel of unknown extents");
    kernel.push_back(*known);
  }
  const std::vector<int64_t> strides = positive_list(node, "strides", 2, 1),
                             dilations = positive_list(node, "dilations", 2, 1);
  const std::vector<int64_t> pads = node.has("pads") ? node.integers("pads") : std::vector<int64_t>(4, 0);
  if (pads.size() != 4) fail("pads has {} elements, expected 4", pads.size());
  const int64_t group = node.integer("group"), groups = node.integer("offset_group");
  if (group < 1 || groups < 1) fail("group {}, offset_group {}", group, groups);
  Windows windows{kernel, strides, dilations, {}};
  for (int64_t pad : pads) {
    if (pad < -INT32_MAX || pad > INT32_MAX) fail("pads {}", to_text(pads));
    windows.pads.push_back(dims.constant(pad));
  }
  const Shape out = {window_count(node, windows, 0, image[2], false), window_count(node, windows, 1, image[3], false)};
  const Dim taps = dims.constant(kernel[0] * kernel[1]), offsets = dims.constant(groups);
  const Dim rows = dims.mul(image[0], offsets), places = dims.product(std::vector<Dim>{taps, out[0], out[1]});
  const DType computed = computed_type(x->type.dtype);
  const Shape table = {dims.constant(kernel[0]), dims.constant(kernel[1]), out[0], out[1]};
  Value* shifts =
      build.reshape(build.convert(offset, computed), {rows, taps, dims.constant(2), dims.mul(out[0], out[1])});
  Value* strength = mask ? build.reshape(build.convert(mask, computed), {rows, places}) : nullptr;
  std::vector<std::vector<Tap>> axes;
  for (int axis = 0; axis < 2; ++axis) {
    const auto along = [&](int at, int64_t step, int64_t start) {
      Value* row = build.convert(build.iota(DType::I64, {table[static_cast<size_t>(at)]}, 0), computed);
      row = build.add(build.mul(row, build.like(row, static_cast<double>(step))),
                      build.like(row, static_cast<double>(start)));
      return build.broadcast(row, {at}, table);
    };
    Value* grid = build.add(along(axis, dilations[axis], -pads[axis]), along(axis + 2, strides[axis], 0));
    Value* moved = build.reshape(build.slice_axis(shifts, 2, dims.constant(axis), dims.constant(1)), {rows, places});
    Value* position = build.add(moved, build.reshape(grid, {places}));
    Value* base = floor(build, position);
    std::vector<Tap> pair;
    for (int tap = 0; tap < 2; ++tap) {
      Value* place = build.add(base, build.like(base, tap));
      Value* weight = linear_filter(build, build.sub(place, position));
      weight =
          build.select(is_inside(build, place, image[static_cast<size_t>(axis) + 2]), weight, build.like(weight, 0));
      if (axis == 0 && strength) weight = build.mul(weight, strength);
      pair.push_back({index_inside(build, place, image[static_cast<size_t>(axis) + 2]), weight});
    }
    axes.push_back(std::move(pair));
  }
  Value* planes =
      build.reshape(build.convert(x, computed), {rows, dims.floordiv(image[1], offsets), image[2], image[3]});
  Value* columns = sampled(build, planes, axes);
  const Dim parts = dims.constant(group), pixels = dims.mul(out[0], out[1]);
  const Dim depth = dims.mul(dims.floordiv(image[1], parts), taps), outputs = dims.floordiv(weights[0], parts);
  columns = build.reshape(columns, {image[0], parts, depth, pixels});
  Value* matrix = build.reshape(build.convert(w, computed), {parts, outputs, depth});
  Value* y = build.reshape(build.contract(matrix, columns, "gmk,ngko->ngmo"), {image[0], weights[0], out[0], out[1]});
  if (bias)
    y = build.add(y, build.reshape(build.convert(bias, computed), {weights[0], dims.constant(1), dims.constant(1)}));
  return {build.convert(y, x->type.dtype)};
}

// --- regions of interest ---------------------------------------------------------------------------------------------

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

constexpr OpEntry kOps[] = {
    {"DeformConv", deform_conv}, {"GridSample", grid_sample}, {"MaxRoiPool", max_roi_pool}, {"RoiAlign", roi_align}};

}  // namespace

std::span<const OpEntry> sampling_ops() { return kOps; }

}  // namespace lapidary::frontend
