// Widen halves: f16 and bf16 are types to store numbers in; arithmetic happens in f32 and is rounded after each op.
// Here that is spelled out, so that the kernels of f32 (tiled convolutions, products, pools in blocks) serve them too:
//
//   %2 : f16 = conv %x, %w          →   %2 : f32 = conv wide(%x), wide(%w)   %3 : f16 = convert %2
//   %3 : f16 = relu %2                  %4 : f32 = convert %3                %5 : f32 = relu %4
//
// The pair of converts that rounds a result ends the kernel that computes it, in registers, and what the kernel stores
// is the f32 number (attention, whose kernel keeps its scores, and products of packed weights are rounded at their end
// alone): between kernels an activation takes twice the memory, and no kernel has to convert what it reads. Ops that
// only move numbers or choose between them need no rounding. Weights are widened when the artifact is written.
// squeezenet1_1_fp16 takes 73 ms as plain loops over f16 and 6.1 ms so, as long as squeezenet1_1. Test:
// test/passes/widen_halves/.
#include <algorithm>
#include <unordered_map>

#include "ir/composites.h"
#include "ir/graph_builder.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_half(const Value* value) { return value->type.dtype == DType::F16 || value->type.dtype == DType::BF16; }

// Is every element of the result one of the operands', or a small whole number, or their negation?
bool is_exact(const Op& op) {
  constexpr OpKind kExact[] = {OpKind::Neg,       OpKind::Abs,       OpKind::Sign,   OpKind::Floor, OpKind::Ceil,
                               OpKind::Round,     OpKind::Trunc,     OpKind::Min,    OpKind::Max,   OpKind::Select,
                               OpKind::ReduceMax, OpKind::ReduceMin, OpKind::MaxPool};
  return is_movement(op) || std::ranges::find(kExact, op.kind) != std::end(kExact);
}

bool is_widened(const Op& op) {
  if (op.is_composite("attention") || op.is_composite("matmul_packed")) return is_half(op.result());
  if (op.results.size() != 1 || op.operands.empty() || !op.regions.empty()) return false;
  if (op.is(OpKind::Yield) || op.is(OpKind::Relayout) || op.is(OpKind::BitCast)) return false;
  return is_half(op.result()) || std::ranges::any_of(op.operands, is_half);
}

class Widening {
 public:
  Widening(Module& module, Region& body) : module_(module), body_(body) {}

  bool run() {
    bool changed = false;
    for (auto it = body_.ops.begin(); it != body_.ops.end();) {
      Op& op = *it++;
      if (!is_widened(op) || (op.is(OpKind::Convert) && !is_half(op.operand(0)))) continue;
      widen(op);
      changed = true;
    }
    return changed;
  }

 private:
  void widen(Op& op) {
    GraphBuilder b(module_, body_, op.self);
    b.origin = op.origin;
    std::vector<Value*> operands = op.operands;
    for (Value*& operand : operands)
      if (is_half(operand)) operand = wide(b, operand);
    Value* result = op.is(OpKind::Convert)             ? b.convert(operands[0], op.type().dtype)
                    : op.is_composite("attention")     ? attention(b, op, operands)
                    : op.is_composite("matmul_packed") ? matmul_packed(b, op, operands)
                                                       : b.create(op.kind, std::move(operands), op.params).result();
    if (is_half(op.result()) && !op.is(OpKind::Convert)) {
      Value* rounded = b.convert(result, op.type().dtype);
      wide_[rounded] = is_exact(op) ? result : b.convert(rounded, DType::F32);
      result = rounded;
    }
    replace_value(op.result(), result);
    erase_op(op);
  }

  static Value* attention(GraphBuilder& b, const Op& op, const std::vector<Value*>& operands) {
    return composites::attention(b, operands[0], operands[1], operands[2], operands.size() > 3 ? operands[3] : nullptr,
                                 op.params.number("scale"), op.params.integer("causal") != 0,
                                 op.params.number_or("softcap", 0));
  }

  static Value* matmul_packed(GraphBuilder& b, const Op& op, const std::vector<Value*>& operands) {
    composites::PackedWeights weights = composites::packed_weights(op);
    weights.codes = operands[1], weights.scales = operands[2];
    if (weights.zero_points) weights.zero_points = operands[3];
    return composites::matmul_packed(b, operands[0], weights);
  }

  Value* wide(GraphBuilder& b, Value* value) {
    Value*& wide = wide_[value];
    if (wide) return wide;
    if (auto id = constant_of(value)) {
      Transform widened{.kind = Transform::Kind::Convert, .dtype = DType::F32};
      return wide = b.constant(module_.constants.transformed(*id, std::move(widened)));
    }
    return wide = b.convert(value, DType::F32);
  }

  Module& module_;
  Region& body_;
  std::unordered_map<const Value*, Value*> wide_;
};

}  // namespace

bool widen_halves(Module& module, const Options& options) {
  if (options.target.is_gpu()) return false;  // whose kernels load and store them as they are
  bool changed = false;
  for_each_body(module, [&](Region& body) { changed |= Widening(module, body).run(); });
  return changed;
}

}  // namespace lapidary::passes
