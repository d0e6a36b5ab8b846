// Loads and stores, and the addresses they take.
//
// An index is taken apart into a sum of terms and a constant. The terms are added to the pointer in the order of the
// loops that change them, outermost first, and the constant last: what does not change in a loop is then one value that
// LICM lifts out of it, equal prefixes are one value to EarlyCSE, and the constant ends as the displacement of the
// load. `row*lda + k + 3` becomes ((p + row*lda) + k) + 3, and thirteen rows at constant strides share one register.
#include <llvm/IR/Function.h>

#include <algorithm>

#include "codegen/cpu/expressions.h"
#include "ir/error.h"

namespace lapidary::codegen::cpu {

using llvm::Value;
using loops::ExprKind;
using loops::ExprNode;

namespace {

llvm::Align element_alignment(const loops::BufferNode& buffer) { return llvm::Align(bytes_of(buffer.element.dtype)); }

}  // namespace

void ExpressionEmitter::add_terms(Sum& sum, const ExprNode& node, int64_t factor) {
  if (node.type == loops::ExprType{DType::I64, 1} && node.kind == ExprKind::Apply && node.lo > INT64_MIN &&
      node.hi < INT64_MAX) {
    if (node.op == ScalarOp::Add || node.op == ScalarOp::Sub) {
      add_terms(sum, *node.args[0], factor);
      return add_terms(sum, *node.args[1], node.op == ScalarOp::Add ? factor : -factor);
    }
    if (node.op == ScalarOp::Mul) {
      for (int side : {0, 1}) {
        const auto* by = llvm::dyn_cast<llvm::ConstantInt>(operand(node.args[side]).value);
        if (by) return add_terms(sum, *node.args[1 - side], factor * by->getSExtValue());
      }
    }
  }
  if (const auto* constant = llvm::dyn_cast<llvm::ConstantInt>(computed(node).value))
    sum.constant += factor * constant->getSExtValue();
  else
    sum.terms.push_back({&node, factor});
}

Value* ExpressionEmitter::address(const loops::Buffer& buffer, const loops::Expr& index) {
  Builder& b = emission_.build;
  auto found = pointers_.find(buffer.get());
  LPD_CHECK(found != pointers_.end(), "buffer '{}' is not in scope", buffer->name);
  llvm::Type* element = vector_of(buffer->space == loops::Space::Local && buffer->element.lanes > 1
                                      ? value_type(b.getContext(), buffer->element.dtype)
                                      : memory_type(b.getContext(), buffer->element.dtype),
                                  buffer->element.lanes);
  Sum sum;
  add_terms(sum, *index, 1);
  std::stable_sort(sum.terms.begin(), sum.terms.end(),
                   [&](const Term& x, const Term& y) { return computed(*x.node).depth < computed(*y.node).depth; });
  Value* pointer = found->second;
  for (const Term& term : sum.terms) {
    Value* offset = b.CreateNSWMul(computed(*term.node).value, b.getInt64(term.factor));
    pointer = b.CreateGEP(element, pointer, offset);
  }
  return sum.constant ? b.CreateGEP(element, pointer, b.getInt64(sum.constant)) : pointer;
}

// Of each lane. A ramp is one scalar address and offsets small enough for 32 bits, which gathers take 16 at a time.
Value* ExpressionEmitter::lane_addresses(const loops::Buffer& buffer, const loops::Expr& index) {
  Builder& b = emission_.build;
  llvm::Type* element = memory_type(b.getContext(), buffer->element.dtype);
  if (index->kind != ExprKind::Ramp || index->type.dtype != DType::I64)
    return b.CreateGEP(element, pointers_.at(buffer.get()), value(index));
  const ExprNode& step = *index->args[1];
  const int64_t limit = INT32_MAX / index->type.lanes;
  Value* offset = value(index->args[1]);
  if (step.lo >= -limit && step.hi <= limit) offset = b.CreateTrunc(offset, b.getInt32Ty());
  llvm::SmallVector<llvm::Constant*, 64> lanes;
  for (int lane = 0; lane < index->type.lanes; lane++) lanes.push_back(llvm::ConstantInt::get(offset->getType(), lane));
  Value* offsets = b.CreateMul(splat(b, offset, index->type.lanes), llvm::ConstantVector::get(lanes));
  return b.CreateGEP(element, address(buffer, index->args[0]), offsets);
}

// Lanes a constant, short step apart, without a mask: whole vectors that together span them, and shuffles. The last
// vector ends with the last lane, so that nothing beyond is read. Null: not of that kind.
Value* ExpressionEmitter::load_strided(const ExprNode& node, llvm::Type* memory) {
  constexpr int64_t kLongest = 4;  // a gather costs about as much as four loads and three shuffles
  const ExprNode& index = *node.args[0];
  if (index.kind != ExprKind::Ramp || index.type.dtype != DType::I64 || node.args.size() > 1) return nullptr;
  const auto step = loops::value_of(index.args[1]);
  if (!step || std::abs(*step) > kLongest) return nullptr;
  Builder& b = emission_.build;
  const int64_t lanes = node.type.lanes, stride = std::abs(*step), span = (lanes - 1) * stride + 1;
  Value* first = address(node.buffer, index.args[0]);
  if (*step < 0) first = b.CreateGEP(memory->getScalarType(), first, b.getInt64((lanes - 1) * *step));
  Value* result = nullptr;
  for (int64_t part = 0; part < std::max<int64_t>(stride, 1); part++) {
    const int64_t begin = std::max<int64_t>(std::min(part * lanes, span - lanes), 0);
    Value* pointer = b.CreateGEP(memory->getScalarType(), first, b.getInt64(begin));
    if (stride == 0)
      return splat(b, b.CreateAlignedLoad(memory->getScalarType(), pointer, element_alignment(*node.buffer)),
                   node.type.lanes);
    Value* loaded = b.CreateAlignedLoad(memory, pointer, element_alignment(*node.buffer));
    llvm::SmallVector<int, 64> from;
    for (int64_t lane = 0; lane < lanes; lane++) {
      const int64_t at = (*step < 0 ? lanes - 1 - lane : lane) * stride;
      from.push_back(static_cast<int>(at / lanes == part ? lanes + at - begin : lane));
    }
    result = b.CreateShuffleVector(result ? result : llvm::PoisonValue::get(memory), loaded, from);
  }
  return result;
}

// `then` where the condition holds, zero elsewhere.
Value* ExpressionEmitter::when(Value* condition, llvm::Type* type, llvm::function_ref<Value*()> then) {
  Builder& b = emission_.build;
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = b.GetInsertBlock();
  llvm::BasicBlock* taken = llvm::BasicBlock::Create(b.getContext(), "on", function);
  llvm::BasicBlock* after = llvm::BasicBlock::Create(b.getContext(), "after", function);
  b.CreateCondBr(condition, taken, after);
  b.SetInsertPoint(taken);
  Value* result = then();
  taken = b.GetInsertBlock();
  b.CreateBr(after);
  b.SetInsertPoint(after);
  if (!result) return nullptr;
  llvm::PHINode* phi = b.CreatePHI(type, 2);
  phi->addIncoming(result, taken);
  phi->addIncoming(llvm::Constant::getNullValue(type), before);
  return phi;
}

Value* ExpressionEmitter::load_memory(const ExprNode& node, llvm::Type* memory) {
  Builder& b = emission_.build;
  const llvm::Align alignment = element_alignment(*node.buffer);
  Value* mask = node.args.size() > 1 ? value(node.args[1]) : nullptr;
  if (node.args[0]->type.lanes > 1) {
    if (Value* strided = load_strided(node, memory)) return strided;
    Value* pointers = lane_addresses(node.buffer, node.args[0]);
    return b.CreateMaskedGather(memory, pointers, alignment, mask, llvm::Constant::getNullValue(memory));
  }
  Value* pointer = address(node.buffer, node.args[0]);
  if (!mask) return b.CreateAlignedLoad(memory, pointer, alignment);
  if (node.type.lanes == 1) return when(mask, memory, [&] { return b.CreateAlignedLoad(memory, pointer, alignment); });
  return b.CreateMaskedLoad(memory, pointer, alignment, mask, llvm::Constant::getNullValue(memory));
}

Value* ExpressionEmitter::load(const ExprNode& node) {
  Builder& b = emission_.build;
  if (node.buffer->element.lanes > 1)
    return b.CreateLoad(vector_of(value_type(b.getContext(), node.type.dtype), node.type.lanes),
                        address(node.buffer, node.args[0]));
  Value* loaded = load_memory(node, vector_of(memory_type(b.getContext(), node.type.dtype), node.type.lanes));
  return node.type.dtype == DType::Bool ? b.CreateICmpNE(loaded, whole(loaded, 0)) : loaded;
}

// A mask known to leave the first lane alone. LLVM 22 stores 32 bits of it where 32-bit lanes were cut to 16.
static bool is_first_lane(const Value* mask) {
  const auto* known = llvm::dyn_cast<llvm::Constant>(mask);
  if (!known || !known->getType()->isVectorTy()) return false;
  for (unsigned i = 0; i < llvm::cast<llvm::FixedVectorType>(known->getType())->getNumElements(); ++i) {
    const auto* lane = llvm::dyn_cast_or_null<llvm::ConstantInt>(known->getAggregateElement(i));
    if (!lane || lane->isOne() != (i == 0)) return false;
  }
  return true;
}

void ExpressionEmitter::store(const loops::Buffer& buffer, const loops::Expr& index, const loops::Expr& stored,
                              const loops::Expr& mask_expr) {
  Builder& b = emission_.build;
  Value* data = value(stored);
  if (buffer->element.lanes > 1) {
    b.CreateStore(data, address(buffer, index));
    return;
  }
  if (buffer->element.dtype == DType::Bool) data = b.CreateZExt(data, same_lanes(b.getInt8Ty(), data));
  const llvm::Align alignment = element_alignment(*buffer);
  Value* mask = mask_expr ? value(mask_expr) : nullptr;
  if (index->type.lanes > 1) {
    b.CreateMaskedScatter(data, lane_addresses(buffer, index), alignment, mask);
    return;
  }
  Value* pointer = address(buffer, index);
  if (!mask) {
    b.CreateAlignedStore(data, pointer, alignment);
  } else if (is_first_lane(mask)) {
    b.CreateAlignedStore(b.CreateExtractElement(data, uint64_t{0}), pointer, alignment);
  } else if (lanes_of(data) > 1) {
    b.CreateMaskedStore(data, pointer, alignment, mask);
  } else {
    when(mask, nullptr, [&]() -> Value* {
      b.CreateAlignedStore(data, pointer, alignment);
      return nullptr;
    });
  }
}

}  // namespace lapidary::codegen::cpu
