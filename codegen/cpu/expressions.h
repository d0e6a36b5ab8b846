// Expressions of Loops → LLVM values, at the builder's insertion point.
#pragma once

#include <unordered_map>

#include "codegen/cpu/scalar_ops.h"

namespace lapidary::codegen::cpu {

class ExpressionEmitter {
 public:
  explicit ExpressionEmitter(Emission emission) : emission_(emission) {}

  // What variables and buffers stand for. A variable bound to a constant (an unrolled loop's) folds into whatever uses
  // it. `depth` is the number of loops around the binding: addresses are summed from the outside in.
  void bind(const loops::Var&, llvm::Value*, int depth);
  void bind(const loops::Buffer&, llvm::Value* pointer);

  // A statement's expressions are a DAG: each node is computed once for each statement.
  void begin_statement() { computed_.clear(); }
  llvm::Value* value(const loops::Expr&);
  void store(const loops::Buffer&, const loops::Expr& index, const loops::Expr& value, const loops::Expr& mask);

 private:
  struct Computed {
    llvm::Value* value;
    int depth;
  };
  struct Term {  // of an index: value · factor elements
    const loops::ExprNode* node;
    int64_t factor;
  };
  struct Sum {
    llvm::SmallVector<Term, 6> terms;
    int64_t constant = 0;
  };

  Computed compute(const loops::ExprNode&);
  Computed compute_from_operands(const loops::ExprNode&);
  Computed operand(const loops::Expr& expr) { return computed(*expr); }
  Computed computed(const loops::ExprNode&);
  void add_terms(Sum&, const loops::ExprNode&, int64_t factor);

  llvm::Value* address(const loops::Buffer&, const loops::Expr& index);
  llvm::Value* lane_addresses(const loops::Buffer&, const loops::Expr& index);
  llvm::Value* load(const loops::ExprNode&);
  llvm::Value* load_strided(const loops::ExprNode&, llvm::Type* memory);
  llvm::Value* load_memory(const loops::ExprNode&, llvm::Type* memory);
  llvm::Value* apply(const loops::ExprNode&, llvm::ArrayRef<llvm::Value*> args);
  llvm::Value* index_arithmetic(const loops::ExprNode&, llvm::ArrayRef<llvm::Value*> args);
  llvm::Value* ramp(const loops::ExprNode&, llvm::Value* start, llvm::Value* step);
  llvm::Value* reduce(const loops::ExprNode&, llvm::Value*);
  llvm::Value* shuffle(const loops::ExprNode&, llvm::ArrayRef<llvm::Value*> sources);
  llvm::Value* when(llvm::Value* condition, llvm::Type* type, llvm::function_ref<llvm::Value*()> then);

  Emission emission_;
  std::unordered_map<const loops::VarNode*, Computed> variables_;
  std::unordered_map<const loops::BufferNode*, llvm::Value*> pointers_;
  std::unordered_map<const loops::ExprNode*, Computed> computed_;
};

}  // namespace lapidary::codegen::cpu
