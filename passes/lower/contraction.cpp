// Contractions as register-tiled matrix products. The columns of B lie in panels of 16, [P][K][16]: constant weights
// are packed when the artifact is written, live operands by a step of their own, or, for few rows, not at all. A is
// read in place, one broadcast an element, when its rows lie at a stride; otherwise, and when that stride would make
// the rows of a tile compete for a few sets of the first cache, a step before copies it (contraction_pack.cpp).
//
// One task owns a strip of columns (two panels) and a chunk of row tiles small enough that A's rows stay in the second
// cache while neighbouring tasks walk the strips. The whole depth is accumulated in registers; the epilogue (bias,
// activation, residual) runs on them before anything is stored. Rows are cut into tiles of 13, 12 or 11 (6, 5, 4 with
// 16 registers), so from 55 rows on none is wasted. Up to six rows a wider strip (64 columns) is taken: then the panels
// are read once at memory speed, which is all that counts.
//
// Which order a result is summed in depends on its shape and the target alone: threads never change bits.
#include <algorithm>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/contraction_pack.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 4;  // k steps in a row; more than 8 spill
constexpr int kSkinnyRows = 6;

struct Schedule {
  int panels;  // of a strip
  int rows;    // of the tallest tile
  bool skinny;
  std::string text() const { return fmt::format("tile={}x{}{}", rows, panels * kPanel, skinny ? " skinny" : ""); }
};

int strip_panels(const Dim& columns, const Target& target, bool skinny) {
  std::optional<int64_t> known = lapidary::value_of(columns);
  if (skinny) return 64 / kPanel;
  if (target.f32_lanes() < kPanel) return 1;
  return known && *known <= kPanel ? 1 : 2;
}

// Panels that both the wide and the skinny strips divide, unless that wastes too much of a narrow B.
int panel_multiple(const ContractionLowering& l) {
  std::optional<int64_t> known = lapidary::value_of(l.columns);
  if (!known || *known >= 192) return 4;
  return *known <= kPanel ? 1 : *known <= 2 * kPanel ? 2 : (*known + kPanel - 1) / kPanel % 4 == 0 ? 4 : 2;
}

// acc → epilogue → stores, for the tile whose first row and strip are given.
void store_tile(ContractionLowering& l, GroupEmitter& emit, Block& block, const RegisterTile& tile, Expr batch,
                Expr row, Expr strip_column, const Buffer& epilogue) {
  int lanes = tile.shape.lanes;
  Expr columns = emit.builder.literal(l.columns);
  std::optional<int64_t> known = loops::value_of(columns);
  bool ragged = !known || *known % (tile.shape.panels * kPanel) != 0;
  tile.for_each(
      block,
      [&](Block& inner, Expr i, Expr j, Expr value) {
        Expr column = add(strip_column, mul(j, integer(lanes)));
        Expr left = sub(columns, column);
        auto store = [&](Block& into) {
          GroupEmitter::Scope scope(emit, into);
          Expr mask = ragged ? first_lanes(left, lanes) : nullptr;
          Coords coords = coords_of(emit, l.form, l.form.out_letters,
                                    {.batch = batch,
                                     .row = add(row, i),
                                     .column = column,
                                     .along = FormCoords::Lanes::Columns,
                                     .lanes = lanes,
                                     .mask = mask});
          emit.store_results(l.form.contract->result(), coords, value);
        };
        if (!ragged) return store(inner);
        Block guarded;
        store(guarded);
        inner.add(if_then(less(integer(0), left), guarded.take()));
      },
      epilogue);
}

