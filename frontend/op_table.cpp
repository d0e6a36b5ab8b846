#include "frontend/op_table.h"

#include <algorithm>
#include <map>

#include "frontend/microsoft_schemas.h"

namespace lapidary::frontend {
namespace {

using Table = std::map<std::pair<std::string_view, std::string_view>, const OpEntry*>;  // by domain and name

const Table& table() {
  static const Table all = [] {
    Table table;
    auto add = [&](std::span<const OpEntry> family, std::string_view of) {
      for (const OpEntry& entry : family) {
        const std::string_view domain = entry.schema.empty() ? of : kMicrosoft;
        const bool added = table.emplace(std::pair(domain, entry.name), &entry).second;
        LPD_CHECK(added, "operator {} is in two families", entry.name);
      }
    };
#define FAMILY(function, domain) add(function(), domain);
#include "frontend/ops/families.def"
#undef FAMILY
    return table;
  }();
  return all;
}

}  // namespace

std::vector<Binding> OpEntry::import(Node& node) const {
  if (bindings) return bindings(node);
  const std::vector<Value*> results = tensors(node);
  return {results.begin(), results.end()};
}

const OpEntry* find_importer(std::string_view domain, std::string_view name) {
  auto found = table().find({domain, name});
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string_view> imported_operators() {
  std::vector<std::string_view> names;
  for (const auto& [key, entry] : table())
    if (key.first != kMicrosoft) names.push_back(key.second);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<const OpEntry*> microsoft_operators() {
  std::vector<const OpEntry*> entries;
  for (const auto& [key, entry] : table())
    if (key.first == kMicrosoft) entries.push_back(entry);
  return entries;
}

}  // namespace lapidary::frontend
