// A model's own functions are inlined where they are called, so before anything is built their expansion is measured:
// thirty functions that each call the next twice are 2^30 nodes in a file of a kilobyte. The count is a sum over the
// call graph, each function visited once.
#include <algorithm>

#include "frontend/structure.h"

namespace lapidary::frontend {
namespace {

constexpr int64_t kMaxInlined = 1'000'000;
constexpr int kMaxCallDepth = 100;

class Expansion {
 public:
  Expansion(const Structure& structure, Report& report) : structure_(structure), report_(report) {}

  struct Size {
    int64_t nodes = 0;  // saturated beyond kMaxInlined
    int depth = 0;      // of calls
  };
  Size of(const google::protobuf::RepeatedPtrField<NodeProto>& nodes, int depth);
  bool stopped() const { return stopped_; }

 private:
  Size of(const FunctionProto&, int depth);
  void stop(const std::string& what) {
    if (!stopped_) report_.error(what);
    stopped_ = true;
  }

  const Structure& structure_;
  Report& report_;
  std::map<const FunctionProto*, Size> done_;
  std::vector<const FunctionProto*> open_;
  bool stopped_ = false;
};

std::string name_of(const FunctionProto& f) {
  return fmt::format("{}::{}", printable(f.domain()), printable(f.name()));
}

Expansion::Size Expansion::of(const google::protobuf::RepeatedPtrField<NodeProto>& nodes, int depth) {
  Size total;
  auto add = [&](Size part) {
    total.nodes = std::min(total.nodes + part.nodes, kMaxInlined + 1);
    total.depth = std::max(total.depth, part.depth);
  };
  for (const NodeProto& node : nodes) {
    if (stopped_) break;
    const FunctionProto* function = structure_.function(node);
    add(function ? of(*function, depth + 1) : Size{1, 0});
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) add(of(attribute.g().node(), depth));
      for (const GraphProto& graph : attribute.graphs()) add(of(graph.node(), depth));
    }
  }
  return total;
}

Expansion::Size Expansion::of(const FunctionProto& function, int depth) {
  auto found = done_.find(&function);
  if (found != done_.end()) return found->second;
  auto begin = std::find(open_.begin(), open_.end(), &function);
  if (begin != open_.end()) {
    std::string text = "recursion: ";
    for (auto at = begin; at != open_.end(); ++at) text += name_of(**at) + " -> ";
    stop(text + name_of(function));
    return {};
  }
  if (depth > kMaxCallDepth) {
    stop(fmt::format("functions call each other more than {} deep", kMaxCallDepth));
    return {};
  }
  open_.push_back(&function);
  Size size = of(function.node(), depth);
  open_.pop_back();
  size.depth += 1;
  if (size.depth > kMaxCallDepth) stop(fmt::format("functions call each other more than {} deep", kMaxCallDepth));
  return done_[&function] = size;
}

}  // namespace

void check_functions(const ModelProto& model, const Structure& structure, Report& report) {
  Expansion expansion(structure, report);
  int64_t total = expansion.of(model.graph().node(), 0).nodes;
  // Those nobody calls count for nothing, but recursion is wrong wherever it is.
  for (const FunctionProto& function : model.functions()) expansion.of(function.node(), 0);
  if (!expansion.stopped() && total > kMaxInlined)
    report.error(fmt::format("inlining functions exceeds {} nodes", kMaxInlined));
}

}  // namespace lapidary::frontend
