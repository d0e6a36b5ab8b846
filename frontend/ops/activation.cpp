// Activation functions in primitives. relu(x) = max(x, 0), so that NaN passes; formulas are those of the ONNX text.
#include <cmath>

#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* op(Node& node, ScalarOp kind, Value* x) { return node.build.scalar_op(kind, {x}); }
Value* maximum(Node& node, Value* a, Value* b) { return node.build.scalar_op(ScalarOp::Max, {a, b}); }
Value* minimum(Node& node, Value* a, Value* b) { return node.build.scalar_op(ScalarOp::Min, {a, b}); }
Value* less(Node& node, Value* a, Value* b) { return node.build.scalar_op(ScalarOp::Less, {a, b}); }
Value* scaled(Node& node, Value* x, double factor) { return node.build.mul(x, node.build.like(x, factor)); }
Value* shifted(Node& node, Value* x, double by) { return node.build.add(x, node.build.like(x, by)); }

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), without overflow; both parts take 0 for positive, so that their slopes
// there, 1 and -1/2, are that of the whole.
Value* softplus_of(Node& node, Value* x) {
  Value* below = less(node, x, zero(node, x));
  Value* decay = op(node, ScalarOp::Exp, node.build.select(below, x, node.build.neg(x)));
  return node.build.add(node.build.select(below, zero(node, x), x), op(node, ScalarOp::Log, shifted(node, decay, 1)));
}

// max(0, min(1, alpha·x + beta))
Value* hard_sigmoid_of(Node& node, Value* x, double alpha, double beta) {
  Value* line = shifted(node, scaled(node, x, alpha), beta);
  return maximum(node, minimum(node, line, node.build.like(x, 1)), zero(node, x));
}

// alpha·(e^(x/width) - 1) for x <= 0. It is 0 above, where e^x may overflow: a gradient of 0 times that is NaN.
Value* exponential_branch(Node& node, Value* x, double alpha, double width = 1) {
  Value* below = minimum(node, x, zero(node, x));
  if (width != 1) below = node.build.div(below, node.build.like(x, width));
  return scaled(node, shifted(node, op(node, ScalarOp::Exp, below), -1), alpha);
}

Values relu(Node& node) { return {maximum(node, node.input(0), zero(node, node.input(0)))}; }

Values leaky_relu(Node& node) {
  Value* x = node.input(0);
  return {node.build.select(less(node, x, zero(node, x)), scaled(node, x, node.number("alpha")), x)};
}

// Up to opset 6 a slope of rank 1 belongs to the channels.
Values prelu(Node& node) {
  Value *x = node.input(0), *slope = node.input(1);
  bool channels =
      node.version < 7 && slope->type.rank() == 1 && x->type.rank() > 2 && value_of(slope->type.shape[0]) != 1;
  if (channels) slope = node.build.expand_axes(slope, axes_from(1, x->type.rank() - 1));
  return {node.build.select(less(node, x, zero(node, x)), node.build.mul(slope, x), x)};
}

Values elu(Node& node) {
  Value* x = node.input(0);
  return {node.build.select(less(node, x, zero(node, x)), exponential_branch(node, x, node.number("alpha")), x)};
}

// max(0, x) + min(0, alpha·(e^(x/alpha) - 1))
Values celu(Node& node) {
  Value* x = node.input(0);
  double alpha = node.number("alpha");
  return {node.build.add(maximum(node, x, zero(node, x)), exponential_branch(node, x, alpha, alpha))};
}

Values selu(Node& node) {
  Value* x = node.input(0);
  Value* either = node.build.select(less(node, zero(node, x), x), x, exponential_branch(node, x, node.number("alpha")));
  return {scaled(node, either, node.number("gamma"))};
}

Values gelu(Node& node) {
  std::string approximate = node.text("approximate");
  if (approximate != "none" && approximate != "tanh")
    fail("approximate '{}' is neither none nor tanh", printable(approximate));
  return {in_float32(node, node.input(0),
                     [&](Value* x) { return composites::gelu(node.build, x, approximate == "tanh"); })};
}

Values hard_sigmoid(Node& node) {
  return {hard_sigmoid_of(node, node.input(0), node.number("alpha"), node.number("beta"))};
}

Values hard_swish(Node& node) {
  Value* x = node.input(0);
  return {node.build.mul(x, hard_sigmoid_of(node, x, 1.0 / 6, 0.5))};
}

Values mish(Node& node) {
  return {in_float32(node, node.input(0),
                     [&](Value* x) { return node.build.mul(x, op(node, ScalarOp::Tanh, softplus_of(node, x))); })};
}

Values softplus(Node& node) {
  return {in_float32(node, node.input(0), [&](Value* x) { return softplus_of(node, x); })};
}

