// Loop: its body becomes a region. Scan is a Loop whose iterations gather their slices (scan.cpp).
//
// The graph's types are static but for extents, so an extent that a loop changes must be named. Which do is found by
// trying: the body is imported as if every carried value kept its shape; an axis that comes out different is then one
// whose extent the loop carries beside the value (a holder, i64[rank], read by the host in each iteration), and the
// body is imported again. So it is when the body hands a value on as it is: that one is no longer carried but read from
// outside, a constant as such, which kernels can prepare for.
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

// At bodies of loops, within each other too, and of the nodes in all of them.
constexpr int kMostAttempts = 1000;
constexpr int64_t kMostAttemptedNodes = 500'000;

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

Value* as_declared(GraphBuilder& build, Value* scalar, const onnx::ValueInfoProto& declared) {
  const bool one_axis = declared.type().tensor_type().shape().dim_size() == 1;
  return one_axis ? build.reshape(scalar, {build.dim(1)}) : scalar;
}

}  // namespace

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

}  // namespace lapidary::frontend
