// The register tile of contractions by itself, as Loops: rows × panels of 16 columns over the whole depth.
#pragma once

#include "ir/loops.h"

namespace lapidary::testing {

struct Tile {
  int rows, panels, lanes;  // panels of 16 columns
  int vectors() const { return panels * 16 / lanes; }
};

// c[tile] = a[rows, depth] · b[panels][depth][16], the depth unrolled by 4.
inline loops::Kernel tile_kernel(const Tile& tile, int64_t depth) {
  using namespace loops;
  const Buffer a = make_global("a", DType::F32, false), b = make_global("b", DType::F32, false);
  const Buffer c = make_global("c", DType::F32, true);
  const int vectors = tile.vectors(), per_panel = 16 / tile.lanes;
  const Buffer acc = make_local("acc", {DType::F32, static_cast<uint16_t>(tile.lanes)}, tile.rows * vectors);
  const Var task = make_var("task", {}, 0, 1 << 20), k = make_var("k", {}, 0, depth - 1, 4),
            u = make_var("u", {}, 0, 3);
  const Var i = make_var("i", {}, 0, tile.rows - 1), j = make_var("j", {}, 0, vectors - 1);
  const Var z = make_var("z", {}, 0, tile.rows * vectors - 1);
  const Expr panel = floordiv(variable(j), integer(per_panel)), part = mod(variable(j), integer(per_panel));
  const Expr slot = add(mul(variable(i), integer(vectors)), variable(j));
  const Expr step = add(variable(k), variable(u));
  const Expr b_index =
      add(add(mul(panel, integer(depth * 16)), mul(step, integer(16))), mul(part, integer(tile.lanes)));
  const Expr a_index =
      add(add(mul(variable(task), integer(tile.rows * depth)), mul(variable(i), integer(depth))), step);
  const Expr product = fma(splat(load(a, a_index), tile.lanes), load(b, b_index, tile.lanes), load(acc, slot));
  const Stmt row = for_loop(j, integer(0), integer(vectors), 1, LoopKind::Unrolled, {store(acc, slot, product)});
  const Stmt rows = for_loop(i, integer(0), integer(tile.rows), 1, LoopKind::Unrolled, {row});
  const Stmt steps = for_loop(u, integer(0), integer(4), 1, LoopKind::Unrolled, {rows});
  const Expr c_index =
      add(add(mul(variable(task), integer(tile.rows * tile.panels * 16)), mul(variable(i), integer(tile.panels * 16))),
          mul(variable(j), integer(tile.lanes)));
  const Stmt store_tile = for_loop(
      i, integer(0), integer(tile.rows), 1, LoopKind::Unrolled,
      {for_loop(j, integer(0), integer(vectors), 1, LoopKind::Unrolled, {store(c, c_index, load(acc, slot))})});
  const Stmt zero = for_loop(z, integer(0), integer(tile.rows * vectors), 1, LoopKind::Unrolled,
                             {store(acc, variable(z), real(0, tile.lanes))});
  Kernel kernel;
  kernel.family = "contraction";
  kernel.buffers = {a, b, c};
  kernel.body = block({for_loop(
      task, integer(0), integer(1 << 20), 1, LoopKind::Task,
      {alloc(acc, {zero, for_loop(k, integer(0), integer(depth), 4, LoopKind::Serial, {steps}), store_tile})})});
  return kernel;
}

}  // namespace lapidary::testing
