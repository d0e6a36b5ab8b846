// If, Loop and Scan: graphs inside nodes become regions. A branch that is known now is imported in place; else both
// are, and the condition is a Dim that the host reads. Scan is a Loop whose iterations gather their slices.
//
// The graph's types are static but for extents, so an extent that a loop changes must be named. Which do is found by
// trying: the body is imported as if every carried value kept its shape; an axis that comes out different is then one
// whose extent the loop carries beside the value (a holder, i64[rank], read by the host in each iteration), and the
// body is imported again. So it is when the body hands a value on as it is: that one is no longer carried but read from
// outside, a constant as such, which kernels can prepare for.
#include <algorithm>
#include <set>

#include "frontend/importer.h"
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

// At bodies of loops, within each other too, and of the nodes in all of them.
constexpr int kMostAttempts = 1000;
constexpr int64_t kMostAttemptedNodes = 500'000;

// The region's arguments in this order; those not listed are not used.
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

std::set<uint32_t> elements_read_in(const Region& region) {
  std::set<uint32_t> ids;
  for (const Op& op : region.ops)
    if (op.is(OpKind::ToHost)) ids.insert(op.result()->id);
  return ids;
}

bool speaks_of(Dim dim, const std::set<uint32_t>& ids) {
  if (!speaks_of_elements(dim)) return false;
  if (dim->kind == DimKind::Element) return ids.contains(dim->value_id);
  return std::ranges::any_of(dim->operands, [&](Dim operand) { return speaks_of(operand, ids); });
}

bool is_true(const Module& module, const Value* value) {
  const auto known = scalar_of(module, value);
  return known && known->integer != 0;
}

// Some exporters declare conditions and counts with one axis of one element.
Value* as_scalar(GraphBuilder& build, Value* value, const char* what) {
  for (Dim extent : value->type.shape)
    if (value_of(extent) != 1) fail("{} is {}, expected one element", what, to_string(value->type));
  return value->type.rank() == 0 ? value : build.reshape(value, {});
}

Value* as_declared(GraphBuilder& build, Value* scalar, const onnx::ValueInfoProto& declared) {
  const bool one_axis = declared.type().tensor_type().shape().dim_size() == 1;
  return one_axis ? build.reshape(scalar, {build.dim(1)}) : scalar;
}

Dim element_of(GraphBuilder& build, Value* scalar, Interval interval = {kDimMin, kDimMax}) {
  return build.to_host(scalar, interval)->elements.at(0);
}

}  // namespace

std::vector<Value*> Importer::import_graph(const GraphProto& graph, Scope& scope, const Frame& frame) {
  load_initializers(graph, scope);
  const Body body = Body::of(graph);
  import_body(body, scope, frame);
  std::vector<Value*> results = results_of(body, scope);
  if (std::ranges::find(results, nullptr) != results.end()) throw Reported{};
  return results;
}

// --- If ------------------------------------------------------------------------------------------------------------

struct Importer::Branch {
  std::unique_ptr<Region> region;
  std::unique_ptr<RegionWriter> writer;
  std::vector<Value*> results;
};

// Checks the branch leaves hold only where it is taken.
Importer::Branch Importer::import_branch(const GraphProto& graph, Dim condition, Scope& scope, const Frame& frame) {
  Branch branch{std::make_unique<Region>(), nullptr, {}};
  branch.writer = std::make_unique<RegionWriter>(*module_, *branch.region);
  Scope inner{*branch.writer, &scope};
  const size_t first_check = module_->checks.size();
  branch.results = import_graph(graph, inner, frame);
  DimPool& dims = module_->dims;
  for (size_t i = first_check; i < module_->checks.size(); ++i) {
    Dim& check = module_->checks[i].must_hold;
    check = dims.select(condition, check, dims.constant(1));
  }
  return branch;
}