Values softsign(Node& node) {
  Value* x = node.input(0);
  return {node.build.div(x, shifted(node, op(node, ScalarOp::Abs, x), 1))};
}

Values swish(Node& node) {
  Value* x = node.input(0);
  double alpha = node.number("alpha");
  return {node.build.mul(x, op(node, ScalarOp::Sigmoid, alpha == 1 ? x : scaled(node, x, alpha)))};
}

Values thresholded_relu(Node& node) {
  Value* x = node.input(0);
  return {node.build.select(less(node, node.build.like(x, node.number("alpha")), x), x, zero(node, x))};
}

// x + bias below -lambd, x - bias above lambd, 0 between
Values shrink(Node& node) {
  Value* x = node.input(0);
  double bound = node.number("lambd"), bias = node.number("bias");
  Value* above = node.build.select(less(node, node.build.like(x, bound), x), shifted(node, x, -bias), zero(node, x));
  return {node.build.select(less(node, x, node.build.like(x, -bound)), shifted(node, x, bias), above)};
}

// Up to opset 12 softmax runs over all axes from `axis` on, as if they were one.
template <typename Function>
Values along_axis(Node& node, Function function) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  if (rank == 0) unsupported("softmax of a scalar");
  int axis = node.axis("axis", rank);
  bool flattens = node.version < 13 && axis != rank - 1;
  return {in_float32(node, x, [&](Value* y) -> Value* {
    if (!flattens) return function(node.build, y, axis);
    Shape shape = y->type.shape;
    return node.build.reshape(function(node.build, flattened(node, y, axis), 1), shape);
  })};
}

Values softmax(Node& node) {
  return along_axis(node, [](GraphBuilder& build, Value* x, int axis) { return composites::softmax(build, x, axis); });
}

// x - max - log Σ e^(x - max)
Values log_softmax(Node& node) {
  return along_axis(node, [](GraphBuilder& build, Value* x, int axis) {
    Value* centred = build.sub(x, build.reduce(OpKind::ReduceMax, x, {axis}, true));
    Value* sum = build.reduce(OpKind::ReduceSum, build.scalar_op(ScalarOp::Exp, {centred}), {axis}, true);
    return build.sub(centred, build.scalar_op(ScalarOp::Log, {sum}));
  });
}

// --- com.microsoft ---------------------------------------------------------------------------------------------------

Value* with_bias(Node& node) {
  Value *x = node.input(0), *bias = node.input(1);
  if (!bias) return x;
  if (bias->type.rank() > x->type.rank()) fail("bias has rank {}, the data {}", bias->type.rank(), x->type.rank());
  return node.build.add(x, node.build.broadcast_to(bias, x->type.shape));
}

template <bool approximate>
Values biased_gelu(Node& node) {
  return {in_float32(node, with_bias(node), [&](Value* x) { return composites::gelu(node.build, x, approximate); })};
}

Values quick_gelu(Node& node) {
  return {in_float32(node, node.input(0), [&](Value* x) {
    return node.build.mul(x, op(node, ScalarOp::Sigmoid, scaled(node, x, node.number("alpha"))));
  })};
}

// The left half of the columns times the GELU of the right half.
Values bias_split_gelu(Node& node) {
  return {in_float32(node, with_bias(node), [&](Value* x) {
    const int last = x->type.rank() - 1;
    Dim half = node.dims().floordiv(x->type.shape[last], node.dims().constant(2));
    Value* left = node.build.slice_axis(x, last, node.dims().constant(0), half);
    return node.build.mul(left, composites::gelu(node.build, node.build.slice_axis(x, last, half, half), false));
  })};
}

Values bias_add(Node& node) { return {node.build.add(with_bias(node), node.input(2))}; }

Values bias_softmax(Node& node) {
  Value* x = with_bias(node);
  const int rank = x->type.rank(), axis = node.axis("axis", rank);
  return {in_float32(node, x, [&](Value* y) {
    if (axis == rank - 1) return composites::softmax(node.build, y, axis);
    return node.build.reshape(composites::softmax(node.build, flattened(node, y, axis), 1), y->type.shape);
  })};
}

// Of inference: nothing is dropped.
Values bias_dropout(Node& node) {
  Value* training = node.input(4);
  const auto trains = training ? scalar_of(node.build.module, training) : std::nullopt;
  if (training && (!trains || trains->integer != 0)) unsupported("training_mode");
  Value* y = with_bias(node);
  if (node.input(2)) y = node.build.add(y, node.input(2));
  return {y, node.wants(1) ? node.build.splat(DType::Bool, y->type.shape, 1) : nullptr};
}

