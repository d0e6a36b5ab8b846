#include "codegen/cpu/values.h"

#include "ir/error.h"

namespace lapidary::codegen::cpu {

llvm::Type* value_type(llvm::LLVMContext& context, DType dtype) {
  if (dtype == DType::F32) return llvm::Type::getFloatTy(context);
  if (dtype == DType::F64) return llvm::Type::getDoubleTy(context);
  if (dtype == DType::Bool) return llvm::Type::getInt1Ty(context);
  return llvm::Type::getIntNTy(context, 8 * bytes_of(dtype));
}

llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype) {
  return dtype == DType::Bool ? llvm::Type::getInt8Ty(context) : value_type(context, dtype);
}

int bytes_of(DType dtype) {
  const int bits = bit_width(dtype);
  if (bits < 8 || bits > 64)
    throw Error(Fault::Unsupported, fmt::format("kernels over elements of type {}", name_of(dtype)));
  return bits / 8;
}

llvm::Type* vector_of(llvm::Type* lane, unsigned lanes) {
  return lanes == 1 ? lane : llvm::FixedVectorType::get(lane, lanes);
}

unsigned lanes_of(const llvm::Value* value) {
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
  return vector ? vector->getNumElements() : 1;
}

llvm::Type* same_lanes(llvm::Type* lane, const llvm::Value* as) { return vector_of(lane, lanes_of(as)); }

llvm::Constant* real(const llvm::Value* as, double value) { return llvm::ConstantFP::get(as->getType(), value); }

llvm::Constant* whole(const llvm::Value* as, int64_t value) {
  return llvm::ConstantInt::getSigned(as->getType(), value, /*ImplicitTrunc=*/true);
}

llvm::Value* splat(Builder& build, llvm::Value* scalar, unsigned lanes) {
  return lanes == 1 ? scalar : build.CreateVectorSplat(lanes, scalar);
}

llvm::Value* convert_bits(Builder& build, llvm::Value* value, llvm::Type* lane) {
  return build.CreateBitCast(value, same_lanes(lane, value));
}

llvm::Value* call(Builder& build, llvm::Intrinsic::ID id, std::initializer_list<llvm::Value*> args) {
  return build.CreateIntrinsic(id, {(*args.begin())->getType()}, llvm::ArrayRef<llvm::Value*>(args));
}

llvm::Value* polynomial(Builder& build, llvm::Value* x, std::initializer_list<double> coefficients) {
  llvm::Value* sum = nullptr;
  for (double coefficient : coefficients) {
    llvm::Value* term = real(x, coefficient);
    sum = sum ? call(build, llvm::Intrinsic::fma, {sum, x, term}) : term;
  }
  return sum;
}

}  // namespace lapidary::codegen::cpu
