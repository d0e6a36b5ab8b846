// Loop: its body becomes a region. Scan is a Loop whose iterations gather their slices (scan.cpp).
//
// The graph's types are static but for extents, so an extent that a loop changes must be named. Which do is found by
// trying: the body is imported as if every carried value kept its shape; an axis that comes out different is then one
// whose extent the loop carries beside the value (a holder, i64[rank], read by the host in each iteration), and the
// body is imported again. So it is when the body hands a value on as it is: that one is no longer carried but read from
// outside, a constant as such, which kernels can prepare for.
//
// Of a sequence the loop carries the parts, when the body gives as many as it takes. One that it only appends to grows:
// the body sees what was there before as something it cannot read, and what it appends are slices, stacked like those
// of scanned outputs. Where neither holds and the number of iterations is known, they are imported one by one
// (unroll.cpp).
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

}  // namespace

Value* as_declared(GraphBuilder& build, Value* scalar, const onnx::ValueInfoProto& declared) {
  const bool one_axis = declared.type().tensor_type().shape().dim_size() == 1;
  return one_axis ? build.reshape(scalar, {build.dim(1)}) : scalar;
}

std::vector<Value*> Importer::LoopBody::carried() const {
  std::vector<Value*> all;
  for (size_t i = 0; i < given.size(); ++i) {
    if (growing.contains(i)) continue;
    const std::vector<Value*> tensors = tensors_of(given[i]);
    all.insert(all.end(), tensors.begin(), tensors.end());
  }
  return all;
}

// A body imported on the assumptions of LoopBody.
struct Importer::Attempt {
  std::unique_ptr<Region> region;
  std::unique_ptr<RegionWriter> writer;
  Value *iteration = nullptr, *condition_before = nullptr, *condition_after = nullptr;  // conditions: null for none
  std::vector<Value*> carried = {}, holders = {};  // arguments; a holder is null where the shape stays
  Bindings before = {}, after = {};                // what the carried names are at either end of the body
  std::vector<Value*> yielded = {}, slices = {};
  std::vector<size_t> appended = {};  // for each of `after`: parts, the slices behind those of scanned outputs
  bool failed = false, held = true;   // held: the assumptions
};

void Importer::bind_arguments(LoopBody& loop, Attempt& attempt, Scope& inner) {
  GraphBuilder& build = attempt.writer->build;
  Region& region = *attempt.region;
  int input = 0;
  const auto bind = [&](Binding binding) {
    const onnx::ValueInfoProto& declared = loop.graph.input(input++);
    binding.optional |= declared.type().has_optional_type();
    inner.values[declared.name()] = std::move(binding);
  };
  attempt.iteration = add_argument(*module_, region, Type::tensor(DType::I64, {}));
  if (loop.counts) {
    bind(as_declared(build, attempt.iteration, loop.graph.input(0)));
    attempt.condition_before = add_argument(*module_, region, Type::tensor(DType::Bool, {}));
    bind(as_declared(build, attempt.condition_before, loop.graph.input(1)));
  }
  const std::vector<Value*> starts = loop.carried();
  for (size_t i = 0; i < starts.size(); ++i) {
    Type type = starts[i]->type;
    attempt.holders.push_back(nullptr);
    if (loop.kept.contains(i)) {
      attempt.carried.push_back(inside(*attempt.writer, starts[i]));
      continue;
    }
    if (loop.changes(i)) {
      attempt.holders[i] = add_argument(*module_, region, Type::tensor(DType::I64, {build.dim(type.rank())}));
      const Value* extents = build.to_host(attempt.holders[i], kExtents);
      for (size_t axis = 0; axis < type.shape.size(); ++axis)
        if (loop.changing.contains({i, axis})) type.shape[axis] = extents->elements[axis];
    }
    attempt.carried.push_back(add_argument(*module_, region, type));
  }
  size_t next = 0;
  for (size_t i = 0; i < loop.given.size(); ++i) {
    Binding before = with_tensors(
        loop.given[i], [&](Value* start) { return loop.growing.contains(i) ? start : attempt.carried[next++]; });
    if (loop.growing.contains(i))
      before.sequence = std::make_shared<Sequence>(
          Sequence{before.sequence->dtype, {{nullptr, Sequence::Run::Kind::Grown, ++grown_}}});
    attempt.before.push_back(before);
    bind(before);
  }
  for (const LoopBody::Scanned& scanned : loop.scanned) {
    Value* at = attempt.iteration;
    if (scanned.reverse) at = build.sub(build.dims_tensor({module_->dims.sub(loop.trips, build.dim(1))}, {}), at);
    bind(build.gather(inside(*attempt.writer, scanned.whole), at, scanned.axis));
  }
}

