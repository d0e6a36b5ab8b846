#include "passes/train/updates.h"

#include <cmath>

#include "ir/error.h"
#include "ir/shape_rules.h"

namespace lapidary::train {

namespace {

// Of Micikevicius et al., "Mixed Precision Training", 2018, as PyTorch's GradScaler has them.
constexpr double kFirstScale = 65536, kGrowth = 2, kBackoff = 0.5;
constexpr double kMostScale = 0x1p127;   // the greatest power of two that f32 holds
constexpr double kLeastScale = 0x1p-24;  // the least number of f16
constexpr int64_t kGrowsAfter = 2000;

Value* both(GraphBuilder& b, Value* x, Value* y) { return !x ? y : !y ? x : b.scalar_op(ScalarOp::And, {x, y}); }

}  // namespace

Updates::Updates(EntryWriter& entry, const Optimizer& optimizer, const UpdateOptions& options, size_t step)
    : entry_(entry),
      b_(entry.build),
      optimizer_(optimizer),
      options_(options),
      step_state_(step),
      done_(entry.read_state(step)) {
  if (!options.scales_loss) return;
  scale_state_ = entry.add_number("loss_scale", Scalar::of_float(DType::F32, kFirstScale));
  since_state_ = entry.add_number("steps_since_scaled", Scalar::of_integer(DType::I64, 0));
  moved_state_ = entry.add_number("updates", Scalar::of_integer(DType::I64, 0));
  scale_ = entry.read_state(scale_state_);
}

Value* Updates::scaled(Value* loss) { return scale_ ? b_.mul(loss, b_.convert(scale_, loss->type.dtype)) : loss; }

void Updates::write(std::vector<Parameter> parameters) {
  const size_t rate_state = entry_.add_number("learning_rate", Scalar::of_float(DType::F32, optimizer_.number("lr")));
  Value *base = entry_.read_state(rate_state), *updates = done_;
  if (scale_)
    unscale(parameters);
  else if (options_.reports_finite && options_.clip_norm <= 0)
    finite_ = all_finite(parameters);
  if (options_.accumulate > 1) {
    Value* every = b_.like(done_, static_cast<double>(options_.accumulate));
    updates = b_.div(done_, every);
    Value* place = b_.sub(done_, b_.mul(updates, every));
    is_last_ = b_.scalar_op(ScalarOp::Equal, {place, b_.sub(every, b_.like(every, 1))});
    gather(parameters);
  }
  moves_ = scale_ ? both(b_, is_last_, whole()) : is_last_;
  if (options_.clip_norm > 0) clip(parameters);
  if (options_.reports_finite) report_finite();
  Value* rate = b_.mul(base, schedule_factor(b_, options_.schedule, updates));
  Value* before = scale_ ? entry_.read_state(moved_state_) : updates;
  Value* number = b_.add(before, b_.like(before, 1));
  const Optimizer::Step begun = optimizer_.begin(b_, number, rate);
  for (const Parameter& parameter : parameters) move(parameter, begun);
  if (scale_) write_if(moves_, moved_state_, number), write_scale();
  entry_.write_state(step_state_, b_.add(done_, b_.like(done_, 1)));
}

// --- loss scaling --------------------------------------------------------------------------------------------------

Value* Updates::all_finite(const std::vector<Parameter>& parameters) {
  Value* all = nullptr;
  for (const Parameter& parameter : parameters) {  // x · 0 is 0 unless x is infinite or no number
    Value* g = b_.convert(parameter.gradient, DType::F32);
    Value* none = b_.reduce(OpKind::ReduceSum, b_.mul(g, b_.like(g, 0)), all_axes(g));
    all = both(b_, all, b_.scalar_op(ScalarOp::Equal, {none, b_.like(none, 0)}));
  }
  return all;
}

void Updates::unscale(std::vector<Parameter>& parameters) {
  finite_ = all_finite(parameters);
  Value* inverse = b_.div(b_.like(scale_, 1), scale_);
  for (Parameter& parameter : parameters)
    parameter.gradient = b_.mul(b_.convert(parameter.gradient, DType::F32), inverse);
}

// With loss scaling nothing moves by what overflows; but where the scale is below all of f16, it is not to blame.
void Updates::report_finite() {
  const auto is_finite = [&](Value* x) {
    return b_.scalar_op(ScalarOp::Equal, {b_.mul(x, b_.like(x, 0)), b_.like(x, 0)});
  };
  Value* finite = finite_ ? finite_ : is_finite(squares_);
  if (scale_) {
    Value* scaled = b_.scalar_op(ScalarOp::Less, {b_.like(scale_, kLeastScale), scale_});
    finite = b_.scalar_op(ScalarOp::Or, {finite, scaled});
  }
  entry_.add_result(finite, free_name("finite", entry_.module.function("run")->result_names));
}

void Updates::write_scale() {
  Value* since = b_.add(entry_.read_state(since_state_), b_.scalar(Scalar::of_integer(DType::I64, 1)));
  Value* grows = b_.scalar_op(ScalarOp::Equal, {since, b_.like(since, static_cast<double>(kGrowsAfter))});
  Value* grown = b_.mul(scale_, b_.like(scale_, kGrowth));
  Value* room = b_.scalar_op(ScalarOp::LessEqual, {grown, b_.like(grown, kMostScale)});
  Value* kept = b_.select(both(b_, grows, room), grown, scale_);
  entry_.write_state(scale_state_, b_.select(finite_, kept, b_.mul(scale_, b_.like(scale_, kBackoff))));
  Value* counts = both(b_, finite_, b_.scalar_op(ScalarOp::Not, {grows}));
  entry_.write_state(since_state_, b_.select(counts, since, b_.like(since, 0)));
}

// --- accumulation, clipping ----------------------------------------------------------------------------------------

// Is all that the parameters move by finite? One overflow on the way spoils the mean of all those steps.
Value* Updates::whole() {
  if (!is_last_) return finite_;
  const size_t state = entry_.add_number("overflows", Scalar::of_integer(DType::I64, 0));
  Value* before = entry_.read_state(state);
  Value* overflows = b_.add(before, b_.convert(b_.scalar_op(ScalarOp::Not, {finite_}), DType::I64));
  entry_.write_state(state, b_.select(is_last_, b_.like(before, 0), overflows));
  return b_.scalar_op(ScalarOp::Equal, {overflows, b_.like(overflows, 0)});
}

// Each gradient becomes the mean of those since the parameters moved last.
void Updates::gather(std::vector<Parameter>& parameters) {
  for (Parameter& parameter : parameters) {
    const std::string name = entry_.module.states[parameter.state].name;
    const size_t sum = entry_.add_zeros(name + ".gradient", State::Kind::Optimizer, parameter.value->type);
    Value* old = entry_.read_state(sum);
    Value* g = b_.convert(parameter.gradient, old->type.dtype);
    parameter.gradient = b_.add(old, b_.mul(g, b_.like(g, 1 / static_cast<double>(options_.accumulate))));
    Value* kept = scale_ ? b_.select(finite_, parameter.gradient, old) : parameter.gradient;
    entry_.write_state(sum, b_.select(is_last_, b_.like(old, 0), kept));
  }
}

// By min(1, most / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.
void Updates::clip(std::vector<Parameter>& parameters) {
  Value* squares = nullptr;
  for (const Parameter& parameter : parameters) {
    Value* g = b_.convert(parameter.gradient, DType::F32);
    Value* square = b_.reduce(OpKind::ReduceSum, b_.mul(g, g), all_axes(g));
    squares = squares ? b_.add(squares, square) : square;
  }
  squares_ = squares;
  Value* norm = b_.scalar_op(ScalarOp::Sqrt, {squares});
  Value* factor = b_.div(b_.like(norm, options_.clip_norm), b_.add(norm, b_.like(norm, 1e-6)));
  factor = b_.scalar_op(ScalarOp::Min, {factor, b_.like(factor, 1)});
  for (Parameter& parameter : parameters)
    parameter.gradient = b_.mul(parameter.gradient, b_.convert(factor, parameter.gradient->type.dtype));
}

// --- the optimiser -------------------------------------------------------------------------------------------------

void Updates::write_if(Value* condition, size_t state, Value* value) {
  entry_.write_state(state, condition ? b_.select(condition, value, entry_.read_state(state)) : value);
}

void Updates::move(const Parameter& parameter, const Optimizer::Step& begun) {
  const Type type = parameter.value->type;
  const std::string name = entry_.module.states[parameter.state].name;
  if (type.dtype != DType::F32)
    throw Error(Fault::Unsupported, fmt::format("parameter '{}' is {}: parameters that are trained must be f32",
                                                printable(name), to_string(type)));
  std::vector<size_t> slots = {parameter.state};
  std::vector<Value*> states;
  for (const std::string& slot : optimizer_.slots()) {
    slots.push_back(entry_.add_zeros(fmt::format("{}.{}", name, slot), State::Kind::Optimizer, type));
    states.push_back(entry_.read_state(slots.back()));
  }
  Value* gradient = b_.convert(parameter.gradient, DType::F32);
  const std::vector<Value*> moved = optimizer_.update(b_, begun, parameter.value, gradient, states);
  for (size_t i = 0; i < slots.size(); ++i) write_if(moves_, slots[i], moved[i]);
}

}  // namespace lapidary::train
