#include "frontend/ops/ml_scores.h"

#include <algorithm>
#include <cmath>

#include "frontend/ops/strings.h"
#include "ir/composites.h"

namespace lapidary::frontend {

Value* rows_of(Node& node, Value* x, DType dtype) {
  if (x->type.rank() != 1 && x->type.rank() != 2) fail("input has rank {}, expected 1 or 2", x->type.rank());
  if (x->type.rank() == 1) x = node.build.expand_axes(x, {0});
  return node.build.convert(x, dtype);
}

void check_post_transform(const std::string& transform) {
  constexpr std::string_view kKnown[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  if (std::ranges::find(kKnown, transform) == std::end(kKnown))
    fail("post_transform '{}' is unknown", printable(transform));
}

Value* logistic(Node& node, Value* x) { return node.build.scalar_op(ScalarOp::Sigmoid, {x}); }

// √2 · erf⁻¹(2x - 1), by Winitzki's formula with the constants of ONNX Runtime: with y = 2x - 1 and l = ln(1 - y²),
// erf⁻¹(y)² = √(v² - l/0.147) - v where v = 2/(π·0.147) + l/2.
Value* probit(Node& node, Value* x) {
  GraphBuilder& b = node.build;
  auto scaled = [&](Value* value, double by) { return b.mul(value, b.like(value, by)); };
  auto root = [&](Value* value) { return b.scalar_op(ScalarOp::Sqrt, {value}); };
  Value* y = b.sub(scaled(x, 2), b.like(x, 1));
  Value* log = b.scalar_op(ScalarOp::Log, {b.mul(b.sub(b.like(x, 1), y), b.add(b.like(x, 1), y))});
  Value* v = b.add(scaled(log, 0.5), b.like(x, 2 / (3.14159 * 0.147)));
  Value* size = root(b.sub(root(b.sub(b.mul(v, v), scaled(log, 1 / 0.147))), v));
  Value* negative = b.scalar_op(ScalarOp::Less, {y, b.like(x, 0)});
  return scaled(b.select(negative, b.neg(size), size), std::sqrt(2.0));
}

namespace {

// Softmax that leaves what is 0 at 0: |x| ≤ 1e-7 counts x·e^-max, and in no sum.
Value* softmax_zero(Node& node, Value* x) {
  GraphBuilder& b = node.build;
  Value* most = b.reduce(OpKind::ReduceMax, x, {1}, true);
  Value* counts = b.scalar_op(ScalarOp::Less, {b.like(x, 0.0000001f), b.scalar_op(ScalarOp::Abs, {x})});
  Value* power = b.scalar_op(ScalarOp::Exp, {b.sub(x, most)});
  Value* rest = b.mul(x, b.scalar_op(ScalarOp::Exp, {b.neg(most)}));
  Value* sum = b.reduce(OpKind::ReduceSum, b.select(counts, power, b.like(x, 0)), {1}, true);
  return b.div(b.select(counts, power, rest), sum);
}

}  // namespace

Value* post_transformed(Node& node, Value* scores, const std::string& transform) {
  if (transform == "SOFTMAX") return composites::softmax(node.build, scores, 1);
  if (transform == "LOGISTIC") return logistic(node, scores);
  if (transform == "SOFTMAX_ZERO") return softmax_zero(node, scores);
  if (transform == "PROBIT") return probit(node, scores);
  return scores;
}

Value* beside(Node& node, Value* no, Value* yes) { return node.build.concat({no, yes}, 1); }

Value* of_one_score(Node& node, Value* score, const std::string& transform, bool is_probability) {
  if (transform == "PROBIT") unsupported("PROBIT of two classes with one score");
  Value* opposite = node.build.neg(score);
  if (transform == "LOGISTIC") return beside(node, logistic(node, opposite), logistic(node, score));
  return beside(node, is_probability ? node.build.sub(node.build.like(score, 1), score) : opposite, score);
}

std::vector<int64_t> class_labels(Node& node, const char* integers, const char* strings) {
  const size_t texts = node.texts(strings).size();
  if (texts == 0) return node.integers(integers);
  if (texts == 1) unsupported("one class label, a string ({})", strings);
  std::vector<int64_t> places(texts);
  for (size_t i = 0; i < texts; ++i) places[i] = static_cast<int64_t>(i);
  return places;
}

std::vector<Value*> with_texts(Node& node, const char* strings, std::vector<Value*> results) {
  const std::vector<std::string> texts = node.texts(strings);
  if (texts.empty()) return results;
  Value* all = frontend::strings(node, {static_cast<int64_t>(texts.size())}, texts);
  results[0] = node.build.gather(all, results[0], 0, true);
  return results;
}

Value* first_greatest(Node& node, Value* scores) {
  GraphBuilder& b = node.build;
  Value* holds = b.scalar_op(ScalarOp::Equal, {scores, b.reduce(OpKind::ReduceMax, scores, {1}, true)});
  Value* last = b.dims_tensor({node.dims().sub(scores->type.shape[1], node.dims().constant(1))}, {});
  return b.reduce(OpKind::ReduceMin, b.select(holds, b.iota(DType::I64, scores->type.shape, 1), last), {1});
}

Value* labels_at(Node& node, const std::vector<int64_t>& labels, Value* index) {
  bool counts = true;
  for (size_t i = 0; i < labels.size(); ++i) counts &= labels[i] == static_cast<int64_t>(i);
  if (counts) return index;
  return node.build.gather(whole_numbers(node, {static_cast<int64_t>(labels.size())}, labels), index, 0);
}

Value* numbers(Node& node, DType dtype, std::vector<int64_t> shape, const std::vector<double>& values) {
  std::vector<Scalar> scalars;
  for (double value : values)
    scalars.push_back(is_float(dtype) ? Scalar::of_float(dtype, value)
                                      : Scalar::of_integer(dtype, static_cast<int64_t>(value)));
  return node.build.constant(node.build.module.constants.add_scalars(dtype, std::move(shape), scalars));
}

Value* whole_numbers(Node& node, std::vector<int64_t> shape, const std::vector<int64_t>& values) {
  std::vector<Scalar> scalars;
  for (int64_t value : values) scalars.push_back(Scalar::of_integer(DType::I64, value));
  return node.build.constant(node.build.module.constants.add_scalars(DType::I64, std::move(shape), scalars));
}

}  // namespace lapidary::frontend
