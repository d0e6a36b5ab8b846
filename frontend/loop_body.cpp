// What a loop carries.
//
// The graph's types are static but for extents, so an extent that a loop changes must be named. Which do is found by
// trying: the body is imported as if every carried value kept its shape; an axis that comes out different is then one
// whose extent the loop carries beside the value (a holder, i64[rank], read by the host in each iteration), and the
// body is imported again. So it is when the body hands a value on as it is: that one is no longer carried but read from
// outside, a constant as such, which kernels can prepare for.
//
// Of a sequence the loop carries the parts, when the body gives as many as it takes. One that it only appends to grows:
// the body sees what was there before as something it cannot read, and what it appends are slices, stacked like those
// of scanned outputs. One that it reads too is carried as a stack, if its parts have one shape. Where none of it holds
// and the number of iterations is known, they are imported one by one (unroll.cpp).
#include <algorithm>

#include "frontend/control_flow.h"
#include "frontend/ops/common.h"
#include "frontend/ops/sequence.h"

namespace lapidary::frontend {
namespace {

using Kind = Sequence::Run::Kind;

// At bodies of loops, within each other too, and of the nodes in all of them.
constexpr int64_t kLeastBudget = 500'000, kCostOfAttempt = 50;  // in nodes

}  // namespace

int64_t nodes_in(const GraphProto& graph) {
  int64_t count = graph.node_size();
  for (const NodeProto& node : graph.node())
    for (const auto& attribute : node.attribute())
      if (attribute.has_g()) count += nodes_in(attribute.g());
  return count;
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

Value* as_declared(GraphBuilder& build, Value* scalar, const onnx::ValueInfoProto& declared) {
  const bool one_axis = declared.type().tensor_type().shape().dim_size() == 1;
  return one_axis ? build.reshape(scalar, {build.dim(1)}) : scalar;
}

std::vector<Value*> Importer::LoopBody::carried() const {
  std::vector<Value*> all;
  for (size_t i = 0; i < given.size(); ++i) {
    if (growing.contains(i)) continue;
    if (auto stack = stacks.find(i); stack != stacks.end()) {
      all.push_back(stack->second);
      continue;
    }
    const std::vector<Value*> tensors = tensors_of(given[i]);
    all.insert(all.end(), tensors.begin(), tensors.end());
  }
  return all;
}

void Importer::LoopBody::assume_any_shape() {
  const std::vector<Value*> tensors = carried();
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int axis = 0; axis < tensors[i]->type.rank(); ++axis) changing.insert({i, axis});
}

void Importer::LoopBody::assume_stacks(GraphBuilder& build) {
  for (auto at = growing.begin(); at != growing.end();) {
    const Sequence& sequence = *given[*at].sequence;
    const auto alike = [&](const Sequence::Run& run) {
      return run.kind != Kind::Grown && run.part() == sequence.runs[0].part();
    };
    if (sequence.runs.empty() || !std::ranges::all_of(sequence.runs, alike)) {
      ++at;
      continue;
    }
    stacks[*at] = stack_of(build, sequence, "");
    at = growing.erase(at);
  }
  changing.clear(), kept.clear();
}

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
  attempt.writer->iteration = attempt.iteration;
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
    const Binding& given = loop.given[i];
    Binding before;
    if (loop.growing.contains(i))
      before = Sequence{given.sequence->dtype, {{nullptr, Kind::Grown, ++grown_}}};
    else if (loop.stacks.contains(i))
      before = Sequence{given.sequence->dtype, {{attempt.carried[next++], Kind::Stack}}};
    else
      before = with_tensors(given, [&](Value*) { return attempt.carried[next++]; });
    before.optional = given.optional;
    attempt.before.push_back(before);
    bind(before);
  }
  for (const LoopBody::Scanned& scanned : loop.scanned) {
    Value* at = attempt.iteration;
    if (scanned.reverse) at = build.sub(build.dims_tensor({module_->dims.sub(loop.trips, build.dim(1))}, {}), at);
    input = scanned.input;
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
  if (loop.stacks.contains(index)) {
    if (schema_name(before) != schema_name(after)) unsupported("{}", differ());
    if (after.sequence->runs.empty()) unsupported("{}", differ());
    attempt.yielded.push_back(stack_of(attempt.writer->build, *after.sequence, "a length that only a run can tell"));
    return;
  }
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
    if (run->kind != Kind::Part) unsupported("appending a sequence whose length only a run can tell");
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

// Attempts at loops within loops multiply: the budget is some for each node of the model.
Importer::Attempt Importer::try_body(LoopBody& loop, Scope& scope, const Frame& frame, bool silent) {
  if (all_nodes_ == 0) all_nodes_ = nodes_in(model_.graph());
  attempted_nodes_ += nodes_in(loop.graph) + kCostOfAttempt;
  if (attempted_nodes_ > std::max(kLeastBudget, 2 * kCostOfAttempt * all_nodes_))
    unsupported("loops within loops whose shapes change in too many ways");
  Attempt attempt{std::make_unique<Region>(), nullptr};
  attempt.writer = std::make_unique<RegionWriter>(*module_, *attempt.region, &scope.writer);
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
  try {
    take_results(loop, attempt, results);
  } catch (const Error& error) {
    if (error.fault == Fault::Internal || !silent || !loop.has_sequences()) throw;
    attempt.failed = true;
  }
  return attempt;
}

}  // namespace lapidary::frontend
