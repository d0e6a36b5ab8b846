#include "test/kernels/case_model.h"

#include <cmath>

namespace lapidary::test {

Value* CaseModel::weights(std::vector<int64_t> extents) {
  const Tensor numbers = random_tensor(DType::F32, extents, seed++);
  std::vector<Scalar> scalars;
  for (int64_t i = 0; i < numbers.elements(); ++i) {
    const double number = numbers.at(i).number;
    scalars.push_back(Scalar::of_float(DType::F32, absolute ? std::abs(number) : number));
  }
  return build.constant(module.constants.add_scalars(DType::F32, extents, scalars));
}

Value* CaseModel::conv(Value* x, int64_t outputs, std::vector<int64_t> kernel, ConvOptions options) {
  const int64_t channels = *value_of(x->type.shape[1]);
  const bool transposed = !options.output_padding.empty();
  std::vector<int64_t> extents = transposed ? std::vector<int64_t>{channels, outputs / options.group}
                                            : std::vector<int64_t>{outputs, channels / options.group};
  extents.insert(extents.end(), kernel.begin(), kernel.end());
  options.strides.resize(kernel.size());
  options.dilations.resize(kernel.size());
  options.pads.resize(2 * kernel.size());
  Value* w = weights(extents);
  Value* bias = options.bias ? weights({outputs}) : nullptr;
  if (!transposed)
    return build.conv(x, w, bias, options.group, options.strides, options.dilations, shape(options.pads));
  std::vector<Value*> operands = {x, w};
  if (bias) operands.push_back(bias);
  return build
      .create(OpKind::ConvTranspose, operands,
              {{"group", options.group},
               {"strides", options.strides},
               {"dilations", options.dilations},
               {"pads", shape(options.pads)},
               {"output_padding", options.output_padding}})
      .result();
}

std::vector<Tensor> case_inputs(const Module& module, const SymbolValues& symbols, bool absolute) {
  std::vector<Tensor> inputs;
  for (const auto& argument : module.function("run")->body->arguments) {
    std::vector<int64_t> extents;
    for (Dim dim : argument->type.shape)
      extents.push_back(
          evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> { return symbols.at(leaf->name); }).value());
    Tensor tensor = random_tensor(argument->type.dtype, extents, 100 + inputs.size());
    for (double& number : tensor.numbers) number = absolute ? std::abs(number) : number;
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace lapidary::test
