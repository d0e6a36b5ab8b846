// Operators that write through indices.
#include <numeric>

#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

std::string reduction_of(Node& node) {
  if (!node.has("reduction")) return "none";
  const std::string reduction = node.text("reduction");
  static constexpr std::string_view kKnown[] = {"none", "add", "mul", "min", "max"};
  if (std::ranges::find(kKnown, reduction) == std::end(kKnown)) fail("reduction '{}' is unknown", printable(reduction));
  if (reduction != "none" && !is_float(node.type(0).dtype) && !is_integer(node.type(0).dtype))
    unsupported("reduction '{}' of {}", reduction, name_of(node.type(0).dtype));
  return reduction;
}

Values scatter_elements(Node& node) {
  const int rank = node.rank(), axis = node.axis("axis", rank);
  if (node.rank(1) != rank || node.rank(2) != rank)
    fail("data, indices and updates have ranks {}, {} and {}, expected equal", rank, node.rank(1), node.rank(2));
  check_indices(node, node.input(1), std::span(node.type(0).shape).subspan(static_cast<size_t>(axis), 1));
  return {node.build.scatter(node.input(0), node.input(1), node.input(2), axis, true, reduction_of(node))};
}

// The indexed axes become one, and so do the index tuples and what each of them replaces.
Values scatter_nd(Node& node) {
  Value *data = node.input(0), *indices = node.input(1), *updates = node.input(2);
  DimPool& dims = node.dims();
  IndexTuples tuples = index_tuples(node, data->type.shape, indices);
  const size_t width = static_cast<size_t>(tuples.width), outer = indices->type.shape.size() - 1;
  const std::span<const Dim> shape(data->type.shape);
  if (updates->type.shape.size() != outer + shape.size() - width)
    fail("updates have rank {}, expected {}", updates->type.rank(), outer + shape.size() - width);
  Dim extent = dims.product(shape.first(width)), slice = dims.product(shape.subspan(width));
  Dim count = dims.product(std::span(indices->type.shape).first(outer));
  GraphBuilder& build = node.build;
  Value* result = build.scatter(build.reshape(data, {extent, slice}), build.reshape(tuples.positions, {count}),
                                build.reshape(updates, {count, slice}), 0, false, reduction_of(node));
  return {build.reshape(result, data->type.shape)};
}

// update goes into the cache along the axis from write_indices[batch] on; "circular" goes on at the front.
Values tensor_scatter(Node& node) {
  Value *cache = node.input(0), *update = node.input(1), *starts = node.input(2);
  const int rank = node.rank(), axis = node.axis("axis", rank);
  if (axis == 0) fail("axis 0 is that of the batch");
  if (node.rank(1) != rank) fail("update has rank {}, past_cache {}", node.rank(1), rank);
  const std::string mode = node.text("mode");
  if (mode != "linear" && mode != "circular") fail("mode '{}' is neither linear nor circular", printable(mode));
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Shape& shape = update->type.shape;
  Dim extent = cache->type.shape[static_cast<size_t>(axis)], length = shape[static_cast<size_t>(axis)];
  if (value_of(dims.less(extent, length)) == 1)
    fail("update has {} elements along axis {}, past_cache {}", to_string(length), axis, to_string(extent));
  Value* places = build.iota(DType::I64, {length}, 0);
  Value* index = build.broadcast(places, {axis}, shape);
  if (starts) {
    if (node.rank(2) != 1) fail("write_indices has rank {}, expected 1", node.rank(2));
    Value* moved = build.add(build.reshape(starts, {shape[0], dims.constant(1)}), places);
    index = moved;
    if (mode == "circular") {
      Value* around = build.dims_tensor({extent}, {}, DType::I64);
      index = build.scalar_op(ScalarOp::FloorMod, {moved, around});
    }
    index = build.broadcast(index, {0, axis}, shape);
  }
  return {build.scatter(cache, index, update, axis, true, "none")};
}

// x at the flat positions of the larger tensor it was pooled from, zeros elsewhere.
Values max_unpool(Node& node) {
  Value *x = node.input(0), *indices = node.input(1);
  if (node.rank() < 3) fail("input has rank {}, expected 3 or more", node.rank());
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const int spatial = node.rank() - 2;
  const std::vector<int64_t> kernel = positive_list(node, "kernel_shape", spatial, 1),
                             strides = positive_list(node, "strides", spatial, 1);
  const std::vector<int64_t> pads = node.has("pads") ? node.integers("pads") : std::vector<int64_t>(2 * spatial, 0);
  if (static_cast<int>(pads.size()) != 2 * spatial)
    fail("pads has {}, expected {}", counted(static_cast<int64_t>(pads.size()), "element"), 2 * spatial);
  Shape pooled = x->type.shape;
  for (int i = 0; i < spatial; ++i) {
    Dim steps = dims.mul(dims.sub(pooled[i + 2], dims.constant(1)), dims.constant(strides[i]));
    if (pads[i] < 0 || pads[i] > INT32_MAX || pads[i + spatial] < 0 || pads[i + spatial] > INT32_MAX)
      fail("pads {}", to_text(pads));
    pooled[i + 2] = dims.add(steps, dims.constant(kernel[i] - pads[i] - pads[i + spatial]));
  }
  Shape wanted = node.input(2) ? node.extents(2) : pooled;
  if (wanted.size() != pooled.size()) fail("output_shape has {} elements, expected {}", wanted.size(), pooled.size());
  Dim count = dims.product(x->type.shape);
  Value* zeros = build.splat(x->type.dtype, {dims.product(pooled)}, 0);
  Value* flat = build.scatter(zeros, build.reshape(indices, {count}), build.reshape(x, {count}), 0, false, "none");
  Value* y = build.reshape(flat, pooled);
  Shape low(pooled.size(), dims.constant(0)), high;
  for (size_t i = 0; i < pooled.size(); ++i) high.push_back(dims.sub(wanted[i], pooled[i]));
  return {build.pad(y, low, high)};
}

