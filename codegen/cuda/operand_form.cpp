#include "codegen/cuda/operand_form.h"

#include <algorithm>
#include <optional>

#include "ir/loops_substitute.h"

namespace lapidary::codegen::cuda {

using loops::Expr;
using loops::ExprKind;
using loops::Var;

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

void collect_conditions(const Expr& e, std::vector<Expr>& conditions) {
  if (e->kind != ExprKind::Apply || e->op != ScalarOp::And) return conditions.push_back(e);
  for (const Expr& arg : e->args) collect_conditions(arg, conditions);
}

namespace {

struct Term {
  Expr value;
  bool subtracted;
};

void collect_terms(const Expr& e, bool subtracted, std::vector<Term>& terms) {
  const bool sum = e->kind == ExprKind::Apply && (e->op == ScalarOp::Add || e->op == ScalarOp::Sub);
  if (!sum) return terms.push_back({e, subtracted});
  collect_terms(e->args[0], subtracted, terms);
  collect_terms(e->args[1], subtracted != (e->op == ScalarOp::Sub), terms);
}

struct Parts {
  Expr of_line, of_k;
};

// e = of_line(line) + of_k(k)
std::optional<Parts> split(const Expr& e, const Var& line, const Var& k) {
  std::vector<Term> terms;
  collect_terms(e, false, terms);
  Parts parts = {loops::integer(0), loops::integer(0)};
  for (const Term& term : terms) {
    const bool of_k = mentions(term.value, k);
    if (of_k && mentions(term.value, line)) return {};
    Expr& sum = of_k ? parts.of_k : parts.of_line;
    sum = term.subtracted ? loops::sub(sum, term.value) : loops::add(sum, term.value);
  }
  return parts;
}

bool is_apply(const Expr& e, ScalarOp op) { return e->kind == ExprKind::Apply && e->op == op; }

Expr conjunction(const Expr& a, const Expr& b) { return a ? loops::apply(ScalarOp::And, {a, b}) : b; }

// Takes a mask apart: what the line alone decides becomes facts about it, the rest speaks of those and of k.
class MaskSplitter {
 public:
  MaskSplitter(const Var& line, const Var& k, OperandForm& form) : line_(line), k_(k), form_(form) {}

  bool run(const Expr& mask) {
    std::vector<Expr> conditions;
    collect_conditions(mask, conditions);
    return windows(conditions) || comparisons(conditions);
  }

 private:
  // Are all conditions on k windows of few taps?
  bool windows(const std::vector<Expr>& conditions) {
    Expr of_line;
    std::vector<OperandForm::Window> windows;
    for (size_t i = 0; i < conditions.size(); ++i) {
      if (!mentions(conditions[i], k_)) {
        of_line = conjunction(of_line, conditions[i]);
        continue;
      }
      const bool both_ends = i + 1 < conditions.size() && are_window(conditions[i], conditions[i + 1]);
      if (both_ends) ++i;
      const Expr& below = conditions[i];
      if (!both_ends && !(is_apply(below, ScalarOp::Less) && below->args[0]->lo >= 0)) return false;
      const std::optional<Parts> parts = split(below->args[0], line_, k_);
      if (!parts || mentions(below->args[1], k_)) return false;
      windows.push_back({parts->of_line, parts->of_k, below->args[1]});
    }
    constexpr size_t kMost = 3;
    if (windows.empty() || windows.size() > kMost) return false;
    form_.windows = windows;
    const bool few = std::ranges::all_of(windows, [&](const OperandForm::Window& window) {
      return window.tap->lo >= 0 && window.tap->hi < form_.bits_of_window();
    });
    if (!few) form_.windows.clear();
    if (few) form_.mask = of_line;
    return few;
  }

  bool comparisons(const std::vector<Expr>& conditions) {
    Expr of_line, rest;
    for (size_t i = 0; i < conditions.size(); ++i) {
      if (!mentions(conditions[i], k_)) {
        of_line = conjunction(of_line, conditions[i]);
        continue;
      }
      const Expr whole = i + 1 < conditions.size() ? within(conditions[i], conditions[i + 1]) : nullptr;
      const Expr condition = whole ? whole : comparison(conditions[i]);
      if (!condition) return false;
      if (whole) ++i;
      rest = conjunction(rest, condition);
    }
    if (of_line) rest = rest ? conjunction(rest, fact(of_line)) : fact(of_line);
    form_.mask = rest;
    return true;
  }

  // 0 <= x and x < n?
  static bool are_window(const Expr& above, const Expr& below) {
    return is_apply(above, ScalarOp::LessEqual) && is_apply(below, ScalarOp::Less) &&
           loops::value_of(above->args[0]) == 0 && loops::same(above->args[1], below->args[0]);
  }

