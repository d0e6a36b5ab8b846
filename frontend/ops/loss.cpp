// Losses of classifiers: scores [N, C, d…] and the class [N, d…] of each place.
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// What does not count, because its class is ignore_index, has loss and weight 0; `mean` divides by the weights' sum.
Value* negative_log_likelihood(Node& node, Value* log_probability, Value* target, Value* weight) {
  GraphBuilder& build = node.build;
  const int rank = log_probability->type.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  if (target->type.rank() != rank - 1) fail("target has rank {}, expected {}", target->type.rank(), rank - 1);
  if (weight && weight->type.rank() != 1) fail("weight has rank {}, expected 1", weight->type.rank());
  const DType dtype = log_probability->type.dtype;
  const Shape &extents = log_probability->type.shape, &places = target->type.shape;
  for (int axis = 0; axis < rank - 1; ++axis)
    require_same(node, places[axis], extents[axis == 0 ? 0 : axis + 1], "extents of target and input");
  if (weight) require_same(node, weight->type.shape[0], extents[1], "weights and classes");
  const std::string reduction = node.text("reduction");
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    fail("reduction '{}' is none of none, sum and mean", printable(reduction));
  target = build.convert(target, DType::I64);
  Value* ignored = nullptr;
  if (node.has("ignore_index")) {
    Value* index = build.scalar(Scalar::of_integer(DType::I64, node.integer("ignore_index")));
    ignored = build.scalar_op(ScalarOp::Equal, {target, index});
    target = build.select(ignored, build.like(target, 0), target);
  }
  auto kept = [&](Value* value) { return ignored ? build.select(ignored, build.like(value, 0), value) : value; };
  Value* picked = build.gather_elements(log_probability, build.expand_axes(target, {1}), 1);
  Value* loss = kept(build.neg(build.drop_axes(picked, {1})));
  Value* weights = weight ? kept(build.gather(build.convert(weight, dtype), target, 0)) : nullptr;
  if (weights) loss = build.mul(loss, weights);
  if (reduction == "none") return loss;
  const std::vector<int64_t> all = axes_from(0, rank - 1);
  if (reduction == "mean" && !weights && !ignored) return build.reduce(OpKind::ReduceMean, loss, all);
  Value* sum = build.reduce(OpKind::ReduceSum, loss, all);
  if (reduction == "sum") return sum;
  if (!weights) weights = kept(build.splat(dtype, loss->type.shape, 1));
  return build.div(sum, build.reduce(OpKind::ReduceSum, weights, all));
}

Values negative_log_likelihood_loss(Node& node) {
  return {in_float32(node, node.input(0),
                     [&](Value* x) { return negative_log_likelihood(node, x, node.input(1), node.input(2)); })};
}

Values softmax_cross_entropy_loss(Node& node) {
  GraphBuilder& build = node.build;
  if (node.rank() < 2) fail("scores have rank {}, expected 2 or more", node.rank());
  const DType dtype = node.type(0).dtype;
  Value* scores = bit_width(dtype) < 32 ? build.convert(node.input(0), DType::F32) : node.input(0);
  Value* centred = build.sub(scores, build.reduce(OpKind::ReduceMax, scores, {1}, true));
  Value* sum = build.reduce(OpKind::ReduceSum, build.scalar_op(ScalarOp::Exp, {centred}), {1}, true);
  Value* log_probability = build.sub(centred, build.scalar_op(ScalarOp::Log, {sum}));
  Value* loss = negative_log_likelihood(node, log_probability, node.input(1), node.input(2));
  return {build.convert(loss, dtype), build.convert(log_probability, dtype)};
}

constexpr OpEntry kOps[] = {{"NegativeLogLikelihoodLoss", negative_log_likelihood_loss},
                            {"SoftmaxCrossEntropyLoss", softmax_cross_entropy_loss}};

}  // namespace

std::span<const OpEntry> loss_ops() { return kOps; }

}  // namespace lapidary::frontend
