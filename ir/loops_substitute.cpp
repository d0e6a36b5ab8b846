#include "ir/loops_substitute.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::loops {
namespace {

class Replacer {
 public:
  explicit Replacer(const std::function<Expr(const Expr&)>& by) : by_(by) {}

  Expr of(const Expr& e) {
    auto [found, is_new] = done_.try_emplace(e.get(), nullptr);
    if (!is_new) return found->second;
    Expr result = rebuilt(e);
    return done_[e.get()] = result;
  }

 private:
  Expr rebuilt(const Expr& e) {
    if (Expr other = by_(e)) return other;
    std::vector<Expr> args;
    bool changed = false;
    for (const Expr& arg : e->args) {
      args.push_back(of(arg));
      changed |= args.back() != arg;
    }
    return changed ? with(*e, std::move(args)) : e;
  }

  static Expr with(const ExprNode& e, std::vector<Expr> args) {
    switch (e.kind) {
      case ExprKind::Load:
        return load(e.buffer, args[0], e.type.lanes, args.size() > 1 ? args[1] : nullptr);
      case ExprKind::Apply:
        return apply(e.op, std::move(args));
      case ExprKind::Fma:
        return fma(args[0], args[1], args[2]);
      case ExprKind::Dot:
        return dot(args[0], args[1], args[2]);
      case ExprKind::Convert:
        return convert(args[0], e.type.dtype);
      case ExprKind::Splat:
        return splat(args[0], e.type.lanes);
      case ExprKind::Ramp:
        return ramp(args[0], args[1], e.type.lanes);
      case ExprKind::Reduce:
        return reduce(e.op, args[0]);
      case ExprKind::Shuffle:
        return shuffle(std::move(args), e.lanes_from);
      case ExprKind::Const:
      case ExprKind::Variable:
        break;
    }
    LPD_UNREACHABLE("an expression without operands");
  }

  const std::function<Expr(const Expr&)>& by_;
  std::unordered_map<const ExprNode*, Expr> done_;
};

}  // namespace

Expr replaced(const Expr& e, const std::function<Expr(const Expr&)>& by) { return Replacer(by).of(e); }

Expr substitute(const Expr& e, const Substitution& values) {
  return replaced(e, [&](const Expr& part) -> Expr {
    if (part->kind != ExprKind::Variable) return nullptr;
    const auto found = values.find(part->var.get());
    return found == values.end() ? nullptr : found->second;
  });
}

bool mentions(const Expr& e, const Var& var) {
  if (e->kind == ExprKind::Variable) return e->var == var;
  return std::ranges::any_of(e->args, [&](const Expr& arg) { return mentions(arg, var); });
}

}  // namespace lapidary::loops
