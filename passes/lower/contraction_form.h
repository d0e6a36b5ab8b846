// A contraction as matrix products: which letters of the einsum are batch, rows, columns and depth, and how its
// operands are reached. "bmk,bnk->bmn" has batch b, rows m, columns n, depth k.
#pragma once

#include <optional>
#include <string>

#include "passes/lower/group_emitter.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

struct ContractionForm {
  const Op* contract = nullptr;
  std::string a_letters, b_letters, out_letters;
  std::string batch, rows, columns, depth;  // batch, rows, columns in the result's order; depth in B's
  bool swapped = false;                     // rows come from operand 1: A is operand 1, B operand 0

  const Value* a() const { return contract->operand(swapped ? 1 : 0); }
  const Value* b() const { return contract->operand(swapped ? 0 : 1); }
  Dim extent(char letter) const;
  Dim extent(DimPool&, const std::string& letters) const;  // product
  Shape shape(const std::string& letters) const;
};

// The columns (lanes) are the letters that end the result.
ContractionForm contraction_form(const Op& contract);

// Where the letters of a contraction are, one flat coordinate for each class.
struct FormCoords {
  loops::Expr batch = loops::integer(0), row = loops::integer(0), column = loops::integer(0), depth = loops::integer(0);
  enum class Lanes : uint8_t { None, Columns, Depth } along = Lanes::None;
  int lanes = 1;
  loops::Expr mask = nullptr;
};
// Coordinates of operand A, operand B, or the result.
Coords coords_of(GroupEmitter&, const ContractionForm&, const std::string& letters, const FormCoords&);

// A constant the value is made of by Transpose and Reshape alone, with those appended as transforms; nothing when it
// is not constant. `shape` is the value's.
std::optional<ConstantId> constant_behind(Module&, const Op& group, const Value*);

// B as panels [P][K][16] for a constant B without batch letters, P a multiple of `panels`. Nothing when B is live.
// The steps of an atom lie side by side within a panel.
std::optional<ConstantId> packed_columns(Module&, const Op& group, const ContractionForm&, int panels, const Atom&);

// The address of a value reached through index maps only, when it moves by equal steps along row and depth.
struct AffineOperand {
  loops::Buffer buffer;
  loops::Expr base;                      // at row 0 and depth 0 of `where`
  loops::Expr row_stride, depth_stride;  // constants, or of the kernel's parameters
};
// `where` gives the value's coordinates for a row and a depth counted from 0.
std::optional<AffineOperand> affine_operand(GroupEmitter&, const Value*, DType,
                                            const std::function<Coords(loops::Expr row, loops::Expr depth)>& where);

}  // namespace lapidary::lowering
