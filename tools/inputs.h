// Inputs of `run` and `bench`: from files where given, else seeded random data of the right shape.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/loaded_model.h"

namespace lapidary::tools {

struct InputOptions {
  std::vector<std::string> files;     // "NAME=FILE"; "FILE" with one input
  std::map<std::string, std::vector<int64_t>> shapes;   // for random inputs; an unnamed symbolic extent is 1
};

std::vector<HostTensor> make_inputs(const LoadedModel&, const InputOptions&);

// "NAME=FILE" → index of that slot and the file; the name may be left out when there is one slot.
std::pair<int, std::string> split_binding(const std::string& text, const std::vector<SlotInfo>&, const char* option);

}  // namespace lapidary::tools