std::vector<Value*> Importer::import_if(const NodeProto& node, const Attributes& attributes, Value* condition,
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

  // Where the extents of a result differ, another result says what they are.
  std::vector<Type> types;
  std::vector<int64_t> holders;
  std::vector<Value*> shapes[2];
  const size_t count = branches[0].results.size();
  for (size_t i = 0; i < count; ++i) {
    const Type &then = branches[0].results[i]->type, &otherwise = branches[1].results[i]->type;
    if (then.dtype != otherwise.dtype)
      fail("output {} is {} in one branch and {} in the other", i, to_string(then), to_string(otherwise));
    if (then.rank() != otherwise.rank())
      unsupported("output {} is {} in one branch and {} in the other: a rank that only a run can tell", i,
                  to_string(then), to_string(otherwise));
    types.push_back(then);
    holders.push_back(then.shape == otherwise.shape ? -1 : static_cast<int64_t>(count + shapes[0].size()));
    if (holders.back() < 0) continue;
    for (int k = 0; k < 2; ++k) {
      branches[k].writer->build.origin = origin;
      shapes[k].push_back(branches[k].writer->build.shape_of(branches[k].results[i]));
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
    std::vector<Value*> yielded = branches[k].results;
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
  std::vector<Value*> results;
  for (size_t i = 0; i < count; ++i) {
    Value* result = op.result(static_cast<int>(i));
    if (holders[i] >= 0) {
      const Value* extents = build.to_host(op.result(static_cast<int>(holders[i])), kExtents);
      const Shape& otherwise = branches[1].results[i]->type.shape;
      for (size_t axis = 0; axis < otherwise.size(); ++axis)
        if (result->type.shape[axis] != otherwise[axis]) result->type.shape[axis] = extents->elements[axis];
    }
    results.push_back(result);
  }
  return results;
}

// --- Loop ----------------------------------------------------------------------------------------------------------

struct Importer::LoopBody {
  struct Scanned {
    Value* whole;
    int axis;
    bool reverse;
  };
  const GraphProto& graph;
  Dim trips;
  bool counts;                  // Loop: the body takes the iteration and a condition, and yields a condition first
  Value* condition;             // before the first iteration; null: true
  std::vector<Value*> carried;  // what they start as
  std::vector<Scanned> scanned;
  std::set<std::pair<size_t, size_t>> changing;  // (carried value, axis)
  std::set<size_t> kept;  // carried values that the body hands on as they are: no part of the loop

  bool changes(size_t i) const {
    return std::ranges::any_of(changing, [&](const auto& entry) { return entry.first == i; });
  }
};

// A body imported on the assumption of LoopBody::changing and kept.
struct Importer::Attempt {
  std::unique_ptr<Region> region;
  std::unique_ptr<RegionWriter> writer;
  Value *iteration, *condition_before, *condition_after;  // conditions: null when there are none
  std::vector<Value*> carried, holders;                   // arguments; a holder is null where the shape stays
  std::vector<Value*> yielded, slices;
  bool failed = false, held = true;  // held: the assumption
};

Importer::Attempt Importer::try_body(LoopBody& loop, Scope& scope, const Frame& frame, bool silent) {
  attempted_nodes_ += loop.graph.node_size();
  if (++attempts_ > kMostAttempts ||
      attempted_nodes_ > std::max<int64_t>(kMostAttemptedNodes, 2 * loop.graph.node_size()))
    unsupported("loops within loops whose shapes change in too many ways");
  Attempt attempt{std::make_unique<Region>(), nullptr, nullptr, nullptr, nullptr, {}, {}, {}, {}};
  attempt.writer = std::make_unique<RegionWriter>(*module_, *attempt.region);
  GraphBuilder& build = attempt.writer->build;
  build.origin = scope.writer.build.origin;
  Scope inner{*attempt.writer, &scope};
  const GraphProto& graph = loop.graph;
  attempt.iteration = add_argument(*module_, *attempt.region, Type::tensor(DType::I64, {}));
  int input = 0;
  auto bind = [&](Value* value) { inner.values[graph.input(input++).name()] = {value, false}; };
  if (loop.counts) {
    bind(as_declared(build, attempt.iteration, graph.input(0)));
    attempt.condition_before = add_argument(*module_, *attempt.region, Type::tensor(DType::Bool, {}));
    bind(as_declared(build, attempt.condition_before, graph.input(1)));
  }
  for (size_t i = 0; i < loop.carried.size(); ++i) {
    Type type = loop.carried[i]->type;
    attempt.holders.push_back(nullptr);
    if (loop.kept.contains(i)) {
      attempt.carried.push_back(inside(*attempt.writer, loop.carried[i]));
      bind(attempt.carried.back());
      continue;
    }
    if (loop.changes(i)) {
      attempt.holders[i] = add_argument(*module_, *attempt.region, Type::tensor(DType::I64, {build.dim(type.rank())}));
      const Value* extents = build.to_host(attempt.holders[i], kExtents);
      for (size_t axis = 0; axis < type.shape.size(); ++axis)
        if (loop.changing.contains({i, axis})) type.shape[axis] = extents->elements[axis];
    }
    attempt.carried.push_back(add_argument(*module_, *attempt.region, type));
    bind(attempt.carried.back());
  }
  for (const LoopBody::Scanned& scanned : loop.scanned) {
    Value* at = attempt.iteration;
    if (scanned.reverse) at = build.sub(build.dims_tensor({module_->dims.sub(loop.trips, build.dim(1))}, {}), at);
    bind(build.gather(inside(*attempt.writer, scanned.whole), at, scanned.axis));
  }

  Diagnostics diagnostics;
  Diagnostics* before = silent ? report_.redirect(&diagnostics) : nullptr;
  std::vector<Value*> results;
  try {
    results = import_graph(graph, inner, frame);
  } catch (const Reported&) { attempt.failed = true; } catch (const Error& error) {
    if (silent) report_.redirect(before);
    if (error.fault == Fault::Internal || !silent) throw;
    attempt.failed = true;
  }
  if (silent) {
    report_.redirect(before);
    attempt.failed |= diagnostics.failed();
    for (const Diagnostic& warning : diagnostics.warnings()) attempt_warnings_.push_back(warning.message);
  }
  if (attempt.failed) return attempt;
  size_t next = 0;
  build.origin = scope.writer.build.origin;
  if (loop.counts) {
    attempt.condition_after = as_scalar(build, results[next++], "the body's condition");
    if (attempt.condition_after->type.dtype != DType::Bool)
      fail("the body's condition is {}, expected bool", to_string(attempt.condition_after->type));
  }
  for (size_t i = 0; i < loop.carried.size(); ++i) attempt.yielded.push_back(results[next++]);
  attempt.slices.assign(results.begin() + static_cast<int64_t>(next), results.end());
  for (size_t i = 0; i < loop.carried.size(); ++i) {
    if (loop.kept.contains(i)) continue;
    const Type &from = attempt.carried[i]->type, &to = attempt.yielded[i]->type;
    if (from.dtype != to.dtype || from.rank() != to.rank())
      unsupported("loop-carried value {} starts as {} and becomes {}", i, to_string(from), to_string(to));
    for (size_t axis = 0; axis < from.shape.size(); ++axis)
      if (from.shape[axis] != to.shape[axis] && loop.changing.insert({i, axis}).second) attempt.held = false;
  }
  if (!attempt.held) return attempt;
  for (size_t i = 0; i < loop.carried.size(); ++i)
    if (attempt.yielded[i] == attempt.carried[i] && !attempt.holders[i] && loop.kept.insert(i).second)
      attempt.held = false;
  return attempt;
}

std::vector<Value*> Importer::write_loop(LoopBody& loop, Scope& scope, const Frame& frame) {
  const size_t checks = module_->checks.size();
  const std::map<std::string, int> missing = missing_;
  const Origin origin = scope.writer.build.origin;
  bool any = false;  // every shape may change: when the body does not even fit what it starts with
  while (true) {
    attempt_warnings_.clear();
    Attempt attempt = try_body(loop, scope, frame, true);
    scope.writer.build.origin = origin;
    if (!attempt.failed && attempt.held) {
      for (const std::string& warning : attempt_warnings_) report_.repeat_warning(warning);
      return finish_loop(loop, attempt, scope);
    }
    module_->checks.resize(checks);
    missing_ = missing;
    if (!attempt.failed) continue;
    if (any) loop.changing.clear();
    if (any || loop.carried.empty()) {
      try_body(loop, scope, frame, false);
      throw Reported{};
    }
    any = true;
    for (size_t i = 0; i < loop.carried.size(); ++i)
      for (int axis = 0; axis < loop.carried[i]->type.rank(); ++axis) loop.changing.insert({i, axis});
  }
}

std::vector<Value*> Importer::finish_loop(LoopBody& loop, Attempt& attempt, Scope& scope) {
  GraphBuilder &build = scope.writer.build, &in = attempt.writer->build;
  DimPool& dims = module_->dims;
  const bool passes_on = attempt.condition_after == attempt.condition_before;  // no body changes it
  const bool asks = loop.counts && !passes_on && !is_true(*module_, attempt.condition_after);
  Dim trips = loop.trips;
  if (!asks && loop.condition && !is_true(*module_, loop.condition))
    trips = dims.select(element_of(build, loop.condition), trips, dims.constant(0));
  if (!asks && value_of(trips) == kDimMax) fail("a loop that never ends");
  if (!asks && attempt.condition_before && !attempt.condition_before->uses.empty())
    attempt.condition_before->replace_all_uses(in.scalar(DType::Bool, 1));

  // Operands, arguments and yields of the loop, side by side: carried values, holders, then captures.
  std::vector<Value*> operands, arguments, yields;
  std::vector<int64_t> holders;
  std::vector<size_t> place(loop.carried.size());
  auto carry = [&](Value* start, Value* argument, Value* yielded) {
    operands.push_back(start), arguments.push_back(argument), yields.push_back(yielded);
    holders.push_back(-1);
    return operands.size() - 1;
  };
  if (asks)
    carry(loop.condition ? loop.condition : build.scalar(DType::Bool, 1), attempt.condition_before,
          attempt.condition_after);
  for (size_t i = 0; i < loop.carried.size(); ++i)
    if (!loop.kept.contains(i)) place[i] = carry(loop.carried[i], attempt.carried[i], attempt.yielded[i]);
  for (size_t i = 0; i < loop.carried.size(); ++i) {
    if (!attempt.holders[i]) continue;
    const size_t holder = carry(build.shape_of(loop.carried[i]), attempt.holders[i], in.shape_of(attempt.yielded[i]));
    holders[place[i]] = static_cast<int64_t>(holder);
  }
  const std::set<uint32_t> read = elements_read_in(*attempt.region);
  std::vector<int64_t> slice_holders;
  for (Value* slice : attempt.slices) {
    slice_holders.push_back(-1);
    if (std::ranges::none_of(slice->type.shape, [&](Dim extent) { return speaks_of(extent, read); })) continue;
    const std::vector<int64_t> rank{slice->type.rank()};
    Value* before = add_argument(*module_, *attempt.region, Type::tensor(DType::I64, {in.dim(rank[0])}));
    const Value* last = in.to_host(before, kExtents);
    const Dim first = dims.equal(element_of(in, attempt.iteration), dims.constant(0));
    for (size_t axis = 0; axis < slice->type.shape.size(); ++axis)
      module_->check(dims.select(first, dims.constant(1), dims.equal(last->elements[axis], slice->type.shape[axis])),
                     module_->describe(build.origin) + ": the slices of a scanned output must have one shape");
    slice_holders.back() = static_cast<int64_t>(carry(
        build.dims_tensor(Shape(static_cast<size_t>(rank[0]), dims.constant(0)), rank), before, in.shape_of(slice)));
  }
  const auto carried = static_cast<int64_t>(operands.size());
  yields.insert(yields.end(), attempt.slices.begin(), attempt.slices.end());
  holders.insert(holders.end(), slice_holders.begin(), slice_holders.end());
  operands.insert(operands.end(), attempt.writer->captures.begin(), attempt.writer->captures.end());
  arguments.insert(arguments.end(), attempt.writer->arguments.begin(), attempt.writer->arguments.end());
  arguments.insert(arguments.begin(), attempt.iteration);
  arrange_arguments(*attempt.region, arguments);
  in.yield(yields);

  std::vector<Type> types;
  for (int64_t i = 0; i < carried; ++i) types.push_back(operands[static_cast<size_t>(i)]->type);
  for (const Value* slice : attempt.slices) {
    types.push_back(slice->type);
    types.back().shape.insert(types.back().shape.begin(), trips);
  }
  if (asks) types.push_back(Type::tensor(DType::I64, {}));
  Params params{{"trips", trips}, {"carried", carried}};
  if (asks) params.set("while", int64_t{1});
  if (std::ranges::any_of(holders, [](int64_t holder) { return holder >= 0; })) params.set("shapes", holders);
  Op& op =
      insert_op(*module_, build.region, build.before, OpKind::Loop, operands, std::move(params), types, build.origin);
  attempt.region->owner = &op;
  op.regions.push_back(std::move(attempt.region));

  auto result = [&](int64_t i) { return op.result(static_cast<int>(i)); };
  auto name_extents = [&](Value* value, int64_t holder, size_t first_axis, auto changes) {
    if (holder < 0) return;
    const Value* extents = build.to_host(result(holder), kExtents);
    for (size_t axis = first_axis; axis < value->type.shape.size(); ++axis)
      if (changes(axis - first_axis)) value->type.shape[axis] = extents->elements[axis - first_axis];
  };
  std::vector<Value*> results;
  for (size_t i = 0; i < loop.carried.size(); ++i) {
    if (loop.kept.contains(i)) {
      results.push_back(loop.carried[i]);
      continue;
    }
    results.push_back(result(static_cast<int64_t>(place[i])));
    name_extents(results[i], holders[place[i]], 0, [&](size_t axis) { return loop.changing.contains({i, axis}); });
  }
  for (size_t i = 0; i < attempt.slices.size(); ++i) {
    Value* stack = result(carried + static_cast<int64_t>(i));
    if (asks) stack->type.shape[0] = element_of(build, op.results.back().get(), kExtents);
    name_extents(stack, slice_holders[i], 1,
                 [&](size_t axis) { return speaks_of(attempt.slices[i]->type.shape[axis], read); });
    results.push_back(stack);
  }
  return results;
}

std::vector<Value*> Importer::import_loop(const NodeProto& node, const Attributes& attributes,
                                          const std::vector<Value*>& inputs, Scope& scope, const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const GraphProto& graph = attributes.at("body")->g();
  const int carried = std::max(node.input_size() - 2, 0);
  if (graph.input_size() != carried + 2)
    fail("the body takes {}, expected {}", counted(graph.input_size(), "input"), carried + 2);
  if (graph.output_size() != node.output_size() + 1 || node.output_size() < carried)
    fail("the body yields {}, the node has {} and carries {}", counted(graph.output_size(), "value"),
         counted(node.output_size(), "output"), counted(carried, "value"));
  DimPool& dims = module_->dims;
  auto input = [&](size_t i) { return i < inputs.size() ? inputs[i] : nullptr; };
  LoopBody loop{graph, dims.constant(kDimMax), true, nullptr, {}, {}, {}};
  if (input(0))
    loop.trips = dims.max(element_of(build, as_scalar(build, input(0), "the number of iterations")), dims.constant(0));
  if (input(1)) loop.condition = as_scalar(build, input(1), "the condition");
  for (size_t i = 0; i < static_cast<size_t>(carried); ++i) {
    if (!input(i + 2)) fail("loop-carried value {} is left out", i);
    loop.carried.push_back(input(i + 2));
  }
  return write_loop(loop, scope, frame);
}

// --- Scan ----------------------------------------------------------------------------------------------------------

std::vector<Value*> Importer::import_scan(const NodeProto& node, int opset, const Attributes& attributes,
                                          const std::vector<Value*>& inputs, Scope& scope, const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const GraphProto& graph = attributes.at("body")->g();
  const bool batched = opset < 9;  // Scan-8: lengths first, and an axis of batches before all others
  std::vector<Value*> given(inputs.begin() + (batched ? std::min<int64_t>(1, std::ssize(inputs)) : 0), inputs.end());
  if (batched && !inputs.empty() && inputs[0]) unsupported("sequence_lens of Scan before opset 9");
  if (std::ranges::find(given, nullptr) != given.end()) fail("an input is left out");
  const int64_t scanned = attributes.at("num_scan_inputs")->i(), count = std::ssize(given);
  if (scanned < 1 || scanned > count) fail("num_scan_inputs is {}, there are {}", scanned, counted(count, "input"));
  const int64_t states = count - scanned, slices = graph.output_size() - states;
  if (graph.input_size() != count) fail("the body takes {}, expected {}", counted(graph.input_size(), "input"), count);
  if (slices < 0 || graph.output_size() != node.output_size())
    fail("the body yields {}, the node has {}", counted(graph.output_size(), "value"),
         counted(node.output_size(), "output"));
  auto list = [&](const char* name, int64_t size) {
    std::vector<int64_t> values(static_cast<size_t>(size), 0);
    auto found = attributes.find(name);
    if (found == attributes.end()) return values;
    if (found->second->ints_size() != size)
      fail("{} has {} entries, expected {}", name, found->second->ints_size(), size);
    return std::vector<int64_t>(found->second->ints().begin(), found->second->ints().end());
  };
  if (batched)
    for (Value*& value : given) {
      if (value->type.rank() < 1 || value_of(value->type.shape[0]) != 1)
        unsupported("Scan before opset 9 over a batch of more than 1");
      value = build.drop_axes(value, {0});
    }
  for (const char* name : {"directions", "scan_input_directions", "scan_output_directions"}) {
    auto found = attributes.find(name);
    if (found == attributes.end()) continue;
    for (int64_t direction : found->second->ints())
      if (direction != 0 && direction != 1) fail("{} has {}, expected 0 or 1", name, direction);
  }
  LoopBody loop{graph, nullptr, false, nullptr, {given.begin(), given.begin() + states}, {}, {}};
  const std::vector<int64_t> axes = list("scan_input_axes", scanned),
                             directions = list(batched ? "directions" : "scan_input_directions", scanned);
  DimPool& dims = module_->dims;
  for (size_t i = 0; i < static_cast<size_t>(scanned); ++i) {
    Value* whole = given[static_cast<size_t>(states) + i];
    if (whole->type.rank() == 0) fail("scanned input {} has rank 0", i);
    const int axis = normalized_axis(axes[i], whole->type.rank());
    const Dim extent = whole->type.shape[static_cast<size_t>(axis)];
    if (!loop.trips) loop.trips = extent;
    if (known_unequal(loop.trips, extent))
      fail("scanned inputs have {} and {} elements along their axes", to_string(loop.trips), to_string(extent));
    module_->check(dims.equal(loop.trips, extent),
                   module_->describe(build.origin) + ": scanned inputs must have one number of slices");
    loop.scanned.push_back({whole, axis, directions[i] != 0});
  }
  std::vector<Value*> results = write_loop(loop, scope, frame);
  const std::vector<int64_t> out_axes = list("scan_output_axes", slices),
                             out_directions = list("scan_output_directions", slices);
  for (size_t i = 0; i < static_cast<size_t>(slices); ++i) {
    Value*& stack = results[static_cast<size_t>(states) + i];
    const int rank = stack->type.rank();
    if (out_directions[i] != 0) {
      Shape starts(static_cast<size_t>(rank), dims.constant(0));
      std::vector<int64_t> steps(static_cast<size_t>(rank), 1);
      starts[0] = dims.sub(stack->type.shape[0], dims.constant(1)), steps[0] = -1;
      stack = build.slice(stack, starts, steps, stack->type.shape);
    }
    std::vector<int64_t> perm = axes_from(1, rank);
    perm.insert(perm.begin() + normalized_axis(out_axes[i], rank), 0);
    stack = build.transpose(stack, perm);
  }
  if (batched)
    for (Value*& value : results) value = build.expand_axes(value, {0});
  return results;
}

}  // namespace lapidary::frontend
