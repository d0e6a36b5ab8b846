// Small random graphs of all kinds of ops over awkward extents (0, 1, a vector more or less one, symbols), and inputs
// for them. One seed makes one graph, on every machine. Passes, lowering and targets are checked against the
// interpreter on these.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "ir/check_tensors.h"

namespace lapidary::testing {

struct RandomGraph {
  std::unique_ptr<Module> module;          // one function, "run"
  std::map<std::string, int64_t> symbols;  // extents to run it with
};
RandomGraph random_graph(uint64_t seed);
// The extents a symbol of that name is tried with: "N" and "S" are at least 1, "Z" may be 0, "U" is 1 or N.
std::vector<int64_t> symbol_values(const std::string& name);

std::vector<Tensor> random_inputs(const Module&, const std::map<std::string, int64_t>& symbols, uint64_t seed);

// Inputs for several values of the symbols, the graph's own first, and what the interpreter makes of them; without
// those the graph's own checks refuse.
struct RandomInputs {
  std::map<std::string, int64_t> symbols;
  std::vector<Tensor> inputs, expected;
  std::string text() const;  // " N=2 S=17"
};
std::vector<RandomInputs> random_input_sets(const RandomGraph&, uint64_t seed);

}  // namespace lapidary::testing
