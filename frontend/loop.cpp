// Loop: its body becomes a region, once it is known what that carries (loop_body.cpp). Scan is a Loop whose iterations
// gather their slices (scan.cpp).
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

bool is_true(const Module& module, const Value* value) {
  const auto known = scalar_of(module, value);
  return known && known->integer != 0;
}

}  // namespace

Importer::Bindings Importer::roll(LoopBody& loop, Scope& scope, const Frame& frame) {
  const size_t checks = module_->checks.size();
  const std::map<std::string, int> missing = missing_;
  const Origin origin = scope.writer.build.origin;
  // What may change when the body does not even fit what it starts with: shapes, then also lengths.
  bool any_shape = false;
  enum { None, Growing, Stacks } lengths = None;
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
    if (!any_shape && !loop.carried().empty()) {
      any_shape = true;
      loop.assume_any_shape();
      continue;
    }
    any_shape = false;
    if (lengths == None && loop.has_sequences()) {
      lengths = Growing;
      for (size_t i = 0; i < loop.given.size(); ++i)
        if (loop.given[i].sequence) loop.assume_growing(i);
      continue;
    }
    if (lengths == Growing) {
      lengths = Stacks;
      loop.assume_stacks(scope.writer.build);
      if (!loop.stacks.empty()) continue;
    }
    loop.changing.clear();
    try_body(loop, scope, frame, false);
    throw Reported{};
  }
}

