// TrainingInfoProto: training as the model itself has it. An algorithm is imported together with the model's graph, as
// one graph of both, and moves what update_binding says; an initialization is a graph of its own.
#include <algorithm>

#include "frontend/importer.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {

bool Updates::gives(std::string_view value) const {
  return std::ranges::any_of(bindings, [&](const auto& entry) { return entry.value() == value; });
}

namespace {

bool has_initializer(const GraphProto& graph, const std::string& name) {
  return std::ranges::any_of(graph.initializer(), [&](const TensorProto& tensor) { return tensor.name() == name; });
}

std::string numbered(const char* name, int index) {
  return index == 0 ? std::string(name) : fmt::format("{}_{}", name, index + 1);
}

}  // namespace

void Importer::note_states(const GraphProto& algorithm, const Updates& updates) {
  std::set<std::string_view> seen;
  for (const auto& entry : updates.bindings) {
    const bool is_models = has_initializer(model_.graph(), entry.key());
    if (!is_models && !has_initializer(algorithm, entry.key()))
      report_.error(fmt::format("{} names '{}', which is no initializer", updates.field, printable(entry.key())));
    if (!seen.insert(entry.key()).second)
      report_.error(fmt::format("{} has '{}' twice", updates.field, printable(entry.key())));
    const State::Kind kind = !is_models                          ? State::Kind::Optimizer
                             : statistics_.contains(entry.key()) ? State::Kind::Statistic
                                                                 : State::Kind::Parameter;
    own_states_->emplace(entry.key(), kind);
  }
}

std::vector<Importer::StateResult> Importer::updated_states(const Updates& updates, Scope& scope) {
  std::vector<StateResult> states;
  for (const auto& entry : updates.bindings) {
    const auto state = std::ranges::find(module_->states, entry.key(), &State::name);
    const auto fail = [&](const std::string& what) {
      report_.error(fmt::format("{}: '{}' is to be '{}', which {}", updates.field, printable(entry.key()),
                                printable(entry.value()), what));
    };
    if (!scope.values.contains(entry.value()) && !scope.initializers.contains(entry.value())) {
      fail("is no value of the graph");
      continue;
    }
    const Binding binding = find(entry.value(), scope);
    if (binding.failed || state == module_->states.end()) continue;  // reported
    const Type& type = state->type;
    bool fits = binding.value && binding.value->type.dtype == type.dtype && binding.value->type.rank() == type.rank();
    for (int axis = 0; fits && axis < type.rank(); ++axis)
      fits = !known_unequal(binding.value->type.shape[axis], type.shape[axis]);
    if (!fits) {
      fail(fmt::format("is {}, not {}", binding.value ? to_string(binding.value->type) : "no tensor", to_string(type)));
      continue;
    }
    for (int axis = 0; axis < type.rank(); ++axis)
      require_equal(*module_, binding.value->type.shape[axis], type.shape[axis],
                    fmt::format("extents of '{}'", printable(entry.key())));
    states.push_back(
        {static_cast<int>(state - module_->states.begin()), scope.writer.build.reshape(binding.value, type.shape)});
  }
  if (scope.writer.step) {
    GraphBuilder& b = scope.writer.build;
    states.push_back({step_state_, b.add(scope.writer.step, b.scalar(Scalar::of_integer(DType::I64, 1)))});
  }
  return states;
}

void Importer::import_training_info(const Opsets& opsets) {
  own_states_.emplace();
  for (const auto& info : model_.training_info()) {
    note_states(info.algorithm(), {info.update_binding(), "update_binding"});
    note_states(info.algorithm(), {info.initialization_binding(), "initialization_binding"});
  }
  if (std::ranges::all_of(model_.training_info(),
                          [](const onnx::TrainingInfoProto& info) { return info.update_binding().empty(); }))
    report_.error("training_info updates nothing");
  TrainingMode inference, training{.trains = true, .seed = options_.seed};
  if (!report_.failed()) import_function("run", model_.graph(), opsets, &inference);
  for (int i = 0; i < model_.training_info_size() && !report_.failed(); ++i) {
    const auto& info = model_.training_info(i);
    import_algorithm(info, i, opsets, training);
    import_initialization(info, i, opsets);
  }
}

void Importer::import_algorithm(const onnx::TrainingInfoProto& info, int number, const Opsets& opsets,
                                TrainingMode& training) {
  if (info.update_binding().empty()) return;
  GraphProto& both = combined_.emplace_back(model_.graph());
  both.MergeFrom(info.algorithm());
  check_graph(both, "the graph with its training algorithm", structure_, report_);
  const Updates updates{info.update_binding(), "update_binding"};
  if (!report_.failed()) import_function(numbered("train_step", number), both, opsets, &training, &updates);
}

void Importer::import_initialization(const onnx::TrainingInfoProto& info, int number, const Opsets& opsets) {
  const Updates starts{info.initialization_binding(), "initialization_binding"};
  if (report_.failed() || starts.bindings.empty()) return;
  check_graph(info.initialization(), "the initialization", structure_, report_);
  if (!report_.failed())
    import_function(numbered("initialize", number), info.initialization(), opsets, nullptr, &starts);
}

bool trains_itself(const Module& module) {
  const Function* step = module.function("train_step");
  if (!step) return false;
  return std::ranges::any_of(step->result_states, [&](int state) {
    return state >= 0 && module.states[static_cast<size_t>(state)].kind == State::Kind::Parameter;
  });
}

}  // namespace lapidary::frontend
