#include "passes/train/entry.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary::train {

std::string free_name(const std::string& wanted, const std::vector<std::string>& taken) {
  std::string name = wanted;
  for (int i = 1; std::ranges::find(taken, name) != taken.end(); ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

Value* EntryWriter::add_input(const std::string& name, const Type& type) {
  Value* argument = add_argument(module, *function.body, type);
  function.argument_names.push_back(name);
  function.argument_states.resize(function.body->arguments.size(), -1);
  return argument;
}

size_t EntryWriter::add_state(const std::string& name, State::Kind kind, const Type& type, ConstantId initial) {
  std::vector<std::string> taken;
  for (const State& state : module.states) taken.push_back(state.name);
  module.states.push_back({free_name(name, taken), kind, type, initial});
  return module.states.size() - 1;
}

size_t EntryWriter::add_zeros(const std::string& name, State::Kind kind, const Type& type) {
  std::vector<int64_t> extents;
  for (Dim extent : type.shape) extents.push_back(*value_of(extent));
  const Scalar zero = is_float(type.dtype) ? Scalar::of_float(type.dtype, 0) : Scalar::of_integer(type.dtype, 0);
  return add_state(name, kind, type, module.constants.add_splat(type.dtype, extents, zero));
}

size_t EntryWriter::add_number(const std::string& name, const Scalar& value) {
  return add_state(name, State::Kind::Progress, Type::tensor(value.dtype, {}),
                   module.constants.add_splat(value.dtype, {}, value));
}

Value* EntryWriter::read_state(size_t state) {
  for (size_t i = 0; i < function.body->arguments.size(); ++i)
    if (function.state_of_argument(i) == static_cast<int>(state)) return function.body->arguments[i].get();
  Value* argument = add_input(module.states[state].name, module.states[state].type);
  function.argument_states.back() = static_cast<int>(state);
  return argument;
}

void EntryWriter::add_result(Value* value, const std::string& name) {
  values_.push_back(value);
  names_.push_back(name);
  states_.push_back(-1);
}

void EntryWriter::write_state(size_t state, Value* value) {
  add_result(value, module.states[state].name);
  states_.back() = static_cast<int>(state);
}

void EntryWriter::finish() {
  Op& yield = function.body->yield();
  while (!yield.operands.empty()) yield.erase_operand(static_cast<uint32_t>(yield.operands.size()) - 1);
  for (Value* value : values_) yield.add_operand(value);
  function.result_names = std::move(names_);
  function.result_states = std::move(states_);
}

}  // namespace lapidary::train
