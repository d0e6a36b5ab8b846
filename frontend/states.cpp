// Parameters and statistics of a model that is trained: initializers that are states of the module, read as arguments
// of its functions. The running mean and variance of a batch normalisation are statistics: they move by what the
// forward pass finds, not by a gradient.
#include <algorithm>

#include "frontend/importer.h"

namespace lapidary::frontend {

std::set<std::string_view> Importer::statistics() const {
  constexpr int kMean = 3, kVariance = 4;
  std::set<std::string_view> names;
  for (const NodeProto& node : model_.graph().node())
    for (int i = kMean; node.op_type() == "BatchNormalization" && i <= kVariance && i < node.input_size(); ++i)
      names.insert(node.input(i));
  return names;
}

// Single numbers (an epsilon, a scale) are constants of the computation.
std::optional<State::Kind> Importer::kind_of_state(const std::string& initializer, const Constant& constant) const {
  if (own_states_) {
    const auto found = own_states_->find(initializer);
    return found == own_states_->end() ? std::nullopt : std::optional(found->second);
  }
  if (!is_float(constant.dtype) || constant.shape.empty()) return std::nullopt;
  return statistics().contains(initializer) ? State::Kind::Statistic : State::Kind::Parameter;
}

void Importer::declare_states(const GraphProto& graph, Function& function, Scope& scope) {
  function.argument_states.assign(function.argument_names.size(), -1);
  for (const TensorProto& tensor : graph.initializer()) {
    const auto found = scope.initializers.find(tensor.name());
    if (found == scope.initializers.end()) continue;
    const Constant& constant = module_->constants[found->second];
    const std::optional<State::Kind> kind = kind_of_state(tensor.name(), constant);
    if (!kind) continue;
    auto state = std::ranges::find(module_->states, tensor.name(), &State::name);
    if (state == module_->states.end()) {
      Shape shape;
      for (int64_t extent : constant.shape) shape.push_back(module_->dims.constant(extent));
      module_->states.push_back({tensor.name(), *kind, Type::tensor(constant.dtype, shape), found->second});
      state = std::prev(module_->states.end());
    }
    scope.values[tensor.name()] = {add_argument(*module_, *function.body, state->type), false};
    scope.initializers.erase(found);
    function.argument_names.push_back(tensor.name());
    function.argument_states.push_back(static_cast<int>(state - module_->states.begin()));
  }
  if (training_->trains) declare_step(function);
}

// One for all functions that train.
void Importer::declare_step(Function& function) {
  const Type type = Type::tensor(DType::I64, {});
  if (step_state_ < 0) {
    std::string name = "step";
    const auto taken = [&](const State& state) { return state.name == name; };
    while (std::ranges::any_of(module_->states, taken)) name += '_';
    step_state_ = static_cast<int>(module_->states.size());
    module_->states.push_back({name, State::Kind::Progress, type,
                               module_->constants.add_splat(DType::I64, {}, Scalar::of_integer(DType::I64, 0))});
  }
  training_->step = add_argument(*module_, *function.body, type);
  function.argument_names.push_back(module_->states[static_cast<size_t>(step_state_)].name);
  function.argument_states.push_back(step_state_);
}

// Those that operators gave new values.
std::vector<Importer::StateResult> Importer::moved_states(const Function& function) const {
  std::vector<StateResult> states;
  for (size_t i = 0; training_ && i < function.body->arguments.size(); ++i) {
    const auto next = training_->next.find(function.body->arguments[i].get());
    if (next != training_->next.end()) states.push_back({function.state_of_argument(i), next->second});
  }
  return states;
}

void Importer::yield_states(Function& function, const std::vector<StateResult>& states, const Module& module) {
  Op& yield = function.body->yield();
  function.result_states.assign(yield.operands.size(), -1);
  for (const auto& [state, value] : states) {
    yield.add_operand(value);
    function.result_names.push_back(module.states[static_cast<size_t>(state)].name);
    function.result_states.push_back(state);
  }
}

}  // namespace lapidary::frontend
