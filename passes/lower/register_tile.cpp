#include "passes/lower/register_tile.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

bool spells_dots_out(const Target& target, const Atom& atom) { return atom.depth > 1 && !target.byte_dots; }

}  // namespace

int max_rows(const Target& target, int panels, const Atom& atom) {
  int vectors = panels * kPanel / target.f32_lanes();
  if (spells_dots_out(target, atom))  // even and odd bytes of B and of A apart, a mask, and a sum of each
    return std::clamp((target.vector_registers - 5 - 2 * vectors) / vectors, 1, 11);
  int rows = (target.vector_registers - 1 - vectors) / vectors;  // accumulators, one B vector each, one broadcast
  return std::clamp(rows, 1, 13);                                // 14 rows of two vectors spill one accumulator
}

int phases_of(const Target& target, const TileShape& shape) {
  return shape.rows * shape.vectors() < 8 && !spells_dots_out(target, shape.atom) ? 2 : 1;
}

int steps_in_a_row(const Target& target, const Atom& atom, int most) {
  return spells_dots_out(target, atom) ? 1 : most;
}

Expr panel_element(Expr j, Expr k, int lanes, Expr panel_stride, const Atom& atom) {
  const int per_panel = kPanel / lanes;
  Expr panel = floordiv(j, integer(per_panel)), part = mod(j, integer(per_panel));
  return add(mul(panel, panel_stride),
             add(mul(k, integer(kPanel * atom.depth)), mul(part, integer(lanes * atom.depth))));
}

void unrolled(Block& into, const char* name, int64_t count, const std::function<void(Block&, Expr)>& body) {
  Block inner;
  if (count == 1) {
    body(into, integer(0));
    return;
  }
  Var var = make_var(name, {}, 0, count - 1);
  body(inner, variable(var));
  into.add(for_loop(var, integer(0), integer(count), 1, LoopKind::Unrolled, inner.take()));
}

void serial(Block& into, const char* name, Expr begin, Expr end, int64_t step,
            const std::function<void(Block&, Expr)>& body) {
  Block inner;
  Var var = make_var(name, {}, bounds(begin).lo, std::max(bounds(begin).lo, bounds(end).hi - 1),
                     value_of(begin) == 0 ? step : 1);
  body(inner, variable(var));
  into.add(for_loop(var, begin, end, step, LoopKind::Serial, inner.take()));
}

RegisterTile::RegisterTile(Block& block, TileShape shape) : shape(shape) {
  int64_t count = int64_t{shape.phases} * shape.rows * shape.vectors();
  accumulators_ = block.local("acc", {shape.atom.sum, static_cast<uint16_t>(shape.lanes)}, count);
  Expr zero = constant(convert(Scalar::of_integer(DType::I64, 0), shape.atom.sum), shape.lanes);
  unrolled(block, "z", count, [&](Block& inner, Expr z) { inner.add(loops::store(accumulators_, z, zero)); });
}

Expr RegisterTile::slot(Expr i, Expr j, int phase) const {
  return add(add(integer(int64_t{phase} * shape.rows * shape.vectors()), mul(i, integer(shape.vectors()))), j);
}

void RegisterTile::step(Block& block, const Operands& operands, Expr k, int phase) const {
  const int depth = shape.atom.depth;
  Buffer columns = block.local("b", {shape.atom.right, static_cast<uint16_t>(shape.lanes * depth)}, shape.vectors());
  unrolled(block, "j", shape.vectors(), [&](Block& inner, Expr j) {
    inner.add(loops::store(columns, j, load(operands.b, operands.b_index(j, k), shape.lanes * depth)));
  });
  unrolled(block, "i", shape.rows, [&](Block& row, Expr i) {
    Expr numbers = load(operands.a, operands.a_index(i, k), depth);
    Expr a = row.let("a", depth == 1 ? splat(numbers, shape.lanes) : numbers);
    unrolled(row, "j", shape.vectors(),
             [&](Block& inner, Expr j) { add_product(inner, i, j, a, load(columns, j, shape.lanes * depth), phase); });
  });
}

void RegisterTile::add_product(Block& block, Expr i, Expr j, Expr a, Expr b, int phase) const {
  Expr at = slot(i, j, phase);
  Expr sum = load(accumulators_, at, shape.lanes);
  block.add(loops::store(accumulators_, at, shape.atom.depth == 1 ? loops::fma(a, b, sum) : loops::dot(a, b, sum)));
}

