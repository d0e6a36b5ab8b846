// What must hold of a model's graphs and functions before a single operator is looked at: every name is defined
// exactly once (outer scopes included) and every name used is defined, nodes form no cycle, functions do not call
// themselves and do not expand beyond a limit. All problems are reported, none thrown.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "frontend/report.h"

namespace lapidary::frontend {

// What graphs and functions have in common.
struct Body {
  const google::protobuf::RepeatedPtrField<NodeProto>* nodes;
  std::vector<std::string_view> inputs, outputs;
  const GraphProto* graph = nullptr;        // of functions null, and
  const FunctionProto* function = nullptr;  // of graphs

  static Body of(const GraphProto&);
  static Body of(const FunctionProto&);
};

// A node that names values in its attributes xs, zs and y (gradient.cpp).
bool is_gradient(std::string_view domain, std::string_view op_type);

using FunctionId = std::tuple<std::string_view, std::string_view, std::string_view>;  // domain, name, overload
// "" and "ai.onnx" are the same domain.
std::string_view canonical_domain(std::string_view);
FunctionId id_of(const FunctionProto&);
FunctionId called_by(const NodeProto&);

struct Structure {
  std::map<FunctionId, const FunctionProto*> functions;
  // The nodes of each body in an order in which every one follows what it uses; only bodies listed out of order are
  // here.
  std::unordered_map<const void*, std::vector<int>> reordered;  // by the address of Body::nodes

  const FunctionProto* function(const NodeProto& call) const;
  std::vector<int> order_of(const Body&) const;
};

Structure check_structure(const ModelProto&, Report&);
// The same of another graph of the model.
void check_graph(const GraphProto&, const std::string& what, Structure&, Report&);
// Recursion, depth and expansion of the model's functions (functions.cpp).
void check_functions(const ModelProto&, const Structure&, Report&);

}  // namespace lapidary::frontend
