// Loops, branches and what the host reads, as steps of the host's own.
//
//   loop                                          if
//          loop_begin counter                            branch condition to other
//   next:  loop_next counter, trips to end               … the first region …
//          branch_unless go_on to end   (while=1)        branch to end
//          elements of counter                    other: … the second region …
//          … the body: carried → next carried …   end:
//          swap carried, next carried
//          branch to next
//   end:
//
// A carried value has two registers, one that the body reads and one that it writes, which change places after each
// iteration. What it starts as is written straight into the first by the group that makes it (copy_overwritten in
// form_groups sees to it that there is one). A stack's slices are written where they belong in it.
//
// The counter is the host's: a Dim of its own, from which the elements of an iteration come without a look at memory.
// Only where a kernel reads it is there a copy in memory too.
#include <algorithm>

#include "ir/error.h"
#include "ir/host_functions.h"
#include "ir/layout.h"
#include "passes/lower/function_lowering.h"

namespace lapidary::lowering {

void FunctionLowering::lower_to_host(const Op& op) {
  const Value* value = op.operand(0);
  share_place(op.result(), value);
  Step step{
      .kind = StepKind::Elements, .origin = op.origin, .dtype = value->type.dtype, .elements = op.result()->elements};
  if (const auto counter = counters_.find(value); counter != counters_.end())
    step.amount = counter->second;
  else
    step.buffers = {place_of(value)};
  push(std::move(step));
}

// What a start hands over and a finish gives back lie in one place, so of each only one buffer is told: a start has no
// result to be copied to a device, a finish nothing to be copied from it.
void FunctionLowering::lower_in_place_call(const Op& op) {
  const bool starts = op.params.text("function") == "start_reduction";
  const BufferRef place = place_of(op.operand(0));
  const Dim bytes = physical_bytes(module_.dims, op.type()), none = module_.dims.constant(0);
  Step step{.kind = StepKind::HostCall, .buffers = {{}, place}, .origin = op.origin, .call = &op};
  step.buffer_bytes = {none, bytes};
  if (starts) step.buffers.push_back({}), step.buffer_bytes.push_back(none);
  step.integers = {element_count(module_.dims, op.type())};
  std::ranges::copy(op.params.dims("arguments"), std::back_inserter(step.integers));
  LPD_CHECK(places_.emplace(op.result(), place).second, "the result of {} has a place of its own",
            op.params.text("function"));
  push(std::move(step));
}

// The result's elements come first among the integers, then the call's own arguments.
void FunctionLowering::lower_host_call(const Op& op) {
  if (works_in_place(op.params.text("function"))) return lower_in_place_call(op);
  Step step{.kind = StepKind::HostCall, .origin = op.origin, .call = &op};
  step.buffers.push_back({});
  step.buffer_bytes.push_back(module_.dims.constant(0));
  if (op.params.has("dictionary"))
    step.buffers[0] = {BufferRef::Base::Weights, add_weight(program_, op.params.constant("dictionary"))};
  for (const Value* operand : op.operands) {
    step.buffers.push_back(place_of(operand));
    step.buffer_bytes.push_back(physical_bytes(module_.dims, operand->type));
  }
  place_result(op.result());
  step.buffers.push_back(places_.at(op.result()));
  step.buffer_bytes.push_back(physical_bytes(module_.dims, op.type()));
  step.integers.push_back(element_count(module_.dims, op.type()));
  if (op.params.has("arguments")) std::ranges::copy(op.params.dims("arguments"), std::back_inserter(step.integers));
  push(std::move(step));
}

// --- branches ----------------------------------------------------------------------------------------------------

void FunctionLowering::lower_if(Op& op) {
  const uint32_t begin = push({.kind = StepKind::Branch, .origin = op.origin, .amount = op.params.dim("condition")});
  for (const auto& result : op.results) {
    if (places_.contains(result.get())) continue;  // what a loop starts with
    const bool changes = is_open_result(op, result->index);
    places_[result.get()] = changes ? new_register() : new_place(physical_bytes(module_.dims, result->type));
    touch(places_[result.get()], begin);
  }
  uint32_t leave = 0;
  for (size_t which = 0; which < 2; ++which) {
    Region& region = *op.regions[which];
    for (size_t i = 0; i < region.arguments.size(); ++i)
      share_place(region.arguments[i].get(), op.operand(static_cast<int>(i)));
    for (size_t i = 0; i < region.results().size(); ++i) places_[region.results()[i]] = places_.at(op.results[i].get());
    lower_region(region);
    if (which == 0) {
      leave = push({.kind = StepKind::Branch, .origin = op.origin});
      entry_.steps[begin].target = next_step();
    }
  }
  entry_.steps[leave].target = next_step();
}

// --- loops -------------------------------------------------------------------------------------------------------

// Before a region is lowered: what its loops start with goes straight to where they carry it.
void FunctionLowering::place_carried(Region& region) {
  for (Op& op : region.ops) {
    if (!op.is(OpKind::Loop)) continue;
    for (int64_t i = 0; i < op.params.integer("carried"); ++i) {
      const bool first = places_.emplace(op.operand(static_cast<int>(i)), new_register()).second;
      LPD_CHECK(first, "a loop starts with a value that is not its own");
    }
  }
}

// The place of a slice in this iteration: a row of the stack. A stack whose rows are counted before gets its room at
// once, another one grows.
void FunctionLowering::place_slice(const Op& loop, size_t index, Dim iteration) {
  DimPool& dims = module_.dims;
  const Value* slice = loop.regions[0]->results()[index];
  const Dim row_bytes = physical_bytes(dims, slice->type);
  Dim row = iteration;
  if (loop.params.integer_or("reverse", 0) != 0)
    row = dims.sub(dims.sub(loop.params.dim("trips"), dims.constant(1)), iteration);
  BufferRef place = places_.at(loop.results[index].get());
  place.offset = dims.mul(row, row_bytes);
  places_[slice] = place;
  rooms_[slice] = {nullptr, true};
  if (is_open_result(loop, index)) rooms_[slice].bytes = dims.add(place.offset, row_bytes);
}

// The host knows the count as well: a to_host alone looks at no memory.
bool FunctionLowering::kernels_read(const Value* count) {
  return std::ranges::any_of(
      count->uses, [](const Use& use) { return !use.op->is(OpKind::ToHost) || !use.op->result()->uses.empty(); });
}

void FunctionLowering::lower_loop(Op& op) {
  DimPool& dims = module_.dims;
  Region& body = *op.regions[0];
  const auto carried = static_cast<size_t>(op.params.integer("carried"));
  const size_t yielded = body.results().size();
  const Dim counter = dims.element(module_.next_value_id++, 0, {-1, kDimMax}),
            iteration = dims.element(body.arguments[0]->id, 0, {0, kDimMax});
  std::vector<BufferRef> copy;  // of the counter
  const auto place_count = [&](const Value* count) {
    counters_[count] = counter;
    if (!kernels_read(count)) return;
    if (copy.empty()) copy = {new_place(dims.constant(sizeof(int64_t)))};
    places_[count] = copy[0];
  };
  place_count(body.arguments[0].get());
  if (op.results.size() > yielded) place_count(op.results[yielded].get());
  for (size_t i = 0; i < op.operands.size(); ++i)
    share_place(body.arguments[i + 1].get(), op.operand(static_cast<int>(i)));
  for (size_t i = 0; i < carried; ++i) places_[op.results[i].get()] = place_of(op.operand(static_cast<int>(i)));
  for (size_t i = carried; i < yielded; ++i) {
    const Value* stack = op.results[i].get();
    const BufferRef place = places_[stack] = new_register();
    if (is_open_result(op, i)) continue;
    push({.kind = StepKind::Reserve,
          .buffers = {place},
          .origin = op.origin,
          .amount = physical_bytes(dims, stack->type)});
  }

  const uint32_t begin = push(
      {.kind = StepKind::LoopBegin, .buffers = copy, .origin = op.origin, .dtype = DType::I64, .elements = {counter}});
  for (size_t i = 0; i < yielded; ++i) touch(places_.at(op.results[i].get()), begin);
  const uint32_t next = push({.kind = StepKind::LoopNext,
                              .buffers = copy,
                              .origin = op.origin,
                              .amount = op.params.dim("trips"),
                              .dtype = DType::I64,
                              .elements = {counter}});
  std::optional<uint32_t> leave;
  if (op.params.integer_or("while", 0) != 0)
    leave = push({.kind = StepKind::BranchUnless, .buffers = {place_of(op.operand(0))}, .origin = op.origin});
  if (carried < yielded)
    push({.kind = StepKind::Elements,
          .origin = op.origin,
          .amount = counter,
          .dtype = DType::I64,
          .elements = {iteration}});
  std::vector<BufferRef> written;
  for (size_t i = 0; i < carried; ++i) {
    written.push_back(new_register());
    const bool first = places_.emplace(body.results()[i], written.back()).second;
    LPD_CHECK(first, "a loop's body yields a value that is not its own");
  }
  for (size_t i = carried; i < yielded; ++i) place_slice(op, i, iteration);
  lower_region(body);
  for (size_t i = 0; i < carried; ++i)
    push({.kind = StepKind::Swap,
          .buffers = {place_of(op.operand(static_cast<int>(i))), written[i]},
          .origin = op.origin});
  push({.kind = StepKind::Branch, .origin = op.origin, .target = next});
  entry_.steps[next].target = next_step();
  if (leave) entry_.steps[*leave].target = next_step();
  prolong(begin, next_step());
}

}  // namespace lapidary::lowering
