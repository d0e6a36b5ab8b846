// How a collective's operand is told to the device library (device/operand.h), cheapest first.
#pragma once

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

struct OperandForm {
  enum class Kind {
    Strided,    // element (line, k) at base + line * stride + k, or base + line + k * stride; lines below `lines`
    Prepared,   // at of_line + of_k, valid where the mask holds, which speaks of facts about the line and of k
    Tapped,     // at of_line + of_k, valid where the mask holds, which speaks of the line, and all windows hold
    Copied,     // at `index`, valid where the mask holds
    Converted,  // a chunk at once: what it takes of memory, and each of its elements made of that
    Computed,   // no load
  };
  Kind kind = Kind::Computed;
  loops::Expr base, stride, lines;  // Strided; `lines` null: all
  struct Fact {
    loops::Var var;
    loops::Expr value;  // of the line
  };
  struct Window {  // 0 <= start(line) + tap(k) < end
    loops::Expr start, tap, end;
  };
  std::vector<Fact> facts;
  std::vector<Window> windows;
  // Converted: of the chunk of this number, along its axis.
  struct Loaded {
    loops::Var var;
    loops::Expr value;
  };
  loops::Var chunk;
  std::vector<Loaded> loads;
  std::vector<loops::Expr> elements;  // of the loads' variables
  loops::Expr of_line, of_k, mask;    // Prepared and Tapped; Copied: the mask alone. Null: everywhere

  // A bit of a word for each tap; the windows share it.
  int bits_of_window() const { return 32 / static_cast<int>(windows.size()); }
};
// By how much an expression grows with the first variable; null when that differs, or depends on the other.
loops::Expr slope(const loops::Expr&, const loops::Var&, const loops::Var& other);
// The conditions that all must hold for this one to.
void collect_conditions(const loops::Expr& condition, std::vector<loops::Expr>& conditions);
// How many values of `line` a mask line + a < b lets through; null when it is none.
loops::Expr lines_below(const loops::Expr& mask, const loops::Var& line);
OperandForm operand_form(const loops::ProductOperand&, const loops::Var& line, const loops::Var& k);

}  // namespace lapidary::codegen::cuda
