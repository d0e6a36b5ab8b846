// Winograd's transforms of inputs and outputs as expressions; the matrices are ir/winograd.h's.
#pragma once

#include <vector>

#include "ir/winograd.h"
#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

std::vector<loops::Expr> winograd_inputs(Block&, const Matrix& bt, const std::vector<loops::Expr>& x);  // Bᵀ x
std::vector<loops::Expr> winograd_outputs(Block&, const Matrix& at, std::vector<loops::Expr> x);        // Aᵀ x

}  // namespace lapidary::lowering
