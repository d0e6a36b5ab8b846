#include "passes/train/train.h"

#include <fnmatch.h>

#include <algorithm>

#include "ir/differentiate.h"
#include "ir/error.h"
#include "passes/train/autocast.h"
#include "passes/train/reductions.h"

namespace lapidary::train {

namespace {

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

class Trainer {
 public:
  Trainer(Module& module, const TrainOptions& options)
      : module_(module), options_(options), optimizer_(options.optimizer), target_(target_name(module)) {}

  TrainNotes run() {
    add_eval_step();
    make_train_step();
    return notes_;
  }

 private:
  size_t prediction_index(const Function& function) const {
    for (size_t i = 0; i < function.result_names.size(); ++i)
      if (function.state_of_result(i) < 0 && (options_.output.empty() || function.result_names[i] == options_.output))
        return i;
    throw Error(Fault::Usage, fmt::format("the model has no output '{}'", printable(options_.output)));
  }

  // Losses of scores take, of a model that ends in what makes them probabilities, what that takes.
  Value* scores_behind(Value* prediction) {
    const Op* op = prediction->producer;
    if (!op) return prediction;
    const bool softmax = op->is_composite("softmax") && prediction->type.rank() > 1 &&
                         op->params.integer("axis") == class_axis(options_.loss_options, prediction->type.rank());
    notes_.wants_logarithms = options_.loss == "nll" && softmax;
    if (softmax && options_.loss.ends_with("_cross_entropy"))
      notes_.scores_behind = "softmax";
    else if (op->is(OpKind::Sigmoid) && options_.loss == "bce_with_logits")
      notes_.scores_behind = "sigmoid";
    else
      return prediction;
    return op->operand(0);
  }

  // A loss that the model computes itself counts as the mean over its samples.
  Value* weighted(EntryWriter& entry, Value* loss, const SumOverRanks& over_ranks) {
    GraphBuilder& b = entry.build;
    const Type& input = entry.function.body->arguments[0]->type;
    Value* samples = b.convert(b.dims_tensor({input.rank() > 0 ? input.shape[0] : b.dim(1)}, {}), loss->type.dtype);
    return b.mul(loss, b.div(samples, over_ranks(samples)));
  }

  Loss add_loss(EntryWriter& entry, Reductions& reductions) {
    GraphBuilder& b = entry.build;
    SumOverRanks over_ranks;
    if (options_.data_parallel) over_ranks = [&](Value* sum) { return reductions.sum_of_inputs(sum); };
    const size_t index = prediction_index(entry.function);
    Value* prediction = scores_behind(entry.function.body->results()[index]);
    if (std::ranges::any_of(prediction->type.shape, speaks_of_elements))
      throw Error(Fault::Unsupported,
                  fmt::format("training by output '{}': its extents, which labels must have, only a run can tell",
                              printable(entry.function.result_names[index])));
    if (options_.loss == "none") {
      if (!is_float(prediction->type.dtype) || known_unequal(b.module.dims.product(prediction->type.shape), b.dim(1)))
        throw Error(Fault::Usage,
                    fmt::format("output '{}' is {}, a loss is one number",
                                printable(entry.function.result_names[index]), to_string(prediction->type)));
      Value* loss = b.reshape(prediction, {});
      return {over_ranks ? weighted(entry, loss, over_ranks) : loss};
    }
    Value* target = entry.add_input(target_, target_type(options_.loss, options_.loss_options, prediction->type));
    const bool narrow = bit_width(prediction->type.dtype) < 32;
    if (narrow) prediction = b.convert(prediction, DType::F32);
    if (narrow && is_float(target->type.dtype)) target = b.convert(target, DType::F32);
    return build_loss(b, options_.loss, options_.loss_options, prediction, target, over_ranks);
  }

  void add_losses(EntryWriter& entry, Loss loss, Reductions& reductions, const std::vector<std::string>& taken) {
    if (options_.data_parallel) {
      loss.value = reductions.sum_for_report(loss.value);
      if (loss.correct) loss.correct = reductions.sum_for_report(loss.correct);
    }
    entry.add_result(loss.value, free_name("loss", taken));
    if (loss.correct) entry.add_result(loss.correct, free_name("correct", taken));
  }