Importer::Bindings Importer::finish_loop(LoopBody& loop, Attempt& attempt, Scope& scope) {
  GraphBuilder &build = scope.writer.build, &in = attempt.writer->build;
  DimPool& dims = module_->dims;
  const bool passes_on = attempt.condition_after == attempt.condition_before;  // no body changes it
  const bool asks = loop.counts && !passes_on && !is_true(*module_, attempt.condition_after);
  Dim trips = loop.trips;
  if (!asks && loop.condition && !is_true(*module_, loop.condition))
    trips = dims.select(element_of(build, loop.condition), trips, dims.constant(0));
  if (!asks && value_of(trips) == kDimMax) fail("a loop that never ends");
  if (!asks && attempt.condition_before && !attempt.condition_before->uses.empty()) {
    GraphBuilder first = in;
    first.before = attempt.region->ops.begin();
    attempt.condition_before->replace_all_uses(first.scalar(DType::Bool, 1));
  }

  // Operands, arguments and yields of the loop, side by side: carried values, holders, then captures.
  std::vector<Value*> operands, arguments, yields;
  std::vector<int64_t> holders;
  const std::vector<Value*> starts = loop.carried();
  std::vector<size_t> place(starts.size());
  auto carry = [&](Value* start, Value* argument, Value* yielded) {
    operands.push_back(start), arguments.push_back(argument), yields.push_back(yielded);
    holders.push_back(-1);
    return operands.size() - 1;
  };
  if (asks)
    carry(loop.condition ? loop.condition : build.scalar(DType::Bool, 1), attempt.condition_before,
          attempt.condition_after);
  for (size_t i = 0; i < starts.size(); ++i)
    if (!loop.kept.contains(i)) place[i] = carry(starts[i], attempt.carried[i], attempt.yielded[i]);
  for (size_t i = 0; i < starts.size(); ++i) {
    if (!attempt.holders[i]) continue;
    const size_t holder = carry(build.shape_of(starts[i]), attempt.holders[i], in.shape_of(attempt.yielded[i]));
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
  std::vector<Value*> last, stacks;
  for (size_t i = 0; i < starts.size(); ++i) {
    last.push_back(loop.kept.contains(i) ? starts[i] : result(static_cast<int64_t>(place[i])));
    if (!loop.kept.contains(i))
      name_extents(last[i], holders[place[i]], 0, [&](size_t axis) { return loop.changing.contains({i, axis}); });
  }
  for (size_t i = 0; i < attempt.slices.size(); ++i) {
    stacks.push_back(result(carried + static_cast<int64_t>(i)));
    if (asks) stacks[i]->type.shape[0] = element_of(build, op.results.back().get(), kExtents);
    name_extents(stacks[i], slice_holders[i], 1,
                 [&](size_t axis) { return speaks_of(attempt.slices[i]->type.shape[axis], read); });
  }
  return results_after(loop, attempt, last, stacks, build);
}

// What the loop's names are made of: the tensors it carried, and the stacks of scanned outputs, then of what it
// appended.
Importer::Bindings Importer::results_after(const LoopBody& loop, const Attempt& attempt,
                                           const std::vector<Value*>& last, const std::vector<Value*>& stacks,
                                           GraphBuilder& build) {
  DimPool& dims = build.module.dims;
  const auto growing = static_cast<size_t>(std::ranges::count_if(attempt.appended, [](size_t n) { return n > 0; }));
  const size_t scanned = stacks.size() - growing;
  size_t next = 0, grown = scanned;
  Bindings results;
  for (size_t i = 0; i < loop.given.size(); ++i) {
    if (loop.stacks.contains(i)) {
      results.push_back(Sequence{loop.given[i].sequence->dtype, {{last[next++], Sequence::Run::Kind::Stack}}});
    } else if (!loop.growing.contains(i)) {
      results.push_back(with_tensors(loop.given[i], [&](Value*) { return last[next++]; }));
    } else if (const auto parts = static_cast<int64_t>(attempt.appended[i])) {
      Value* stack = stacks[grown++];
      Shape shape = stack->type.shape;  // [trips, parts, …] when there are several
      if (parts > 1) {
        shape.erase(shape.begin());
        shape[0] = dims.mul(stack->type.shape[0], shape[0]);
      }
      Sequence sequence = *loop.given[i].sequence;
      sequence.runs.push_back({build.reshape(stack, shape), Sequence::Run::Kind::Stack});
      results.push_back(sequence);
    } else {
      results.push_back(loop.given[i]);
    }
    results.back().optional = attempt.after[i].optional;
  }
  results.insert(results.end(), stacks.begin(), stacks.begin() + static_cast<int64_t>(scanned));
  return results;
}

// Rolled where it can be; else, where it is refused alone, each iteration by itself.
Importer::Bindings Importer::roll_or_unroll(LoopBody& loop, int64_t trips, Scope& scope, const Frame& frame) {
  const size_t checks = module_->checks.size();
  const std::map<std::string, int> missing = missing_;
  const Origin origin = scope.writer.build.origin;
  Diagnostics diagnostics;
  Diagnostics* before = report_.redirect(&diagnostics);
  std::optional<Error> refused;
  Bindings results;
  try {
    results = roll(loop, scope, frame);
  } catch (const Reported&) {
  } catch (const Error& error) { refused = error; }
  report_.redirect(before);
  const auto wrong = [](const auto& error) { return error.fault != Fault::Unsupported; };
  const bool failed = refused || diagnostics.failed();
  if (failed && !(refused && wrong(*refused)) && std::ranges::none_of(diagnostics.errors(), wrong)) {
    module_->checks.resize(checks);
    missing_ = missing;
    scope.writer.build.origin = origin;
    if (auto unrolled = unroll(loop, trips, scope, frame)) return *unrolled;
    scope.writer.build.origin = origin;
  }
  report_.repeat(diagnostics);
  if (refused) throw *refused;
  if (failed) throw Reported{};
  return results;
}

Importer::Bindings Importer::import_loop(const NodeProto& node, const Attributes& attributes, const Bindings& inputs,
                                         Scope& scope, const Frame& frame) {
  GraphBuilder& build = scope.writer.build;
  const GraphProto& graph = attributes.at("body")->g();
  const int carried = std::max(node.input_size() - 2, 0);
  if (graph.input_size() != carried + 2)
    fail("the body takes {}, expected {}", counted(graph.input_size(), "input"), carried + 2);
  if (graph.output_size() != node.output_size() + 1 || node.output_size() < carried)
    fail("the body yields {}, the node has {} and carries {}", counted(graph.output_size(), "value"),
         counted(node.output_size(), "output"), counted(carried, "value"));
  DimPool& dims = module_->dims;
  auto input = [&](size_t i) { return i < inputs.size() ? inputs[i] : Binding(); };
  LoopBody loop{graph, dims.constant(kDimMax), true, nullptr, {}};
  if (Value* trips = input(0).value)
    loop.trips = dims.max(element_of(build, as_scalar(build, trips, "the number of iterations")), dims.constant(0));
  if (Value* condition = input(1).value) loop.condition = as_scalar(build, condition, "the condition");
  for (size_t i = 0; i < static_cast<size_t>(carried); ++i) {
    loop.given.push_back(input(i + 2));
    if (loop.given[i].left_out()) fail("loop-carried value {} is left out", i);
  }
  const auto trips = value_of(loop.trips);
  return trips && *trips <= kMostUnrolled ? roll_or_unroll(loop, *trips, scope, frame) : roll(loop, scope, frame);
}

}  // namespace lapidary::frontend
