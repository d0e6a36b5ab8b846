// The operands of a contraction that cannot be read where they lie, copied by steps before it.
#pragma once

#include "passes/lower/contraction_form.h"
#include "passes/lower/family.h"

namespace lapidary::lowering {

// What the steps of one contraction share.
struct ContractionLowering {
  Context& context;
  const Op& group;
  ContractionForm form;
  Atom atom = kFloats;
  std::optional<ConstantId> weight = {};              // B packed when the artifact is written
  std::optional<uint32_t> packed_columns = {};        // scratch that holds B packed: [batch][panels][depth][16]
  std::optional<uint32_t> packed_rows = {};           // scratch that holds A packed: [batch][rows][stride]
  bool rows_in_place = false;                         // A can be read where it lies, if it must
  Dim rows, columns, depth, batch, panels = nullptr;  // panels: as packed, a multiple of any strip's
  DimPool& dims() const { return context.module.dims; }
  Dim steps() const { return dims().ceildiv(depth, dims().constant(atom.depth)); }  // of the reduction
  int64_t left_bytes() const { return bit_width(atom.left) / 8; }                   // of an element of A
};

// A's rows from `first` on, where they lie; nothing when they are not at a stride.
std::optional<AffineOperand> rows_from(const ContractionLowering&, GroupEmitter&, loops::Expr batch, loops::Expr first);

// Decides how A is read: sets rows_in_place, and packed_rows (to a number the caller chooses) when a step must pack it.
// `tall`: tiles of more than a few rows occur.
void plan_rows(ContractionLowering&, bool tall);
Dim packed_rows_bytes(const ContractionLowering&);
LoweredStep pack_rows(ContractionLowering&, Dim when);
AffineOperand packed_rows_from(const ContractionLowering&, KernelBuilder&, const loops::Buffer&, loops::Expr batch,
                               loops::Expr first);

// B's columns from `first` on, where they lie; nothing when they are not side by side.
std::optional<AffineOperand> columns_from(const ContractionLowering&, GroupEmitter&, loops::Expr batch,
                                          loops::Expr first);
// Is a live B read where it lies by strips of so many columns? Where too few rows read it for a copy to pay.
bool reads_columns_in_place(const ContractionLowering&, int strip);

// B, live, into panels: one task a panel.
LoweredStep pack_columns(ContractionLowering&);

}  // namespace lapidary::lowering
