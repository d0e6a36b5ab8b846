// Arithmetic on I64 scalars in normal form: what the builders of loops.h call for indices, extents and trip counts.
// The idea and its rules are at the head of loops_simplify.cpp.
#pragma once

#include "ir/loops.h"

namespace lapidary::loops {

Expr index_add(const Expr&, const Expr&);
Expr index_sub(const Expr&, const Expr&);
Expr index_mul(const Expr&, const Expr&);
Expr index_floordiv(const Expr&, const Expr&);  // divisor > 0
Expr index_mod(const Expr&, const Expr&);       // divisor > 0
Expr index_min(const Expr&, const Expr&);
Expr index_max(const Expr&, const Expr&);
Expr index_less(const Expr&, const Expr&);
Expr index_less_equal(const Expr&, const Expr&);
Expr index_equal(const Expr&, const Expr&);

}  // namespace lapidary::loops
