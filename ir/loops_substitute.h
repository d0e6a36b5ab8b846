// Expressions with variables replaced by others, simplified as the builders do; and whether one is there to replace.
#pragma once

#include <unordered_map>

#include "ir/loops.h"

namespace lapidary::loops {

using Substitution = std::unordered_map<const VarNode*, Expr>;
Expr substitute(const Expr&, const Substitution&);
bool mentions(const Expr&, const Var&);

}  // namespace lapidary::loops