LoweredVariant lower_variant(ContractionLowering& l, const Schedule& schedule, Dim when) {
  Module& module = l.context.module;
  DimPool& dims = module.dims;
  KernelBuilder builder(module, l.context.target(), "contraction", schedule.text());
  GroupEmitter emit(builder, l.group);
  int lanes = l.context.target().f32_lanes();

  RowSplit split = split_rows(dims, l.rows, schedule.rows);
  int64_t tile_bytes = schedule.rows * l.left_bytes() * lapidary::value_of(l.depth).value_or(1024);
  int64_t chunk_tiles = std::clamp<int64_t>(l.context.target().l2_bytes / 2 / tile_bytes, 4, 64);
  Dim chunk_count = dims.ceildiv(split.tiles, dims.constant(chunk_tiles));  // of nearly equal numbers of tiles
  Dim strips =
      dims.ceildiv(l.columns, dims.constant(int64_t{schedule.panels} * kPanel));  // not of the padding's panels

  std::vector<Expr> axes = builder.split_task({l.batch, chunk_count, strips});
  Expr batch = axes[0], chunk = axes[1], strip = axes[2];
  Expr steps = builder.literal(l.steps());
  Expr tiles = builder.parameter(split.tiles), height = builder.literal(split.height),
       longer = builder.parameter(split.longer);
  Block& body = builder.body;
  Expr chunks = builder.divisor(chunk_count);
  Expr first_tile = body.let("first_tile", floordiv(mul(chunk, tiles), chunks));
  Expr last_tile = body.let("last_tile", floordiv(mul(add(chunk, integer(1)), tiles), chunks));

  Expr strip_column = body.let("column", mul(strip, integer(schedule.panels * kPanel)));
  Buffer panels;
  std::function<Expr(Expr, Expr)> b_index;
  if (l.weight || l.packed_columns) {
    panels = l.weight ? builder.weight(*l.weight) : builder.scratch(*l.packed_columns, l.atom.right, false);
    Expr panel_stride = mul(steps, integer(kPanel * l.atom.depth));
    Expr first_panel = add(mul(batch, builder.parameter(l.panels)), mul(strip, integer(schedule.panels)));
    Expr b_base = body.let("b", mul(first_panel, panel_stride));
    b_index = [=, &l](Expr j, Expr k) { return add(b_base, panel_element(j, k, lanes, panel_stride, l.atom)); };
  } else {
    const AffineOperand b = *columns_from(l, emit, batch, strip_column);
    Expr b_base = body.let("b", b.base);
    panels = b.buffer;
    b_index = [=](Expr j, Expr k) { return add(b_base, add(mul(k, b.depth_stride), mul(j, integer(lanes)))); };
  }

  const bool packed_rows = l.packed_rows && !(schedule.skinny && l.rows_in_place);
  Buffer rows_buffer = packed_rows ? builder.scratch(*l.packed_rows, l.atom.left, false) : nullptr;

  Buffer epilogue =
      epilogue_stage(builder, l.group, *l.form.contract, int64_t{schedule.rows} * schedule.panels * kPanel);

  serial(body, "tile", first_tile, last_tile, 1, [&](Block& loop, Expr tile) {
    Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
    Expr first_row = loop.let("row", add(mul(tile, height), min(tile, longer)));
    for_height(loop, split, rows, first_row, [&](Block& block, int count, Expr row) {
      TileShape shape{.rows = count, .panels = schedule.panels, .lanes = lanes, .atom = l.atom};
      shape.phases = phases_of(l.context.target(), shape);
      RegisterTile registers(block, shape);
      RegisterTile::Operands operands;
      operands.b = panels;
      operands.b_index = b_index;
      AffineOperand a =
          packed_rows ? packed_rows_from(l, builder, rows_buffer, batch, row) : *rows_from(l, emit, batch, row);
      Expr base = block.let("a", a.base);
      operands.a = a.buffer;
      operands.a_index = [=, &l](Expr i, Expr k) {
        return add(base, add(mul(i, a.row_stride), mul(mul(k, integer(l.atom.depth)), a.depth_stride)));
      };
      registers.multiply(block, operands, steps, steps_in_a_row(l.context.target(), l.atom, kUnroll));
      registers.join_phases(block);
      store_tile(l, emit, block, registers, batch, row, strip_column, epilogue);
    });
  });
  return builder.finish(dims.product(std::vector<Dim>{l.batch, chunk_count, strips}), when);
}

Atom atom_of(const Op& contract, const ContractionForm& form) {
  if (contract.params.has("to")) return form.b()->type.dtype == DType::U8 ? kSignedBytes : kBytes;
  return contract.type().dtype == DType::I32 ? kIntegers : kFloats;
}

}  // namespace

LoweredGroup lower_contraction(Context& context, const Op& group) {
  const Op& contract = anchor_of(group);
  ContractionForm form = contraction_form(contract);
  Module& module = context.module;
  DimPool& dims = module.dims;
  const bool no_depth = lapidary::value_of(form.extent(dims, form.depth)) == 0;
  const bool bytes = contract.params.has("to");
  const DType dtype = contract.type().dtype;
  if ((dtype != DType::F32 && dtype != DType::I32) || form.columns.empty() || no_depth ||
      !results_follow(group, &contract))
    return lower_plain(context, group);

  ContractionLowering l{.context = context,
                        .group = group,
                        .form = form,
                        .atom = atom_of(contract, form),
                        .rows = form.extent(dims, form.rows),
                        .columns = form.extent(dims, form.columns),
                        .depth = form.extent(dims, form.depth),
                        .batch = form.extent(dims, form.batch)};
  int multiple = panel_multiple(l);
  l.panels = dims.mul(dims.ceildiv(l.columns, dims.constant(int64_t{multiple} * kPanel)), dims.constant(multiple));
  l.weight = packed_columns(module, group, form, multiple, l.atom);
  const bool are_bytes = form.a()->type.dtype == l.atom.left && form.b()->type.dtype == l.atom.right;
  if (bytes && (!l.weight || !are_bytes)) return lower_plain(context, group);

  LoweredGroup result;
  const std::optional<int64_t> rows = lapidary::value_of(l.rows);
  const bool wide_skinny = multiple == 4 && context.target().vector_registers >= 32;
  const bool skinny = wide_skinny && (!rows || *rows <= kSkinnyRows),
             tall = !wide_skinny || !rows || *rows > kSkinnyRows;
  const int panels = std::min(multiple, strip_panels(l.columns, context.target(), false));
  if (!l.weight && !reads_columns_in_place(l, skinny ? 64 : panels * kPanel)) {
    l.packed_columns = 0;
    result.scratch.push_back(dims.product(std::vector<Dim>{l.batch, l.panels, l.depth, dims.constant(4 * kPanel)}));
    result.steps.push_back(pack_columns(l));
  }
  LoweredStep step;
  Dim few_rows = skinny && tall ? dims.less(l.rows, dims.constant(kSkinnyRows + 1)) : nullptr;
  plan_rows(l, tall);
  if (l.packed_rows) {
    *l.packed_rows = static_cast<uint32_t>(result.scratch.size());
    result.scratch.push_back(packed_rows_bytes(l));
    result.steps.push_back(
        pack_rows(l, few_rows && l.rows_in_place ? dims.equal(few_rows, dims.constant(0)) : nullptr));
  }
  if (skinny)
    step.variants.push_back(
        lower_variant(l, {64 / kPanel, std::min(kSkinnyRows, max_rows(context.target(), 4, l.atom)), true}, few_rows));
  if (tall) {
    step.variants.push_back(lower_variant(l, {panels, max_rows(context.target(), panels, l.atom), false}, nullptr));
  }
  step.flops = dims.product(std::vector<Dim>{dims.constant(2), l.batch, l.rows, l.columns, l.depth});
  result.steps.push_back(std::move(step));
  return result;
}

}  // namespace lapidary::lowering
