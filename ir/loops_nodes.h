// Expressions exactly as written: the constructors under the simplifying builders of loops.h. They check types, note
// the facts of a node (interval, divisor, hash) and rewrite nothing. The builders and the parser end here; everybody
// else calls the builders.
#pragma once

#include "ir/loops.h"

namespace lapidary::loops::nodes {

// Index values stay within these by contract: shapes are checked for overflow when they are bound, and variables
// default to them. An expression whose interval reaches beyond may wrap (data), and no fact about it is used.
constexpr int64_t kIndexMin = INT64_MIN / 4, kIndexMax = INT64_MAX / 4;
inline bool is_index(const Expr& e) { return e->lo >= kIndexMin && e->hi <= kIndexMax; }
inline bool is_i64_scalar(const Expr& e) { return e->type == ExprType{DType::I64, 1}; }

// Types arithmetic happens in; the others are storage: loaded, stored, moved and converted.
bool is_arithmetic(DType);

Expr constant(Scalar value, int lanes);
Expr variable(const Var&);
Expr load(const Buffer&, Expr index, int lanes, Expr mask);
Expr apply(ScalarOp, std::vector<Expr> args);
Expr fma(Expr a, Expr b, Expr c);
Expr dot(Expr a, Expr b, Expr c);
Expr convert(Expr, DType to);
Expr splat(Expr, int lanes);
Expr ramp(Expr start, Expr step, int lanes);
Expr reduce(ScalarOp, Expr);
Expr shuffle(std::vector<Expr> sources, std::vector<int> lanes_from);

}  // namespace lapidary::loops::nodes
