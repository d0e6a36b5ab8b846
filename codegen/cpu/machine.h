// LLVM's optimiser and code generator for one target, as one thread uses them.
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/IR/OptBisect.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>
#include <vector>

#include "ir/target.h"

namespace lapidary::codegen::cpu {

class Machine {
 public:
  explicit Machine(const Target&);
  std::unique_ptr<llvm::Module> new_module(llvm::LLVMContext&, const std::string& name) const;
  void optimise(llvm::Module&) const;
  std::vector<char> object_code(llvm::Module&) const;  // of an optimised module, which it uses up
  std::string assembly(llvm::Module&) const;

 private:
  llvm::SmallVector<char, 0> emit(llvm::Module&, llvm::CodeGenFileType) const;
  const bool keeps_order_;  // instructions stay as emitted
  std::unique_ptr<llvm::TargetMachine> machine_;
  std::unique_ptr<llvm::OptPassGate> left_out_;  // asked by the code generator's passes
};

}  // namespace lapidary::codegen::cpu
