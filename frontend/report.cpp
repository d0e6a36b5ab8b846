#include "frontend/report.h"

namespace lapidary::frontend {

std::string label_of(const NodeProto& node) {
  if (!node.name().empty()) return node.name();
  for (const std::string& output : node.output()) {
    if (!output.empty()) return output;
  }
  return "";
}

std::string describe(const NodeProto& node, int opset, const std::string& call) {
  std::string where = fmt::format("node '{}' ({}", printable(call + label_of(node)), printable(node.op_type()));
  return opset > 0 ? where + fmt::format(", opset {})", opset) : where + ")";
}

}  // namespace lapidary::frontend
