#include "passes/lower/gpu/operand.h"

#include <algorithm>

#include "ir/loops_substitute.h"
#include "passes/lower/access_recorder.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

// `e` with the Lets of the block in their variables' places; null when the block does more than name things.
Expr inlined(Block& block, const Expr& e) {
  Substitution values;
  for (const Stmt& statement : block.take()) {
    if (statement->kind != StmtKind::Let) return nullptr;
    values[statement->var.get()] = substitute(statement->value, values);
  }
  return substitute(e, values);
}

// A load of a 16-bit float as it lies in memory.
Expr stored_form(const Expr& value, DType dtype) {
  if (!is_float(dtype) || value->type.dtype == dtype) return value;
  if (value->kind == ExprKind::Convert && value->args[0]->type.dtype == dtype) return value->args[0];
  return convert(value, dtype);
}

// Every load under the mask.
Expr masked(const Expr& e, const Expr& guard) {
  if (e->kind == ExprKind::Load)
    return load(e->buffer, e->args[0], e->type.lanes, e->args.size() > 1 ? both(e->args[1], guard) : guard);
  std::vector<Expr> args;
  for (const Expr& arg : e->args) args.push_back(masked(arg, guard));
  if (e->kind == ExprKind::Apply) return apply(e->op, std::move(args));
  if (e->kind == ExprKind::Fma) return fma(args[0], args[1], args[2]);
  if (e->kind == ExprKind::Convert) return convert(args[0], e->type.dtype);
  return e;
}

Expr evaluated(GroupEmitter& emit, DType factor, const std::function<Expr()>& value) {
  Block block;
  Expr found;
  {
    GroupEmitter::Scope scope(emit, block);
    found = value();
  }
  found = inlined(block, found);
  return found ? stored_form(found, factor) : nullptr;
}

}  // namespace

bool is_loaded(const Expr& value) {
  return (value->kind == ExprKind::Convert ? value->args[0] : value)->kind == ExprKind::Load;
}

Expr zero_of(DType dtype) { return constant(lapidary::convert(Scalar::of_integer(DType::I64, 0), dtype)); }

Expr operand_value(GroupEmitter& emit, DType factor, const Expr& guard, const std::function<Expr()>& value) {
  const Expr found = evaluated(emit, factor, value);
  if (!found || !guard) return found;
  if (is_loaded(found)) return masked(found, guard);
  return select(guard, masked(found, guard), zero_of(found->type.dtype));
}

Coord unknown_position(Dim extent) {
  if (lapidary::value_of(extent) == 1) return at(integer(0));
  return {{Digit{variable(make_var("x", {}, 0, INT64_MAX / 4)), nullptr, extent, -1}}};
}

std::vector<Coord> unknown_positions(const std::vector<Dim>& extents) {
  std::vector<Coord> positions;
  for (Dim extent : extents) positions.push_back(unknown_position(extent));
  return positions;
}

namespace {

// By how much `e` grows from x to x + 1, …, x + width - 1 for each step of one, where x is a multiple of `width`: 0 or
// 1; nothing when that cannot be told.
std::optional<int> growth(const Expr& e, const Var& x, int width) {
  if (!mentions(e, x)) return 0;
  if (e->kind == ExprKind::Variable) return 1;
  if (e->kind != ExprKind::Apply || e->args.size() != 2) return std::nullopt;
  const auto a = growth(e->args[0], x, width), b = growth(e->args[1], x, width);
  if (!a || !b) return std::nullopt;
  if (e->op == ScalarOp::Add && *a + *b <= 1) return *a + *b;
  if (e->op == ScalarOp::Sub && *b == 0) return a;
  if (e->op == ScalarOp::Mul && *a + *b == 0) return 0;
  const bool divides = e->op == ScalarOp::Div || e->op == ScalarOp::FloorMod;
  const bool whole = loops::known_multiple(e->args[0]) % width == 0 && loops::known_multiple(e->args[1]) % width == 0;
  if (!divides || *b != 0 || !whole) return std::nullopt;
  return e->op == ScalarOp::Div ? 0 : *a;
}

}  // namespace

std::optional<int> width_along(const GroupEmitter& like, DType factor, Dim extent,
                               const std::function<Expr(GroupEmitter&, const Coord&)>& value) {
  int width = 16 * 8 / bit_width(factor);
  while (width > 1 && !known_multiple(extent, width)) width /= 2;
  for (;; width /= 2) {
    KernelBuilder builder(like.builder.module, like.builder.target, "dry-run");
    GroupEmitter emit(builder, like.group);
    AccessRecorder recorder({extent});
    emit.recorder = &recorder;
    const Var x = make_var("x", {}, 0, INT64_MAX / 4, width);
    const Coord position{{Digit{variable(x), nullptr, extent, 0}}};
    const Expr found = evaluated(emit, factor, [&] { return value(emit, position); });
    const bool plain =
        found && found->kind == ExprKind::Load && (found->args.size() == 1 || !mentions(found->args[1], x));
    if (!plain) return std::nullopt;
    const Expr& address = found->args[0];
    if (width > 1 && growth(address, x, width) == 1 && loops::known_multiple(address) % width == 0) return width;
    const bool adjacent = recorder.accesses.size() == 1 && !recorder.opaque[0] && recorder.accesses[0][0] &&
                          lapidary::value_of(recorder.accesses[0][0]) == 1;
    if (width == 1) return adjacent ? std::optional(1) : std::nullopt;
  }
}

}  // namespace lapidary::lowering::gpu
