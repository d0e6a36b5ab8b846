#include "test/train/gradient_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/differentiate.h"
#include "ir/error.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "test/passes/model.h"
#include "test/passes/program_runner.h"

namespace lapidary::test {

namespace {

constexpr double kStep = 1e-3;  // two of them, of which the difference's own error cancels: (4·D(h/2) - D(h)) / 3
constexpr double kTolerance = 1e-6;

const InterpreterOptions kExact{.round = false, .on_op = {}};

struct Differentiated {
  Model model;
  std::vector<Value*> wanted;
};

void build_loss(Differentiated& of, const std::vector<Argument>& arguments, const Build& build, bool gradients) {
  std::vector<Value*> values;
  for (const Argument& argument : arguments) {
    Shape shape = of.model.shape(argument.value.shape);
    for (size_t axis = 0; axis < argument.symbols.size(); ++axis)
      if (!argument.symbols[axis].empty())
        shape[axis] = of.model.module.dims.symbol(argument.symbols[axis], {0, 1 << 20});
    values.push_back(of.model.input(shape, argument.value.dtype));
    if (argument.wanted && is_float(argument.value.dtype)) of.wanted.push_back(values.back());
  }
  GraphBuilder& b = of.model.build;
  b.origin = of.model.module.add_origin({.node = "tested", .op_type = "Test", .opset = 1});
  std::vector<Value*> results = {weighted_sum(b, build(b, values))};
  if (gradients)
    for (Value* gradient : differentiate(b, results[0], of.wanted)) results.push_back(gradient);
  for (size_t i = 1; i < results.size(); ++i)
    if (!results[i]) results[i] = b.splat(of.wanted[i - 1]->type.dtype, of.wanted[i - 1]->type.shape, 0);
  of.model.result(results);
}

std::vector<Tensor> values_of(const std::vector<Argument>& arguments) {
  std::vector<Tensor> tensors;
  for (const Argument& argument : arguments) {
    std::vector<double>& numbers = tensors.emplace_back(argument.value).numbers;
    if (numbers.empty()) continue;  // turned, so that arguments of one shape differ in every element
    const auto turns = static_cast<int64_t>(tensors.size() % numbers.size());
    std::rotate(numbers.begin(), numbers.begin() + turns, numbers.end());
  }
  return tensors;
}

class Function {
 public:
  Function(const std::vector<Argument>& arguments, const Build& build) : inputs_(values_of(arguments)) {
    build_loss(built_, arguments, build, false);
  }
  // The slope along one element of one argument.
  double slope(size_t argument, size_t element) {
    return (4 * difference(argument, element, kStep / 2) - difference(argument, element, kStep)) / 3;
  }

 private:
  double difference(size_t argument, size_t element, double step) {
    double& number = inputs_[argument].numbers[element];
    const double middle = number;
    number = middle + step;
    const double above = value();
    number = middle - step;
    const double below = value();
    number = middle;
    return (above - below) / (2 * step);
  }
  double value() { return interpret(built_.model.module, built_.model.function, inputs_, kExact)[0].numbers[0]; }

  Differentiated built_;
  std::vector<Tensor> inputs_;
};

void expect_lowered_gradients(const std::vector<Argument>& arguments, const Build& build) {
  for (const bool all_passes : {false, true}) {
    Differentiated differentiated;
    build_loss(differentiated, arguments, build, true);
    Lowering lowering;
    if (all_passes) {
      lowering.passes.clear();
      for (const passes::Pass& pass : passes::graph_passes()) lowering.passes.push_back(pass.name);
    }
    expect_lowered_equal(differentiated.model.module, {values_of(arguments)}, lowering);
  }
}

}  // namespace

Argument floats(std::vector<int64_t> shape, double lo, double hi) {
  Argument argument{Tensor::zeros(DType::F64, std::move(shape))};
  std::vector<double>& numbers = argument.value.numbers;
  uint64_t state = numbers.size();
  std::vector<size_t> order(numbers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (int64_t extent : argument.value.shape) state = state * 31 + static_cast<uint64_t>(extent);
  for (size_t i = order.size(); i > 0; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[i - 1], order[(state >> 33) % i]);
  }
  const double offset = 0.2 + 0.6 * std::fmod(static_cast<double>(state >> 40) * 0.381966, 1);
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = lo + (hi - lo) * (static_cast<double>(order[i]) + offset) / static_cast<double>(numbers.size());
  return argument;
}

Argument integers(std::vector<int64_t> shape, std::vector<int64_t> values, DType dtype) {
  Argument argument{Tensor::zeros(dtype, std::move(shape))};
  argument.value.integers = std::move(values);
  return argument;
}

Argument fixed(Argument argument) {
  argument.wanted = false;
  return argument;
}

Argument named(Argument argument, std::vector<std::string> symbols) {
  argument.symbols = std::move(symbols);
  return argument;
}

Value* weighted_sum(GraphBuilder& b, std::span<Value* const> values) {
  Value* total = b.scalar(DType::F64, 0);
  for (Value* value : values) {
    if (!is_float(value->type.dtype)) continue;
    Value* place = b.convert(b.iota(DType::I64, {b.module.dims.product(value->type.shape)}, 0), DType::F64);
    Value* weight = b.scalar_op(ScalarOp::Sin, {b.add(b.mul(place, b.like(place, 1.3)), b.like(place, 0.7))});
    Value* weighted = b.mul(b.convert(value, DType::F64), b.reshape(weight, value->type.shape));
    std::vector<int64_t> axes(static_cast<size_t>(value->type.rank()));
    std::iota(axes.begin(), axes.end(), 0);
    total = b.add(total, b.reduce(OpKind::ReduceSum, weighted, axes));
  }
  return total;
}

void expect_gradients(const std::vector<Argument>& arguments, const Build& build) {
  Differentiated differentiated;
  build_loss(differentiated, arguments, build, true);
  const Module& module = differentiated.model.module;
  ASSERT_EQ(verify(module), std::vector<std::string>{}) << print_module(module);
  const std::vector<Tensor> found = interpret(module, differentiated.model.function, values_of(arguments), kExact);
  Function function(arguments, build);
  size_t result = 1;
  for (size_t argument = 0; argument < arguments.size(); ++argument) {
    const Argument& of = arguments[argument];
    if (!of.wanted || !is_float(of.value.dtype)) continue;
    const Tensor& gradient = found.at(result++);
    ASSERT_EQ(gradient.shape, of.value.shape);
    for (size_t i = 0; i < of.value.numbers.size(); ++i) {
      const double expected = function.slope(argument, i);
      ASSERT_NEAR(gradient.numbers[i], expected, kTolerance * std::max(1.0, std::abs(expected)))
          << "by element " << i << " of argument " << argument << "\n"
          << print_module(module);
    }
  }
  if (!::testing::Test::HasFailure()) expect_lowered_gradients(arguments, build);
}

std::string refusal(const std::vector<Argument>& arguments, const Build& build) {
  try {
    Differentiated differentiated;
    build_loss(differentiated, arguments, build, true);
  } catch (const Error& error) { return error.what(); }
  return "";
}

}  // namespace lapidary::test