// What the body made of carried name `index`: the tensors that it hands on, or the parts that it appends.
void Importer::take_carried(LoopBody& loop, Attempt& attempt, size_t index) {
  const Binding &before = attempt.before[index], &after = attempt.after[index];
  const auto differ = [&] {
    return fmt::format("loop-carried value {} starts as {} and becomes {}", index, to_string(loop.given[index]),
                       to_string(after));
  };
  attempt.appended.push_back(0);
  if (!loop.growing.contains(index) && same_form(before, after)) {
    const std::vector<Value*> tensors = tensors_of(after);
    attempt.yielded.insert(attempt.yielded.end(), tensors.begin(), tensors.end());
    return;
  }
  if (!before.sequence || !after.sequence || before.sequence->dtype != after.sequence->dtype)
    unsupported("{}", differ());
  const std::vector<Sequence::Run>&there = before.sequence->runs, &runs = after.sequence->runs;
  if (runs.size() < there.size() || !std::equal(there.begin(), there.end(), runs.begin()))
    unsupported("{}: not by appending alone", differ());
  if (!loop.growing.contains(index)) {
    loop.assume_growing(index);
    attempt.held = false;
    return;
  }
  GraphBuilder& build = attempt.writer->build;
  const std::set<uint32_t> read = elements_read_in(*attempt.region);
  std::vector<Value*> parts;
  for (auto run = runs.begin() + std::ssize(there); run != runs.end(); ++run) {
    if (run->kind != Sequence::Run::Kind::Part) unsupported("appending a sequence whose length only a run can tell");
    const Type& type = run->value->type;
    const bool told = std::ranges::any_of(type.shape, [&](Dim extent) { return speaks_of(extent, read); });
    if (told || type.shape != (runs.begin() + std::ssize(there))->value->type.shape)
      unsupported("appending parts of different shapes to loop-carried value {}", index);
    parts.push_back(run->value);
  }
  attempt.appended.back() = parts.size();
  if (parts.size() > 1)
    for (Value*& part : parts) part = build.expand_axes(part, {0});
  if (!parts.empty()) attempt.slices.push_back(parts.size() == 1 ? parts[0] : build.concat(parts, 0));
}

void Importer::take_results(LoopBody& loop, Attempt& attempt, const Bindings& results) {
  auto next = results.begin();
  if (loop.counts) {
    const Binding& condition = *next++;
    if (!condition.value || condition.value->type.dtype != DType::Bool)
      fail("the body's condition is {}, expected bool", to_string(condition));
    attempt.condition_after = as_scalar(attempt.writer->build, condition.value, "the body's condition");
  }
  attempt.after.assign(next, next + std::ssize(loop.given));
  for (next += std::ssize(loop.given); next != results.end(); ++next) {
    if (!next->value || next->optional) fail("a scanned output is {}", to_string(*next));
    attempt.slices.push_back(next->value);
  }
  for (size_t i = 0; i < loop.given.size() && attempt.held; ++i) take_carried(loop, attempt, i);
  if (!attempt.held) return;
  for (size_t i = 0; i < attempt.carried.size(); ++i) {
    if (loop.kept.contains(i)) continue;
    const Type &from = attempt.carried[i]->type, &to = attempt.yielded[i]->type;
    if (from.dtype != to.dtype || from.rank() != to.rank())
      unsupported("loop-carried value {} starts as {} and becomes {}", i, to_string(from), to_string(to));
    for (size_t axis = 0; axis < from.shape.size(); ++axis)
      if (from.shape[axis] != to.shape[axis] && loop.changing.insert({i, axis}).second) attempt.held = false;
  }
  if (!attempt.held) return;
  for (size_t i = 0; i < attempt.carried.size(); ++i)
    if (attempt.yielded[i] == attempt.carried[i] && !attempt.holders[i] && loop.kept.insert(i).second)
      attempt.held = false;
}

Importer::Attempt Importer::try_body(LoopBody& loop, Scope& scope, const Frame& frame, bool silent) {
  attempted_nodes_ += loop.graph.node_size();
  if (++attempts_ > kMostAttempts ||
      attempted_nodes_ > std::max<int64_t>(kMostAttemptedNodes, 2 * loop.graph.node_size()))
    unsupported("loops within loops whose shapes change in too many ways");
  Attempt attempt{std::make_unique<Region>(), nullptr};
  attempt.writer = std::make_unique<RegionWriter>(*module_, *attempt.region);
  attempt.writer->build.origin = scope.writer.build.origin;
  Scope inner{*attempt.writer, &scope};
  bind_arguments(loop, attempt, inner);

  Diagnostics diagnostics;
  Diagnostics* before = silent ? report_.redirect(&diagnostics) : nullptr;
  Bindings results;
  try {
    results = import_graph(loop.graph, inner, frame);
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
  attempt.writer->build.origin = scope.writer.build.origin;
  take_results(loop, attempt, results);
  return attempt;
}

Importer::Bindings Importer::roll(LoopBody& loop, Scope& scope, const Frame& frame) {
  const size_t checks = module_->checks.size();
  const std::map<std::string, int> missing = missing_;
  const Origin origin = scope.writer.build.origin;
  bool any_shape = false, any_length = false;  // may change: when the body does not even fit what it starts with
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
    const std::vector<Value*> carried = loop.carried();
    if (!any_shape && !carried.empty()) {
      any_shape = true;
      for (size_t i = 0; i < carried.size(); ++i)
        for (int axis = 0; axis < carried[i]->type.rank(); ++axis) loop.changing.insert({i, axis});
      continue;
    }
    const size_t growing = loop.growing.size();
    for (size_t i = 0; i < loop.given.size() && !any_length; ++i)
      if (loop.given[i].sequence) loop.assume_growing(i);
    any_shape = false, any_length = true;
    if (loop.growing.size() > growing) continue;
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
  if (!asks && attempt.condition_before && !attempt.condition_before->uses.empty())
    attempt.condition_before->replace_all_uses(in.scalar(DType::Bool, 1));

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
    if (!loop.growing.contains(i)) {
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
