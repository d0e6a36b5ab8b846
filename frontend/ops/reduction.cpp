// Reductions: axes are an attribute in older opsets and an operand in newer ones; none means all, or nothing at all
// with noop_with_empty_axes.
#include "frontend/ops/common.h"
#include "frontend/ops/norms.h"
#include "frontend/ops/told_axes.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

struct Reduction {
  std::vector<int64_t> axes;
  bool keep;
  bool nothing = false;  // noop_with_empty_axes and no axes
  // Of axes that only a run can tell: each axis is two, [1, d] where it is reduced and [d, 1] where it stays, and the
  // second of each is reduced.
  Shape split = {}, result = {};

  Value* before(GraphBuilder& build, Value* x) const { return split.empty() ? x : build.reshape(x, split); }
  Value* after(GraphBuilder& build, Value* x) const { return split.empty() ? x : build.reshape(x, result); }
};

Reduction told_reduction(Node& node, bool keep) {
  DimPool& dims = node.dims();
  const Dim one = dims.constant(1);
  const Shape list = node.extents(1), &extents = node.type(0).shape;
  const Shape chosen = told_axes(node, list, node.rank());
  Reduction r{{}, false};
  for (size_t i = 0; i < extents.size(); ++i) {
    Dim kept = dims.select(chosen[i], one, extents[i]);
    r.split.push_back(kept);
    r.axes.push_back(static_cast<int64_t>(r.split.size()));
    r.split.push_back(dims.select(chosen[i], extents[i], one));
    if (keep) r.result.push_back(kept);
  }
  if (!keep) r.result = without(dims, extents, chosen, list.size());
  return r;
}

Reduction reduction_of(Node& node) {
  bool keep = node.integer("keepdims") != 0;
  if (is_told_operand(node, 1)) return told_reduction(node, keep);
  const bool none = node.input(1) && value_of(node.dims().product(node.type(1).shape)) == 0;
  std::vector<int64_t> axes = none ? std::vector<int64_t>{} : node.integers_from("axes", 1);
  if (!axes.empty()) return {normalized_axes(axes, node.rank()), keep};
  bool nothing = node.integer_or("noop_with_empty_axes", 0) != 0;
  return {nothing ? axes : axes_from(0, node.rank()), keep, nothing};
}

Value* square(Node& node, Value* x) { return node.build.mul(x, x); }
Value* absolute(Node& node, Value* x) { return node.build.scalar_op(ScalarOp::Abs, {x}); }
Value* norm(Node& node, Value* sum) { return norm_of(node.build, sum); }
Value* logarithm(Node& node, Value* x) { return node.build.scalar_op(ScalarOp::Log, {x}); }
Value* same(Node&, Value* x) { return x; }

// after(reduce(before(x))): with no axes the reduction itself falls away.
using Step = Value* (*)(Node&, Value*);
template <OpKind kind, Step before = same, Step after = same>
Values reduce(Node& node) {
  Reduction r = reduction_of(node);
  Value* x = node.input(0);
  bool truth = x->type.dtype == DType::Bool;  // max and min of bool are any and all
  if (truth) x = node.build.convert(x, DType::U8);
  x = before(node, r.before(node.build, x));
  if (!r.nothing) x = r.after(node.build, node.build.reduce(kind, x, r.axes, r.keep));
  x = after(node, x);
  return {truth ? node.build.convert(x, DType::Bool) : x};
}

// m + log Σ e^(x - m), where m is the maximum, or 0 when that is infinite.
Values log_sum_exp(Node& node) {
  Reduction r = reduction_of(node);
  Value* x = node.input(0);
  if (r.nothing) return {x};
  return {in_float32(node, r.before(node.build, x), [&](Value* y) {
    Value* most = node.build.reduce(OpKind::ReduceMax, y, r.axes, true);
    most = node.build.select(node.build.scalar_op(ScalarOp::IsInf, {most}), zero(node, most), most);
    Value* sum = node.build.reduce(OpKind::ReduceSum, node.build.scalar_op(ScalarOp::Exp, {node.build.sub(y, most)}),
                                   r.axes, true);
    Value* result = node.build.add(logarithm(node, sum), most);
    return r.after(node.build, r.keep || r.axes.empty() ? result : node.build.drop_axes(result, r.axes));
  })};
}

// The distance of each row of A from each of B.
Values cdist(Node& node) {
  GraphBuilder& build = node.build;
  if (node.rank(0) != 2 || node.rank(1) != 2)
    fail("operands have ranks {} and {}, expected 2", node.rank(0), node.rank(1));
  const std::string metric = node.text("metric");
  if (metric != "euclidean" && metric != "sqeuclidean") unsupported("metric '{}'", printable(metric));
  Value* apart = build.sub(build.expand_axes(node.input(0), {1}), build.expand_axes(node.input(1), {0}));
  Value* sum = build.reduce(OpKind::ReduceSum, square(node, apart), {2});
  return {metric == "euclidean" ? norm(node, sum) : sum};
}

constexpr OpEntry kOps[] = {
    {"CDist", cdist, "A: T, B: T -> C: T | metric = \"sqeuclidean\" | T = f32 f64"},
    {"ReduceL1", reduce<OpKind::ReduceSum, absolute>},
    {"ReduceL2", reduce<OpKind::ReduceSum, square, norm>},
    {"ReduceLogSum", reduce<OpKind::ReduceSum, same, logarithm>},
    {"ReduceLogSumExp", log_sum_exp},
    {"ReduceMax", reduce<OpKind::ReduceMax>},
    {"ReduceMean", reduce<OpKind::ReduceMean>},
    {"ReduceMin", reduce<OpKind::ReduceMin>},
    {"ReduceProd", reduce<OpKind::ReduceProd>},
    {"ReduceSum", reduce<OpKind::ReduceSum>},
    {"ReduceSumSquare", reduce<OpKind::ReduceSum, square>},
};

}  // namespace

std::span<const OpEntry> reduction_ops() { return kOps; }

}  // namespace lapidary::frontend
