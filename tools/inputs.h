// Inputs of `run` and `bench`: from files where given, else seeded random data of the right shape.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/loaded_model.h"

namespace lapidary::tools {

struct InputOptions {
  std::vector<std::string> files;                      // "NAME=FILE"; "FILE" with one input
  std::map<std::string, std::vector<int64_t>> shapes;  // for random inputs; -1 where a shape says nothing
};

struct Inputs {
  std::vector<HostTensor> tensors;
  std::vector<std::string> guessed;  // symbolic extents that neither a file nor a shape gives: they are 1
};
// A symbol has the extent it has in the inputs that are given.
Inputs make_inputs(const LoadedModel&, const InputOptions&);
void warn_of_guesses(const Inputs&);  // one line on stderr, when there are any

std::string shape_text(const std::vector<int64_t>& dims);  // "1x3x224x224"; "scalar"

// "NAME=FILE" → index of that slot and the file; the name may be left out when there is one slot.
std::pair<int, std::string> split_binding(const std::string& text, const std::vector<SlotInfo>&, const char* option);

}  // namespace lapidary::tools