constexpr int64_t kMostWindow = 1 << 20;

// Columns [N, C·window, positions] added up where their windows lie: into the padded image, cut to the image.
Values col2im(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value* x = node.input(0);
  Shape image = node.extents(1);
  const Shape block = node.extents(2, {1, kMostWindow});
  const int rank = static_cast<int>(image.size());
  if (node.rank() != 3) fail("input has rank {}, expected 3", node.rank());
  if (static_cast<int>(block.size()) != rank) fail("block_shape has {} elements, image_shape {}", block.size(), rank);
  const std::vector<int64_t> strides = positive_list(node, "strides", rank, 1),
                             dilations = positive_list(node, "dilations", rank, 1);
  const std::vector<int64_t> pads = node.has("pads") ? node.integers("pads") : std::vector<int64_t>(2 * rank, 0);
  if (static_cast<int>(pads.size()) != 2 * rank) fail("pads has {} elements, expected {}", pads.size(), 2 * rank);
  Dim window = dims.constant(1);
  for (Dim extent : block) {
    window = dims.mul(window, extent);
    if (range(extent).lo < 1 || range(extent).hi > kMostWindow || range(window).lo > kMostWindow)
      fail("an extent {} of block_shape", to_string(extent));
  }
  // Position of window tap t and window p along each axis: p · stride + t · dilation, in the padded image.
  Shape padded, table;
  for (int i = 0; i < rank; ++i) {
    if (pads[i] < 0 || pads[i] > INT32_MAX || pads[i + rank] < 0 || pads[i + rank] > INT32_MAX)
      fail("pads {}", to_text(pads));
    padded.push_back(dims.add(image[i], dims.constant(pads[i] + pads[i + rank])));
    table.push_back(block[i]);
  }
  for (int i = 0; i < rank; ++i) {
    Dim reach = dims.add(dims.mul(dims.sub(block[i], dims.constant(1)), dims.constant(dilations[i])), dims.constant(1));
    table.push_back(dims.add(dims.floordiv(dims.sub(padded[i], reach), dims.constant(strides[i])), dims.constant(1)));
  }
  const auto along = [&](int axis, int64_t step) {
    return build.mul(build.iota(DType::I64, {table[axis]}, 0),
                     build.dims_tensor({dims.constant(step)}, {}, DType::I64));
  };
  Value* positions = nullptr;
  for (int i = 0; i < rank; ++i) {
    Value* here = build.add(build.broadcast(along(i, dilations[i]), {i}, table),
                            build.broadcast(along(i + rank, strides[i]), {i + rank}, table));
    Value* extent = build.dims_tensor({padded[i]}, {}, DType::I64);
    positions = positions ? build.add(build.mul(positions, extent), here) : here;
  }
  Dim taps = dims.product(table), lines = dims.floordiv(dims.mul(x->type.shape[0], x->type.shape[1]), window);
  Dim channels = dims.floordiv(x->type.shape[1], window);
  Value* zeros = build.splat(x->type.dtype, {lines, dims.product(padded)}, 0);
  Value* sum = build.scatter(zeros, build.reshape(positions, {taps}), build.reshape(x, {lines, taps}), 1, false, "add");
  Shape shape = {x->type.shape[0], channels}, starts(2, dims.constant(0)), sizes = shape;
  for (int i = 0; i < rank; ++i) {
    shape.push_back(padded[i]);
    starts.push_back(dims.constant(pads[i]));
    sizes.push_back(image[i]);
  }
  return {build.slice(build.reshape(sum, shape), starts, std::vector<int64_t>(sizes.size(), 1), sizes)};
}

constexpr OpEntry kOps[] = {{"Col2Im", col2im},
                            {"MaxUnpool", max_unpool},
                            {"Scatter", scatter_elements},
                            {"ScatterElements", scatter_elements},
                            {"ScatterND", scatter_nd},
                            {"TensorScatter", tensor_scatter}};

}  // namespace

std::span<const OpEntry> scatter_ops() { return kOps; }

}  // namespace lapidary::frontend
