// Gradient (ai.onnx.preview.training, version 1): names a part of the graph around it, what computes y from xs and zs,
// and yields y's derivatives by xs at the values it is given. That part is copied, with xs and zs as its arguments, and
// differentiated there, so that what computes an x does not count. Of a y that is no scalar it is the gradient of the
// sum.
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"
#include "ir/differentiate.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {
namespace {

std::vector<std::string> names_in(const Attributes& attributes, std::string_view list) {
  const auto found = attributes.find(list);
  if (found == attributes.end()) return {};
  return {found->second->strings().begin(), found->second->strings().end()};
}

// Another name for the same value: the graph cannot tell uses of the one from uses of the other.
std::string other_name_of(const Value* value, const std::string& name, const std::string& y, const Scope& innermost) {
  for (const Scope* scope = &innermost; scope; scope = scope->outer)
    for (const auto& [other, binding] : scope->values)
      if (binding.value == value && other != name && other != y) return std::string(other);
  return {};
}

void require_same_type(Module& module, const std::string& name, const Type& named, const Type& given) {
  if (named.dtype != given.dtype || named.rank() != given.rank())
    fail("'{}' is {}, its value here {}", printable(name), to_string(named), to_string(given));
  for (int axis = 0; axis < named.rank(); ++axis)
    require_equal(module, named.shape[axis], given.shape[axis], fmt::format("extents of '{}'", printable(name)));
}

// Of a region that yields y: instead, the gradients of its sum by the first arguments.
void yield_gradients(Module& module, Region& region, size_t count, Origin origin) {
  std::vector<Value*> wanted;
  for (size_t i = 0; i < count; ++i) wanted.push_back(region.arguments[i].get());
  GraphBuilder build(module, region);
  build.origin = origin;
  Op& yield = region.yield();
  Value* y = yield.operands[0];
  yield.erase_operand(0);
  const std::vector<Value*> gradients = pull_back(build, {{y, build.splat(y->type.dtype, y->type.shape, 1)}}, wanted);
  for (size_t i = 0; i < count; ++i) {
    const Type& type = wanted[i]->type;
    yield.add_operand(gradients[i] ? gradients[i] : build.splat(type.dtype, type.shape, 0));
  }
}

}  // namespace

bool is_gradient(std::string_view domain, std::string_view op_type) {
  return domain == "ai.onnx.preview.training" && op_type == "Gradient";
}

Value* Importer::named_here(const std::string& name, Scope& scope) {
  Binding binding = find(name, scope);
  if (binding.failed) throw Reported();
  if (!binding.value) unsupported("'{}' is no tensor", printable(name));
  return binding.value;
}

Importer::Bindings Importer::import_gradient(const NodeProto& node, const Attributes& attributes,
                                             const Bindings& inputs, Scope& scope) {
  GraphBuilder& build = scope.writer.build;
  const Origin origin = build.origin;  // finding an initializer changes it
  std::vector<std::string> names = names_in(attributes, "xs");
  const size_t count = names.size();
  for (std::string& name : names_in(attributes, "zs")) names.push_back(std::move(name));
  if (names.size() != inputs.size() || count != static_cast<size_t>(node.output_size()))
    fail("{} and {} for {} and {} in xs and zs", counted(static_cast<int64_t>(inputs.size()), "input"),
         counted(node.output_size(), "output"), count, names.size() - count);
  const std::string& y_name = attributes.at("y")->s();
  Value* y = named_here(y_name, scope);
  std::vector<Value*> leaves, given;
  for (size_t i = 0; i < names.size(); ++i) {
    leaves.push_back(named_here(names[i], scope));
    if (const std::string other = other_name_of(leaves[i], names[i], y_name, scope); !other.empty())
      unsupported("'{}' and '{}' are one value, of which a gradient is asked by one alone", printable(names[i]),
                  printable(other));
    require_same_type(*module_, names[i], leaves[i]->type, inputs[i].value->type);
    given.push_back(build.reshape(inputs[i].value, leaves[i]->type.shape));
  }
  const std::vector<Value*>& captured = scope.writer.arguments;
  if (std::ranges::find(captured, y) != captured.end())
    unsupported("'{}' is computed outside of the graph that this node is in", printable(y_name));
  if (!is_float(y->type.dtype)) fail("'{}' is {}, which has no gradient", printable(y_name), to_string(y->type));

  const Slice slice = slice_between(*module_, leaves, y);
  yield_gradients(*module_, *slice.region, count, origin);
  given.insert(given.end(), slice.others.begin(), slice.others.end());
  const std::vector<Value*> results = inline_region(*module_, *slice.region, given, build.region, build.before);
  build.origin = origin;
  return {results.begin(), results.end()};
}

}  // namespace lapidary::frontend
