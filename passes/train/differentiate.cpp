#include "passes/train/differentiate.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::train {

Value* Gradients::of(const Value* value) const {
  const auto found = gradients_.find(value);
  return found == gradients_.end() ? nullptr : found->second;
}

void Gradients::add(Value* value, Value* gradient) {
  if (!wants(value)) return;
  const Type &is = gradient->type, &must_be = value->type;
  LPD_CHECK(is.dtype == must_be.dtype && is.rank() == must_be.rank(), "a gradient is {}, its value {}", to_string(is),
            to_string(must_be));
  for (int axis = 0; axis < is.rank(); ++axis)
    LPD_CHECK(!known_unequal(is.shape[axis], must_be.shape[axis]), "a gradient is {}, its value {}", to_string(is),
              to_string(must_be));
  gradient = build.reshape(gradient, must_be.shape);  // its extents may be the same in other words
  Value*& sum = gradients_[value];
  sum = sum ? build.add(sum, gradient) : gradient;
}

GradientRule gradient_rule(const Op& op) {
  for (const auto& rule_of : {scalar_rule, movement_rule, sum_rule, window_rule, composite_rule})
    if (GradientRule rule = rule_of(op)) return rule;
  return nullptr;
}

namespace {

// What is constant but for jumps.
bool stops(const Op& op) {
  switch (op.kind) {
    case OpKind::Sign:
    case OpKind::Floor:
    case OpKind::Ceil:
    case OpKind::Round:
    case OpKind::Trunc:
      return true;
    default:
      return false;
  }
}

class Differentiation {
 public:
  Differentiation(GraphBuilder& builder, std::unordered_set<const Value*>& wanted)
      : builder_(builder), wanted_(wanted) {}

  // Marks what depends on something wanted, with composites on the way opened where need be.
  void mark(Value*& loss) {
    needed_ = needed_by(loss);
    for (auto op = builder_.region.ops.begin(); op != builder_.region.ops.end() && !op->is(OpKind::Yield);) {
      const bool opens = op->is(OpKind::Composite) && is_active(*op) && !gradient_rule(*op);
      op = opens ? open(*op, loss) : std::next(mark(*op).self);
    }
  }

  // The ops between the wanted values and the loss, last to first.
  std::vector<Op*> backwards(Value* loss) {
    std::vector<Op*> ops;
    needed_ = needed_by(loss);
    for (Op& op : builder_.region.ops)
      if (is_active(op)) ops.push_back(&op);
    return {ops.rbegin(), ops.rend()};
  }

 private:
  bool is_active(const Op& op) const {
    return needed_.contains(&op) &&
           std::ranges::any_of(op.operands, [&](const Value* value) { return wanted_.contains(value); }) &&
           std::ranges::any_of(op.results, [&](const auto& result) { return is_float(result->type.dtype); }) &&
           !stops(op);
  }

  Op& mark(Op& op) {
    if (is_active(op))
      for (const auto& result : op.results)
        if (is_float(result->type.dtype)) wanted_.insert(result.get());
    return op;
  }

  std::list<Op>::iterator open(Op& composite, Value*& loss) {
    Region& region = builder_.region;
    const bool first = composite.self == region.ops.begin();
    const auto before = first ? composite.self : std::prev(composite.self);
    const std::vector<Value*> values =
        inline_region(builder_.module, *composite.regions[0], composite.operands, region, composite.self);
    for (size_t i = 0; i < values.size(); ++i) {
      if (loss == composite.result(static_cast<int>(i))) loss = values[i];
      composite.results[i]->replace_all_uses(values[i]);
    }
    const auto next = first ? region.ops.begin() : std::next(before);
    erase_op(composite);
    needed_ = needed_by(loss);
    return first ? region.ops.begin() : next;
  }

  std::unordered_set<const Op*> needed_by(const Value* loss) const {
    std::unordered_set<const Op*> needed;
    std::vector<const Value*> reached = {loss};
    while (!reached.empty()) {
      const Op* op = reached.back()->producer;
      reached.pop_back();
      if (!op || !needed.insert(op).second) continue;
      reached.insert(reached.end(), op->operands.begin(), op->operands.end());
    }
    return needed;
  }

  GraphBuilder& builder_;
  std::unordered_set<const Value*>& wanted_;
  std::unordered_set<const Op*> needed_;
};

}  // namespace

std::vector<Value*> differentiate(GraphBuilder& builder, Value* loss, std::span<Value* const> wanted) {
  LPD_CHECK(loss->type.rank() == 0 && is_float(loss->type.dtype), "a loss of type {}", to_string(loss->type));
  Gradients gradients(builder);
  for (const Value* value : wanted) gradients.wanted_.insert(value);
  Differentiation graph(builder, gradients.wanted_);
  graph.mark(loss);
  const std::vector<Op*> ops = graph.backwards(loss);
  if (gradients.wants(loss)) gradients.add(loss, builder.scalar(loss->type.dtype, 1));
  for (const Op* op : ops) {
    const auto has_gradient = [&](const auto& result) { return gradients.of(result.get()) != nullptr; };
    if (std::ranges::none_of(op->results, has_gradient)) continue;
    builder.origin = op->origin;
    const GradientRule rule = gradient_rule(*op);
    if (!rule)
      throw Error(Fault::Unsupported, fmt::format("{}: the gradient of '{}', on a way from a parameter to the loss",
                                                  builder.module.describe(op->origin), name_of(op->kind)));
    rule(gradients, *op);
  }
  builder.origin = 0;
  std::vector<Value*> results;
  for (const Value* value : wanted) results.push_back(gradients.of(value));
  return results;
}

}  // namespace lapidary::train