void RegisterTile::multiply(Block& block, const Operands& operands, Expr depth, int unroll) const {
  LPD_CHECK(unroll % shape.phases == 0);
  std::optional<int64_t> known = value_of(depth);
  Expr whole = mul(floordiv(depth, integer(unroll)), integer(unroll));
  serial(block, "k", integer(0), whole, unroll, [&](Block& body, Expr k) {
    for (int phase = 0; phase < shape.phases; ++phase) {
      unrolled(body, "u", unroll / shape.phases, [&](Block& inner, Expr u) {
        step(inner, operands, add(k, add(mul(u, integer(shape.phases)), integer(phase))), phase);
      });
    }
  });
  if (known && *known % unroll == 0) return;
  serial(block, "k", whole, depth, 1, [&](Block& body, Expr k) { step(body, operands, k); });
}

void RegisterTile::join_phases(Block& block) const {
  for (int phase = 1; phase < shape.phases; ++phase) {
    unrolled(block, "i", shape.rows, [&](Block& row, Expr i) {
      unrolled(row, "j", shape.vectors(), [&](Block& inner, Expr j) {
        Expr first = slot(i, j, 0);
        inner.add(loops::store(
            accumulators_, first,
            add(load(accumulators_, first, shape.lanes), load(accumulators_, slot(i, j, phase), shape.lanes))));
      });
    });
  }
}

Expr RegisterTile::value(Expr i, Expr j) const { return load(accumulators_, slot(i, j, 0), shape.lanes); }

void RegisterTile::for_each(Block& block, const std::function<void(Block&, Expr, Expr, Expr)>& body,
                            const Buffer& stage) const {
  const bool staged = stage && shape.rows > 1;
  auto place = [&](Expr i, Expr j) { return mul(add(mul(j, integer(shape.rows)), i), integer(shape.lanes)); };
  unrolled(block, "i", shape.rows, [&](Block& row, Expr i) {
    unrolled(row, "j", shape.vectors(), [&](Block& inner, Expr j) {
      if (staged)
        inner.add(loops::store(stage, place(i, j), value(i, j)));
      else
        body(inner, i, j, value(i, j));
    });
  });
  if (!staged) return;
  serial(block, "j", integer(0), integer(shape.vectors()), 1, [&](Block& column, Expr j) {
    serial(column, "i", integer(0), integer(shape.rows), 1,
           [&](Block& inner, Expr i) { body(inner, i, j, inner.let("acc", load(stage, place(i, j), shape.lanes))); });
  });
}

RowSplit split_rows(DimPool& dims, Dim rows, int max_rows) {
  RowSplit split;
  split.tiles = dims.max(dims.ceildiv(rows, dims.constant(max_rows)), dims.constant(1));
  split.height = dims.floordiv(rows, split.tiles);
  split.longer = dims.mod(rows, split.tiles);
  if (auto height = lapidary::value_of(split.height)) {
    if (*height > 0) split.heights.push_back(static_cast<int>(*height));
    if (lapidary::value_of(split.longer).value_or(1) != 0) split.heights.push_back(static_cast<int>(*height) + 1);
    return split;
  }
  for (int height = max_rows; height > std::max(8, max_rows - 3) || (height > 1 && height > max_rows - 3); --height) {
    split.heights.push_back(height);
  }
  split.ladder = true;
  return split;
}

void for_height(Block& block, const RowSplit& split, Expr height, Expr first_row,
                const std::function<void(Block&, int, Expr)>& body) {
  if (split.heights.size() == 1 && !split.ladder) {
    body(block, split.heights[0], first_row);
    return;
  }
  std::vector<Stmt> otherwise;
  if (split.ladder) {
    Block rest;
    Expr row = first_row;
    int largest = split.heights.empty() ? 1 : split.heights.back() - 1;  // empty: tiles of one row
    for (int rung : {8, 4, 2, 1}) {
      if (rung > largest) continue;
      Expr taken = equal(mod(floordiv(height, integer(rung)), integer(2)), integer(1));
      Block inner;
      body(inner, rung, row);
      rest.add(if_then(taken, inner.take()));
      row = rest.let("row", add(row, mul(mod(floordiv(height, integer(rung)), integer(2)), integer(rung))));
    }
    otherwise = rest.take();
  }
  for (auto rows = split.heights.rbegin(); rows != split.heights.rend(); ++rows) {
    Block inner;
    body(inner, *rows, first_row);
    if (rows == split.heights.rbegin() && !split.ladder) {
      otherwise = inner.take();
    } else {
      std::vector<Stmt> then = inner.take();
      otherwise = {if_then(equal(height, integer(*rows)), std::move(then), std::move(otherwise))};
    }
  }
  for (Stmt& statement : otherwise) block.add(std::move(statement));
}

}  // namespace lapidary::lowering
