// Result types of arithmetic: elementwise operations, conversions, reductions and contractions.
#include <algorithm>
#include <map>

#include "ir/contract_spec.h"
#include "ir/infer.h"

namespace lapidary {

Type infer_scalar_op(const Inference& op) {
  ScalarOp scalar = scalar_op(op.kind);
  std::vector<DType> dtypes;
  for (const Value* operand : op.operands) dtypes.push_back(operand->type.dtype);
  int first = scalar == ScalarOp::Select ? 1 : 0;  // the operand whose type the others share
  if (first == 1 && dtypes[0] != DType::Bool) op.fail("the condition has type {}, expected bool", name_of(dtypes[0]));
  for (int i = first + 1; i < static_cast<int>(dtypes.size()); i++) op.require_same_dtype(first, i);
  if (!accepts(scalar, dtypes[first])) op.fail("{} does not take {}", name_of(op.kind), name_of(dtypes[first]));
  for (int i = 1; i < static_cast<int>(op.operands.size()); i++) {
    if (op.type(i).rank() != op.type(0).rank() || !std::ranges::equal(op.shape(0), op.shape(i), known_equal)) {
      op.fail("{} of shapes {} and {}, expected equal", name_of(op.kind), to_string(op.shape(0)),
              to_string(op.shape(i)));
    }
  }
  return Type::tensor(result_type(scalar, dtypes), op.shape(0));
}

Type infer_convert(const Inference& op) {
  DType from = op.type(0).dtype, to = op.params.dtype("to");
  if (bit_width(from) == 0 || bit_width(to) == 0) {
    throw Error(Fault::Unsupported, fmt::format("conversion from {} to {}", name_of(from), name_of(to)));
  }
  return Type::tensor(to, op.shape(0));
}

namespace {

bool reduces(OpKind kind, DType dtype) {
  bool orders = kind == OpKind::ReduceMax || kind == OpKind::ReduceMin;
  return is_float(dtype) || is_integer(dtype) || (orders && dtype == DType::Bool);
}

}  // namespace

Type infer_reduce(const Inference& op) {
  const std::vector<int64_t>& axes = op.params.integers("axes");
  op.require_axes(axes, op.type(0).rank());
  if (!reduces(op.kind, op.type(0).dtype)) op.fail("{} does not take {}", name_of(op.kind), name_of(op.type(0).dtype));
  Shape shape;
  for (int i = 0; i < op.type(0).rank(); i++) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) shape.push_back(op.shape(0)[i]);
  }
  return Type::tensor(op.type(0).dtype, std::move(shape));
}

DType Inference::product_dtype() const {
  if (!params.has("to")) {
    require_same_dtype(0, 1);
    DType dtype = type(0).dtype;
    if (!is_float(dtype) && !is_integer(dtype)) fail("{} of {}", name_of(kind), name_of(dtype));
    return dtype;
  }
  DType to = params.dtype("to");
  for (int i : {0, 1}) {
    DType dtype = type(i).dtype;
    if (to != DType::I32 || (dtype != DType::U8 && dtype != DType::I8))
      fail("{} of {} to {}", name_of(kind), name_of(dtype), name_of(to));
  }
  return to;
}

namespace {

ContractSpec checked_spec(const Inference& op, const std::string& text) {
  std::optional<ContractSpec> spec = parse_contract_spec(text);
  if (!spec) op.fail("contraction '{}'", text);
  for (std::string letters : {spec->left, spec->right, spec->result}) {
    std::sort(letters.begin(), letters.end());
    bool repeats = std::adjacent_find(letters.begin(), letters.end()) != letters.end();
    bool words = std::all_of(letters.begin(), letters.end(), [](char c) { return std::isalpha(c); });
    if (repeats || !words) op.fail("contraction '{}'", text);
  }
  return *spec;
}

}  // namespace

Type infer_contract(const Inference& op) {
  DType dtype = op.product_dtype();
  const std::string& text = op.params.text("spec");
  const ContractSpec spec = checked_spec(op, text);
  const std::string operands[] = {spec.left, spec.right};
  std::map<char, Dim> extents;
  for (int i = 0; i < 2; i++) {
    const std::string& letters = operands[i];
    if (static_cast<int>(letters.size()) != op.type(i).rank()) {
      op.fail("operand {} of contraction '{}' has rank {}, expected {}", i, text, op.type(i).rank(), letters.size());
    }
    for (size_t axis = 0; axis < letters.size(); axis++) {
      auto [place, added] = extents.try_emplace(letters[axis], op.shape(i)[axis]);
      if (!added) {
        require_equal(op.module, place->second, op.shape(i)[axis],
                      fmt::format("extents '{}' of contraction '{}'", letters[axis], text));
      }
    }
  }
  Shape shape;
  for (char letter : spec.result) {
    if (!extents.count(letter)) op.fail("contraction '{}': no operand has '{}'", text, letter);
    shape.push_back(extents[letter]);
  }
  for (int i = 0; i < 2; i++) {
    for (char letter : operands[i]) {
      bool elsewhere =
          spec.result.find(letter) != std::string::npos || operands[1 - i].find(letter) != std::string::npos;
      if (!elsewhere) op.fail("contraction '{}': '{}' is summed in one operand alone", text, letter);
    }
  }
  return Type::tensor(dtype, std::move(shape));
}

}  // namespace lapidary
