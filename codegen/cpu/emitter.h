// One kernel of Loops → LLVM functions in a module.
#pragma once

#include <llvm/IR/Module.h>

#include <string>

#include "ir/loops.h"
#include "ir/target.h"

namespace lapidary::codegen::cpu {

// Adds the function `symbol` of type lpd_kernel (runtime/abi.h), hidden, and the internal one it calls.
void emit_kernel(llvm::Module&, const loops::Kernel&, const std::string& symbol, const Target&, bool strict_math);

}  // namespace lapidary::codegen::cpu
