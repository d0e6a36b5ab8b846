// Parameters and statistics of a model that is trained: initializers that are states of the module, read as arguments
// of its functions. The running mean and variance of a batch normalisation are statistics: they move by what the
// forward pass finds, not by a gradient.
#include <algorithm>

#include "frontend/importer.h"

namespace lapidary::frontend {

namespace {

// Does ONNX say that no gradient comes of an operator's input, such as the scales of a Resize?
bool is_setting(const OpSchema* schema, int input) {
  if (!schema || schema->inputs().empty()) return false;
  const auto last = static_cast<int>(schema->inputs().size()) - 1;  // which may be many
  return schema->inputs()[static_cast<size_t>(std::min(input, last))].GetDifferentiationCategory() ==
         OpSchema::NonDifferentiable;
}

struct Reads {
  std::set<std::string_view> as_setting, otherwise;
};

void note_reads(const GraphProto& graph, const Opsets& opsets, const Structure& structure, Reads& reads) {
  for (const NodeProto& node : graph.node()) {
    const OpSchema* schema = structure.function(node)
                                 ? nullptr
                                 : onnx::OpSchemaRegistry::Schema(node.op_type(), opsets.version(node.domain()),
                                                                  std::string(canonical_domain(node.domain())));
    for (int i = 0; i < node.input_size(); ++i)
      (is_setting(schema, i) ? reads.as_setting : reads.otherwise).insert(node.input(i));
    for (const AttributeProto& attribute : node.attribute())
      if (attribute.has_g()) note_reads(attribute.g(), opsets, structure, reads);
  }
  for (const auto& output : graph.output()) reads.otherwise.insert(output.name());
}

// Initializers that are read as nothing but such inputs: constants of the computation, whatever their rank.
std::set<std::string_view> settings_of(const GraphProto& graph, const Opsets& opsets, const Structure& structure) {
  Reads reads;
  note_reads(graph, opsets, structure, reads);
  std::erase_if(reads.as_setting, [&](std::string_view name) { return reads.otherwise.contains(name); });
  return reads.as_setting;
}

// Of the graphs inside nodes too.
void note_statistics(const GraphProto& graph, std::set<std::string_view>& names) {
  constexpr int kMean = 3, kVariance = 4;
  for (const NodeProto& node : graph.node()) {
    for (int i = kMean; node.op_type() == "BatchNormalization" && i <= kVariance && i < node.input_size(); ++i)
      names.insert(node.input(i));
    for (const AttributeProto& attribute : node.attribute())
      if (attribute.has_g()) note_statistics(attribute.g(), names);
  }
}

}  // namespace

void Importer::find_statistics() { note_statistics(model_.graph(), statistics_); }

// Single numbers (an epsilon, a scale) are constants of the computation.
std::optional<State::Kind> Importer::kind_of_state(const std::string& initializer, const Constant& constant) const {
  if (own_states_) {
    const auto found = own_states_->find(initializer);
    return found == own_states_->end() ? std::nullopt : std::optional(found->second);
  }
  if (!is_float(constant.dtype) || constant.shape.empty()) return std::nullopt;
  return statistics_.contains(initializer) ? State::Kind::Statistic : State::Kind::Parameter;
}

void Importer::declare_states(const GraphProto& graph, const Opsets& opsets, Function& function, Scope& scope) {
  const std::set<std::string_view> settings = settings_of(graph, opsets, structure_);
  function.argument_states.assign(function.argument_names.size(), -1);
  for (const TensorProto& tensor : graph.initializer()) {
    const auto found = scope.initializers.find(tensor.name());
    if (found == scope.initializers.end()) continue;
    const Constant& constant = module_->constants[found->second];
    const std::optional<State::Kind> kind = kind_of_state(tensor.name(), constant);
    if (!kind || (!own_states_ && settings.contains(tensor.name()))) continue;
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
  if (training_->trains) declare_step(function, scope);
}

// One for all functions that train.
void Importer::declare_step(Function& function, Scope& scope) {
  const Type type = Type::tensor(DType::I64, {});
  if (step_state_ < 0) {
    std::string name = "step";
    const auto taken = [&](const State& state) { return state.name == name; };
    while (std::ranges::any_of(module_->states, taken)) name += '_';
    step_state_ = static_cast<int>(module_->states.size());
    module_->states.push_back({name, State::Kind::Progress, type,
                               module_->constants.add_splat(DType::I64, {}, Scalar::of_integer(DType::I64, 0))});
  }
  scope.writer.step = add_argument(*module_, *function.body, type);
  function.argument_names.push_back(module_->states[static_cast<size_t>(step_state_)].name);
  function.argument_states.push_back(step_state_);
}

// What random numbers in a region differ by: the number of the step, and in the body of a loop the iteration. Null
// where they do not.
Value* Importer::step_in(RegionWriter& writer) {
  if (writer.step || !writer.outer) return writer.step;
  Value* around = step_in(*writer.outer);
  if (!around) return nullptr;
  writer.step = inside(writer, around);
  if (writer.iteration) writer.step = step_of_iteration(writer.build, writer.step, writer.iteration);
  return writer.step;
}

Value* Importer::step_of_iteration(GraphBuilder& build, Value* step, Value* iteration) {
  const auto number = [&](uint64_t value) {
    return build.scalar(Scalar::of_integer(DType::U64, static_cast<int64_t>(value)));
  };
  Value* before = build.mul(build.convert(step, DType::U64), number(0x9E3779B97F4A7C15));
  return build.add(before, build.add(build.convert(iteration, DType::U64), number(1)));
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