  // 0 <= x and x < n, n known: one comparison of numbers without sign.
  Expr within(const Expr& above, const Expr& below) {
    if (!are_window(above, below)) return nullptr;
    const Expr &x = below->args[0], &end = below->args[1];
    const auto count = loops::value_of(end);
    const bool small = x->lo >= INT32_MIN && x->hi <= INT32_MAX && count && *count >= 0 && *count <= INT32_MAX;
    if (!small) return nullptr;
    const Expr sum = of_facts(x);
    if (!sum) return nullptr;
    return loops::less(loops::convert(sum, DType::U32), loops::constant(Scalar::of_integer(DType::U32, *count)));
  }

  Expr comparison(const Expr& e) {
    const bool compares = is_apply(e, ScalarOp::Less) || is_apply(e, ScalarOp::LessEqual);
    if (!compares || e->args[0]->type != loops::ExprType{DType::I64, 1}) return nullptr;
    const Expr a = of_facts(e->args[0]), b = of_facts(e->args[1]);
    return a && b ? loops::apply(e->op, {a, b}) : nullptr;
  }

  Expr of_facts(const Expr& e) {
    const std::optional<Parts> parts = split(e, line_, k_);
    if (!parts) return nullptr;
    return mentions(parts->of_line, line_) ? loops::add(fact(parts->of_line), parts->of_k)
                                           : loops::add(parts->of_line, parts->of_k);
  }

  Expr fact(const Expr& value) {
    for (const OperandForm::Fact& known : form_.facts)
      if (loops::same(known.value, value)) return loops::variable(known.var);
    form_.facts.push_back({loops::make_var("fact", value->type, value->lo, value->hi, value->multiple), value});
    return loops::variable(form_.facts.back().var);
  }

  const Var &line_, &k_;
  OperandForm& form_;
};

// Elements of a chunk mostly take the same from memory: the word that several codes lie in, the scale of a block.
OperandForm converted_form(const loops::ProductOperand& operand, const Var& axis) {
  OperandForm form;
  form.kind = OperandForm::Kind::Converted;
  form.chunk = loops::make_var("chunk", axis->type, 0, axis->hi / operand.vector);
  const auto loaded = [&](const Expr& part) -> Expr {
    if (part->kind != ExprKind::Load) return nullptr;
    for (const OperandForm::Loaded& known : form.loads)
      if (loops::same(known.value, part)) return loops::variable(known.var);
    form.loads.push_back({loops::make_var("loaded", part->type), part});
    return loops::variable(form.loads.back().var);
  };
  for (int i = 0; i < operand.vector; ++i) {
    const Expr place =
        loops::add(loops::mul(loops::variable(form.chunk), loops::integer(operand.vector)), loops::integer(i));
    form.elements.push_back(loops::replaced(loops::substitute(operand.value, {{axis.get(), place}}), loaded));
  }
  return form;
}

}  // namespace

OperandForm operand_form(const loops::ProductOperand& operand, const Var& line, const Var& k) {
  if (operand.value->kind != ExprKind::Load)
    return operand.vector > 1 ? converted_form(operand, operand.along_k ? k : line) : OperandForm{};
  OperandForm form;
  const Expr& index = operand.value->args[0];
  const Expr mask = operand.value->args.size() > 1 ? operand.value->args[1] : nullptr;
  const bool of_line = !mask || !mentions(mask, k);
  const Expr by_line = slope(index, line, k), by_k = slope(index, k, line);
  const Expr &along = operand.along_k ? by_k : by_line, &across = operand.along_k ? by_line : by_k;
  const Expr lines = mask && of_line ? lines_below(mask, line) : nullptr;
  if (of_line && along && across && loops::value_of(along) == 1 && (!mask || lines)) {
    form.kind = OperandForm::Kind::Strided;
    form.base = loops::substitute(index, {{line.get(), loops::integer(0)}, {k.get(), loops::integer(0)}});
    form.stride = across;
    form.lines = lines;
    return form;
  }
  const std::optional<Parts> place = split(index, line, k);
  if (place && (!mask || MaskSplitter(line, k, form).run(mask))) {
    form.kind = form.windows.empty() ? OperandForm::Kind::Prepared : OperandForm::Kind::Tapped;
    form.of_line = place->of_line;
    form.of_k = place->of_k;
    return form;
  }
  form.kind = OperandForm::Kind::Copied;
  form.mask = mask;
  form.facts.clear();
  return form;
}

}  // namespace lapidary::codegen::cuda
