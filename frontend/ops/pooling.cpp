// Pooling: windows, and whole images at once.
#include <algorithm>

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

Params params_of(const Pool& pool) {
  const Windows& w = pool.windows;
  return {{"kernel", w.kernel},
          {"strides", w.strides},
          {"dilations", w.dilations},
          {"pads", w.pads},
          {"sizes", pool.sizes}};
}

// Where each window's first maximum lies in the whole tensor. Its places are compared one after the other, each a
// strided slice; what is kept is how far the place is from the window's first.
Value* places_of_maxima(Node& node, const Pool& pool) {
  constexpr int64_t kMostPlaces = 64;
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Windows& w = pool.windows;
  const int rank = node.rank(), spatial = w.rank();
  const Shape shape = node.type(0).shape;
  const bool columns_first = node.integer_or("storage_order", 0) != 0;
  int64_t places = 1;
  for (int64_t extent : w.kernel)
    if ((places *= extent) > kMostPlaces) unsupported("the indices of windows of more than {} places", kMostPlaces);
  const Dim zero_dim = dims.constant(0), one = dims.constant(1);
  Shape low(rank, zero_dim), high = low, result = shape, strides(spatial, one);
  bool overhangs = false;
  for (int i = 0; i < spatial; ++i) {
    const Dim extent = shape[i + 2];
    low[i + 2] = w.pads[i], result[i + 2] = pool.sizes[i];
    Dim reach = dims.add(dims.mul(dims.sub(pool.sizes[i], one), dims.constant(w.strides[i])),
                         dims.constant((w.kernel[i] - 1) * w.dilations[i] + 1));
    high[i + 2] = dims.sub(reach, dims.add(extent, w.pads[i]));
    overhangs |= value_of(low[i + 2]) != 0 || range(high[i + 2]).hi > 0;
    for (int other = 0; other < spatial; ++other)
      if (columns_first ? other < i : other > i) strides[i] = dims.mul(strides[i], shape[other + 2]);
  }
  Value* padded = build.pad(node.input(0), low, high);
  auto number = [&](Dim value) { return build.dims_tensor({value}, {}); };
  auto coordinate = [&](int i, int64_t tap) {  // of the place along spatial axis i, from the tensor's front
    Value* window = build.iota(DType::I64, result, i + 2);
    Dim shift = dims.sub(dims.constant(tap * w.dilations[i]), w.pads[i]);
    return build.add(build.mul(window, number(dims.constant(w.strides[i]))), number(shift));
  };
  Value *best = nullptr, *found = nullptr, *away = nullptr;
  std::vector<int64_t> tap(spatial, 0);
  for (int64_t place = 0; place < places; ++place) {
    Shape starts(rank, zero_dim);
    std::vector<int64_t> steps(rank, 1);
    Dim distance = zero_dim;
    Value* inside = nullptr;
    int64_t rest = place;
    for (int i = spatial - 1; i >= 0; --i) tap[i] = rest % w.kernel[i], rest /= w.kernel[i];
    for (int i = 0; i < spatial; ++i) {
      starts[i + 2] = dims.constant(tap[i] * w.dilations[i]), steps[i + 2] = w.strides[i];
      distance = dims.add(distance, dims.mul(starts[i + 2], strides[i]));
      if (!overhangs) continue;
      Value* at = coordinate(i, tap[i]);
      Value* in = build.scalar_op(ScalarOp::And, {build.scalar_op(ScalarOp::LessEqual, {number(zero_dim), at}),
                                                  build.scalar_op(ScalarOp::Less, {at, number(shape[i + 2])})});
      inside = inside ? build.scalar_op(ScalarOp::And, {inside, in}) : in;
    }
    Value* value = build.slice(padded, starts, steps, result);
    if (!best) {
      best = value, found = inside, away = number(distance);
      continue;
    }
    Value* better = build.scalar_op(ScalarOp::Less, {best, value});
    if (inside) {
      better = build.scalar_op(ScalarOp::Or, {better, build.scalar_op(ScalarOp::Not, {found})});
      better = build.scalar_op(ScalarOp::And, {better, inside});
      found = build.scalar_op(ScalarOp::Or, {found, inside});
    }
    best = build.select(better, value, best), away = build.select(better, number(distance), away);
  }
  Value* image =
      build.add(build.mul(build.iota(DType::I64, result, 0), number(shape[1])), build.iota(DType::I64, result, 1));
  Value* index = build.mul(image, number(dims.product(std::span(shape).subspan(2))));
  for (int i = 0; i < spatial; ++i) index = build.add(index, build.mul(coordinate(i, 0), number(strides[i])));
  return build.add(index, away);
}

Values max_pool(Node& node) {
  const Pool pool = pool_of(node, node.input(0));
  Value* y = node.build.create(OpKind::MaxPool, {node.input(0)}, params_of(pool)).result();
  return {y, node.wants(1) ? places_of_maxima(node, pool) : nullptr};
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
  return {power(node, node.build.mul(sum, node.build.like(sum, area)), 1 / p)};
}

Values global_lp_pool(Node& node) {
  double p = node.version == 1 ? node.number("p") : static_cast<double>(node.integer("p"));
  Value* raised = power(node, node.build.scalar_op(ScalarOp::Abs, {node.input(0)}), p);
  return {power(node, node.build.reduce(OpKind::ReduceSum, raised, axes_from(2, node.rank()), true), 1 / p)};
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
