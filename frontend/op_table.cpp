#include "frontend/op_table.h"

#include <algorithm>
#include <unordered_map>

#include "frontend/microsoft_schemas.h"

namespace lapidary::frontend {
namespace {

using Table = std::unordered_map<std::string_view, const OpEntry*>;
struct Tables {
  Table onnx, microsoft;
};

const Tables& tables() {
  static const Tables all = [] {
    Tables tables;
    for (auto family : {elementwise_ops, activation_ops, constant_ops, shape_ops, move_ops, index_ops, reduction_ops, contraction_ops, convolution_ops, pooling_ops, normalization_ops, recurrent_ops, selection_ops, quantization_ops, quantized_product_ops, quantized_elementwise_ops, packed_weight_ops, attention_ops, loss_ops, optimizer_ops, random_ops, microsoft_attention_ops, cached_attention_ops, matrix_ops}) {
      for (const OpEntry& entry : family()) {
        Table& table = entry.schema.empty() ? tables.onnx : tables.microsoft;
        LPD_CHECK(table.emplace(entry.name, &entry).second, "operator {} is in two families", entry.name);
      }
    }
    return tables;
  }();
  return all;
}

}  // namespace

ImportFunction find_importer(std::string_view domain, std::string_view name) {
  if (!domain.empty() && domain != kMicrosoft) return nullptr;
  const Table& table = domain.empty() ? tables().onnx : tables().microsoft;
  auto found = table.find(name);
  return found == table.end() ? nullptr : found->second->import;
}

std::vector<std::string_view> imported_operators() {
  std::vector<std::string_view> names;
  for (const auto& [name, entry] : tables().onnx) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<const OpEntry*> microsoft_operators() {
  std::vector<const OpEntry*> entries;
  for (const auto& [name, entry] : tables().microsoft) entries.push_back(entry);
  return entries;
}

}  // namespace lapidary::frontend
