// Expressions with variables replaced by others, simplified as the builders do.
#pragma once

#include <unordered_map>

#include "ir/loops.h"

namespace lapidary::loops {

using Substitution = std::unordered_map<const VarNode*, Expr>;
Expr substitute(const Expr&, const Substitution&);

}  // namespace lapidary::loops
