// How values of Loops look in LLVM, and the small helpers every emitting function uses. Vectors are fixed vectors,
// one lane is a scalar; bool is i1 (a byte in memory); storage types are the integers of their bits.
#pragma once

#include <llvm/Analysis/InstSimplifyFolder.h>
#include <llvm/IR/IRBuilder.h>

#include <span>

#include "ir/loops.h"
#include "ir/target.h"

namespace lapidary::codegen::cpu {

using Builder = llvm::IRBuilder<llvm::InstSimplifyFolder>;

// Where instructions go and what they may use.
struct Emission {
  Builder& build;
  const Target& target;
  bool strict_math;  // libm's maths instead of our own
};

llvm::Type* value_type(llvm::LLVMContext&, DType);        // of one lane
llvm::Type* memory_type(llvm::LLVMContext&, DType);       // of one element
llvm::Type* vector_of(llvm::Type* lane, unsigned lanes);  // the lane itself when there is one
unsigned lanes_of(const llvm::Value*);
llvm::Type* same_lanes(llvm::Type* lane, const llvm::Value* as);  // vector_of(lane, lanes_of(as))
int bytes_of(DType);                                              // of an element in memory; throws for sub-byte types

llvm::Constant* real(const llvm::Value* as, double value);    // of as's float type, in every lane
llvm::Constant* whole(const llvm::Value* as, int64_t value);  // of as's integer type
llvm::Value* splat(Builder&, llvm::Value* scalar, unsigned lanes);
llvm::Value* convert_bits(Builder&, llvm::Value*, llvm::Type* lane);                         // bitcast, lane by lane
llvm::Value* call(Builder&, llvm::Intrinsic::ID, std::initializer_list<llvm::Value*> args);  // overloaded on args[0]

// fma(… fma(x, c[0], c[1]) …, c[n-1]): Horner, highest power first.
llvm::Value* polynomial(Builder&, llvm::Value* x, std::initializer_list<double> coefficients);

// `function` of each lane, gathered in a vector again.
template <typename Function>
llvm::Value* for_each_lane(Builder& build, std::span<llvm::Value* const> args, Function function) {
  const unsigned lanes = lanes_of(args[0]);
  if (lanes == 1) return function(args);
  llvm::Value* result = nullptr;
  for (unsigned lane = 0; lane < lanes; lane++) {
    llvm::SmallVector<llvm::Value*, 3> elements;
    for (llvm::Value* arg : args) elements.push_back(build.CreateExtractElement(arg, lane));
    llvm::Value* element = function(std::span<llvm::Value* const>(elements.data(), elements.size()));
    if (!result) result = llvm::PoisonValue::get(vector_of(element->getType(), lanes));
    result = build.CreateInsertElement(result, element, lane);
  }
  return result;
}

}  // namespace lapidary::codegen::cpu
