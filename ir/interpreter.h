// The slow, plain interpreter that defines what the Graph level means: each op in float64 (integers exactly), its
// result rounded to its declared type. The oracle of every pass and target.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace lapidary {

// A dense row-major tensor with its elements unpacked: exactly one of the two vectors is used, by dtype.
struct Tensor {
  DType dtype = DType::Undefined;
  std::vector<int64_t> shape;
  std::vector<double> numbers;    // floats
  std::vector<int64_t> integers;  // integers, bool and strings

  int64_t elements() const;
  Scalar at(int64_t index) const;
  void set(int64_t index, const Scalar&);
  static Tensor zeros(DType, std::vector<int64_t> shape);
  static Tensor from_bytes(DType, std::vector<int64_t> shape, std::span<const std::byte>);
  std::vector<std::byte> to_bytes() const;
};

struct InterpreterOptions {
  bool round = true;  // false: float64 throughout, for error bounds and gradients
  std::function<void(const Op&, const std::vector<Tensor>&)> on_op;  // sees every op's results (--check-every-value)
};

// Runs a function on inputs; symbols are bound from their shapes, the module's checks evaluated. Throws
// Error{Fault::Input} when an input does not fit.
std::vector<Tensor> interpret(const Module&, const Function&, std::span<const Tensor> inputs,
                              const InterpreterOptions& = {});

// One op on known operand values (constant folding). Nothing when it needs symbols that have no value.
std::optional<std::vector<Tensor>> interpret_op(const Module&, const Op&, std::span<const Tensor> operands);

// A host_call alone, with the values that Dims have.
Tensor interpret_host_call(const Module&, const Op&, std::span<const Tensor> operands,
                           std::function<int64_t(Dim)> value);

}  // namespace lapidary
