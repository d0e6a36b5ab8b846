// Groups → kernels, steps and a memory plan: the last pass, from a Module to a Program.
//
// Each group goes to its family (family.cpp), which hands back kernels whose buffers name values; here values get
// their places: arguments and results of the function are the caller's, constants are weights, all else lies in the
// arena. A group that only reshapes a dense value is no step at all but another name for the same memory. Then halos
// (halo.h), the memory plan (plan_memory.h) and barriers (barriers.h).
// Test: test/passes/lower_*.cpp run the program in the interpreter of Loops against the interpreter of the Graph.
#include <algorithm>
#include <map>

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/barriers.h"
#include "passes/lower/family.h"
#include "passes/lower/halo.h"
#include "passes/lower/plan_memory.h"
#include "passes/lower/work.h"
#include "passes/pipeline.h"

namespace lapidary::lowering {

namespace {

class FunctionLowering {
 public:
  FunctionLowering(Context& context, Program& program, const Function& function)
      : context_(context), module_(context.module), program_(program), function_(function) {}

  EntryPoint run() {
    entry_.name = function_.name;
    place_signature();
    find_slices();
    for (Op& op : function_.body->ops) {
      if (op.is(OpKind::Constant) || op.is(OpKind::Yield)) continue;
      LPD_CHECK(op.is(OpKind::Group), "{} outside of a group", name_of(op.kind));
      lower_group(op);
    }
    plan_memory(module_.dims, entry_);
    place_barriers(program_, entry_);
    return std::move(entry_);
  }

 private:
  void place_signature() {
    const Region& body = *function_.body;
    for (uint32_t i = 0; i < body.arguments.size(); ++i) {
      const Type& type = body.arguments[i]->type;
      entry_.inputs.push_back({function_.argument_names[i], type.dtype, type.shape});
      places_[body.arguments[i].get()] = {BufferRef::Base::Input, i};
    }
    for (uint32_t i = 0; i < body.results().size(); ++i) {
      const Value* value = body.results()[i];
      entry_.outputs.push_back({function_.result_names[i], value->type.dtype, value->type.shape});
      LPD_CHECK(value->producer && value->producer->is(OpKind::Group), "result {} is not made by a group", i);
      LPD_CHECK(value->type.layout.dense(), "result {} is not dense", i);
      const bool first = places_.emplace(value, BufferRef{BufferRef::Base::Output, i}).second;
      LPD_CHECK(first, "one value is two results");
    }
  }

  void lower_group(Op& group) {
    if (is_alias(group)) return;
    const FamilyEntry* family = find_family(group.params.text("family"));
    if (!family) unsupported(module_, group, fmt::format("the family '{}'", group.params.text("family")));
    if (!family->keeps_composites) inline_composites(group);
    LoweredGroup lowered;
    if (!writes_nothing(group)) lowered = family->lower(context_, group);
    for (const auto& result : group.results)
      if (has_halo(result->type) && !is_filled_by_parts(group))
        lowered.steps.push_back(halo_step(context_, result.get()));
    const auto first = static_cast<uint32_t>(entry_.steps.size());
    const auto last = first + static_cast<uint32_t>(std::max<size_t>(lowered.steps.size(), 1)) - 1;
    for (const auto& result : group.results) place_result(result.get(), first, last);
    std::vector<BufferRef> scratch;
    for (Dim bytes : lowered.scratch) scratch.push_back(arena(bytes, first, last));
    for (const Value* operand : group.operands)
      if (auto found = places_.find(operand); found != places_.end() && found->second.base == BufferRef::Base::Arena)
        entry_.arena[found->second.index].last_step = last;
    for (LoweredStep& step : lowered.steps) place_step(group, std::move(step), scratch);
  }

  // Composites whose name the family does not care for are replaced by their bodies. The anchor keeps its place by
  // its op; when it is a composite itself it has none any more.
  void inline_composites(Op& group) {
    Region& region = *group.regions[0];
    const Op* anchor = &*std::next(region.ops.begin(), group.params.integer("anchor"));
    if (anchor->is(OpKind::Composite)) anchor = nullptr;
    for (auto op = region.ops.begin(); op != region.ops.end();) {
      if (!op->is(OpKind::Composite)) {
        ++op;
        continue;
      }
      const auto results = inline_region(module_, *op->regions[0], op->operands, region, op);
      for (size_t i = 0; i < results.size(); ++i) op->results[i]->replace_all_uses(results[i]);
      auto composite = op++;
      erase_op(*composite);
      op = region.ops.begin();  // a body may hold composites
    }
    int64_t index = 0, position = 0;
    for (const Op& op : region.ops) {
      if (&op == anchor) index = position;
      ++position;
    }
    group.params.set("anchor", index);
  }

  // Values that were placed in the concat that reads them (place_concats): where they begin in its buffer. A part that
  // is a result of the function too (run --check-every-value asks for all) has its own place and is copied.
  struct Slice {
    const Value* whole;
    Dim offset;
  };  // in bytes

