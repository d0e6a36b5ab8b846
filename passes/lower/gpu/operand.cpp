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

bool mentions(const Expr& e, const Var& var) {
  if (e->kind == ExprKind::Variable) return e->var == var;
  return std::ranges::any_of(e->args, [&](const Expr& arg) { return mentions(arg, var); });
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

Expr zero_of(DType dtype) { return constant(lapidary::convert(Scalar::of_integer(DType::I64, 0), dtype)); }

Expr operand_value(GroupEmitter& emit, DType factor, const Expr& guard, const std::function<Expr()>& value) {
  const Expr found = evaluated(emit, factor, value);
  if (!found || !guard) return found;
  if (found->kind == ExprKind::Load) return masked(found, guard);
  return select(guard, masked(found, guard), zero_of(found->type.dtype));
}

Coord unknown_position(Dim extent) {
  return {{Digit{variable(make_var("x", {}, 0, INT64_MAX / 4)), nullptr, extent, -1}}};
}

namespace {

// Do addresses grow with x as it does, from each multiple of `width` on?
bool grows_with(const Expr& address, const Var& x, int width) {
  const Expr begin = variable(make_var("begin", {}, 0, INT64_MAX / 8, width)),
             within = variable(make_var("within", {}, 0, width - 1));
  const Expr at_begin = substitute(address, {{x.get(), begin}}),
             beyond = substitute(address, {{x.get(), add(begin, within)}});
  return same(sub(beyond, at_begin), within);
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
    if (width > 1 && grows_with(address, x, width) && loops::known_multiple(address) % width == 0) return width;
    const bool adjacent = recorder.accesses.size() == 1 && !recorder.opaque[0] && recorder.accesses[0][0] &&
                          lapidary::value_of(recorder.accesses[0][0]) == 1;
    if (width == 1) return adjacent ? std::optional(1) : std::nullopt;
  }
}

}  // namespace lapidary::lowering::gpu
