#include "passes/train/train.h"

#include <fnmatch.h>

#include <algorithm>

#include "ir/error.h"
#include "passes/train/differentiate.h"

namespace lapidary::train {

namespace {

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

class Trainer {
 public:
  Trainer(Module& module, const TrainOptions& options)
      : module_(module), options_(options), optimizer_(options.optimizer) {}

  TrainNotes run() {
    target_ = target_name(module_);
    add_eval_step();
    make_train_step();
    return notes_;
  }

 private:
  struct Names {
    std::string loss, correct;
  };

  // --- functions

  Value* add_input(Function& function, const std::string& name, const Type& type) {
    Value* argument = add_argument(module_, *function.body, type);
    function.argument_names.push_back(name);
    function.argument_states.resize(function.body->arguments.size(), -1);
    return argument;
  }

  Value* read_state(Function& function, size_t state) {
    for (size_t i = 0; i < function.body->arguments.size(); ++i)
      if (function.state_of_argument(i) == static_cast<int>(state)) return function.body->arguments[i].get();
    Value* argument = add_input(function, module_.states[state].name, module_.states[state].type);
    function.argument_states.back() = static_cast<int>(state);
    return argument;
  }

  struct Results {
    std::vector<Value*> values;
    std::vector<std::string> names;
    std::vector<int> states;
    void add(Value* value, std::string name, int state = -1) {
      values.push_back(value);
      names.push_back(std::move(name));
      states.push_back(state);
    }
  };

  void set_results(Function& function, Results results) {
    Op& yield = function.body->yield();
    while (!yield.operands.empty()) yield.erase_operand(static_cast<uint32_t>(yield.operands.size()) - 1);
    for (Value* value : results.values) yield.add_operand(value);
    function.result_names = std::move(results.names);
    function.result_states = std::move(results.states);
  }

  std::string free_name(const std::string& wanted, const std::vector<std::string>& taken) const {
    std::string name = wanted;
    for (int i = 1; std::ranges::find(taken, name) != taken.end(); ++i) name = fmt::format("{}_{}", wanted, i);
    return name;
  }

  // --- the loss

  size_t prediction_index(const Function& function) const {
    for (size_t i = 0; i < function.result_names.size(); ++i)
      if (function.state_of_result(i) < 0 && (options_.output.empty() || function.result_names[i] == options_.output))
        return i;
    throw Error(Fault::Usage, fmt::format("the model has no output '{}'", printable(options_.output)));
  }

  Loss add_loss(GraphBuilder& b, Function& function) {
    Value* prediction = function.body->results()[prediction_index(function)];
    if (options_.loss == "none") {
      if (!is_float(prediction->type.dtype) || known_unequal(b.module.dims.product(prediction->type.shape), b.dim(1)))
        throw Error(Fault::Usage, fmt::format("output '{}' is {}, a loss is one number",
                                              printable(function.result_names[prediction_index(function)]),
                                              to_string(prediction->type)));
      return {b.reshape(prediction, {})};
    }
    Value* target = add_input(function, target_, target_type(options_.loss, prediction->type));
    const bool narrow = bit_width(prediction->type.dtype) < 32;
    if (narrow) prediction = b.convert(prediction, DType::F32);
    if (narrow && is_float(target->type.dtype)) target = b.convert(target, DType::F32);
    return build_loss(b, options_.loss, options_.loss_options, prediction, target);
  }

  void add_losses(Results& results, const Loss& loss, const std::vector<std::string>& taken) {
    results.add(loss.value, free_name("loss", taken));
    if (loss.correct) results.add(loss.correct, free_name("correct", taken));
  }

  // --- eval_step

  void add_eval_step() {
    const Function& run = *module_.function("run");
    Function& function = module_.add_function("eval_step");
    function.body = clone_region(module_, *run.body);
    function.argument_names = run.argument_names, function.argument_states = run.argument_states;
    function.result_names = run.result_names, function.result_states = run.result_states;
    GraphBuilder b(module_, *function.body);
    const Loss loss = add_loss(b, function);
    Results results;
    add_losses(results, loss, run.result_names);
    for (size_t i = 0; i < run.result_names.size(); ++i) results.add(function.body->results()[i], run.result_names[i]);
    set_results(function, std::move(results));
  }

  // --- train_step

  size_t add_state(std::string name, State::Kind kind, const Type& type, ConstantId initial) {
    std::vector<std::string> taken;
    for (const State& state : module_.states) taken.push_back(state.name);
    module_.states.push_back({free_name(name, taken), kind, type, initial});
    return module_.states.size() - 1;
  }

  size_t add_number(const std::string& name, const Scalar& value) {
    return add_state(name, State::Kind::Progress, Type::tensor(value.dtype, {}),
                     module_.constants.add_splat(value.dtype, {}, value));
  }

  void make_train_step() {
    Function& function = *module_.function("train_step");
    const std::vector<std::string> output_names = function.result_names;
    GraphBuilder b(module_, *function.body);
    const Loss loss = add_loss(b, function);
    Results results;
    add_losses(results, loss, output_names);
    for (size_t i = 0; i < output_names.size(); ++i)  // statistics
      if (function.state_of_result(i) >= 0)
        results.add(function.body->results()[i], output_names[i], function.state_of_result(i));
    add_updates(b, function, loss.value, results);
    set_results(function, std::move(results));
  }

  struct Parameter {
    size_t state;
    Value *value, *gradient;
  };

