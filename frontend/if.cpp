// If: its branches become regions. One that is known now is imported in place; else both are, and the condition is a
// Dim that the host reads. What conditions and counts have in common with loops is here too.
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"

namespace lapidary::frontend {

void arrange_arguments(Region& region, const std::vector<Value*>& order) {
  std::vector<std::unique_ptr<Value>> arranged;
  for (Value* wanted : order) {
    auto found = std::ranges::find(region.arguments, wanted, [](const auto& argument) { return argument.get(); });
    LPD_CHECK(found != region.arguments.end(), "value %{} is no argument of the region", wanted->id);
    arranged.push_back(std::move(*found));
    arranged.back()->index = static_cast<uint32_t>(arranged.size() - 1);
  }
  for (const auto& left : region.arguments) LPD_CHECK(!left || left->uses.empty(), "an argument in use is left out");
  region.arguments = std::move(arranged);
}

Dim element_of(GraphBuilder& build, Value* scalar, Interval interval) {
  return build.to_host(scalar, interval)->elements.at(0);
}

Importer::Bindings Importer::import_graph(const GraphProto& graph, Scope& scope, const Frame& frame) {
  load_initializers(graph, scope);
  return graph_results(graph, scope, frame);
}

Importer::Bindings Importer::graph_results(const GraphProto& graph, Scope& scope, const Frame& frame) {
  const Body body = Body::of(graph);
  import_body(body, scope, frame);
  Bindings results = results_of(body, scope);
  for (const Binding& result : results)
    if (result.failed || result.left_out()) throw Reported{};
  return results;
}

struct Importer::Branch {
  std::unique_ptr<Region> region;
  std::unique_ptr<RegionWriter> writer;
  Bindings results;
  std::vector<Value*> tensors;  // they are made of
};

// Checks the branch leaves hold only where it is taken.
Importer::Branch Importer::import_branch(const GraphProto& graph, Dim condition, Scope& scope, const Frame& frame) {
  Branch branch{std::make_unique<Region>(), nullptr, {}, {}};
  branch.writer = std::make_unique<RegionWriter>(*module_, *branch.region, &scope.writer);
  Scope inner{*branch.writer, &scope};
  const size_t first_check = module_->checks.size();
  branch.results = import_graph(graph, inner, frame);
  for (const Binding& result : branch.results)
    for (Value* tensor : tensors_of(result)) branch.tensors.push_back(tensor);
  DimPool& dims = module_->dims;
  for (size_t i = first_check; i < module_->checks.size(); ++i) {
    Dim& check = module_->checks[i].must_hold;
    check = dims.select(condition, check, dims.constant(1));
  }
  return branch;
}

// What a result is but for its tensors' extents must not depend on the run.
void Importer::check_forms(const Bindings& then, const Bindings& otherwise) {
  for (size_t i = 0; i < then.size(); ++i) {
    const Binding &a = then[i], &b = otherwise[i];
    const auto differ = [&](const auto& one, const auto& other) {
      return fmt::format("output {} is {} in one branch and {} in the other", i, to_string(one), to_string(other));
    };
    if (a.optional != b.optional || (a.exists() && b.exists() && schema_name(a) != schema_name(b)))
      fail("{}", differ(a, b));
    if (!same_form(a, b)) unsupported("{}: a form that only a run can tell", differ(a, b));
    const std::vector<Value*> mine = tensors_of(a), theirs = tensors_of(b);
    for (size_t k = 0; k < mine.size(); ++k)
      if (mine[k]->type.rank() != theirs[k]->type.rank())
        unsupported("{}: a rank that only a run can tell", differ(mine[k]->type, theirs[k]->type));
  }
}

Importer::Bindings Importer::import_if(const NodeProto& node, const Attributes& attributes, Value* condition,
                                       Scope& scope, const Frame& frame) {
  for (const char* name : {"then_branch", "else_branch"}) {
    const GraphProto& branch = attributes.at(name)->g();
    if (branch.input_size() > 0) fail("{} takes {}, expected none", name, counted(branch.input_size(), "input"));
    if (branch.output_size() != node.output_size())
      fail("{} yields {}, the node has {}", name, counted(branch.output_size(), "value"),
           counted(node.output_size(), "output"));
  }
  GraphBuilder& build = scope.writer.build;
  const Origin origin = build.origin;
  DimPool& dims = module_->dims;
  const Dim chosen = element_of(build, as_scalar(build, condition, "the condition"));
  if (const auto known = value_of(chosen)) {
    Scope inner{scope.writer, &scope};
    return import_graph(attributes.at(*known ? "then_branch" : "else_branch")->g(), inner, frame);
  }
  Branch branches[] = {
      import_branch(attributes.at("then_branch")->g(), chosen, scope, frame),
      import_branch(attributes.at("else_branch")->g(), dims.sub(dims.constant(1), chosen), scope, frame)};
  build.origin = origin;
  check_forms(branches[0].results, branches[1].results);

  // Where the extents of a result differ, another result says what they are.
  std::vector<Type> types;
  std::vector<int64_t> holders;
  std::vector<Value*> shapes[2];
  const size_t count = branches[0].tensors.size();
  for (size_t i = 0; i < count; ++i) {
    const Type& then = branches[0].tensors[i]->type;
    const bool same = then.shape == branches[1].tensors[i]->type.shape;
    types.push_back(then);
    holders.push_back(same ? -1 : static_cast<int64_t>(count + shapes[0].size()));
    if (holders.back() < 0) continue;
    for (int k = 0; k < 2; ++k) {
      branches[k].writer->build.origin = origin;
      shapes[k].push_back(branches[k].writer->build.shape_of(branches[k].tensors[i]));
    }
  }
  for (const Value* shape : shapes[0]) {
    types.push_back(shape->type);
    holders.push_back(-1);
  }
  std::vector<Value*> operands = branches[0].writer->captures;
  for (Value* capture : branches[1].writer->captures)
    if (std::ranges::find(operands, capture) == operands.end()) operands.push_back(capture);
  for (int k = 0; k < 2; ++k) {
    RegionWriter& writer = *branches[k].writer;
    std::vector<Value*> arguments;
    for (Value* operand : operands) {
      auto found = std::ranges::find(writer.captures, operand);
      arguments.push_back(found != writer.captures.end()
                              ? writer.arguments[static_cast<size_t>(found - writer.captures.begin())]
                              : add_argument(*module_, *branches[k].region, operand->type));
    }
    arrange_arguments(*branches[k].region, arguments);
    std::vector<Value*> yielded = branches[k].tensors;
    yielded.insert(yielded.end(), shapes[k].begin(), shapes[k].end());
    writer.build.yield(yielded);
  }
  Params params{{"condition", chosen}};
  if (!shapes[0].empty()) params.set("shapes", holders);
  Op& op = insert_op(*module_, build.region, build.before, OpKind::If, operands, std::move(params), types, origin);
  for (Branch& branch : branches) {
    branch.region->owner = &op;
    op.regions.push_back(std::move(branch.region));
  }
  for (size_t i = 0; i < count; ++i) {
    if (holders[i] < 0) continue;
    const Value* extents = build.to_host(op.result(static_cast<int>(holders[i])), kExtents);
    Value* result = op.result(static_cast<int>(i));
    const Shape& otherwise = branches[1].tensors[i]->type.shape;
    for (size_t axis = 0; axis < otherwise.size(); ++axis)
      if (result->type.shape[axis] != otherwise[axis]) result->type.shape[axis] = extents->elements[axis];
  }
  int next = 0;
  Bindings results;
  for (const Binding& result : branches[0].results)
    results.push_back(with_tensors(result, [&](Value*) { return op.result(next++); }));
  return results;
}

}  // namespace lapidary::frontend
