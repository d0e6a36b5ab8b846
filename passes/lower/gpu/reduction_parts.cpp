#include "passes/lower/gpu/reduction_parts.h"

#include <algorithm>

#include "ir/gpu_model.h"
#include "ir/layout.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kMostParts = 256;
constexpr int64_t kLengthOfUnknown = 1 << 18;  // where only the run knows it

const std::vector<const Op*>& reductions_of(const ReductionPlan& plan) { return plan.passes[0].reductions; }

DType found_type(const Op& reduction) { return identity_of(reduction.kind, reduction.type().dtype)->type.dtype; }

Dim elements_of(DimPool& dims, const IterationSpace& space, const std::vector<int>& kept) {
  std::vector<Dim> extents;
  for (int axis : kept) extents.push_back(space.axes[axis].loop_extent);
  return dims.product(extents);
}

// A thread for some neighbouring results.
LoweredVariant combination(Context& context, const Op& group, const ReductionPlan& plan, const IterationSpace& space,
                           const std::vector<int>& kept, int lanes, const ReductionParts& parts) {
  KernelBuilder builder(context.module, context.target(), "combine_parts");
  builder.for_gpu = true;
  GroupEmitter emit(builder, group);
  std::vector<Dim> extents;
  for (int axis : kept) extents.push_back(space.axes[axis].loop_extent);
  if (lanes > 1) extents.back() = builder.module.dims.floordiv(extents.back(), builder.dim(lanes));
  const std::vector<Expr> at_task = builder.split_task(extents);
  std::vector<Expr> index(space.axes.size(), integer(0));
  for (size_t i = 0; i < kept.size(); ++i) index[kept[i]] = at_task[i];
  if (lanes > 1) index[kept.back()] = mul(at_task.back(), integer(lanes));
  const FoundInParts found(builder, plan, space, kept, false);
  for (size_t i = 0; i < reductions_of(plan).size(); ++i) {
    const Op& op = *reductions_of(plan)[i];
    const Buffer total = builder.body.local("total", {found_type(op), static_cast<uint16_t>(lanes)}, 1);
    builder.body.add(store(total, integer(0), load(found.of(i), found.place(integer(0), index), lanes)));
    const Var part = make_var("part", {}, 1, parts.count - 1);
    const Expr other = load(found.of(i), found.place(variable(part), index), lanes);
    builder.body.add(
        for_loop(part, integer(1), integer(parts.count), 1, LoopKind::Serial,
                 {store(total, integer(0), apply(combining_op(op.kind), {load(total, integer(0), lanes), other}))}));
    emit.bind(op.result(), [&builder, &plan, &op, total, lanes](const Coords&) {
      return finished_reduction(builder, plan, op, load(total, integer(0), lanes));
    });
  }
  {
    GroupEmitter::Scope scope(emit, builder.body);
    const Coords here = with_block_tail(emit, plan.full, space.coords(index, lanes > 1 ? kept.back() : -1, lanes));
    for (uint32_t result : plan.kept_results) store_located(emit, plan, result, plan.kept(here), false);
  }
  return builder.finish(builder.module.dims.product(extents), parts.when);
}

}  // namespace

ReductionParts parts_of(Context& context, Dim tasks, Dim length, int64_t least) {
  DimPool& dims = context.module.dims;
  const int64_t enough = gpu_model(context.target().capability).multiprocessors;
  const auto known_tasks = value_of(tasks), known_length = value_of(length);
  if (!known_tasks || *known_tasks == 0 || *known_tasks >= enough) return {};
  const Dim pays = dims.less(dims.constant(2 * least - 1), length);
  if (value_of(pays) == 0) return {};
  const int64_t most = std::min(2 * enough / *known_tasks, known_length.value_or(kLengthOfUnknown) / least);
  return {.count = static_cast<int>(std::clamp<int64_t>(most, 2, kMostParts)), .when = value_of(pays) ? nullptr : pays};
}

PartRange range_of_part(KernelBuilder& builder, const Expr& part, int count, Dim extent, int multiple) {
  DimPool& dims = builder.module.dims;
  const Dim unit = builder.dim(multiple),
            each = dims.mul(dims.ceildiv(extent, builder.dim(int64_t{count} * multiple)), unit);
  const auto known = value_of(each);
  const Expr step = known ? integer(*known) : builder.parameter_multiple_of(each, multiple);
  const Expr begin = builder.body.let("begin", mul(part, step));
  return {begin, builder.body.let("end", max(begin, min(builder.parameter(extent), add(begin, step))))};
}

FoundInParts::FoundInParts(KernelBuilder& builder, const ReductionPlan& plan, const IterationSpace& space,
                           const std::vector<int>& kept, bool written)
    : builder_(builder), space_(space), kept_(kept) {
  for (const Op* op : reductions_of(plan))
    buffers_.push_back(builder.scratch(static_cast<uint32_t>(buffers_.size()), found_type(*op), written));
}

Expr FoundInParts::place(const Expr& part, const std::vector<Expr>& index) const {
  Expr flat = part;
  for (int axis : kept_) flat = add(mul(flat, builder_.parameter(space_.axes[axis].loop_extent)), index[axis]);
  return flat;
}

LoweredGroup lower_in_parts(Context& context, const Op& group, const ReductionPlan& plan, const IterationSpace& space,
                            const std::vector<int>& kept, int lanes, const ReductionParts& parts,
                            const std::function<LoweredVariant(int parts, Dim when)>& emit) {
  LoweredGroup lowered;
  if (parts.count == 1) {
    lowered.steps.push_back(single_step(emit(1, nullptr)));
    return lowered;
  }
  DimPool& dims = context.module.dims;
  LoweredStep& step = lowered.steps.emplace_back();
  if (parts.when) step.variants.push_back(emit(1, dims.equal(parts.when, dims.constant(0))));
  step.variants.push_back(emit(parts.count, nullptr));
  const Dim runs = parts.when ? parts.when : dims.constant(1),
            elements = dims.product(std::vector<Dim>{runs, dims.constant(parts.count), elements_of(dims, space, kept)});
  LoweredStep last = single_step(combination(context, group, plan, space, kept, lanes, parts));
  last.flops = dims.constant(0), last.bytes = dims.constant(0);
  for (const Op* op : reductions_of(plan)) {
    const int64_t bytes = std::max(8, bit_width(found_type(*op))) / 8;
    lowered.scratch.push_back(dims.mul(elements, dims.constant(bytes)));
    last.bytes = dims.add(last.bytes, lowered.scratch.back());
    last.flops = dims.add(last.flops, elements);
  }
  for (const auto& result : group.results)
    last.bytes = dims.add(last.bytes, dims.mul(runs, physical_bytes(dims, result->type)));
  lowered.steps.push_back(std::move(last));
  return lowered;
}

}  // namespace lapidary::lowering::gpu
