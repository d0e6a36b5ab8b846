// Pooling: windows, and whole images at once.
#include <algorithm>
#include <limits>

#include "frontend/ops/norms.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

struct Pool {
  Windows windows;
  Shape sizes;
};

Pool pool_over(Node& node, const Shape& spatial) {
  Pool pool{windows_of(node, {}, spatial), {}};
  bool ceil = node.integer_or("ceil_mode", 0) != 0;
  for (int i = 0; i < pool.windows.rank(); ++i) {
    const Windows& w = pool.windows;
    int64_t reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
    if (range(w.pads[i]).lo >= reach || range(w.pads[i + w.rank()]).lo >= reach)
      fail("pads {} and {} of axis {} must be below the kernel's reach {}", to_string(w.pads[i]),
           to_string(w.pads[i + w.rank()]), i, reach);
    pool.sizes.push_back(window_count(node, w, i, spatial[i], ceil));
  }
  return pool;
}

Pool pool_of(Node& node, const Value* x) {
  if (x->type.rank() < 3) fail("input has rank {}, expected 3 or more", x->type.rank());
  return pool_over(node, Shape(x->type.shape.begin() + 2, x->type.shape.end()));
}

// What no element of x is below.
Value* lowest(Node& node, Value* x) {
  const DType dtype = x->type.dtype;
  if (is_float(dtype)) return node.build.like(x, -std::numeric_limits<double>::infinity());
  const bool is_signed = is_signed_integer(dtype);
  return node.build.scalar(Scalar::of_integer(dtype, is_signed ? INT64_MIN >> (64 - bit_width(dtype)) : 0));
}

Params params_of(const Pool& pool) {
  const Windows& w = pool.windows;
  return {{"kernel", w.kernel},
          {"strides", w.strides},
          {"dilations", w.dilations},
          {"pads", w.pads},
          {"sizes", pool.sizes}};
}

// The windows' elements and where they are in the image, [N, C, windows, taps]; then the greatest of each window and
// its first place, counted over the whole tensor, rows or (storage_order 1) columns first.
Values max_pool_with_indices(Node& node, const Pool& pool) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value* x = node.input(0);
  const Windows& w = pool.windows;
  const int rank = w.rank();
  const Shape& shape = x->type.shape;
  const bool columns_first = node.integer_or("storage_order", 0) != 0;
  Shape table = pool.sizes;
  for (int64_t extent : w.kernel) table.push_back(dims.constant(extent));
  const auto number = [&](Dim value) { return build.dims_tensor({value}, {}, DType::I64); };
  const auto along = [&](int axis, int64_t step) {
    Value* row = build.mul(build.iota(DType::I64, {table[axis]}, 0), number(dims.constant(step)));
    return build.broadcast(row, {axis}, table);
  };
  Value *inside = nullptr, *position = nullptr, *place = nullptr;
  Dim stride = dims.constant(1);
  for (int i = 0; i < rank; ++i) {
    Value* at = build.sub(build.add(along(i, w.strides[i]), along(i + rank, w.dilations[i])), number(w.pads[i]));
    Value *extent = number(shape[i + 2]), *zero = number(dims.constant(0));
    Value* here = build.scalar_op(ScalarOp::And, {build.scalar_op(ScalarOp::LessEqual, {zero, at}),
                                                  build.scalar_op(ScalarOp::Less, {at, extent})});
    inside = inside ? build.scalar_op(ScalarOp::And, {inside, here}) : here;
    Value* clamped = build.scalar_op(
        ScalarOp::Max, {build.scalar_op(ScalarOp::Min, {at, number(dims.sub(shape[i + 2], dims.constant(1)))}), zero});
    position = position ? build.add(build.mul(position, extent), clamped) : clamped;
    Value* counted = build.mul(clamped, number(stride));
    place = place ? build.add(place, counted) : counted;
    stride = dims.mul(stride, shape[i + 2]);
  }
  Dim windows = dims.product(pool.sizes), taps = dims.product(std::span(table).subspan(static_cast<size_t>(rank)));
  const Shape flat = {windows, taps}, full = {shape[0], shape[1], windows, taps};
  position = build.reshape(position, flat);
  place = build.broadcast(columns_first ? build.reshape(place, flat) : position, {2, 3}, full);
  Value* images = build.reshape(x, {shape[0], shape[1], stride});
  Value* elements = build.gather(images, position, 2, true);
  Value* counts = build.broadcast(build.reshape(inside, flat), {2, 3}, full);
  Value* masked = build.select(counts, elements, lowest(node, x));
  Value* greatest = build.reduce(OpKind::ReduceMax, masked, {3}, true);
  Value* holds = build.scalar_op(ScalarOp::Equal, {masked, greatest});
  if (is_float(x->type.dtype))
    holds = build.scalar_op(ScalarOp::Or, {holds, build.scalar_op(ScalarOp::IsNan, {masked})});
  holds = build.scalar_op(ScalarOp::And, {holds, counts});
  Value* first =
      build.reduce(OpKind::ReduceMin, build.select(holds, build.iota(DType::I64, full, 3), number(taps)), {3}, true);
  first = build.scalar_op(ScalarOp::Min, {first, number(dims.sub(taps, dims.constant(1)))});
  Value* found = build.drop_axes(build.gather_elements(place, first, 3, true), {3});
  Value* image =
      build.add(build.mul(build.iota(DType::I64, {shape[0], dims.constant(1), dims.constant(1)}, 0), number(shape[1])),
                build.iota(DType::I64, {shape[1], dims.constant(1)}, 0));
  found = build.add(found, build.mul(image, number(stride)));
  Shape result = {shape[0], shape[1]};
  result.insert(result.end(), pool.sizes.begin(), pool.sizes.end());
  return {build.reshape(build.drop_axes(greatest, {3}), result), build.reshape(found, result)};
}

