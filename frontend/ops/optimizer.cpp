// The optimisers of ai.onnx.preview.training. Operands are the learning rate R, the count of updates T, then for n
// tensors their values, their gradients and each of the optimiser's states; results are the new values and states.
#include "frontend/ops/common.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

struct Update {
  Node& node;
  GraphBuilder& b;
  int states;
  int count = 0;

  Update(Node& node, int states) : node(node), b(node.build), states(states) {
    const int tensors = node.input_count() - 2;
    if (tensors < 1 || tensors % (states + 2) != 0)
      fail("{} after R and T, expected {} for each tensor", counted(tensors, "input"), states + 2);
    count = tensors / (states + 2);
    for (int i = 0; i < 2; ++i) {
      if (known_unequal(node.dims().product(node.type(i).shape), node.dims().constant(1)))
        fail("input {} has shape {}, expected a scalar", i, to_string(node.type(i).shape));
    }
  }

  Value* number(double value) { return b.scalar(DType::F64, value); }
  Value* rate() { return b.convert(b.reshape(node.input(0), {}), DType::F64); }
  Value* step() { return b.convert(b.reshape(node.input(1), {}), DType::F64); }
  Value* any_step() { return b.scalar_op(ScalarOp::Less, {number(0), step()}); }
  Value* scaled(Value* x, double factor) { return b.mul(x, b.like(x, factor)); }
  Value* root(Value* x) { return b.scalar_op(ScalarOp::Sqrt, {x}); }
  // kept·old + share·fresh
  Value* mixed(Value* old, double kept, Value* fresh, double share) {
    return b.add(scaled(old, kept), scaled(fresh, share));
  }

  // `next` gets x, its regularised gradient and its states, and returns x and the states anew.
  template <typename Next>
  Values each(Next next) {
    Values results(static_cast<size_t>(count * (states + 1)));
    for (int i = 0; i < count; ++i) {
      auto operand = [&](int part) { return node.input(2 + part * count + i); };
      Value* x = operand(0);
      Value* gradient = b.add(scaled(x, node.number("norm_coefficient")), operand(1));
      Values old;
      for (int state = 0; state < states; ++state) old.push_back(operand(2 + state));
      const Values fresh = next(x, gradient, old);
      for (int part = 0; part <= states; ++part) results[static_cast<size_t>(part * count + i)] = fresh[part];
    }
    return results;
  }
};

// h' = h + g², x' = x - r/(1 + t·decay) · g / (√h' + ε)
Values adagrad(Node& node) {
  Update update(node, 1);
  GraphBuilder& b = node.build;
  Value* slowed = b.add(update.scaled(update.step(), node.number("decay_factor")), update.number(1));
  Value* rate = b.div(update.rate(), slowed);
  return update.each([&](Value* x, Value* gradient, const Values& state) {
    Value* h = b.add(state[0], b.mul(gradient, gradient));
    Value* size = b.add(update.root(h), b.like(h, node.number("epsilon")));
    return Values{b.sub(x, b.div(b.mul(b.convert(rate, x->type.dtype), gradient), size)), h};
  });
}

// v' = α·v + (1 - α)·g, h' = β·h + (1 - β)·g², x' = (1 - post)·(x - r·√(1 - βᵗ)/(1 - αᵗ) · v' / (√h' + ε))
Values adam(Node& node) {
  Update update(node, 2);
  GraphBuilder& b = node.build;
  const double alpha = node.number("alpha"), beta = node.number("beta");
  auto rest = [&](double base) {
    return b.sub(update.number(1), b.scalar_op(ScalarOp::Pow, {update.number(base), update.step()}));
  };
  Value* corrected = b.div(b.mul(update.rate(), update.root(rest(beta))), rest(alpha));
  Value* rate = b.select(update.any_step(), corrected, update.rate());
  return update.each([&](Value* x, Value* gradient, const Values& state) {
    Value* v = update.mixed(state[0], alpha, gradient, 1 - alpha);
    Value* h = update.mixed(state[1], beta, b.mul(gradient, gradient), 1 - beta);
    Value* size = b.add(update.root(h), b.like(h, node.number("epsilon")));
    Value* moved = b.sub(x, b.mul(b.convert(rate, x->type.dtype), b.div(v, size)));
    return Values{update.scaled(moved, 1 - node.number("norm_coefficient_post")), v, h};
  });
}

// v' = α·v + β·g with β = 1 at first; x' = x - r·v', or Nesterov's x - r·(g + α·v').
Values momentum(Node& node) {
  Update update(node, 1);
  GraphBuilder& b = node.build;
  const double alpha = node.number("alpha");
  const std::string mode = node.text("mode");
  if (mode != "standard" && mode != "nesterov") fail("mode '{}' is neither standard nor nesterov", printable(mode));
  Value *rate = update.rate(),
        *share = b.select(update.any_step(), update.number(node.number("beta")), update.number(1));
  return update.each([&](Value* x, Value* gradient, const Values& state) {
    Value* v = b.add(update.scaled(state[0], alpha), b.mul(b.convert(share, x->type.dtype), gradient));
    Value* direction = mode == "nesterov" ? b.add(gradient, update.scaled(v, alpha)) : v;
    return Values{b.sub(x, b.mul(b.convert(rate, x->type.dtype), direction)), v};
  });
}

constexpr OpEntry kOps[] = {{"Adagrad", adagrad}, {"Adam", adam}, {"Momentum", momentum}};

}  // namespace

std::span<const OpEntry> optimizer_ops() { return kOps; }

}  // namespace lapidary::frontend