  void add_eval_step() {
    const Function& run = *module_.function("run");
    Function& function = module_.add_function("eval_step");
    function.body = clone_region(module_, *run.body);
    function.argument_names = run.argument_names, function.argument_states = run.argument_states;
    function.result_names = run.result_names, function.result_states = run.result_states;
    EntryWriter entry(module_, function);
    Reductions reductions(entry.build);
    add_losses(entry, add_loss(entry, reductions), reductions, run.result_names);
    for (size_t i = 0; i < run.result_names.size(); ++i)
      entry.add_result(function.body->results()[i], run.result_names[i]);
    reductions.finish();
    entry.finish();
  }

  void make_train_step() {
    Function& function = *module_.function("train_step");
    if (options_.precision != DType::F32) narrow_products(module_, *function.body, options_.precision);
    EntryWriter entry(module_, function);
    Reductions reductions(entry.build);
    if (options_.data_parallel) reductions.tell_apart(entry.read_state(step_state()));
    const Loss loss = add_loss(entry, reductions);
    add_losses(entry, loss, reductions, module_.function("run")->result_names);
    for (size_t i = 0; i < function.result_names.size(); ++i)  // statistics
      if (const int state = function.state_of_result(i); state >= 0)
        entry.write_state(static_cast<size_t>(state), function.body->results()[i]);
    UpdateOptions options = options_.updates;
    options.scales_loss = options_.precision == DType::F16;
    Updates updates(entry, optimizer_, options, step_state());
    std::vector<Parameter> parameters = parameters_of(entry, updates.scaled(loss.value));
    if (options_.data_parallel) reductions.sum(parameters, options_.bucket_bytes);
    updates.write(std::move(parameters));
    reductions.finish();
    entry.finish();
  }

  size_t step_state() const {
    const auto is_progress = [](const State& state) { return state.kind == State::Kind::Progress; };
    const auto found = std::ranges::find_if(module_.states, is_progress);
    LPD_CHECK(found != module_.states.end(), "no state counts the steps");
    return static_cast<size_t>(found - module_.states.begin());
  }

  std::vector<Parameter> parameters_of(EntryWriter& entry, Value* loss) {
    const Function& function = entry.function;
    std::vector<Parameter> parameters;
    std::vector<Value*> wanted;
    for (size_t i = 0; i < function.body->arguments.size(); ++i) {
      const int state = function.state_of_argument(i);
      if (state < 0 || module_.states[static_cast<size_t>(state)].kind != State::Kind::Parameter) continue;
      const std::string& name = module_.states[static_cast<size_t>(state)].name;
      if (matches(name, options_.freeze) || (!options_.only.empty() && !matches(name, options_.only))) {
        notes_.frozen.push_back(name);
        continue;
      }
      parameters.push_back({static_cast<size_t>(state), function.body->arguments[i].get()});
      wanted.push_back(parameters.back().value);
    }
    const std::vector<Value*> gradients = differentiate(entry.build, loss, wanted);
    for (size_t i = 0; i < gradients.size(); ++i) {
      parameters[i].gradient = gradients[i];
      const std::string& name = module_.states[parameters[i].state].name;
      (gradients[i] ? notes_.trained : notes_.unreached).push_back(name);
      if (gradients[i]) notes_.numbers += *value_of(module_.dims.product(parameters[i].value->type.shape));
    }
    std::erase_if(parameters, [](const Parameter& parameter) { return !parameter.gradient; });
    if (parameters.empty()) throw Error(Fault::Usage, "nothing to train: the loss depends on no parameter");
    return parameters;
  }

  Module& module_;
  const TrainOptions& options_;
  const Optimizer optimizer_;
  const std::string target_;
  TrainNotes notes_;
};

}  // namespace

std::string target_name(const Module& module) { return free_name("labels", module.function("run")->argument_names); }

TrainNotes add_training(Module& module, const TrainOptions& options) {
  LPD_CHECK(module.function("run") && module.function("train_step"), "no functions to train");
  if (options.loss != "none" && std::ranges::find(loss_names(), options.loss) == loss_names().end())
    throw Error(Fault::Usage, fmt::format("no loss '{}'; there are {}, none", printable(options.loss),
                                          fmt::join(loss_names(), ", ")));
  return Trainer(module, options).run();
}

}  // namespace lapidary::train