Values max_pool(Node& node) {
  if (node.wants(1)) return max_pool_with_indices(node, pool_of(node, node.input(0)));
  return {node.build.create(OpKind::MaxPool, {node.input(0)}, params_of(pool_of(node, node.input(0)))).result()};
}

Values nhwc_max_pool(Node& node) {
  Value* x = node.input(0);
  const int rank = x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  std::vector<int64_t> to_front = axes_from(0, rank), to_back = to_front;
  std::rotate(to_front.begin() + 1, to_front.end() - 1, to_front.end());
  std::rotate(to_back.begin() + 1, to_back.begin() + 2, to_back.end());
  const Shape spatial(x->type.shape.begin() + 1, x->type.shape.end() - 1);
  Value* y =
      node.build.create(OpKind::MaxPool, {node.build.transpose(x, to_front)}, params_of(pool_over(node, spatial)))
          .result();
  return {node.build.transpose(y, to_back)};
}

Value* averaged(Node& node, Value* x, const Pool& pool, bool include_pad) {
  Params params = params_of(pool);
  params.set("include_pad", int64_t{include_pad});
  return node.build.create(OpKind::AveragePool, {x}, params).result();
}

Values average_pool(Node& node) { return {average_pooled(node, node.input(0))}; }

template <OpKind kind>
Values global_pool(Node& node) {
  if (node.rank() < 3) fail("input has rank {}, expected 3 or more", node.rank());
  return {node.build.reduce(kind, node.input(0), axes_from(2, node.rank()), true)};
}

Value* power(Node& node, Value* x, double exponent) {
  return node.build.scalar_op(ScalarOp::Pow, {x, node.build.like(x, exponent)});
}

// (Σ |x|^p)^(1/p)
Values lp_pool(Node& node) {
  Pool pool = pool_of(node, node.input(0));
  double p = node.version == 1 ? node.number("p") : static_cast<double>(node.integer("p")), area = 1;
  for (int64_t extent : pool.windows.kernel) area *= static_cast<double>(extent);
  Value* raised = power(node, node.build.scalar_op(ScalarOp::Abs, {node.input(0)}), p);
  Value* sum = averaged(node, raised, pool, true);
  return {norm_of(node.build, node.build.mul(sum, node.build.like(sum, area)), p)};
}

Values global_lp_pool(Node& node) {
  double p = node.version == 1 ? node.number("p") : static_cast<double>(node.integer("p"));
  Value* raised = power(node, node.build.scalar_op(ScalarOp::Abs, {node.input(0)}), p);
  return {norm_of(node.build, node.build.reduce(OpKind::ReduceSum, raised, axes_from(2, node.rank()), true), p)};
}

// x / (bias + alpha/size · Σ x² over `size` neighbouring channels)^beta: the sum is an average pool over channels.
Values lrn(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  int64_t size = node.integer("size");
  if (size < 1 || size > INT32_MAX) fail("size must be 1 or more, got {}", size);
  DimPool& dims = node.dims();
  Dim one = dims.constant(1), rest = dims.product(std::span(x->type.shape).subspan(2));
  Value* squares = node.build.reshape(node.build.mul(x, x), {x->type.shape[0], one, x->type.shape[1], rest});
  Dim zero = dims.constant(0), low = dims.constant((size - 1) / 2), high = dims.constant(size / 2);
  Pool pool{{{size, 1}, {1, 1}, {1, 1}, {low, zero, high, zero}}, {x->type.shape[1], rest}};
  Value* mean = node.build.reshape(averaged(node, squares, pool, true), x->type.shape);
  Value* base = node.build.add(node.build.mul(mean, node.build.like(x, node.number("alpha"))),
                               node.build.like(x, node.number("bias")));
  return {node.build.div(x, power(node, base, node.number("beta")))};
}

constexpr OpEntry kOps[] = {{"AveragePool", average_pool},
                            {"GlobalAveragePool", global_pool<OpKind::ReduceMean>},
                            {"GlobalLpPool", global_lp_pool},
                            {"GlobalMaxPool", global_pool<OpKind::ReduceMax>},
                            {"LRN", lrn},
                            {"LpPool", lp_pool},
                            {"MaxPool", max_pool},
                            {"NhwcMaxPool", nhwc_max_pool,
                             "x: T -> y: T | kernel_shape: ints, auto_pad = \"NOTSET\", ceil_mode = 0, pads?: ints,"
                             " strides?: ints, dilations?: ints | T = i8 u8"}};

}  // namespace

Value* average_pooled(Node& node, Value* x) {
  return averaged(node, x, pool_of(node, x), node.integer_or("count_include_pad", 0) != 0);
}

std::span<const OpEntry> pooling_ops() { return kOps; }

}  // namespace lapidary::frontend
