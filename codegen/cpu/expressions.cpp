// Expressions: what is computed, each node once. What is loaded and stored is in memory.cpp.
#include "codegen/cpu/expressions.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "codegen/cpu/convert.h"
#include "codegen/cpu/dot.h"
#include "ir/error.h"
#include "ir/small_floats.h"

namespace lapidary::codegen::cpu {

using llvm::Value;
using loops::ExprKind;
using loops::ExprNode;

namespace {

llvm::Constant* constant_lane(llvm::LLVMContext& context, const Scalar& constant) {
  llvm::Type* type = value_type(context, constant.dtype);
  if (type->isFloatingPointTy()) return llvm::ConstantFP::get(type, constant.number);
  if (is_small_float(constant.dtype))
    return llvm::ConstantInt::get(type, encode_small_float(constant.dtype, constant.number));
  return llvm::ConstantInt::getSigned(type, constant.integer, /*ImplicitTrunc=*/true);
}

int elements_of(const Value* vector) {
  return static_cast<int>(llvm::cast<llvm::FixedVectorType>(vector->getType())->getNumElements());
}

Value* concatenated(Builder& b, Value* low, Value* high) {
  llvm::SmallVector<int, 64> lanes;
  for (int lane = 0; lane < 2 * elements_of(low); lane++) lanes.push_back(lane);
  return b.CreateShuffleVector(low, high, lanes);
}

// convert(round(x) + offset) to an integer of 8 or 16 bits, of f32: what x is, and the offset, a whole number.
struct Rounding {
  const loops::Expr* x;
  int offset = 0;
};

std::optional<Rounding> rounding_of(const ExprNode& node) {
  if (node.kind != ExprKind::Convert || is_float(node.type.dtype) || node.type.dtype == DType::Bool ||
      bit_width(node.type.dtype) > 16 || node.args[0]->type.dtype != DType::F32)
    return std::nullopt;
  auto applied = [](const loops::Expr& expr, ScalarOp op) { return expr->kind == ExprKind::Apply && expr->op == op; };
  const loops::Expr* rounded = &node.args[0];
  int offset = 0;
  if (applied(*rounded, ScalarOp::Add)) {
    const ExprNode& by = *(*rounded)->args[1];
    const ExprNode& constant = by.kind == ExprKind::Splat ? *by.args[0] : by;
    constexpr double kMost = 1 << 16;
    if (constant.kind != ExprKind::Const || constant.constant.number != std::trunc(constant.constant.number) ||
        std::abs(constant.constant.number) > kMost)
      return std::nullopt;
    offset = static_cast<int>(constant.constant.number);
    rounded = &(*rounded)->args[0];
  }
  if (!applied(*rounded, ScalarOp::Round)) return std::nullopt;
  return Rounding{&(*rounded)->args[0], offset};
}

}  // namespace

void ExpressionEmitter::bind(const loops::Var& var, Value* value, int depth) { variables_[var.get()] = {value, depth}; }
void ExpressionEmitter::bind(const loops::Buffer& buffer, Value* pointer) { pointers_[buffer.get()] = pointer; }

Value* ExpressionEmitter::value(const loops::Expr& expr) { return computed(*expr).value; }

ExpressionEmitter::Computed ExpressionEmitter::computed(const ExprNode& node) {
  if (auto found = computed_.find(&node); found != computed_.end()) return found->second;
  const Computed result = compute(node);
  computed_[&node] = result;
  return result;
}

ExpressionEmitter::Computed ExpressionEmitter::compute(const ExprNode& node) {
  Builder& b = emission_.build;
  constexpr int kInnermost = 1 << 20;  // what is loaded may change with any loop
  switch (node.kind) {
    case ExprKind::Const:
      return {splat(b, constant_lane(b.getContext(), node.constant), node.type.lanes), 0};
    case ExprKind::Variable: {
      auto found = variables_.find(node.var.get());
      LPD_CHECK(found != variables_.end(), "variable '{}' is not in scope", node.var->name);
      return found->second;
    }
    case ExprKind::Load:
      return {load(node), kInnermost};
    case ExprKind::Apply:
    case ExprKind::Fma:
    case ExprKind::Dot:
    case ExprKind::Convert:
      if (const auto rounding = rounding_of(node)) {
        const Computed x = operand(*rounding->x);
        return {emit_rounded(emission_, x.value, rounding->offset, node.type.dtype), x.depth};
      }
      return compute_from_operands(node);
    case ExprKind::Splat:
    case ExprKind::Ramp:
    case ExprKind::Reduce:
    case ExprKind::Shuffle:
      return compute_from_operands(node);
  }
  LPD_UNREACHABLE();
}

ExpressionEmitter::Computed ExpressionEmitter::compute_from_operands(const ExprNode& node) {
  Builder& b = emission_.build;
  llvm::SmallVector<Value*, 4> args;
  int depth = 0;
  for (const loops::Expr& arg : node.args) {
    const Computed part = operand(arg);
    args.push_back(part.value);
    depth = std::max(depth, part.depth);
  }
  switch (node.kind) {
    case ExprKind::Apply:
      return {apply(node, args), depth};
    case ExprKind::Fma:
      return {emit_fma(emission_, args[0], args[1], args[2]), depth};
    case ExprKind::Dot:
      return {emit_dot(emission_, args[0], args[1], args[2], node.args[0]->type.dtype == DType::I8), depth};
    case ExprKind::Convert:
      return {emit_convert(emission_, args[0], node.args[0]->type.dtype, node.type.dtype), depth};
    case ExprKind::Splat:
      return {splat(b, args[0], node.type.lanes), depth};
    case ExprKind::Ramp:
      return {ramp(node, args[0], args[1]), depth};
    case ExprKind::Reduce:
      return {reduce(node, args[0]), depth};
    case ExprKind::Shuffle:
      return {shuffle(node, args), depth};
    case ExprKind::Const:
    case ExprKind::Variable:
    case ExprKind::Load:
      break;
  }
  LPD_UNREACHABLE();
}

// --- operations ------------------------------------------------------------------------------------------------

Value* ExpressionEmitter::apply(const ExprNode& node, llvm::ArrayRef<Value*> args) {
  if (Value* index = index_arithmetic(node, args)) return index;
  const DType dtype = node.op == ScalarOp::Select ? node.type.dtype : node.args[0]->type.dtype;
  return emit_scalar_op(emission_, node.op, dtype, std::span<Value* const>(args.data(), args.size()));
}

// Scalar i64 arithmetic whose interval is known does not wrap, and divides without guards. Null: nothing special.
Value* ExpressionEmitter::index_arithmetic(const ExprNode& node, llvm::ArrayRef<Value*> args) {
  if (!(node.type == loops::ExprType{DType::I64, 1}) || args.size() != 2) return nullptr;
  Builder& b = emission_.build;
  const ExprNode& x = *node.args[0];
  const ExprNode& y = *node.args[1];
  const bool bounded = node.lo > INT64_MIN && node.hi < INT64_MAX;
  const bool divides_plainly = x.lo >= 0 && y.lo > 0;
  if (node.op == ScalarOp::Add && bounded) return b.CreateNSWAdd(args[0], args[1]);
  if (node.op == ScalarOp::Sub && bounded) return b.CreateNSWSub(args[0], args[1]);
  if (node.op == ScalarOp::Mul && bounded) return b.CreateNSWMul(args[0], args[1]);
  if (node.op == ScalarOp::Div && divides_plainly) return b.CreateUDiv(args[0], args[1]);
  if ((node.op == ScalarOp::FloorMod || node.op == ScalarOp::TruncMod) && divides_plainly)
    return b.CreateURem(args[0], args[1]);
  return nullptr;
}

Value* ExpressionEmitter::ramp(const ExprNode& node, Value* start, Value* step) {
  Builder& b = emission_.build;
  llvm::SmallVector<llvm::Constant*, 64> lanes;
  for (int lane = 0; lane < node.type.lanes; lane++) lanes.push_back(llvm::ConstantInt::get(start->getType(), lane));
  Value* steps = b.CreateMul(splat(b, step, node.type.lanes), llvm::ConstantVector::get(lanes));
  return b.CreateAdd(splat(b, start, node.type.lanes), steps);
}

Value* ExpressionEmitter::reduce(const ExprNode& node, Value* vector) {
  Builder& b = emission_.build;
  for (unsigned half = lanes_of(vector) / 2; half > 0; half /= 2) {
    llvm::SmallVector<int, 64> low, high;
    for (unsigned lane = 0; lane < half; lane++) {
      low.push_back(static_cast<int>(lane));
      high.push_back(static_cast<int>(lane + half));
    }
    Value* halves[2] = {};
    if (half == 1) {
      halves[0] = b.CreateExtractElement(vector, uint64_t{0});
      halves[1] = b.CreateExtractElement(vector, uint64_t{1});
    } else {
      halves[0] = b.CreateShuffleVector(vector, low);
      halves[1] = b.CreateShuffleVector(vector, high);
    }
    vector = emit_scalar_op(emission_, node.op, node.type.dtype, halves);
  }
  return vector;
}

// Sources are joined two by two until one vector holds all their lanes; -1 takes lane 0 of a vector of zeros.
Value* ExpressionEmitter::shuffle(const ExprNode& node, llvm::ArrayRef<Value*> sources) {
  Builder& b = emission_.build;
  llvm::SmallVector<Value*, 8> vectors(sources.begin(), sources.end());
  if (lanes_of(vectors[0]) == 1) {
    llvm::Type* single = llvm::FixedVectorType::get(vectors[0]->getType(), 1);
    for (Value*& vector : vectors) vector = b.CreateInsertElement(llvm::PoisonValue::get(single), vector, uint64_t{0});
  }
  while (vectors.size() > 2) {
    if (vectors.size() % 2) vectors.push_back(llvm::PoisonValue::get(vectors[0]->getType()));
    for (size_t i = 0; i < vectors.size() / 2; i++) vectors[i] = concatenated(b, vectors[2 * i], vectors[2 * i + 1]);
    vectors.resize(vectors.size() / 2);
  }
  const bool zeros = std::count(node.lanes_from.begin(), node.lanes_from.end(), -1) > 0;
  if (zeros && vectors.size() == 2) vectors = {concatenated(b, vectors[0], vectors[1])};
  const int given = elements_of(vectors[0]);
  if (vectors.size() == 1)
    vectors.push_back(zeros ? static_cast<Value*>(llvm::Constant::getNullValue(vectors[0]->getType()))
                            : llvm::PoisonValue::get(vectors[0]->getType()));
  llvm::SmallVector<int, 64> lanes;
  for (int lane : node.lanes_from) lanes.push_back(lane < 0 ? given : lane);
  Value* result = b.CreateShuffleVector(vectors[0], vectors[1], lanes);
  return node.type.lanes == 1 ? b.CreateExtractElement(result, uint64_t{0}) : result;
}

}  // namespace lapidary::codegen::cpu
