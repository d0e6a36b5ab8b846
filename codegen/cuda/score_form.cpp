#include "codegen/cuda/score_form.h"

#include <cmath>

#include "codegen/cuda/operand_form.h"

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

}  // namespace

ScoreForm score_form(const loops::AttendNode& attend) {
  Expr scored = attend.scored, beyond;
  if (scored->kind == ExprKind::Apply && scored->op == ScalarOp::Select && is_infinite(scored->args[1])) {
    const Expr& hidden = scored->args[0];
    const bool is_less = hidden->kind == ExprKind::Apply && hidden->op == ScalarOp::Less;
    const bool of_key = is_less && loops::same(hidden->args[1], loops::variable(attend.key));
    beyond = of_key ? beyond_query(hidden->args[0], attend) : nullptr;
    if (!beyond) return {};
    scored = scored->args[2];
  }
  const float scale = scale_of(scored, attend.score);
  if (scale == 0) return {};
  return {beyond ? ScoreForm::Kind::Causal : ScoreForm::Kind::Scaled, scale, beyond};
}

}  // namespace lapidary::codegen::cuda
