#include "frontend/operator_list.h"

#include <algorithm>
#include <map>
#include <set>

#include "frontend/control_flow.h"
#include "frontend/microsoft_schemas.h"
#include "frontend/op_table.h"

namespace lapidary::frontend {
namespace {

Support support_of(const OpSchema& schema) {
  if (needs_scope(schema) || find_importer(schema.domain(), schema.Name())) return Support::Direct;
  return schema.HasFunction() ? Support::ByDefinition : Support::None;
}

// Complex numbers, maps and sparse tensors: nothing here computes with them.
std::vector<std::string> other_types(const OpSchema& schema) {
  std::set<std::string> found;
  for (const auto& input : schema.inputs())
    for (const std::string* type : input.GetTypes())
      for (const char* never : {"complex64", "complex128", "map", "sparse_tensor"})
        if (type->starts_with(never) || type->starts_with(fmt::format("tensor({}", never))) found.insert(never);
  return {found.begin(), found.end()};
}

}  // namespace

std::vector<ListedOperator> all_operators() {
  std::map<std::pair<std::string, std::string>, std::vector<OpSchema>> forms;
  for (const OpSchema& schema : onnx::OpSchemaRegistry::get_all_schemas_with_history())
    forms[{schema.domain(), schema.Name()}].push_back(schema);
  std::vector<ListedOperator> operators;
  for (auto& [key, schemas] : forms) {
    std::ranges::sort(schemas, {}, [](const OpSchema& schema) { return schema.SinceVersion(); });
    ListedOperator listed{key.first, key.second};
    for (const OpSchema& schema : schemas) {
      if (schema.Deprecated()) {
        listed.removed_in = schema.SinceVersion();
        continue;
      }
      listed.versions.push_back(schema.SinceVersion());
      listed.support = support_of(schema);
      listed.other_types = other_types(schema);
    }
    operators.push_back(std::move(listed));
  }
  for (const OpEntry* entry : microsoft_operators())
    operators.push_back({std::string(kMicrosoft), std::string(entry->name), {1}, 0, Support::Direct, {}});
  std::ranges::sort(operators, {}, [](const ListedOperator& one) { return std::pair(one.domain, one.name); });
  return operators;
}

}  // namespace lapidary::frontend