// G · sigmoid(alpha · G) · (L + beta), where G and L are gate and up, bounded by `limit` when that is above 0. Without
// an operand `up` the gate's right half is it.
Values swiglu(Node& node) {
  if (node.integer("round_activation") != 0 && node.type(0).dtype != DType::F32) unsupported("round_activation");
  GraphBuilder& build = node.build;
  Value *gate = node.input(0), *up = node.input(1);
  const DType dtype = gate->type.dtype;
  if (gate->type.rank() == 0) fail("gate is a scalar");
  if (!up) {
    const int last = gate->type.rank() - 1;
    Dim half = node.dims().floordiv(gate->type.shape[last], build.dim(2));
    up = build.slice_axis(gate, last, half, half);
    gate = build.slice_axis(gate, last, build.dim(0), half);
  }
  gate = build.convert(gate, DType::F32), up = build.convert(up, DType::F32);
  if (const double limit = node.number("limit"); limit > 0) {
    gate = minimum(node, gate, build.like(gate, limit));
    up = minimum(node, maximum(node, up, build.like(up, -limit)), build.like(up, limit));
  }
  Value* active = build.mul(gate, op(node, ScalarOp::Sigmoid, scaled(node, gate, node.number("activation_alpha"))));
  return {build.convert(build.mul(active, shifted(node, up, node.number("activation_beta"))), dtype)};
}

constexpr OpEntry kOps[] = {
    {"BiasAdd", bias_add, "X: T, bias: T, skip: T -> Y: T | | T = f16 f32"},
    {"BiasDropout", bias_dropout,
     "data: T, bias: T, residual?: T, ratio?: T1, training_mode?: bool -> output: T, mask?: bool | seed?: int |"
     " T = f16 f32 f64 bf16, T1 = f16 f32 f64 bf16"},
    {"BiasGelu", biased_gelu<false>, "A: T, B: T -> C: T | | T = f16 f32 f64 bf16"},
    {"BiasSoftmax", bias_softmax,
     "data: T, bias: T -> output: T | is_inner_broadcast: int, axis = 1 | T = f16 f32 f64"},
    {"BiasSplitGelu", bias_split_gelu, "X: T, bias: T -> Y: T | | T = f16 f32"},
    {"Celu", celu},
    {"Elu", elu},
    {"FastGelu", biased_gelu<true>, "X: T, bias?: T -> Y: T | | T = f16 f32 f64 bf16"},
    {"Gelu", gelu},
    {"Gelu", biased_gelu<false>, "X: T -> Y: T | | T = f16 f32 f64 bf16"},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", hard_swish},
    {"LeakyRelu", leaky_relu},
    {"LogSoftmax", log_softmax},
    {"Mish", mish},
    {"PRelu", prelu},
    {"QuickGelu", quick_gelu, "X: T -> Y: T | alpha = 1.702 | T = f16 f32 f64 bf16"},
    {"Relu", relu},
    {"Selu", selu},
    {"Shrink", shrink},
    {"Softmax", softmax},
    {"Softplus", softplus},
    {"Softsign", softsign},
    {"SwiGLU", swiglu,
     "gate: T, up?: T -> output: T | activation_alpha = 1.0, activation_beta = 0.0, limit = 0.0, round_activation = 0 |"
     " T = f16 bf16 f32"},
    {"Swish", swish},
    {"ThresholdedRelu", thresholded_relu},
};

}  // namespace

Value* activated(Node& node, Value* x) {
  if (!node.has("activation")) return x;
  const std::string name = node.text("activation");
  const std::vector<double> list = node.numbers("activation_params");
  auto number = [&](size_t index, const char* attribute, double otherwise) {
    return index < list.size() ? list[index] : node.number_or(attribute, otherwise);
  };
  auto first = [&](double otherwise) { return number(0, "activation_alpha", otherwise); };
  auto second = [&](double otherwise) { return number(1, "activation_beta", otherwise); };
  if (name.empty()) return x;
  if (name == "Relu") return maximum(node, x, zero(node, x));
  if (name == "Tanh") return op(node, ScalarOp::Tanh, x);
  if (name == "Sigmoid") return op(node, ScalarOp::Sigmoid, x);
  if (name == "LeakyRelu") return node.build.select(less(node, x, zero(node, x)), scaled(node, x, first(0.01)), x);
  if (name == "HardSigmoid") return hard_sigmoid_of(node, x, first(0.2), second(0.5));
  if (name == "HardSwish") return node.build.mul(x, hard_sigmoid_of(node, x, 1.0 / 6, 0.5));
  if (name == "Clip")
    return minimum(node, maximum(node, x, node.build.like(x, first(-INFINITY))), node.build.like(x, second(INFINITY)));
  unsupported("activation '{}'", printable(name));
}

std::span<const OpEntry> activation_ops() { return kOps; }

}  // namespace lapidary::frontend
