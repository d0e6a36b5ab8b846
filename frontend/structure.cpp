#include "frontend/structure.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <unordered_set>

namespace lapidary::frontend {
namespace {

constexpr int kInput = -1, kInitializer = -2;  // producers beside node indices

// The names a body defines, and the scopes around it.
struct Names {
  const Names* outer;
  std::unordered_map<std::string_view, int> producer;

  bool visible_outside(std::string_view name) const {
    for (const Names* scope = outer; scope; scope = scope->outer) {
      if (scope->producer.contains(name)) return true;
    }
    return false;
  }
};

class Checker {
 public:
  Checker(Structure& structure, Report& report) : structure_(structure), report_(report) {}

  // Returns the names the body takes from the scopes around it.
  std::vector<std::string_view> check(const Body& body, const Names* outer, const std::string& where);

 private:
  void define_inputs(const Body&, Names&, const std::string& where);
  void define_results(const Body&, Names&);
  std::vector<std::vector<int>> dependencies(const Body&, const Names&, std::vector<std::string_view>& captures);
  void order(const Body&, const std::vector<std::vector<int>>& needs);
  void report_cycle(const Body&, const std::vector<std::vector<int>>& needs, const std::vector<int>& waiting);
  void check_reference(const NodeProto&, const AttributeProto&);

