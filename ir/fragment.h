// Which elements of a Product's accumulator each thread of the block holds. Elements 2i and 2i + 1 are neighbours of
// one row. codegen/cuda/device/ has the same formulas beside the instructions that ask for them.
//   tensor cores: warps go down the tile, then across it; a warp's part is a grid of 16 x 8 pieces, row by row, of four
//   elements each (PTX ISA,
//                 mma.m16n8: rows lane / 4 and 8 below, columns 2 (lane mod 4) and the next)
//   warpgroups:   four warps have 16 rows each of 64, of them as above, all columns; more of them other rows
//   fma:          a thread has a grid of runs, groups of up to 16 bytes of rows by groups of up to 16 bytes of columns,
//                 far apart, so that neighbouring lanes have neighbouring runs
//   attention by tensor cores: as they have it, or, of columns in 32s, a quarter of a row each, 8 columns at a time
//   attention by fma: half a warp has every other of its rows, a thread of them groups of up to 4 columns
#pragma once

#include "ir/loops.h"

namespace lapidary::loops {

struct TileLayout {
  Atom atom;
  int rows, columns, warp_rows, warp_columns;
  int word;  // bytes of an operand's element
  bool warpgroups = false;
  bool attention = false;
  int threads() const { return 32 * warp_rows * warp_columns; }  // of the block
  int elements() const { return rows * columns / threads(); }    // of one thread
};
TileLayout tile_layout(const ProductNode&);
TileLayout tile_layout(const AttendNode&);

// Of a ProductNode, or a tile that may become one: where a warpgroup has all of it, kTurns of them take turns, and one
// writes out its results while the next multiplies.
constexpr int kTurns = 2;
template <class Tile>
constexpr bool takes_turns(const Tile& tile) {
  return tile.warpgroups && tile.warp_rows == 4;
}
template <class Tile>
constexpr int consumers_of(const Tile& tile) {
  return takes_turns(tile) ? kTurns : tile.warp_rows / 4;
}
// Shared memory of warpgroups beside the product's own, where results become whole rows: panels of 64 rows by 128
// bytes, so many for each of them that multiply.
constexpr int kMostPanels = 2;
template <class Tile>
constexpr int64_t staging_bytes(const Tile& tile, int panels) {
  return tile.warpgroups ? int64_t{consumers_of(tile)} * panels * 64 * 128 : 0;
}

// Shared memory that they take, as codegen/cuda/device/ has it, where static_asserts hold these to it. `word`: bytes of
// an operand's element.
int64_t product_shared_bytes(const ProductNode&, int64_t word);
int64_t attend_shared_bytes(const AttendNode&, int64_t word);
int64_t product_shared_bytes(const ProductNode&);
int64_t attend_shared_bytes(const AttendNode&);

// Of an Attend by tensor cores: have a thread's registers room for its queries beside results and scores? Else these
// are read again for each tile of keys. A static_assert holds codegen/cuda/device/attend_mma.h to it.
bool holds_queries(const AttendNode&);

struct FragmentPlace {
  Expr row, column;  // within the tile
};
FragmentPlace fragment_place(const TileLayout&, const Expr& thread, const Expr& element);

// Of an Attend: how many rows a thread has part of, and the row of the `index`-th.
int rows_held(const TileLayout&);
Expr row_held(const TileLayout&, const Expr& thread, int index);

}  // namespace lapidary::loops
