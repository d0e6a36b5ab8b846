#include "passes/train/optimizers.h"

#include <algorithm>
#include <cmath>

#include "ir/error.h"

namespace lapidary::train {

namespace {

using Values = std::vector<Value*>;

struct Update {
  GraphBuilder& b;
  const Optimizer& optimizer;
  const Optimizer::Step& step;
  Value *parameter, *gradient;
  const Values& states;

  double number(std::string_view name) const { return optimizer.number(name); }
  Value* scaled(Value* x, double by) const { return by == 1 ? x : b.mul(x, b.like(x, by)); }
  Value* root(Value* x) const { return b.scalar_op(ScalarOp::Sqrt, {x}); }
  Value* plus_epsilon(Value* x) const { return b.add(x, b.like(x, number("eps"))); }
  Value* sign(Value* x) const { return b.scalar_op(ScalarOp::Sign, {x}); }
  // old + (fresh - old)·share
  Value* moved(Value* old, Value* fresh, double share) const { return b.add(old, scaled(b.sub(fresh, old), share)); }
  // kept·old + (1 - kept)·x²
  Value* squares(Value* old, double kept) const {
    return b.add(scaled(old, kept), scaled(b.mul(gradient, gradient), 1 - kept));
  }
  // With the weight decay as a part of the loss.
  Value* regularised() const {
    const double decay = number("weight_decay");
    return decay == 0 ? gradient : b.add(gradient, scaled(parameter, decay));
  }
  // With the weight decay apart.
  Value* decayed() const {
    const double decay = number("weight_decay");
    if (decay == 0) return parameter;
    return b.mul(parameter, b.sub(b.like(parameter, 1), scaled(step.plain, decay)));
  }
};

Values sgd(Update u) {
  GraphBuilder& b = u.b;
  Value* g = u.regularised();
  const double momentum = u.number("momentum");
  if (momentum == 0) return {b.sub(u.parameter, b.mul(g, u.step.rate))};
  Value* velocity = b.add(u.scaled(u.states[0], momentum), u.step.share ? b.mul(g, u.step.share) : g);
  Value* direction = u.number("nesterov") != 0 ? b.add(g, u.scaled(velocity, momentum)) : velocity;
  return {b.sub(u.parameter, b.mul(direction, u.step.rate)), velocity};
}

// r · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε); amsgrad: with the greatest v so far
Values adaptive(Update u, Value* parameter) {
  GraphBuilder& b = u.b;
  Value* mean = u.moved(u.states[0], u.gradient, 1 - u.number("beta1"));
  Value* square = u.squares(u.states[1], u.number("beta2"));
  Values states = {mean, square};
  if (u.number("amsgrad") != 0) states.push_back(b.scalar_op(ScalarOp::Max, {u.states[2], square}));
  Value* size = u.plus_epsilon(b.mul(u.root(states.back()), u.step.of_square));
  states.insert(states.begin(), b.sub(parameter, b.mul(b.div(mean, size), u.step.rate)));
  return states;
}

Values adam(Update u) {
  u.gradient = u.regularised();
  return adaptive(u, u.parameter);
}

Values adamw(Update u) { return adaptive(u, u.decayed()); }

Values adagrad(Update u) {
  GraphBuilder& b = u.b;
  Value* g = u.regularised();
  Value* sum = b.add(u.states[0], b.mul(g, g));
  return {b.sub(u.parameter, b.mul(b.div(g, u.plus_epsilon(u.root(sum))), u.step.rate)), sum};
}

Values rmsprop(Update u) {
  GraphBuilder& b = u.b;
  u.gradient = u.regularised();
  Values states = {u.squares(u.states[0], u.number("alpha"))};
  Value* spread = states[0];
  if (u.number("centered") != 0) {  // the variance, which rounding may leave below 0
    Value* mean = u.moved(u.states[states.size()], u.gradient, 1 - u.number("alpha"));
    states.push_back(mean);
    spread = b.scalar_op(ScalarOp::Max, {b.sub(spread, b.mul(mean, mean)), b.like(mean, 0)});
  }
  Value* direction = b.div(u.gradient, u.plus_epsilon(u.root(spread)));
  if (const double momentum = u.number("momentum"); momentum != 0) {
    direction = b.add(u.scaled(u.states[states.size()], momentum), direction);
    states.push_back(direction);
  }
  states.insert(states.begin(), b.sub(u.parameter, b.mul(direction, u.step.rate)));
  return states;
}

// Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
Values lion(Update u) {
  GraphBuilder& b = u.b;
  Value* direction = u.sign(u.moved(u.states[0], u.gradient, 1 - u.number("beta1")));
  Value* mean = u.moved(u.states[0], u.gradient, 1 - u.number("beta2"));
  return {b.sub(u.decayed(), b.mul(direction, u.step.rate)), mean};
}

Value* power(GraphBuilder& b, double base, Value* step) {
  return b.scalar_op(ScalarOp::Pow, {b.scalar(DType::F64, base), b.convert(step, DType::F64)});
}

// The moments begin as zeros, so that after t steps they lack βᵗ of their weight.
Optimizer::Step corrected(GraphBuilder& b, const Optimizer& optimizer, Value* step, Value* rate) {
  const auto rest = [&](const char* beta) {
    return b.sub(b.scalar(DType::F64, 1), power(b, optimizer.number(beta), step));
  };
  Value* corrected = b.div(b.convert(rate, DType::F64), rest("beta1"));
  Value* of_square = b.div(b.scalar(DType::F64, 1), b.scalar_op(ScalarOp::Sqrt, {rest("beta2")}));
  return {b.convert(corrected, DType::F32), rate, b.convert(of_square, DType::F32)};
}

// r / (1 + (t - 1)·decay)
Optimizer::Step slowed(GraphBuilder& b, const Optimizer& optimizer, Value* step, Value* rate) {
  const double decay = optimizer.number("lr_decay");
  if (decay == 0) return {rate, rate};
  Value* done = b.convert(b.sub(step, b.like(step, 1)), DType::F32);
  return {b.div(rate, b.add(b.mul(done, b.like(done, decay)), b.like(done, 1))), rate};
}

// What of a gradient goes into the momentum; the first is it, whole.
Optimizer::Step dampened(GraphBuilder& b, const Optimizer& optimizer, Value* step, Value* rate) {
  if (optimizer.number("dampening") == 0 || optimizer.number("momentum") == 0) return {rate, rate};
  Value* is_first = b.scalar_op(ScalarOp::Equal, {step, b.like(step, 1)});
  Value* share = b.select(is_first, b.like(rate, 1), b.like(rate, 1 - optimizer.number("dampening")));
  return {.rate = rate, .plain = rate, .share = share};
}

Optimizer::Step plain(GraphBuilder&, const Optimizer&, Value*, Value* rate) { return {rate, rate}; }

}  // namespace

struct Slot {
  const char *name, *number = nullptr;  // there where this number is not 0
};

struct OptimizerKind {
  const char* name;
  std::vector<std::pair<std::string, double>> numbers;  // with their defaults
  std::vector<Slot> slots;
  Optimizer::Step (*begin)(GraphBuilder&, const Optimizer&, Value* step, Value* rate);
  Values (*update)(Update);
};

namespace {

const std::vector<OptimizerKind>& kinds() {
  using Numbers = std::vector<std::pair<std::string, double>>;
  const auto of_adam = [](double weight_decay) {
    return Numbers{{"lr", 1e-3},  {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", weight_decay},
                   {"amsgrad", 0}};
  };
  const std::vector<Slot> moments = {{"mean"}, {"square"}, {"greatest_square", "amsgrad"}};
  static const std::vector<OptimizerKind> all = {
      {"sgd",
       {{"lr", 1e-3}, {"momentum", 0}, {"dampening", 0}, {"nesterov", 0}, {"weight_decay", 0}},
       {{"momentum", "momentum"}},
       dampened,
       sgd},
      {"adam", of_adam(0), moments, corrected, adam},
      {"adamw", of_adam(1e-2), moments, corrected, adamw},
      {"adagrad", {{"lr", 1e-2}, {"lr_decay", 0}, {"eps", 1e-10}, {"weight_decay", 0}}, {{"square"}}, slowed, adagrad},
      {"rmsprop",
       {{"lr", 1e-2}, {"alpha", 0.99}, {"eps", 1e-8}, {"weight_decay", 0}, {"momentum", 0}, {"centered", 0}},
       {{"square"}, {"mean", "centered"}, {"momentum", "momentum"}},
       plain,
       rmsprop},
      {"lion", {{"lr", 1e-4}, {"beta1", 0.9}, {"beta2", 0.99}, {"weight_decay", 0}}, {{"mean"}}, plain, lion},
  };
  return all;
}

std::string names_of(const std::vector<std::pair<std::string, double>>& numbers) {
  std::string text;
  for (const auto& [name, number] : numbers) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const OptimizerKind& kind : kinds()) names.push_back(kind.name);
  return names;
}

Optimizer::Optimizer(const OptimizerOptions& options) {
  const auto found = std::ranges::find(kinds(), options.name, &OptimizerKind::name);
  if (found == kinds().end())
    throw Error(Fault::Usage, fmt::format("no optimizer '{}'; there are {}", printable(options.name),
                                          fmt::join(optimizer_names(), ", ")));
  kind_ = &*found;
  numbers_ = kind_->numbers;
  for (const auto& [name, number] : options.numbers) {
    const auto known = std::ranges::find(numbers_, name, &std::pair<std::string, double>::first);
    if (known == numbers_.end())
      throw Error(Fault::Usage, fmt::format("optimizer {} has no '{}'; it takes {}", options.name, printable(name),
                                            names_of(numbers_)));
    if (!(number >= 0) || std::isinf(number) ||
        ((name == "beta1" || name == "beta2" || name == "alpha") && number >= 1))
      throw Error(Fault::Usage, fmt::format("optimizer {}: {} = {}", options.name, name, number));
    known->second = number;
  }
  if (options.name == "sgd" && number("nesterov") != 0 && (number("momentum") == 0 || number("dampening") != 0))
    throw Error(Fault::Usage, "optimizer sgd: nesterov needs a momentum, and no dampening");
  for (const Slot& slot : kind_->slots)
    if (!slot.number || number(slot.number) != 0) slots_.push_back(slot.name);
}

std::string Optimizer::text() const {
  std::string text = kind_->name;
  for (const auto& [name, number] : numbers_) text += fmt::format(",{}={}", name, number);
  return text;
}

double Optimizer::number(std::string_view name) const {
  const auto found = std::ranges::find(numbers_, name, &std::pair<std::string, double>::first);
  LPD_CHECK(found != numbers_.end(), "{} has no '{}'", kind_->name, name);
  return found->second;
}

Optimizer::Step Optimizer::begin(GraphBuilder& b, Value* step, Value* rate) const {
  return kind_->begin(b, *this, step, rate);
}

std::vector<Value*> Optimizer::update(GraphBuilder& b, const Step& step, Value* parameter, Value* gradient,
                                      const std::vector<Value*>& states) const {
  return kind_->update({b, *this, step, parameter, gradient, states});
}

// --- learning rates ----------------------------------------------------------------------------------------------

namespace {

// The share of the way from the end of the warm-up to the last step, within 0 and 1.
Value* progress(GraphBuilder& b, const Schedule& schedule, Value* step) {
  const auto length = static_cast<double>(std::max<int64_t>(schedule.total - schedule.warmup, 1));
  Value* share = b.mul(b.sub(step, b.like(step, static_cast<double>(schedule.warmup))), b.like(step, 1 / length));
  return b.scalar_op(ScalarOp::Min, {b.scalar_op(ScalarOp::Max, {share, b.like(share, 0)}), b.like(share, 1)});
}

Value* decay(GraphBuilder& b, const Schedule& schedule, Value* step) {
  if (schedule.kind == "constant") return b.scalar(DType::F64, 1);
  if (schedule.kind == "step") {
    Value* since = b.sub(step, b.like(step, static_cast<double>(schedule.warmup)));
    Value* times = b.scalar_op(ScalarOp::Floor, {b.div(since, b.like(step, static_cast<double>(schedule.every)))});
    return power(b, schedule.gamma, b.scalar_op(ScalarOp::Max, {times, b.like(times, 0)}));
  }
  Value* share = progress(b, schedule, step);
  const double range = 1 - schedule.end;
  if (schedule.kind == "linear") return b.sub(b.like(share, 1), b.mul(share, b.like(share, range)));
  Value* wave = b.scalar_op(ScalarOp::Cos, {b.mul(share, b.like(share, M_PI))});
  return b.add(b.mul(b.add(wave, b.like(wave, 1)), b.like(wave, range / 2)), b.like(wave, schedule.end));
}

}  // namespace

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = {"constant", "step", "cosine", "linear"};
  return names;
}

Value* schedule_factor(GraphBuilder& b, const Schedule& schedule, Value* step) {
  Value* at = b.convert(step, DType::F64);
  Value* factor = decay(b, schedule, at);
  if (schedule.warmup > 0) {  // (t + 1) / warmup: the first step moves too
    Value* grown = b.mul(b.add(at, b.like(at, 1)), b.like(at, 1 / static_cast<double>(schedule.warmup)));
    factor = b.mul(factor, b.scalar_op(ScalarOp::Min, {grown, b.like(grown, 1)}));
  }
  return b.convert(factor, DType::F32);
}

double schedule_factor(const Schedule& schedule, int64_t step) {
  const auto at = static_cast<double>(step), since = at - static_cast<double>(schedule.warmup);
  double factor = 1;
  if (schedule.kind == "step")
    factor = std::pow(schedule.gamma, std::max(0.0, std::floor(since / static_cast<double>(schedule.every))));
  const auto length = static_cast<double>(std::max<int64_t>(schedule.total - schedule.warmup, 1));
  const double share = std::clamp(since / length, 0.0, 1.0), range = 1 - schedule.end;
  if (schedule.kind == "linear") factor = 1 - share * range;
  if (schedule.kind == "cosine") factor = (std::cos(share * M_PI) + 1) * range / 2 + schedule.end;
  if (schedule.warmup > 0) factor *= std::min(1.0, (at + 1) / static_cast<double>(schedule.warmup));
  return factor;
}

}  // namespace lapidary::train
