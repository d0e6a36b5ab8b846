// Which function imports which operator: one table for each family in ops/, put together in op_table.cpp.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "frontend/node.h"

namespace lapidary::frontend {

// Returns the node's results; those it does not want may be null or missing at the end.
using ImportFunction = std::vector<Value*> (*)(Node&);

struct OpEntry {
  std::string_view name;
  ImportFunction import;
  std::string_view schema = {};  // of an operator of com.microsoft, as microsoft_schemas.h spells it; else ONNX's own
};

ImportFunction find_importer(std::string_view domain, std::string_view name);  // null when there is none
std::vector<std::string_view> imported_operators();                            // of ai.onnx, sorted by name
std::vector<const OpEntry*> microsoft_operators();

std::span<const OpEntry> attention_ops();      // ops/attention.cpp
std::span<const OpEntry> elementwise_ops();    // ops/elementwise.cpp
std::span<const OpEntry> activation_ops();     // ops/activation.cpp
std::span<const OpEntry> constant_ops();       // ops/constant.cpp
std::span<const OpEntry> shape_ops();          // ops/shape.cpp
std::span<const OpEntry> move_ops();           // ops/move.cpp
std::span<const OpEntry> index_ops();          // ops/index.cpp
std::span<const OpEntry> reduction_ops();      // ops/reduction.cpp
std::span<const OpEntry> contraction_ops();    // ops/contraction.cpp
std::span<const OpEntry> convolution_ops();    // ops/convolution.cpp
std::span<const OpEntry> pooling_ops();        // ops/pooling.cpp
std::span<const OpEntry> normalization_ops();  // ops/normalization.cpp
std::span<const OpEntry> recurrent_ops();      // ops/recurrent.cpp
std::span<const OpEntry> selection_ops();      // ops/selection.cpp

std::span<const OpEntry> quantization_ops();   // ops/quantization.cpp
std::span<const OpEntry> quantized_product_ops();
std::span<const OpEntry> quantized_elementwise_ops();
std::span<const OpEntry> packed_weight_ops();

std::span<const OpEntry> loss_ops();           // ops/loss.cpp
std::span<const OpEntry> optimizer_ops();      // ops/optimizer.cpp
std::span<const OpEntry> random_ops();         // ops/random.cpp

std::span<const OpEntry> attention_ops();            // ops/attention.cpp
std::span<const OpEntry> elementwise_ops();          // ops/elementwise.cpp
std::span<const OpEntry> activation_ops();           // ops/activation.cpp
std::span<const OpEntry> constant_ops();             // ops/constant.cpp
std::span<const OpEntry> shape_ops();                // ops/shape.cpp
std::span<const OpEntry> move_ops();                 // ops/move.cpp
std::span<const OpEntry> index_ops();                // ops/index.cpp
std::span<const OpEntry> reduction_ops();            // ops/reduction.cpp
std::span<const OpEntry> contraction_ops();          // ops/contraction.cpp
std::span<const OpEntry> convolution_ops();          // ops/convolution.cpp
std::span<const OpEntry> pooling_ops();              // ops/pooling.cpp
std::span<const OpEntry> normalization_ops();        // ops/normalization.cpp
std::span<const OpEntry> recurrent_ops();            // ops/recurrent.cpp
std::span<const OpEntry> loss_ops();                 // ops/loss.cpp
std::span<const OpEntry> optimizer_ops();            // ops/optimizer.cpp
std::span<const OpEntry> random_ops();               // ops/random.cpp
std::span<const OpEntry> matrix_ops();               // ops/matrix.cpp
std::span<const OpEntry> microsoft_attention_ops();  // ops/microsoft_attention.cpp
std::span<const OpEntry> cached_attention_ops();     // ops/cached_attention.cpp
std::span<const OpEntry> quantization_ops();         // ops/quantization.cpp

}  // namespace lapidary::frontend
