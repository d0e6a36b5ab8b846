#include "ir/evaluate.h"

#include <unordered_map>

namespace lapidary {

namespace {

constexpr int64_t kMostElements = 4096;
constexpr int kMostOps = 512, kDeepest = 128;

class Evaluator {
 public:
  explicit Evaluator(const Module& module) : module_(module) {}

  std::optional<Tensor> value(const Value* value, int depth) {
    if (auto found = known_.find(value); found != known_.end()) return found->second;
    if (depth > kDeepest || ++ops_ > kMostOps) return std::nullopt;
    return known_[value] = compute(value, depth);
  }

 private:
  static bool is_small(const Type& type) {
    int64_t count = 1;
    for (Dim extent : type.shape) {
      const auto known = value_of(extent);
      if (!known || *known > kMostElements || (count *= *known) > kMostElements) return false;
    }
    return type.kind == Type::Kind::Tensor;
  }

  std::optional<Tensor> compute(const Value* value, int depth) {
    const Op* op = value->producer;
    if (!op || !op->regions.empty() || op->is(OpKind::ToHost) || op->results.size() != 1 || !is_small(value->type))
      return std::nullopt;
    if (op->is(OpKind::Constant)) {
      const ConstantId id = op->params.constant("value");
      return Tensor::from_bytes(value->type.dtype, module_.constants[id].shape, module_.constants.bytes_of(id));
    }
    std::vector<Tensor> operands;
    for (const Value* operand : op->operands) {
      auto known = this->value(operand, depth + 1);
      if (!known) return std::nullopt;
      operands.push_back(std::move(*known));
    }
    auto results = interpret_op(module_, *op, operands);
    return results ? std::optional((*results)[0]) : std::nullopt;
  }

  const Module& module_;
  std::unordered_map<const Value*, std::optional<Tensor>> known_;
  int ops_ = 0;
};

}  // namespace

std::optional<Tensor> evaluate_now(const Module& module, const Value* value) {
  return Evaluator(module).value(value, 0);
}

}  // namespace lapidary
