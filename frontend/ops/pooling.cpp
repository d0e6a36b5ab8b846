// Pooling: windows, and whole images at once.
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

struct Pool {
  Windows windows;
  Shape sizes;
};

Pool pool_of(Node& node, const Value* x) {
  if (x->type.rank() < 3) fail("input has rank {}, expected 3 or more", x->type.rank());
  Shape spatial(x->type.shape.begin() + 2, x->type.shape.end());
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

Params params_of(const Pool& pool) {
  const Windows& w = pool.windows;
  return {{"kernel", w.kernel},
          {"strides", w.strides},
          {"dilations", w.dilations},
          {"pads", w.pads},
          {"sizes", pool.sizes}};
}

Values max_pool(Node& node) {
  if (node.wants(1)) unsupported("the indices (output 1)");
  return {node.build.create(OpKind::MaxPool, {node.input(0)}, params_of(pool_of(node, node.input(0)))).result()};
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
                            {"MaxPool", max_pool}};

}  // namespace

Value* average_pooled(Node& node, Value* x) {
  return averaged(node, x, pool_of(node, x), node.integer_or("count_include_pad", 0) != 0);
}

std::span<const OpEntry> pooling_ops() { return kOps; }

}  // namespace lapidary::frontend
