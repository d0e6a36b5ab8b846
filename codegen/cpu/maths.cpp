// Which function is whose: the one table of libm calls, and the choice between them and our own.
#include "codegen/cpu/maths.h"

#include <llvm/IR/Module.h>

#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;

// libm's name of the f64 function; f32's has an f behind it. Null: libm has none.
const char* libm_name(ScalarOp op) {
  if (op == ScalarOp::Sigmoid) return nullptr;
  return name_of(op).data();  // exp, log, sin, …, erf, pow: scalar_ops.def spells them as C does
}

Value* sigmoid_by_libm(Builder& b, Value* x) {
  Value* exponential = emit_libm(b, "exp", std::array{b.CreateFNeg(x)});
  return b.CreateFDiv(real(x, 1), b.CreateFAdd(real(x, 1), exponential));
}

// Null where we have none.
Value* own(Builder& b, ScalarOp op, std::span<Value* const> args) {
  if (op == ScalarOp::Exp) return emit_exp(b, args[0]);
  if (op == ScalarOp::Log) return emit_log(b, args[0]);
  if (op == ScalarOp::Tanh) return emit_tanh(b, args[0]);
  if (op == ScalarOp::Erf) return emit_erf(b, args[0]);
  if (op == ScalarOp::Sigmoid) return emit_sigmoid(b, args[0]);
  if (op == ScalarOp::Sin) return emit_sin(b, args[0]);
  if (op == ScalarOp::Cos) return emit_cos(b, args[0]);
  if (op == ScalarOp::Pow) return emit_pow(b, args[0], args[1]);
  return nullptr;
}

}  // namespace

Value* emit_maths(const Emission& e, ScalarOp op, std::span<Value* const> args) {
  LPD_CHECK(is_maths(op), "{} is no function of maths", name_of(op));
  const bool is_f32 = args[0]->getType()->getScalarType()->isFloatTy();
  if (is_f32 && !e.strict_math) {
    if (Value* result = own(e.build, op, args)) return result;
  }
  if (const char* function = libm_name(op)) return emit_libm(e.build, function, args);
  return sigmoid_by_libm(e.build, args[0]);
}

Value* emit_libm(Builder& b, const char* function, std::span<Value* const> args) {
  llvm::Type* type = args[0]->getType()->getScalarType();
  const std::string name = std::string(function) + (type->isFloatTy() ? "f" : "");
  llvm::SmallVector<llvm::Type*, 2> parameters(args.size(), type);
  llvm::Module* module = b.GetInsertBlock()->getModule();
  llvm::FunctionCallee callee = module->getOrInsertFunction(name, llvm::FunctionType::get(type, parameters, false));
  auto* declaration = llvm::cast<llvm::Function>(callee.getCallee());
  declaration->setDoesNotThrow();
  declaration->setDoesNotAccessMemory();  // we never read errno
  return for_each_lane(b, args, [&](std::span<Value* const> lane) -> Value* {
    return b.CreateCall(callee, llvm::ArrayRef<Value*>(lane.data(), lane.size()));
  });
}

}  // namespace lapidary::codegen::cpu
