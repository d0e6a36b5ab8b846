#include "codegen/cuda/score_form.h"

#include <algorithm>
#include <cmath>

#include "codegen/cuda/operand_form.h"
#include "ir/loops_substitute.h"

namespace lapidary::codegen::cuda {

using loops::Expr;
using loops::ExprKind;

namespace {

bool is_infinite(const Expr& e) {
  return e->kind == ExprKind::Const && std::isinf(e->constant.number) && e->constant.number < 0;
}

// The positive number that the product of query and key is multiplied by; 0 where something else becomes of it.
float scale_of(const Expr& e, const loops::Var& score) {
  const auto is_score = [&](const Expr& arg) { return arg->kind == ExprKind::Variable && arg->var == score; };
  if (is_score(e)) return 1;
  if (e->kind != ExprKind::Apply || e->op != ScalarOp::Mul) return 0;
  for (const size_t side : {0, 1}) {
    const Expr& factor = e->args[1 - side];
    if (!is_score(e->args[side]) || factor->kind != ExprKind::Const) continue;
    const auto scale = static_cast<float>(factor->constant.number);
    return scale > 0 && std::isfinite(scale) ? scale : 0;
  }
  return 0;
}

// x where `e` is query + x.
Expr beyond_query(const Expr& e, const loops::AttendNode& attend) {
  if (mentions(e, attend.key)) return nullptr;
  const Expr rest = loops::sub(e, loops::variable(attend.query));
  return mentions(rest, attend.query) ? nullptr : rest;
}

bool is_bound(const Expr& end, const Expr& keys) {
  if (loops::same(end, keys)) return true;
  return end->kind == ExprKind::Apply && end->op == ScalarOp::Min &&
         std::ranges::any_of(end->args, [&](const Expr& arg) { return is_bound(arg, keys); });
}

// A load, widened or not, that is 0 beyond the queries and the keys.
bool find_bias(Expr e, const loops::AttendNode& attend, const Expr& end, ScoreForm& form) {
  Expr guard;
  if (e->kind == ExprKind::Apply && e->op == ScalarOp::Select) guard = e->args[0], e = e->args[1];
  if (e->kind == ExprKind::Convert) e = e->args[0];
  const bool is_float_load = e->kind == ExprKind::Load && is_float(e->type.dtype) && bit_width(e->type.dtype) <= 32;
  if (!is_float_load || bit_width(e->type.dtype) < 16) return false;
  std::vector<Expr> conditions;
  if (guard) collect_conditions(guard, conditions);
  if (e->args.size() > 1) collect_conditions(e->args[1], conditions);
  for (const Expr& condition : conditions) {
    const Expr rows = lines_below(condition, attend.query), keys = lines_below(condition, attend.key);
    if (rows && !mentions(rows, attend.key))
      form.rows = rows;
    else if (!keys || mentions(keys, attend.query) || !is_bound(end, keys))
      return false;
  }
  const Expr &index = e->args[0], along = slope(index, attend.key, attend.query);
  form.stride = slope(index, attend.query, attend.key);
  if (!along || !form.stride || loops::value_of(along) != 1) return false;
  form.base =
      loops::substitute(index, {{attend.query.get(), loops::integer(0)}, {attend.key.get(), loops::integer(0)}});
  if (loops::known_multiple(form.base) % 2 == 0 && loops::known_multiple(form.stride) % 2 == 0) form.vector = 2;
  form.bias = e->buffer;
  return true;
}

}  // namespace

ScoreForm score_form(const loops::AttendNode& attend, const Expr& end) {
  Expr scored = attend.scored;
  ScoreForm form;
  if (scored->kind == ExprKind::Apply && scored->op == ScalarOp::Select && is_infinite(scored->args[1])) {
    const Expr& hidden = scored->args[0];
    const bool is_less = hidden->kind == ExprKind::Apply && hidden->op == ScalarOp::Less;
    const bool of_key = is_less && loops::same(hidden->args[1], loops::variable(attend.key));
    form.beyond = of_key ? beyond_query(hidden->args[0], attend) : nullptr;
    if (!form.beyond) return {};
    scored = scored->args[2];
  }
  form.scale = scale_of(scored, attend.score);
  if (form.scale == 0 && scored->kind == ExprKind::Apply && scored->op == ScalarOp::Add) {
    for (const size_t side : {0, 1}) {
      const float scale = scale_of(scored->args[side], attend.score);
      if (scale != 0 && find_bias(scored->args[1 - side], attend, end, form)) form.scale = scale;
    }
  }
  if (form.scale == 0) return {};
  form.kind = form.beyond ? ScoreForm::Kind::Causal : ScoreForm::Kind::Scaled;
  return form;
}

}  // namespace lapidary::codegen::cuda
