#include "passes/lower/gpu/reduction_parts.h"

#include <algorithm>

#include "ir/gpu_model.h"
#include "ir/layout.h"
#include "passes/lower/gpu/column_sums.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kMostParts = 256;
constexpr int64_t kLengthOfUnknown = 1 << 18;  // where only the run knows it

const std::vector<const Op*>& reductions_of(const ReductionPlan& plan) { return plan.passes[0].reductions; }

std::vector<Dim> extents_of(const IterationSpace& space, const std::vector<int>& axes) {
  std::vector<Dim> extents;
  for (int axis : axes) extents.push_back(space.axes[axis].loop_extent);
  return extents;
}

// What the parts have found are columns themselves, all kept axes side by side: a thread adds some of a column's.
class Combination {
 public:
  Combination(Context& context, const Op& group, const ReductionPlan& plan, const IterationSpace& space,
              const std::vector<int>& kept, int lanes, int parts)
      : builder_(context.module, context.target(), "combine_parts"),
        plan_(plan),
        space_(space),
        kept_(kept),
        emit_(builder_, group),
        parts_(parts) {
    DimPool& dims = context.module.dims;
    results_ = dims.product(extents_of(space, kept));
    packets_ = dims.floordiv(results_, dims.constant(lanes));
    const int64_t known = value_of(packets_).value_or(kThreads);
    shape_.lanes = lanes;
    shape_.down = std::clamp(parts / kPartsOfThread, 1, kMostDown);
    shape_.across = static_cast<int>(std::clamp<int64_t>(known, 1, kThreads / shape_.down));
  }

  LoweredVariant emit(Dim when) {
    const Expr first = mul(variable(builder_.task()), integer(shape_.across));
    const FoundInParts found(builder_, plan_, space_, kept_, false);
    ColumnSums(builder_, reductions_of(plan_), shape_)
        .emit(
            {{builder_.dim(parts_)}, integer(0), integer(parts_)},
            [&](Block& block, const Expr& across) {
              packet_ = block.let("packet", add(first, across));
              return known_multiple(packets_, shape_.across) ? nullptr : less(packet_, builder_.parameter(packets_));
            },
            [&](Block&, const std::vector<Expr>& part) {
              const Expr place = add(mul(part[0], builder_.parameter(results_)), mul(packet_, integer(shape_.lanes)));
              std::vector<Expr> elements;
              for (size_t i = 0; i < reductions_of(plan_).size(); ++i)
                elements.push_back(load(found.of(i), place, shape_.lanes));
              return elements;
            },
            [&](Block& block, const std::vector<Buffer>& totals) { store_results(block, totals); });
    DimPool& dims = builder_.module.dims;
    return builder_.finish(dims.ceildiv(packets_, dims.constant(shape_.across)), when);
  }

 private:
  static constexpr int kThreads = 256, kMostDown = 32;
  static constexpr int kPartsOfThread = 2 * ColumnSums::kInFlight;

  void store_results(Block& block, const std::vector<Buffer>& totals) {
    const int lanes = shape_.lanes;
    std::vector<Expr> index(space_.axes.size(), integer(0));
    std::vector<Dim> extents = extents_of(space_, kept_);
    if (lanes > 1) extents.back() = builder_.module.dims.floordiv(extents.back(), builder_.dim(lanes));
    const std::vector<Expr> place = split_index(builder_, block, packet_, extents);
    for (size_t i = 0; i < kept_.size(); ++i) index[kept_[i]] = place[i];
    if (lanes > 1) index[kept_.back()] = mul(place.back(), integer(lanes));
    store_totals(block, emit_, plan_, totals, [&] {
      return with_block_tail(emit_, plan_.full, space_.coords(index, lanes > 1 ? kept_.back() : -1, lanes));
    });
  }

  KernelBuilder builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  const std::vector<int>& kept_;
  GroupEmitter emit_;
  const int parts_;
  Dim results_ = nullptr, packets_ = nullptr;  // of one part
  ColumnSums::Shape shape_;
  Expr packet_;  // of the thread
};

}  // namespace

void store_totals(Block& block, GroupEmitter& emit, const ReductionPlan& plan, const std::vector<Buffer>& totals,
                  const std::function<Coords()>& here) {
  for (size_t i = 0; i < totals.size(); ++i) {
    const Op& op = *reductions_of(plan)[i];
    emit.bind(op.result(), [&emit, &plan, &op, total = totals[i]](const Coords&) {
      return finished_reduction(emit.builder, plan, op, load(total, integer(0), total->element.lanes));
    });
  }
  GroupEmitter::Scope scope(emit, block);
  const Coords where = plan.kept(here());
  for (uint32_t result : plan.kept_results) store_located(emit, plan, result, where, false);
}

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

PartRange range_of_part(KernelBuilder& builder, const Expr& part, int count, Dim extent) {
  const Expr step = builder.parameter(builder.module.dims.ceildiv(extent, builder.dim(count)));
  const Expr begin = builder.body.let("begin", mul(part, step));
  return {begin, builder.body.let("end", max(begin, min(builder.parameter(extent), add(begin, step))))};
}

FoundInParts::FoundInParts(KernelBuilder& builder, const ReductionPlan& plan, const IterationSpace& space,
                           const std::vector<int>& kept, bool written)
    : builder_(builder), space_(space), kept_(kept) {
  for (const Op* op : reductions_of(plan))
    buffers_.push_back(builder.scratch(static_cast<uint32_t>(buffers_.size()), combined_type(*op), written));
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
            elements =
                dims.product(std::vector<Dim>{runs, dims.constant(parts.count), dims.product(extents_of(space, kept))});
  LoweredStep last = single_step(Combination(context, group, plan, space, kept, lanes, parts.count).emit(parts.when));
  last.flops = dims.constant(0), last.bytes = dims.constant(0);
  for (const Op* op : reductions_of(plan)) {
    const int64_t bytes = std::max(8, bit_width(combined_type(*op))) / 8;
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