  void find_slices() {
    for (Op& group : function_.body->ops) {
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

  Dim offset_of_part(const Type& whole, const Op& concat, int64_t position) {
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

  static bool is_filled_by_parts(const Op& group) {
    return group.params.has("placed") &&
           group.params.integers("placed").size() == group.regions[0]->results()[0]->producer->operands.size();
  }

  void place_result(const Value* result, uint32_t first, uint32_t last) {
    Dim offset = module_.dims.constant(0);
    const Value* whole = result;
    for (auto slice = slices_.find(whole); slice != slices_.end(); slice = slices_.find(whole)) {
      offset = module_.dims.add(offset, slice->second.offset);
      whole = slice->second.whole;
    }
    if (!places_.contains(whole)) places_[whole] = arena(physical_bytes(module_.dims, whole->type), first, last);
    if (places_[whole].base == BufferRef::Base::Arena) entry_.arena[places_[whole].index].last_step = last;
    if (whole == result) return;
    places_[result] = places_[whole];
    if (value_of(offset) != 0) places_[result].offset = offset;
  }

  bool writes_nothing(const Op& group) {
    return std::ranges::all_of(
        group.results, [&](const auto& result) { return value_of(element_count(module_.dims, result->type)) == 0; });
  }

  // One dense operand under another shape: nothing to do but to remember where it is.
  bool is_alias(const Op& group) {
    if (group.operands.size() != 1 || group.results.size() != 1) return false;
    const Value *operand = group.operand(0), *result = group.result();
    auto found = places_.find(operand);
    if (found == places_.end() || places_.contains(result) || slices_.contains(result)) return false;
    if (!operand->type.layout.dense() || !result->type.layout.dense() || operand->type.dtype != result->type.dtype)
      return false;
    for (const Op& op : group.regions[0]->ops)
      if (!op.is(OpKind::Reshape) && !op.is(OpKind::Yield)) return false;
    places_[result] = BufferRef(found->second);
    return true;
  }

  BufferRef arena(Dim bytes, uint32_t first, uint32_t last) {
    entry_.arena.push_back({bytes, nullptr, first, last});
    return {BufferRef::Base::Arena, static_cast<uint32_t>(entry_.arena.size() - 1)};
  }

  BufferRef place_of(const BufferSource& source, const std::vector<BufferRef>& scratch) {
    switch (source.kind) {
      case BufferSource::Kind::Value: {
        auto found = places_.find(source.value);
        LPD_CHECK(found != places_.end(), "a kernel uses a value that has no place");
        return found->second;
      }
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

  void place_step(const Op& group, LoweredStep lowered, const std::vector<BufferRef>& scratch) {
    unite_buffers(lowered);
    Step step;
    for (const BufferSource& source : lowered.variants[0].buffers) step.buffers.push_back(place_of(source, scratch));
    for (LoweredVariant& from : lowered.variants) {
      Variant variant{};
      variant.kernel = add_kernel(program_, std::move(from.kernel));
      variant.when = from.when;
      variant.tasks = from.tasks;
      variant.rounds = from.rounds;
      variant.integers = std::move(from.integers);
      variant.stage_bytes = from.stage_bytes;
      variant.stage_offsets = std::move(from.stage_offsets);
      step.variants.push_back(std::move(variant));
    }
    step.barrier_before = lowered.barrier_before;
    step.serial = lowered.serial;
    step.grain = lowered.grain;
    step.origin = group.origin;
    step.flops = lowered.flops ? lowered.flops : flops_of(module_, group);
    step.bytes = lowered.bytes ? lowered.bytes : bytes_of(module_, group);
    entry_.steps.push_back(std::move(step));
  }

  // The variants of a step are given the same buffers in the same order: global ones, then stages.
  void unite_buffers(LoweredStep& step) {
    if (step.variants.size() == 1) return;
    std::vector<BufferSource> globals;
    size_t stages = 0;
    for (const LoweredVariant& variant : step.variants) {
      for (const BufferSource& source : variant.buffers)
        if (source.kind != BufferSource::Kind::Stage && std::ranges::find(globals, source) == globals.end())
          globals.push_back(source);
      stages = std::max(stages, variant.stage_offsets.size());
    }
    for (LoweredVariant& variant : step.variants) {
      std::vector<loops::Buffer> buffers;
      std::vector<BufferSource> sources = globals;
      for (const BufferSource& source : globals) {
        auto found = std::ranges::find(variant.buffers, source);
        buffers.push_back(found != variant.buffers.end() ? variant.kernel.buffers[found - variant.buffers.begin()]
                                                         : unused_buffer(step, source));
      }
      for (size_t i = 0; i < variant.buffers.size(); ++i)
        if (variant.buffers[i].kind == BufferSource::Kind::Stage) buffers.push_back(variant.kernel.buffers[i]);
      while (variant.stage_offsets.size() < stages) {
        buffers.push_back(loops::make_stage("unused", DType::U8));
        variant.stage_offsets.push_back(module_.dims.constant(0));
      }
      sources.insert(sources.end(), stages, {BufferSource::Kind::Stage});
      variant.kernel.buffers = std::move(buffers);
      variant.buffers = std::move(sources);
    }
  }

  loops::Buffer unused_buffer(const LoweredStep& step, const BufferSource& source) {
    for (const LoweredVariant& variant : step.variants) {
      auto found = std::ranges::find(variant.buffers, source);
      if (found == variant.buffers.end()) continue;
      if (source.kind == BufferSource::Kind::Flag) return loops::make_flag("unused");
      return loops::make_global("unused", variant.kernel.buffers[found - variant.buffers.begin()]->element.dtype,
                                false);
    }
    LPD_UNREACHABLE("a buffer of no variant");
  }

  Context& context_;
  Module& module_;
  Program& program_;
  const Function& function_;
  EntryPoint entry_;
  std::map<const Value*, BufferRef> places_;
  std::map<const Value*, Slice> slices_;
};

}  // namespace

}  // namespace lapidary::lowering

namespace lapidary::passes {

Program lower(Module& module, const Options& options) {
  lowering::Context context{module, options};
  Program program;
  program.name = module.name;
  program.module = &module;
  program.checks = module.checks;
  for (const auto& function : module.functions)
    program.entries.push_back(lowering::FunctionLowering(context, program, *function).run());
  return program;
}

}  // namespace lapidary::passes
