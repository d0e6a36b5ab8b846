// Expressions with parts replaced by others, simplified as the builders do; and whether a variable is there to replace.
#pragma once

#include <functional>
#include <unordered_map>

#include "ir/loops.h"

namespace lapidary::loops {

using Substitution = std::unordered_map<const VarNode*, Expr>;
Expr substitute(const Expr&, const Substitution&);
// What `by` gives for a part stands in its place; null: the part stays, and its own parts are asked for.
Expr replaced(const Expr&, const std::function<Expr(const Expr&)>& by);
bool mentions(const Expr&, const Var&);

}  // namespace lapidary::loops