  Structure& structure_;
  Report& report_;
  const FunctionProto* function_ = nullptr;  // being checked, graphs inside its nodes included
};

std::string shown(std::string_view name) { return "'" + printable(name) + "'"; }

void Checker::define_inputs(const Body& body, Names& names, const std::string& where) {
  for (std::string_view name : body.inputs) {
    if (name.empty()) {
      report_.error(where + " has an input without a name");
    } else if (!names.producer.emplace(name, kInput).second) {
      report_.error(fmt::format("{} has two inputs named {}", where, shown(name)));
    } else if (names.visible_outside(name)) {
      report_.error(fmt::format("input {} of {} hides a value of the same name outside", shown(name), where));
    }
  }
  if (!body.graph) return;
  std::unordered_set<std::string_view> seen;
  auto define = [&](std::string_view name) {
    if (name.empty()) return report_.error(where + " has an initializer without a name");
    if (!seen.insert(name).second) return report_.error(fmt::format("initializer {} is given twice", shown(name)));
    const bool is_input = !names.producer.emplace(name, kInitializer).second;  // the graph's: its default value
    if (is_input && names.outer) report_.error(fmt::format("initializer {} is an input of {} too", shown(name), where));
  };
  for (const TensorProto& tensor : body.graph->initializer()) define(tensor.name());
  for (const auto& sparse : body.graph->sparse_initializer()) define(sparse.values().name());
}

void Checker::define_results(const Body& body, Names& names) {
  for (int i = 0; i < body.nodes->size(); ++i) {
    const NodeProto& node = body.nodes->Get(i);
    for (const std::string& name : node.output()) {
      if (name.empty()) continue;
      auto [found, fresh] = names.producer.emplace(name, i);
      if (!fresh) {
        std::string by = found->second == kInput         ? "as an input"
                         : found->second == kInitializer ? "as an initializer"
                                                         : "by " + describe(body.nodes->Get(found->second), 0);
        report_.error(node, 0, fmt::format("value {} is already defined {}", shown(name), by));
      } else if (names.visible_outside(name)) {
        report_.error(node, 0, fmt::format("value {} is already defined outside of this graph", shown(name)));
      }
    }
  }
}

// The names a Gradient reads beside its inputs: of xs, zs and y.
std::vector<std::string_view> names_in_attributes(const NodeProto& node) {
  std::vector<std::string_view> names;
  if (!is_gradient(node.domain(), node.op_type())) return names;
  for (const AttributeProto& attribute : node.attribute()) {
    names.insert(names.end(), attribute.strings().begin(), attribute.strings().end());
    if (attribute.name() == "y") names.push_back(attribute.s());
  }
  return names;
}

// For each node the nodes of this body that produce what it, or a graph inside it, uses.
std::vector<std::vector<int>> Checker::dependencies(const Body& body, const Names& names,
                                                    std::vector<std::string_view>& captures) {
  std::vector<std::vector<int>> needs(body.nodes->size());
  for (int i = 0; i < body.nodes->size(); ++i) {
    const NodeProto& node = body.nodes->Get(i);
    auto use = [&](std::string_view name) {
      auto found = names.producer.find(name);
      if (found != names.producer.end()) {
        if (found->second >= 0) needs[i].push_back(found->second);
        return true;
      }
      captures.push_back(name);
      return names.visible_outside(name);
    };
    for (int k = 0; k < node.input_size(); ++k) {
      if (node.input(k).empty() || use(node.input(k))) continue;
      report_.error(
          node, 0,
          fmt::format("input {} {} is not produced by any node, input or initializer", k, shown(node.input(k))));
    }
    for (std::string_view name : names_in_attributes(node))
      if (!use(name)) report_.error(node, 0, fmt::format("names {}, which is no value of the graph", shown(name)));
    auto inside = [&](const AttributeProto& attribute, const GraphProto& graph) {
      std::string where = fmt::format("{}, {}", describe(node, 0), printable(attribute.name()));
      for (std::string_view name : check(Body::of(graph), &names, where)) use(name);
    };
    for (const AttributeProto& attribute : node.attribute()) {
      check_reference(node, attribute);
      if (attribute.has_g()) inside(attribute, attribute.g());
      for (const GraphProto& graph : attribute.graphs()) inside(attribute, graph);
    }
  }
  return needs;
}

// An attribute may stand for one of the function's, under whatever name that has there.
void Checker::check_reference(const NodeProto& node, const AttributeProto& attribute) {
  const std::string& wanted = attribute.ref_attr_name();
  if (wanted.empty()) return;
  std::string text = fmt::format("attribute {} refers to {}", shown(attribute.name()), shown(wanted));
  if (!function_) return report_.error(node, 0, text + " outside of any function");
  auto named = [&](const AttributeProto& given) { return given.name() == wanted; };
  bool declared =
      std::find(function_->attribute().begin(), function_->attribute().end(), wanted) != function_->attribute().end() ||
      std::any_of(function_->attribute_proto().begin(), function_->attribute_proto().end(), named);
  if (!declared)
    report_.error(node, 0, fmt::format("{}, which is no attribute of function {}", text, shown(function_->name())));
}

void Checker::order(const Body& body, const std::vector<std::vector<int>>& needs) {
  bool sorted = true;
  int count = body.nodes->size();
  std::vector<std::vector<int>> users(count);
  std::vector<int> waiting(count, 0);
  for (int i = 0; i < count; ++i) {
    for (int need : needs[i]) {
      sorted &= need < i;
      users[need].push_back(i);
      ++waiting[i];
    }
  }
  if (sorted) return;
  std::vector<int> result;
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;  // lowest first: the order stays where it can
  for (int i = 0; i < count; ++i) {
    if (waiting[i] == 0) ready.push(i);
  }
  while (!ready.empty()) {
    int node = ready.top();
    ready.pop();
    result.push_back(node);
    for (int user : users[node]) {
      if (--waiting[user] == 0) ready.push(user);
    }
  }
  if (static_cast<int>(result.size()) < count) return report_cycle(body, needs, waiting);
  report_.warning("nodes are not listed in the order of their use; sorted");
  structure_.reordered[body.nodes] = std::move(result);
}

// Every node still waiting needs one that waits too, so walking backwards must come around.
void Checker::report_cycle(const Body& body, const std::vector<std::vector<int>>& needs,
                           const std::vector<int>& waiting) {
  constexpr size_t kShown = 10;
  std::unordered_map<int, size_t> place;
  std::vector<int> walk;
  int at =
      static_cast<int>(std::find_if(waiting.begin(), waiting.end(), [](int n) { return n > 0; }) - waiting.begin());
  while (place.emplace(at, walk.size()).second) {
    walk.push_back(at);
    at = *std::find_if(needs[at].begin(), needs[at].end(), [&](int need) { return waiting[need] > 0; });
  }
  std::string text = shown(label_of(body.nodes->Get(at)));
  size_t length = walk.size() - place[at];
  for (size_t k = 0; k < std::min(length, kShown); ++k) {
    text += " -> " + shown(label_of(body.nodes->Get(walk[walk.size() - 1 - k])));
  }
  report_.error(fmt::format("cycle: {}{}", text, length > kShown ? fmt::format(" and {} more", length - kShown) : ""));
}

std::vector<std::string_view> Checker::check(const Body& body, const Names* outer, const std::string& where) {
  if (!outer) function_ = body.function;
  Names names{outer, {}};
  std::vector<std::string_view> captures;
  define_inputs(body, names, where);
  define_results(body, names);
  order(body, dependencies(body, names, captures));
  std::unordered_set<std::string_view> outputs;
  for (std::string_view name : body.outputs) {
    if (!outputs.insert(name).second) report_.error(fmt::format("{} has two outputs named {}", where, shown(name)));
    if (names.producer.contains(name)) continue;
    captures.push_back(name);
    if (!names.visible_outside(name))
      report_.error(fmt::format("output {} of {} is never produced", shown(name), where));
  }
  return captures;
}

}  // namespace

Body Body::of(const GraphProto& graph) {
  Body body{&graph.node(), {}, {}, &graph};
  for (const auto& input : graph.input()) body.inputs.push_back(input.name());
  for (const auto& output : graph.output()) body.outputs.push_back(output.name());
  return body;
}

Body Body::of(const FunctionProto& function) {
  return {&function.node(),
          {function.input().begin(), function.input().end()},
          {function.output().begin(), function.output().end()},
          nullptr,
          &function};
}

std::string_view canonical_domain(std::string_view domain) { return domain == "ai.onnx" ? "" : domain; }
FunctionId id_of(const FunctionProto& f) { return {canonical_domain(f.domain()), f.name(), f.overload()}; }
FunctionId called_by(const NodeProto& n) { return {canonical_domain(n.domain()), n.op_type(), n.overload()}; }

const FunctionProto* Structure::function(const NodeProto& call) const {
  auto found = functions.find(called_by(call));
  return found == functions.end() ? nullptr : found->second;
}

std::vector<int> Structure::order_of(const Body& body) const {
  auto found = reordered.find(body.nodes);
  if (found != reordered.end()) return found->second;
  std::vector<int> identity(body.nodes->size());
  std::iota(identity.begin(), identity.end(), 0);
  return identity;
}

void check_graph(const GraphProto& graph, const std::string& what, Structure& structure, Report& report) {
  Checker(structure, report).check(Body::of(graph), nullptr, what);
}

Structure check_structure(const ModelProto& model, Report& report) {
  Structure structure;
  Checker checker(structure, report);
  for (const FunctionProto& function : model.functions()) {
    if (!structure.functions.emplace(id_of(function), &function).second) {
      report.error(
          fmt::format("function '{}::{}' is given twice", printable(function.domain()), printable(function.name())));
    }
    checker.check(Body::of(function), nullptr, fmt::format("function '{}'", printable(function.name())));
  }
  if (model.graph().output_size() == 0) report.error("the graph has no outputs");
  checker.check(Body::of(model.graph()), nullptr, "the graph");
  check_functions(model, structure, report);
  return structure;
}

}  // namespace lapidary::frontend
