// A function of a module that is being made an entry point: its inputs, the states it reads, its results.
#pragma once

#include <string>
#include <vector>

#include "ir/graph_builder.h"

namespace lapidary::train {

// The name, or with _1, _2 … behind it, one that is not taken.
std::string free_name(const std::string& wanted, const std::vector<std::string>& taken);

class EntryWriter {
 public:
  EntryWriter(Module& module, Function& function) : build(module, *function.body), module(module), function(function) {}

  GraphBuilder build;
  Module& module;
  Function& function;

  Value* add_input(const std::string& name, const Type&);
  // A new state; its name may get a number. Returns its index.
  size_t add_state(const std::string& name, State::Kind, const Type&, ConstantId initial);
  size_t add_zeros(const std::string& name, State::Kind, const Type&);
  size_t add_number(const std::string& name, const Scalar&);  // of progress
  Value* read_state(size_t state);

  // Results in order; of states, their new values. To be set at the end, in place of what the function yielded.
  void add_result(Value*, const std::string& name);
  void write_state(size_t state, Value*);
  void finish();

 private:
  std::vector<Value*> values_;
  std::vector<std::string> names_;
  std::vector<int> states_;
};

}  // namespace lapidary::train
