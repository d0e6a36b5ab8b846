// Words both directions of the kernels' text form agree on: text_loops.cpp prints, parse_loops.cpp reads.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ir/loops.h"

namespace lapidary::loops {

std::string type_text(ExprType);  // "i64", "f32x16"
std::optional<ExprType> parse_type(std::string_view);
std::string_view loop_kind_text(LoopKind);  // "" for a serial loop
std::string_view atom_text(Atom);
bool is_reserved_word(std::string_view);  // no variable is called so

// What a variable's interval and divisor are unless the text says otherwise.
struct Facts {
  int64_t lo, hi, multiple;
};
Facts facts_of_loop(const Expr& begin, const Expr& end, const Expr& step);
Facts facts_of_value(const Expr& value);

// The infix operators; precedence 1 binds least. All group to the left.
struct Infix {
  std::string_view text;
  ScalarOp op;
  int precedence;
};
const Infix* infix_of(ScalarOp);
const Infix* infix_of(std::string_view);

}  // namespace lapidary::loops
