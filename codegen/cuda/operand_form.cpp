#include "codegen/cuda/operand_form.h"

#include <algorithm>

#include "ir/loops_substitute.h"

namespace lapidary::codegen::cuda {

using loops::Expr;
using loops::ExprKind;
using loops::Var;

bool mentions(const Expr& e, const Var& var) {
  if (e->kind == ExprKind::Variable) return e->var == var;
  return std::ranges::any_of(e->args, [&](const Expr& arg) { return mentions(arg, var); });
}

Expr slope(const Expr& e, const Var& var, const Var& other) {
  const Expr next = loops::substitute(e, {{var.get(), loops::add(loops::variable(var), loops::integer(1))}});
  const Expr step = loops::sub(next, e);
  return mentions(step, var) || mentions(step, other) ? nullptr : step;
}

Expr lines_below(const Expr& mask, const Var& line) {
  if (mask->kind != ExprKind::Apply || mask->op != ScalarOp::Less || mentions(mask->args[1], line)) return nullptr;
  const Expr at_zero = loops::substitute(mask->args[0], {{line.get(), loops::integer(0)}});
  const Expr rest = loops::sub(mask->args[0], at_zero);
  if (rest->kind != ExprKind::Variable || rest->var != line) return nullptr;
  return loops::sub(mask->args[1], at_zero);
}

namespace {

void collect_terms(const Expr& e, std::vector<Expr>& terms) {
  if (e->kind != ExprKind::Apply || e->op != ScalarOp::Add) return terms.push_back(e);
  for (const Expr& arg : e->args) collect_terms(arg, terms);
}

// index = of_line(line) + of_k(k)
bool splits(const Expr& index, const Var& line, const Var& k, OperandForm& form) {
  std::vector<Expr> terms;
  collect_terms(index, terms);
  form.of_line = form.of_k = loops::integer(0);
  for (const Expr& term : terms) {
    const bool of_k = mentions(term, k);
    if (of_k && mentions(term, line)) return false;
    Expr& sum = of_k ? form.of_k : form.of_line;
    sum = loops::add(sum, term);
  }
  return true;
}

}  // namespace

OperandForm operand_form(const loops::ProductOperand& operand, const Var& line, const Var& k) {
  OperandForm form;
  if (operand.value->kind != ExprKind::Load) return form;
  const Expr& index = operand.value->args[0];
  form.mask = operand.value->args.size() > 1 ? operand.value->args[1] : nullptr;
  form.kind = OperandForm::Kind::Copied;
  if (form.mask && mentions(form.mask, k)) return form;
  const Expr by_line = slope(index, line, k), by_k = slope(index, k, line);
  const Expr &along = operand.along_k ? by_k : by_line, &across = operand.along_k ? by_line : by_k;
  const Expr lines = form.mask ? lines_below(form.mask, line) : nullptr;
  if (along && across && loops::value_of(along) == 1 && (!form.mask || lines)) {
    form.kind = OperandForm::Kind::Strided;
    form.base = loops::substitute(index, {{line.get(), loops::integer(0)}, {k.get(), loops::integer(0)}});
    form.stride = across;
    form.lines = lines;
  } else if (splits(index, line, k, form)) {
    form.kind = OperandForm::Kind::Prepared;
  }
  return form;
}

}  // namespace lapidary::codegen::cuda
