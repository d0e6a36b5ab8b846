// Groups → kernels, steps and a memory plan: the last pass, from a Module to a Program.
//
// Each group goes to its family (family.cpp), which hands back kernels whose buffers name values; those get their
// places (places.cpp). A group that only reshapes a dense value is no step at all but another name for the same memory.
// Loops, branches and what the host reads become steps of the host's own (control.cpp). Then halos (halo.h), the memory
// plan (plan_memory.h) and barriers (barriers.h). Test: test/passes/lower_*.cpp run the program in the interpreter of
// Loops against the interpreter of the Graph.
#include <algorithm>

#include "ir/error.h"
#include "ir/host_functions.h"
#include "ir/layout.h"
#include "passes/lower/barriers.h"
#include "passes/lower/function_lowering.h"
#include "passes/lower/gather_rooms.h"
#include "passes/lower/halo.h"
#include "passes/lower/host_kernels.h"
#include "passes/lower/plan_memory.h"
#include "passes/lower/work.h"
#include "passes/pipeline.h"

namespace lapidary::lowering {

namespace {

bool is_overwritten(const Value* value) {
  return std::ranges::any_of(value->uses, [](const Use& use) {
    return use.op->is(OpKind::HostCall) && works_in_place(use.op->params.text("function"));
  });
}

bool is_filled_by_parts(const Op& group) {
  return group.params.has("placed") &&
         group.params.integers("placed").size() == group.regions[0]->results()[0]->producer->operands.size();
}

}  // namespace

EntryPoint FunctionLowering::run() {
  entry_.name = function_.name;
  place_signature();
  lower_region(*function_.body);
  gather_rooms(entry_);
  plan_memory(module_.dims, entry_);
  keep_what_lives(entry_);
  place_barriers(program_, entry_);
  return std::move(entry_);
}

// A state's argument and its new value are one place: order_states has seen to it that they may be.
void FunctionLowering::place_signature() {
  const Region& body = *function_.body;
  const auto place = [&](std::vector<TensorInfo>& tensors, BufferRef::Base base, int state, const std::string& name,
                         const Type& type) {
    if (state >= 0) return BufferRef{BufferRef::Base::State, static_cast<uint32_t>(state)};
    tensors.push_back({name, type.dtype, type.shape});
    return BufferRef{base, static_cast<uint32_t>(tensors.size() - 1)};
  };
  for (uint32_t i = 0; i < body.arguments.size(); ++i)
    places_[body.arguments[i].get()] = place(entry_.inputs, BufferRef::Base::Input, function_.state_of_argument(i),
                                             function_.argument_names[i], body.arguments[i]->type);
  for (uint32_t i = 0; i < body.results().size(); ++i) {
    const Value* value = body.results()[i];
    LPD_CHECK(value->producer && (value->producer->is(OpKind::Group) || value->producer->is(OpKind::HostCall)),
              "result {} is not made by a group", i);
    LPD_CHECK(value->type.layout.dense(), "result {} is not dense", i);
    const BufferRef at = place(entry_.outputs, BufferRef::Base::Output, function_.state_of_result(i),
                               function_.result_names[i], value->type);
    const bool first = places_.emplace(value, at).second;
    LPD_CHECK(first, "one value is two results");
  }
}

void FunctionLowering::lower_region(Region& region) {
  place_carried(region);
  find_slices(region);
  for (Op& op : region.ops) {
    if (op.is(OpKind::Constant) || op.is(OpKind::Yield)) continue;
    if (op.is(OpKind::ToHost)) {
      lower_to_host(op);
    } else if (op.is(OpKind::HostCall)) {
      lower_host_call(op);
    } else if (op.is(OpKind::Loop)) {
      lower_loop(op);
    } else if (op.is(OpKind::If)) {
      lower_if(op);
    } else {
      LPD_CHECK(op.is(OpKind::Group), "{} outside of a group", name_of(op.kind));
      lower_group(op);
    }
  }
}

// Results and scratch live through all steps of the group, whichever of them use them.
void FunctionLowering::lower_group(Op& group) {
  if (is_alias(group)) return;
  const FamilyEntry* family = find_family(group.params.text("family"));
  if (!family) unsupported(module_, group, fmt::format("the family '{}'", group.params.text("family")));
  if (!family->keeps_composites) inline_composites(group);
  LoweredGroup lowered;
  if (!writes_nothing(group))
    lowered = (context_.target().is_gpu() ? family->lower_for_gpu : family->lower)(context_, group);
  for (const auto& result : group.results)
    if (has_halo(result->type) && !is_filled_by_parts(group))
      lowered.steps.push_back(halo_step(context_, result.get()));
  std::vector<BufferRef> live;
  for (const auto& result : group.results) {
    place_result(result.get());
    live.push_back(places_.at(result.get()));
  }
  std::vector<BufferRef> scratch;
  for (Dim bytes : lowered.scratch) {
    scratch.push_back(new_place(bytes));
    if (scratch.back().base == BufferRef::Base::Register)
      push({.kind = StepKind::Reserve, .buffers = {scratch.back()}, .origin = group.origin, .amount = bytes});
    live.push_back(scratch.back());
  }
  const uint32_t first = next_step();
  for (LoweredStep& step : lowered.steps) place_step(group, std::move(step), scratch, lowered.scratch);
  const uint32_t last = std::max(first + 1, next_step()) - 1;
  for (const BufferRef& buffer : live) {
    touch(buffer, first);
    touch(buffer, last);
  }
  for (const Value* operand : group.operands)
    if (auto found = places_.find(operand); found != places_.end()) touch(found->second, last);
}

// Composites whose name the family does not care for are replaced by their bodies. The anchor keeps its place by
// its op; when it is a composite itself it has none any more.
void FunctionLowering::inline_composites(Op& group) {
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

bool FunctionLowering::writes_nothing(const Op& group) {
  return std::ranges::all_of(
      group.results, [&](const auto& result) { return value_of(element_count(module_.dims, result->type)) == 0; });
}

// One dense operand under another shape or element type: nothing to do but to remember where it is.
bool FunctionLowering::is_alias(const Op& group) {
  if (group.operands.size() != 1 || group.results.size() != 1) return false;
  const Value *operand = group.operand(0), *result = group.result();
  auto found = places_.find(operand);
  if (found == places_.end() || places_.contains(result) || slices_.contains(result)) return false;
  if (!operand->type.layout.dense() || !result->type.layout.dense() || is_overwritten(result)) return false;
  for (const Op& op : group.regions[0]->ops)
    if (!op.is(OpKind::Reshape) && !op.is(OpKind::BitCast) && !op.is(OpKind::Yield)) return false;
  share_place(result, operand);
  return true;
}

// Of a source of a kernel's buffer, what is the device's: weights are the host's too.
Dim FunctionLowering::bytes_of_source(const BufferSource& source, const std::vector<Dim>& scratch) {
  switch (source.kind) {
    case BufferSource::Kind::Value:
      return physical_bytes(module_.dims, source.value->type);
    case BufferSource::Kind::Scratch:
      return scratch.at(source.scratch);
    default:
      return module_.dims.constant(0);
  }
}

void FunctionLowering::place_step(const Op& group, LoweredStep lowered, const std::vector<BufferRef>& scratch,
                                  const std::vector<Dim>& scratch_bytes) {
  unite_buffers(lowered);
  Step step;
  step.flops = lowered.flops ? lowered.flops : flops_of(module_, group);
  step.bytes = lowered.bytes ? lowered.bytes : bytes_of(module_, group);
  for (const BufferSource& source : lowered.variants[0].buffers)
    step.buffer_bytes.push_back(bytes_of_source(source, scratch_bytes));
  if (belongs_on_host(context_.target(), lowered, step)) {
    step.kind = StepKind::HostKernel;
    for (LoweredVariant& variant : lowered.variants) name_host_kernel(variant.kernel);
  } else {
    step.buffer_bytes.clear();
  }
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
  push(std::move(step));
}

// The variants of a step are given the same buffers in the same order: global ones, then stages.
void FunctionLowering::unite_buffers(LoweredStep& step) {
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

loops::Buffer FunctionLowering::unused_buffer(const LoweredStep& step, const BufferSource& source) {
  for (const LoweredVariant& variant : step.variants) {
    auto found = std::ranges::find(variant.buffers, source);
    if (found == variant.buffers.end()) continue;
    if (source.kind == BufferSource::Kind::Flag) return loops::make_flag("unused");
    return loops::make_global("unused", variant.kernel.buffers[found - variant.buffers.begin()]->element.dtype, false);
  }
  LPD_UNREACHABLE("a buffer of no variant");
}

}  // namespace lapidary::lowering

namespace lapidary::passes {

namespace {

std::string f32_products_of(const Options& options) {
  if (!options.target.is_gpu()) return "";
  return name_of(options.target.has_tensor_cores() ? options.f32_products : F32Products::IEEE);
}

}  // namespace

Program lower(Module& module, const Options& options) {
  lowering::Context context{module, options};
  Program program;
  program.name = module.name;
  program.f32_products = f32_products_of(options);
  program.module = &module;
  program.checks = module.checks;
  for (const State& state : module.states)
    if (!begins_as_zeros(module, state)) add_weight(program, state.initial);
  for (const auto& function : module.functions)
    program.entries.push_back(lowering::FunctionLowering(context, program, *function).run());
  return program;
}

}  // namespace lapidary::passes
