#include "frontend/op_table.h"

#include <algorithm>
#include <unordered_map>

namespace lapidary::frontend {
namespace {

using Table = std::unordered_map<std::string_view, ImportFunction>;

const Table& table() {
  static const Table all = [] {
    Table table;
    for (auto family : {elementwise_ops, activation_ops, constant_ops, shape_ops, move_ops, index_ops, reduction_ops,
                        contraction_ops, convolution_ops, pooling_ops, normalization_ops, recurrent_ops, selection_ops}) {
      for (const OpEntry& entry : family()) {
        LPD_CHECK(table.emplace(entry.name, entry.import).second, "operator {} is in two families", entry.name);
      }
    }
    return table;
  }();
  return all;
}

}  // namespace

ImportFunction find_importer(std::string_view domain, std::string_view name) {
  if (!domain.empty()) return nullptr;
  auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string_view> imported_operators() {
  std::vector<std::string_view> names;
  for (const auto& [name, import] : table()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace lapidary::frontend
