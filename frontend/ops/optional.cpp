// Optionals: of a tensor or a sequence, which an optional is when it has an element.
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Bindings = std::vector<Binding>;

Bindings optional(Node& node) {
  Binding element = node.binding(0);
  if (!element.exists() && !node.has("type")) fail("neither an element nor a type");
  element.optional = true;
  return {element};
}

std::vector<Value*> has_element(Node& node) {
  return {node.build.dims_tensor({node.build.dim(node.binding(0).exists())}, {}, DType::Bool)};
}

Bindings get_element(Node& node) {
  Binding element = node.binding(0);
  if (!element.exists()) fail("the optional has no element");
  element.optional = false;
  return {element};
}

constexpr OpEntry kOps[] = {
    {"Optional", optional}, {"OptionalGetElement", get_element}, {"OptionalHasElement", has_element}};

}  // namespace

std::span<const OpEntry> optional_ops() { return kOps; }

}  // namespace lapidary::frontend
