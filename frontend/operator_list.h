// Which operators ONNX knows, in which versions, and which of them are imported here: what docs/operators.md is made
// of.
#pragma once

#include <string>
#include <vector>

namespace lapidary::frontend {

enum class Support { None, Direct, ByDefinition };  // by definition: as the function body that ONNX gives it

struct ListedOperator {
  std::string domain, name;
  std::vector<int> versions;  // the opsets that introduced its forms
  int removed_in = 0;         // the opset without it, 0: there is none
  Support support = Support::None;
  std::vector<std::string> other_types;  // of those it takes in its last version, the ones that are never supported
};

// Of ONNX's domains and of com.microsoft, sorted by domain and name; of the latter only those that are supported.
std::vector<ListedOperator> all_operators();

}  // namespace lapidary::frontend
