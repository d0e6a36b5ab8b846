#include "passes/train/losses.h"

#include <algorithm>
#include <utility>

#include "ir/error.h"
#include "ir/shape_rules.h"

namespace lapidary::train {

namespace {

// Of a batch: where no label counts, the loss is 0.
constexpr double kLeastWeight = 1e-30;

bool is_classifier(const std::string& loss) { return loss == "softmax_cross_entropy" || loss == "nll"; }

Value* sum(GraphBuilder& b, Value* x) { return b.reduce(OpKind::ReduceSum, x, all_axes(x)); }
Value* mean(GraphBuilder& b, Value* x, const SumOverRanks& over_ranks) {
  if (!over_ranks) return b.reduce(OpKind::ReduceMean, x, all_axes(x));
  Value* count = b.dims_tensor({b.module.dims.product(x->type.shape)}, {});
  return b.div(sum(b, x), over_ranks(b.convert(count, x->type.dtype)));
}

// x - max - log Σ e^(x - max) along the classes; its own gradient rule needs no max.
Value* log_softmax(GraphBuilder& b, Value* x, int64_t axis) {
  return b.composite("log_softmax", {{"axis", axis}}, {x}, [axis](GraphBuilder& in, std::span<Value* const> of) {
    Value* centred = in.sub(of[0], in.reduce(OpKind::ReduceMax, of[0], {axis}, true));
    Value* power = in.scalar_op(ScalarOp::Exp, {centred});
    Value* total = in.reduce(OpKind::ReduceSum, power, {axis}, true);
    return std::vector<Value*>{in.sub(centred, in.scalar_op(ScalarOp::Log, {total}))};
  })[0];
}

// The labels that count, looked up among the classes: one that is none of them ends the run, as an index does that is
// out of range. (Negative ones would count from the end.)
Value* known_classes(GraphBuilder& b, Value* labels, Value* counts, Dim classes) {
  const Origin origin = std::exchange(b.origin, b.module.add_origin({"labels", "", 0}));
  Value* none = b.dims_tensor({classes}, {});
  Value* from_front = b.select(b.scalar_op(ScalarOp::Less, {labels, b.like(labels, 0)}), none, labels);
  Value* place = b.select(counts, from_front, b.like(labels, 0));
  Value* found = b.gather(b.iota(DType::I64, {classes}, 0), place, 0);
  b.origin = origin;
  return b.select(counts, found, labels);
}

// How many places have their greatest score at their label: of equal ones the first counts.
Value* count_correct(GraphBuilder& b, Value* scores, Value* labels, int axis) {
  const Shape& shape = scores->type.shape;
  Value* greatest = b.scalar_op(ScalarOp::Equal, {scores, b.reduce(OpKind::ReduceMax, scores, {axis}, true)});
  Value* beyond = b.broadcast_to(b.dims_tensor({shape[axis]}, {}), shape);
  Value* found = b.reduce(OpKind::ReduceMin, b.select(greatest, b.iota(DType::I64, shape, axis), beyond), {axis});
  return sum(b, b.convert(b.scalar_op(ScalarOp::Equal, {found, labels}), DType::I64));
}

// At each score that of its class.
Value* weights_of_classes(GraphBuilder& b, const LossOptions& options, const Type& scores) {
  const int axis = class_axis(options, scores.rank());
  std::vector<Scalar> numbers;
  for (double number : options.weights) numbers.push_back(Scalar::of_float(scores.dtype, number));
  const auto classes = static_cast<int64_t>(numbers.size());
  if (value_of(scores.shape[axis]) != classes)
    throw Error(Fault::Usage,
                fmt::format("{} weights of classes, the model has {}", classes, to_string(scores.shape[axis])));
  return b.broadcast(b.constant(b.module.constants.add_scalars(scores.dtype, {classes}, numbers)), {axis},
                     scores.shape);
}

// -Σ w·log p at the labels over Σ w, without what is ignored. The label's place is found by comparing, not by looking
// it up, so that a gradient needs no scatter.
Loss classifier(GraphBuilder& b, const LossOptions& options, Value* log_probability, Value* labels,
                const SumOverRanks& over_ranks) {
  const DType dtype = log_probability->type.dtype;
  const Shape& shape = log_probability->type.shape;
  const int axis = class_axis(options, log_probability->type.rank());
  Value* at_label = b.scalar_op(ScalarOp::Equal, {b.iota(DType::I64, shape, axis), b.expand_axes(labels, {axis})});
  Value* counts = b.scalar_op(ScalarOp::NotEqual, {labels, b.like(labels, static_cast<double>(options.ignore_index))});
  Value* weight = b.convert(counts, dtype);
  Value* none = b.splat(dtype, shape, 0);
  Value* of_classes = nullptr;
  if (!options.weights.empty()) {
    of_classes = weights_of_classes(b, options, log_probability->type);
    weight = b.mul(weight, b.reduce(OpKind::ReduceSum, b.select(at_label, of_classes, none), {axis}));
  }
  Value* picked = b.reduce(OpKind::ReduceSum, b.select(at_label, log_probability, none), {axis});
  Value* all_weight = sum(b, weight);
  if (over_ranks) all_weight = over_ranks(all_weight);
  all_weight = b.scalar_op(ScalarOp::Max, {all_weight, b.like(all_weight, kLeastWeight)});
  Value* loss = b.div(b.neg(sum(b, b.mul(picked, weight))), all_weight);
  if (options.label_smoothing != 0) {
    Value* all = of_classes ? b.mul(log_probability, of_classes) : log_probability;
    Value* spread = b.reduce(OpKind::ReduceSum, all, {axis});
    Value* counted = b.convert(counts, dtype);
    Value* smooth = b.div(b.neg(sum(b, b.mul(spread, counted))), all_weight);
    smooth = b.div(smooth, b.convert(b.dims_tensor({shape[axis]}, {}), dtype));
    loss = b.add(b.mul(loss, b.like(loss, 1 - options.label_smoothing)),
                 b.mul(smooth, b.like(loss, options.label_smoothing)));
  }
  return {loss, count_correct(b, log_probability, known_classes(b, labels, counts, shape[axis]), axis)};
}

// -Σ w·t·log p over the classes, of targets t that are probabilities; the mean over all places.
Value* soft_cross_entropy(GraphBuilder& b, const LossOptions& options, Value* log_probability, Value* target) {
  const int axis = class_axis(options, log_probability->type.rank());
  if (options.label_smoothing != 0) {
    Value* classes = b.convert(b.dims_tensor({target->type.shape[axis]}, {}), target->type.dtype);
    Value* share = b.div(b.like(target, options.label_smoothing), classes);
    target = b.add(b.mul(target, b.like(target, 1 - options.label_smoothing)), share);
  }
  Value* each = b.mul(target, log_probability);
  if (!options.weights.empty()) each = b.mul(each, weights_of_classes(b, options, log_probability->type));
  return b.neg(b.reduce(OpKind::ReduceSum, each, {axis}));
}

// max(x, 0) - x·t + log(1 + e^-|x|), which never overflows; its own gradient rule is σ(x) - t.
Value* bce_with_logits(GraphBuilder& b, Value* x, Value* target) {
  return b.composite("bce_with_logits", {}, {x, target}, [](GraphBuilder& in, std::span<Value* const> of) {
    Value* away = in.scalar_op(ScalarOp::Exp, {in.neg(in.scalar_op(ScalarOp::Abs, {of[0]}))});
    Value* rest = in.scalar_op(ScalarOp::Log, {in.add(away, in.like(away, 1))});
    Value* positive = in.scalar_op(ScalarOp::Max, {of[0], in.like(of[0], 0)});
    return std::vector<Value*>{in.add(in.sub(positive, in.mul(of[0], of[1])), rest)};
  })[0];
}

Value* huber(GraphBuilder& b, Value* difference, double delta) {
  Value* size = b.scalar_op(ScalarOp::Abs, {difference});
  Value* square = b.mul(b.mul(difference, difference), b.like(difference, 0.5));
  Value* line = b.mul(b.sub(size, b.like(size, delta / 2)), b.like(size, delta));
  return b.select(b.scalar_op(ScalarOp::LessEqual, {size, b.like(size, delta)}), square, line);
}

}  // namespace

const std::vector<std::string>& loss_names() {
  static const std::vector<std::string> names = {
      "softmax_cross_entropy", "soft_cross_entropy", "nll", "mse", "l1", "huber", "bce_with_logits"};
  return names;
}

int class_axis(const LossOptions& options, int rank) {
  const int axis = options.class_axis < 0 ? options.class_axis + rank : options.class_axis;
  if (axis < 1 || axis >= rank)
    throw Error(Fault::Usage, fmt::format("--loss: class_axis={} of scores of rank {}, whose first axis is the batch",
                                          options.class_axis, rank));
  return axis;
}

Type target_type(const std::string& loss, const LossOptions& options, const Type& prediction) {
  if (!is_float(prediction.dtype))
    throw Error(Fault::Input, fmt::format("loss '{}' of a prediction of type {}", loss, to_string(prediction)));
  if ((is_classifier(loss) || loss == "soft_cross_entropy") && prediction.rank() < 2)
    throw Error(Fault::Input,
                fmt::format("loss '{}' takes scores [N, C, …], the model gives {}", loss, to_string(prediction)));
  if (!is_classifier(loss)) return Type::tensor(prediction.dtype, prediction.shape);
  Shape places = prediction.shape;
  places.erase(places.begin() + class_axis(options, prediction.rank()));
  return Type::tensor(DType::I64, places);
}

Loss build_loss(GraphBuilder& b, const std::string& loss, const LossOptions& options, Value* prediction, Value* target,
                const SumOverRanks& over_ranks) {
  const auto mean_of = [&](Value* x) { return mean(b, x, over_ranks); };
  const auto log_probability = [&] { return log_softmax(b, prediction, class_axis(options, prediction->type.rank())); };
  if (loss == "softmax_cross_entropy") return classifier(b, options, log_probability(), target, over_ranks);
  if (loss == "soft_cross_entropy") return {mean_of(soft_cross_entropy(b, options, log_probability(), target))};
  if (loss == "nll") return classifier(b, options, prediction, target, over_ranks);
  if (loss == "bce_with_logits") return {mean_of(bce_with_logits(b, prediction, target))};
  Value* difference = b.sub(prediction, target);
  if (loss == "mse") return {mean_of(b.mul(difference, difference))};
  if (loss == "l1") return {mean_of(b.scalar_op(ScalarOp::Abs, {difference}))};
  LPD_CHECK(loss == "huber", "loss '{}'", loss);
  return {mean_of(huber(b, difference, options.delta))};
}

}  // namespace lapidary::train
