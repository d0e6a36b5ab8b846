// Optionals: of a tensor, which an optional is when it has an element.
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Values has_element(Node& node) {
  return {node.build.dims_tensor({node.build.dim(node.input(0) != nullptr)}, {}, DType::Bool)};
}

Values get_element(Node& node) {
  if (!node.input(0)) fail("the optional has no element");
  return {node.input(0)};
}

constexpr OpEntry kOps[] = {{"OptionalGetElement", get_element}, {"OptionalHasElement", has_element}};

}  // namespace

std::span<const OpEntry> optional_ops() { return kOps; }

}  // namespace lapidary::frontend
