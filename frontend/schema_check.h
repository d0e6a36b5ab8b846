// A node against ONNX's schema of its operator: existence in that opset, number of operands and results, attributes,
// element types. All problems of a node are reported; shapes are the operator functions' affair.
#pragma once

#include <map>
#include <string_view>

#include "frontend/node.h"
#include "frontend/report.h"

namespace lapidary::frontend {

// Versions of the operator sets a model or a function imports, by canonical domain.
class Opsets {
 public:
  Opsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>&, Report&);
  int version(std::string_view domain) const;  // 0: not imported

 private:
  std::map<std::string, int, std::less<>> versions_;
};

// The schema in force, or null after a report.
const OpSchema* find_schema(const NodeProto&, const Opsets&, Report&);

// The spelling of ONNX's schemas for a tensor of this type: "tensor(float)"; and for what a binding is.
const char* schema_name(DType);
std::string schema_name(const Binding&);

// Whether the node fits.
bool check_node(const NodeProto&, const OpSchema&, int opset, const Attributes&, std::span<const Binding> inputs,
                Report&);

// Operands that must be there: one may be an input of a function that the call leaves out.
bool check_operands(const NodeProto& node, const OpSchema& schema, int opset, std::span<const Binding> inputs,
                    Report& report);

}  // namespace lapidary::frontend
