// Operators that read images at positions that are data, GridSample and DeformConv; and AffineGrid, which makes some.
#include <array>

#include "frontend/ops/interpolation.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

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

// --- AffineGrid ------------------------------------------------------------------------------------------------------

// The middles of `extent` equal parts of [-1, 1], or as many points from end to end; a single one is at -1.
Value* positions_along(GraphBuilder& build, Dim extent, DType dtype, bool align_corners) {
  DimPool& dims = build.module.dims;
  const auto number = [&](Dim value) { return build.convert(build.dims_tensor({value}, {}), dtype); };
  const Dim one = dims.constant(1);
  Value* place = build.convert(build.iota(DType::I64, {extent}, 0), dtype);
  if (!align_corners) place = build.add(place, build.like(place, 0.5));
  Value* parts = number(dims.max(align_corners ? dims.sub(extent, one) : extent, one));
  return build.sub(build.div(build.mul(place, build.like(place, 2)), parts), build.like(place, 1));
}

// theta [N, 2, 3] or [N, 3, 4], times (x, y, 1) or (x, y, z, 1) of every place of an image.
Values affine_grid(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Shape size = node.sizes(1);
  const int axes = static_cast<int>(size.size()) - 2;
  if (axes != 2 && axes != 3) fail("size has {} elements, expected 4 or 5", size.size());
  check_rank(node.input(0), 3, "theta");
  const Shape& given = node.type(0).shape;
  const std::array expected = {size[0], dims.constant(axes), dims.constant(axes + 1)};
  for (size_t i = 0; i < expected.size(); ++i) require_same(node, given[i], expected[i], "extents of theta");
  Shape shape = {size[0]};
  shape.insert(shape.end(), size.begin() + 2, size.end());
  Shape of_batch(shape.size(), dims.constant(1));
  of_batch[0] = size[0];
  return {in_float32(node, node.input(0), [&](Value* theta) {
    const auto entry = [&](int row, int column) {
      Value* one = build.slice_axis(build.slice_axis(theta, 1, dims.constant(row), dims.constant(1)), 2,
                                    dims.constant(column), dims.constant(1));
      return build.reshape(one, of_batch);
    };
    Values rows;
    for (int row = 0; row < axes; ++row) {
      Value* sum = entry(row, axes);
      for (int axis = 0; axis < axes; ++axis) {  // x runs along the last axis
        const auto at = static_cast<size_t>(axes - axis);
        Value* places = positions_along(build, shape[at], theta->type.dtype, node.integer("align_corners") != 0);
        places = build.broadcast(places, {static_cast<int64_t>(at)}, shape);
        sum = build.add(build.mul(entry(row, axis), places), sum);
      }
      rows.push_back(build.expand_axes(sum, {axes + 1}));
    }
    return build.concat(rows, axes + 1);
  })};
}

constexpr OpEntry kOps[] = {
    {"AffineGrid", affine_grid},
    {"DeformConv", deform_conv},
    {"GridSample", grid_sample},
    {"GridSample", grid_sample,
     "X: T1, Grid: T1 -> Y: T1 | mode = \"bilinear\", padding_mode = \"zeros\", align_corners = 0 | T1 = f16 f32 f64"},
};

}  // namespace

std::span<const OpEntry> sampling_ops() { return kOps; }

}  // namespace lapidary::frontend
