// Where values lie. Arguments and results of the function are the caller's, constants are weights; all else lies in the
// arena, or, where a size is known only while running or a loop hands a value on, in a register: memory of its own,
// for which a Reserve step makes room before it is written. Every step says what it touches, so lives follow from that.
#include <algorithm>

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/function_lowering.h"

namespace lapidary::lowering {

// --- lives -------------------------------------------------------------------------------------------------------

void FunctionLowering::touch(const BufferRef& buffer, uint32_t step) {
  auto widen = [step](auto& life) {
    life.first_step = std::min(life.first_step, step);
    life.last_step = std::max(life.last_step, step);
  };
  if (buffer.base == BufferRef::Base::Arena) widen(entry_.arena[buffer.index]);
  if (buffer.base == BufferRef::Base::Register) widen(entry_.registers[buffer.index]);
}

void FunctionLowering::prolong(uint32_t begin, uint32_t end) {
  auto prolonged = [&](auto& life) {
    if (life.first_step <= begin && life.last_step >= begin) life.last_step = std::max(life.last_step, end);
  };
  std::ranges::for_each(entry_.arena, prolonged);
  std::ranges::for_each(entry_.registers, prolonged);
}

uint32_t FunctionLowering::push(Step step) {
  const uint32_t index = next_step();
  for (const BufferRef& buffer : step.buffers) touch(buffer, index);
  entry_.steps.push_back(std::move(step));
  return index;
}

// --- places ------------------------------------------------------------------------------------------------------

BufferRef FunctionLowering::new_register() {
  entry_.registers.push_back({UINT32_MAX, 0, 0});  // no life yet
  return {BufferRef::Base::Register, static_cast<uint32_t>(entry_.registers.size() - 1)};
}

BufferRef FunctionLowering::new_place(Dim bytes) {
  if (speaks_of_elements(bytes)) return new_register();
  entry_.arena.push_back({bytes, nullptr, UINT32_MAX, 0});
  return {BufferRef::Base::Arena, static_cast<uint32_t>(entry_.arena.size() - 1)};
}

BufferRef FunctionLowering::place_of(const Value* value) {
  if (value->producer && value->producer->is(OpKind::Constant))
    return {BufferRef::Base::Weights, add_weight(program_, value->producer->params.constant("value"))};
  auto found = places_.find(value);
  LPD_CHECK(found != places_.end(), "value %{} has no place", value->id);
  return found->second;
}

void FunctionLowering::share_place(const Value* value, const Value* with) {
  const auto counter = counters_.find(with);
  if (counter != counters_.end() && value->type.dtype == with->type.dtype) counters_[value] = counter->second;
  if (counter == counters_.end() || places_.contains(with)) places_[value] = place_of(with);
}

BufferRef FunctionLowering::place_of(const BufferSource& source, const std::vector<BufferRef>& scratch) {
  switch (source.kind) {
    case BufferSource::Kind::Value:
      return place_of(source.value);
    case BufferSource::Kind::Weight:
      return {BufferRef::Base::Weights, add_weight(program_, source.weight)};
    case BufferSource::Kind::Scratch:
      return scratch.at(source.scratch);
    case BufferSource::Kind::Flag:
      return {BufferRef::Base::Flag, add_flag(program_, source.message)};
    case BufferSource::Kind::Stage:
      return {};
  }
  LPD_UNREACHABLE("a buffer from nowhere");
}

// A step that must come before the kernels that write a value: its register or output has no room yet.
void FunctionLowering::make_room(const Value* value, const BufferRef& place) {
  if (!has_room_.insert(value).second) return;
  if (place.base == BufferRef::Base::Output && std::ranges::any_of(value->type.shape, speaks_of_elements)) {
    push({.kind = StepKind::Provide, .buffers = {place}, .origin = value->producer->origin});
    return;
  }
  if (place.base != BufferRef::Base::Register) return;
  Room room{physical_bytes(module_.dims, value->type), false};
  if (auto found = rooms_.find(value); found != rooms_.end()) room = found->second;
  if (!room.bytes) return;
  push({.kind = StepKind::Reserve,
        .buffers = {{BufferRef::Base::Register, place.index}},
        .origin = value->producer->origin,
        .amount = room.bytes,
        .keep = room.keep});
}

void FunctionLowering::place_result(const Value* result) {
  Dim offset = module_.dims.constant(0);
  const Value* whole = result;
  for (auto slice = slices_.find(whole); slice != slices_.end(); slice = slices_.find(whole)) {
    offset = module_.dims.add(offset, slice->second.offset);
    whole = slice->second.whole;
  }
  if (!places_.contains(whole)) places_[whole] = new_place(physical_bytes(module_.dims, whole->type));
  make_room(whole, places_[whole]);
  if (whole == result) return;
  BufferRef place = places_[whole];  // which may lie in a stack's row itself
  if (value_of(offset) != 0) place.offset = place.offset ? module_.dims.add(place.offset, offset) : offset;
  places_[result] = place;
}

// --- parts of concats --------------------------------------------------------------------------------------------

// Values that were placed in the concat that reads them (place_concats): where they begin in its buffer. A part that
// is a result of the function too (run --check-every-value asks for all) has its own place and is copied.
void FunctionLowering::find_slices(Region& region) {
  for (Op& group : region.ops) {
    if (!group.is(OpKind::Group) || !group.params.has("placed")) continue;
    const Op& concat = *group.regions[0]->results()[0]->producer;
    std::vector<int64_t> placed;
    for (int64_t position : group.params.integers("placed")) {
      const Value* part = group.operand(static_cast<int>(concat.operand(static_cast<int>(position))->index));
      if (places_.contains(part)) continue;
      slices_[part] = {group.result(), offset_of_part(group.type(), concat, position)};
      placed.push_back(position);
    }
    group.params.set("placed", placed);
  }
}

Dim FunctionLowering::offset_of_part(const Type& whole, const Op& concat, int64_t position) {
  DimPool& dims = module_.dims;
  const int axis = static_cast<int>(concat.params.integer("axis"));
  Dim begin = dims.constant(0);
  for (int64_t i = 0; i < position; ++i)
    begin = dims.add(begin, concat.operand(static_cast<int>(i))->type.shape[static_cast<size_t>(axis)]);
  if (whole.layout.blocked_axis == axis) begin = dims.floordiv(begin, dims.constant(whole.layout.block));
  for (const PhysicalAxis& physical : physical_axes(dims, whole))
    if (physical.axis == axis && !physical.inner)
      return dims.product(std::vector<Dim>{begin, physical.stride, dims.constant(bit_width(whole.dtype) / 8)});
  LPD_UNREACHABLE("a concat along no axis");
}

}  // namespace lapidary::lowering
