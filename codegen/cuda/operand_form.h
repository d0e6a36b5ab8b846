// How a collective's operand is told to the device library (device/operand.h), cheapest first.
#pragma once

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

struct OperandForm {
  enum class Kind {
    Strided,   // element (line, k) at base + line * stride + k, or base + line + k * stride; lines below `lines`
    Prepared,  // at of_line + of_k, valid where the line is
    Copied,    // at `index`, valid where the mask holds
    Computed,  // no load
  };
  Kind kind = Kind::Computed;
  loops::Expr base, stride, lines;  // Strided; `lines` null: all
  loops::Expr of_line, of_k, mask;  // Prepared; Copied: the mask alone. Null: everywhere
};
bool mentions(const loops::Expr&, const loops::Var&);
// By how much an expression grows with the first variable; null when that differs, or depends on the other.
loops::Expr slope(const loops::Expr&, const loops::Var&, const loops::Var& other);
// How many values of `line` a mask line + a < b lets through; null when it is none.
loops::Expr lines_below(const loops::Expr& mask, const loops::Var& line);
OperandForm operand_form(const loops::ProductOperand&, const loops::Var& line, const loops::Var& k);

}  // namespace lapidary::codegen::cuda
