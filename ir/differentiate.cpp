#include "ir/differentiate.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary {

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

// Without a default, so that the compiler names a new kind of op.
GradientRule gradient_rule(const Op& op) {
  switch (op.kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    case OpKind::Convert:
      return scalar_rule(op);
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Transpose:
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pad:
    case OpKind::Gather:
    case OpKind::GatherElements:
    case OpKind::Scatter:
    case OpKind::TopK:
      return movement_rule(op);
    case OpKind::Scan:
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
    case OpKind::ReduceMean:
    case OpKind::Contract:
      return sum_rule(op);
    case OpKind::Conv:
    case OpKind::ConvTranspose:
    case OpKind::ConvFilterGradient:
    case OpKind::MaxPool:
    case OpKind::AveragePool:
      return window_rule(op);
    case OpKind::Loop:
    case OpKind::If:
      return control_rule(op);
    case OpKind::Composite:
      return composite_rule(op);
    case OpKind::Constant:  // of nothing, or of integers
    case OpKind::DimsTensor:
    case OpKind::Iota:
    case OpKind::ToHost:
    case OpKind::TruePositions:
    case OpKind::BitCast:
    case OpKind::Suppress:
    case OpKind::MaxPoolTap:
    case OpKind::MaxPoolGradient:  // not asked for yet: a gradient of a gradient
    case OpKind::HostCall:
    case OpKind::Group:  // made later
    case OpKind::Relayout:
    case OpKind::Yield:
      return nullptr;
  }
  LPD_UNREACHABLE("op kind {}", static_cast<int>(op.kind));
}

namespace {

// Is it constant but for jumps?
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

}  // namespace

bool passes_on(const Op& op, const std::unordered_set<const Value*>& wanted) {
  return std::ranges::any_of(op.operands, [&](const Value* value) { return wanted.contains(value); }) &&
         std::ranges::any_of(op.results, [&](const auto& result) { return is_float(result->type.dtype); }) &&
         !stops(op);
}

class Differentiation {
 public:
  Differentiation(GraphBuilder& builder, std::vector<Seed> seeds, std::span<Value* const> wanted)
      : gradients_(builder), seeds_(std::move(seeds)), wanted_(wanted.begin(), wanted.end()) {
    gradients_.wanted_.insert(wanted.begin(), wanted.end());
  }

  std::vector<Value*> run() {
    mark();
    const std::vector<Op*> ops = backwards();
    for (const Seed& seed : seeds_) gradients_.add(seed.value, seed.gradient);
    GraphBuilder& b = gradients_.build;
    const Origin origin = b.origin;
    for (const Op* op : ops) {
      b.origin = op->origin;
      hand_on(*op);
    }
    b.origin = origin;
    std::vector<Value*> results;
    for (const Value* value : wanted_) results.push_back(gradients_.of(value));
    return results;
  }

 private:
  Region& region() { return gradients_.build.region; }

  bool is_active(const Op& op) const { return needed_.contains(&op) && passes_on(op, gradients_.wanted_); }

  // Marks what depends on something wanted, with composites on the way opened where need be.
  void mark() {
    needed_ = needed();
    for (auto op = region().ops.begin(); op != region().ops.end() && !op->is(OpKind::Yield);) {
      const bool opens = op->is(OpKind::Composite) && is_active(*op) && !gradient_rule(*op);
      op = opens ? open(*op) : std::next(mark(*op).self);
    }
  }

  Op& mark(Op& op) {
    if (is_active(op))
      for (const auto& result : op.results)
        if (is_float(result->type.dtype)) gradients_.wanted_.insert(result.get());
    return op;
  }

  std::list<Op>::iterator open(Op& composite) {
    const bool first = composite.self == region().ops.begin();
    const auto before = first ? composite.self : std::prev(composite.self);
    const std::vector<Value*> values =
        inline_region(gradients_.build.module, *composite.regions[0], composite.operands, region(), composite.self);
    for (size_t i = 0; i < values.size(); ++i) replace(composite.result(static_cast<int>(i)), values[i]);
    const auto next = first ? region().ops.begin() : std::next(before);
    erase_op(composite);
    needed_ = needed();
    return first ? region().ops.begin() : next;
  }

  void replace(Value* value, Value* by) {
    value->replace_all_uses(by);
    for (Seed& seed : seeds_)
      if (seed.value == value) seed.value = by;
    std::ranges::replace(wanted_, value, by);
    if (gradients_.wanted_.erase(value)) gradients_.wanted_.insert(by);
  }

  // The ops between the wanted values and those with a gradient, last to first.
  std::vector<Op*> backwards() {
    std::vector<Op*> ops;
    for (Op& op : region().ops)
      if (is_active(op)) ops.push_back(&op);
    return {ops.rbegin(), ops.rend()};
  }

  std::unordered_set<const Op*> needed() const {
    std::unordered_set<const Op*> needed;
    std::vector<const Value*> reached;
    for (const Seed& seed : seeds_) reached.push_back(seed.value);
    while (!reached.empty()) {
      const Op* op = reached.back()->producer;
      reached.pop_back();
      if (!op || !needed.insert(op).second) continue;
      reached.insert(reached.end(), op->operands.begin(), op->operands.end());
    }
    return needed;
  }

  void hand_on(const Op& op) {
    const auto has_gradient = [&](const auto& result) { return gradients_.of(result.get()) != nullptr; };
    if (std::ranges::none_of(op.results, has_gradient)) return;
    const GradientRule rule = gradient_rule(op);
    if (!rule)
      throw Error(Fault::Unsupported, fmt::format("{}: the gradient of '{}', on a way from a parameter to the loss",
                                                  gradients_.build.module.describe(op.origin), name_of(op.kind)));
    rule(gradients_, op);
  }

  Gradients gradients_;
  std::vector<Seed> seeds_;
  std::vector<Value*> wanted_;
  std::unordered_set<const Op*> needed_;  // for what has a gradient
};

std::vector<Value*> pull_back(GraphBuilder& builder, std::vector<Seed> seeds, std::span<Value* const> wanted) {
  return Differentiation(builder, std::move(seeds), wanted).run();
}

std::vector<Value*> differentiate(GraphBuilder& builder, Value* loss, std::span<Value* const> wanted) {
  LPD_CHECK(loss->type.rank() == 0 && is_float(loss->type.dtype), "a loss of type {}", to_string(loss->type));
  return pull_back(builder, {{loss, builder.scalar(loss->type.dtype, 1)}}, wanted);
}

}  // namespace lapidary