  std::vector<Parameter> parameters_of(GraphBuilder& b, Function& function, Value* loss) {
    std::vector<Parameter> parameters;
    std::vector<Value*> wanted;
    for (size_t i = 0; i < function.body->arguments.size(); ++i) {
      const int state = function.state_of_argument(i);
      if (state < 0 || module_.states[static_cast<size_t>(state)].kind != State::Kind::Parameter) continue;
      const std::string& name = module_.states[static_cast<size_t>(state)].name;
      if (matches(name, options_.freeze)) {
        notes_.frozen.push_back(name);
        continue;
      }
      parameters.push_back({static_cast<size_t>(state), function.body->arguments[i].get(), nullptr});
      wanted.push_back(parameters.back().value);
    }
    const std::vector<Value*> gradients = differentiate(b, loss, wanted);
    for (size_t i = 0; i < gradients.size(); ++i) {
      parameters[i].gradient = gradients[i];
      const std::string& name = module_.states[parameters[i].state].name;
      (gradients[i] ? notes_.trained : notes_.unreached).push_back(name);
    }
    std::erase_if(parameters, [](const Parameter& parameter) { return !parameter.gradient; });
    if (parameters.empty()) throw Error(Fault::Usage, "nothing to train: the loss depends on no parameter");
    return parameters;
  }

  void add_updates(GraphBuilder& b, Function& function, Value* loss, Results& results) {
    const auto is_progress = [](const State& state) { return state.kind == State::Kind::Progress; };
    const auto step_state =
        static_cast<size_t>(std::ranges::find_if(module_.states, is_progress) - module_.states.begin());
    LPD_CHECK(step_state < module_.states.size(), "no state counts the steps");
    const size_t rate_state = add_number("learning_rate", Scalar::of_float(DType::F32, optimizer_.number("lr")));
    Value *done = read_state(function, step_state), *base = read_state(function, rate_state);
    std::vector<Parameter> parameters = parameters_of(b, function, loss);
    Value* step = b.add(done, b.like(done, 1));
    Value* rate = b.mul(base, schedule_factor(b, options_.schedule, done));
    const Optimizer::Step begun = optimizer_.begin(b, step, rate);
    Value* shrink = options_.clip_norm > 0 ? clip_factor(b, parameters) : nullptr;
    for (const Parameter& parameter : parameters) {
      Value* gradient =
          shrink ? b.mul(parameter.gradient, b.convert(shrink, parameter.gradient->type.dtype)) : parameter.gradient;
      add_update(b, function, begun, parameter, gradient, results);
    }
    results.add(step, module_.states[step_state].name, static_cast<int>(step_state));
  }

  void add_update(GraphBuilder& b, Function& function, const Optimizer::Step& begun, const Parameter& parameter,
                  Value* gradient, Results& results) {
    const Type type = parameter.value->type;
    const std::string name = module_.states[parameter.state].name;
    if (type.dtype != DType::F32)
      throw Error(Fault::Unsupported, fmt::format("parameter '{}' is {}: parameters that are trained must be f32",
                                                  printable(name), to_string(type)));
    std::vector<size_t> slots;
    std::vector<Value*> states;
    std::vector<int64_t> extents;
    for (Dim extent : type.shape) extents.push_back(*value_of(extent));
    for (const std::string& slot : optimizer_.slots()) {
      slots.push_back(add_state(fmt::format("{}.{}", name, slot), State::Kind::Optimizer, type,
                                module_.constants.add_splat(type.dtype, extents, Scalar::of_float(type.dtype, 0))));
      states.push_back(read_state(function, slots.back()));
    }
    const std::vector<Value*> moved = optimizer_.update(b, begun, parameter.value, gradient, states);
    results.add(moved[0], name, static_cast<int>(parameter.state));
    for (size_t i = 0; i < slots.size(); ++i)
      results.add(moved[i + 1], module_.states[slots[i]].name, static_cast<int>(slots[i]));
  }

  // min(1, most / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.
  Value* clip_factor(GraphBuilder& b, const std::vector<Parameter>& parameters) const {
    Value* squares = nullptr;
    for (const Parameter& parameter : parameters) {
      Value* g = b.convert(parameter.gradient, DType::F32);
      std::vector<int64_t> axes;
      for (int axis = 0; axis < g->type.rank(); ++axis) axes.push_back(axis);
      Value* square = b.reduce(OpKind::ReduceSum, b.mul(g, g), axes);
      squares = squares ? b.add(squares, square) : square;
    }
    Value* norm = b.scalar_op(ScalarOp::Sqrt, {squares});
    Value* factor = b.div(b.like(norm, options_.clip_norm), b.add(norm, b.like(norm, 1e-6)));
    return b.scalar_op(ScalarOp::Min, {factor, b.like(factor, 1)});
  }

  Module& module_;
  const TrainOptions& options_;
  const Optimizer optimizer_;
  std::string target_;
  TrainNotes notes_;
};

}  // namespace

std::string target_name(const Module& module) {
  const std::vector<std::string>& taken = module.function("run")->argument_names;
  std::string name = "labels";
  for (int i = 1; std::ranges::find(taken, name) != taken.end(); ++i) name = fmt::format("labels_{}", i);
  return name;
}

TrainNotes add_training(Module& module, const TrainOptions& options) {
  LPD_CHECK(module.function("run") && module.function("train_step"), "no functions to train");
  if (options.loss != "none" && std::ranges::find(loss_names(), options.loss) == loss_names().end())
    throw Error(Fault::Usage, fmt::format("no loss '{}'; there are {}, none", printable(options.loss),
                                          fmt::join(loss_names(), ", ")));
  return Trainer(module, options).run();
}

}  // namespace lapidary::train
