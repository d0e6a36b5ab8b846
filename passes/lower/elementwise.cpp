// Elementwise groups: scalar ops and converts under any movement of elements (broadcast, reshape, transpose, slice,
// pad, gather, concat), evaluated backwards from the results. Example: y = relu(transpose(x) + b). All results of one
// element count share a kernel, and what they have in common is computed once.
//
// A concat that ends the group is one kernel a part, each writing its own range, rather than one that asks at every
// element which part it is in. Parts that were placed there (place_concats) are done already.
//
// Also here: `plain`, the same for any op at all, reductions and convolutions included, as loops around one vector of
// results. No reuse, so only for what has no family.
#include <algorithm>

#include "passes/lower/map_kernel.h"

namespace lapidary::lowering {

namespace {

using Element = std::function<void(GroupEmitter&, const Coords&)>;

// A whole number that fills a range is an argument of the kernel, so that fills by other numbers share it.
loops::Expr filling(KernelBuilder& builder, const loops::Expr& value) {
  constexpr int64_t kMost = INT64_C(1) << 40;
  const bool fills = value->kind == loops::ExprKind::Const && is_integer(value->type.dtype);
  if (!fills || std::abs(value->constant.integer) > kMost) return value;
  const loops::Expr number = builder.parameter(builder.dim(value->constant.integer));
  return splat_to(convert(number, value->type.dtype), value->type.lanes);
}

// Results `members` in one kernel that walks the first of them. All are there before the first is stored: it may lie
// where others are made from (order_states).
LoweredStep results_together(Context& context, const Op& group, const std::string& family,
                             const std::vector<uint32_t>& members) {
  const auto& yielded = group.regions[0]->results();
  const Type& walked = group.type(static_cast<int>(members[0]));
  const Element element = [&](GroupEmitter& emit, const Coords& coords) {
    std::vector<std::pair<Coords, loops::Expr>> results;
    for (uint32_t member : members) {
      Coords& where = results.emplace_back(coords, nullptr).first;
      if (yielded[member]->type.shape != walked.shape)
        where.axes = emit.reshape(coords.axes, walked.shape, yielded[member]->type.shape, coords.lanes);
      loops::Expr value = filling(emit.builder, emit.value(yielded[member], where));
      results.back().second = members.size() > 1 ? emit.block().let("result", value) : value;
    }
    for (size_t i = 0; i < members.size(); ++i) emit.store(members[i], results[i].first, results[i].second);
  };
  return map_step(context, group, family, walked, element);
}

// The concat that makes result `index`, when nothing follows it.
const Op* root_concat(const Op& group, uint32_t index) {
  const Value* value = group.regions[0]->results()[index];
  if (!value->producer || !value->producer->is(OpKind::Concat) || !value->has_one_use()) return nullptr;
  const Layout& layout = group.type(static_cast<int>(index)).layout;
  const int64_t axis = value->producer->params.integer("axis");
  if (layout.blocked_axis != axis) return value->producer;
  const std::vector<Value*>& parts = value->producer->operands;
  for (size_t i = 0; i + 1 < parts.size(); ++i)  // each begins at a block; one value may be several parts
    if (!known_multiple(parts[i]->type.shape[axis], layout.block)) return nullptr;
  return value->producer;
}

bool is_placed(const Op& group, int64_t position) {
  if (!group.params.has("placed")) return false;
  const auto& placed = group.params.integers("placed");
  return std::ranges::find(placed, position) != placed.end();
}

LoweredStep concat_part(Context& context, const Op& group, uint32_t index, const Op& concat, const Value* part,
                        Dim begin) {
  const int64_t axis = concat.params.integer("axis");
  Type walked = group.type(static_cast<int>(index));
  walked.shape = part->type.shape;
  const Element element = [&](GroupEmitter& emit, const Coords& coords) {
    Coords where = coords;
    where.axes[axis] = emit.shift(coords.axes[axis], begin, nullptr, coords.lanes);
    emit.store(index, where, filling(emit.builder, emit.value(part, coords)));
  };
  LoweredStep step = map_step(context, group, "concat", walked, element);
  DimPool& dims = context.module.dims;
  step.bytes = dims.mul(dims.product(part->type.shape), dims.constant(2 * bit_width(part->type.dtype) / 8));
  return step;
}

}  // namespace

LoweredGroup lower_elementwise(Context& context, const Op& group) {
  LoweredGroup lowered;
  DimPool& dims = context.module.dims;
  std::vector<bool> done(group.results.size(), false);
  for (uint32_t i = 0; i < done.size(); ++i) {
    const Op* concat = root_concat(group, i);
    if (!concat) continue;
    Dim begin = dims.constant(0);
    for (size_t position = 0; position < concat->operands.size(); ++position) {
      const Value* part = concat->operands[position];
      if (!is_placed(group, static_cast<int64_t>(position)) && value_of(dims.product(part->type.shape)) != 0)
        lowered.steps.push_back(concat_part(context, group, i, *concat, part, begin));
      begin = dims.add(begin, part->type.shape[concat->params.integer("axis")]);
    }
    done[i] = true;
  }
  for (uint32_t i = 0; i < done.size(); ++i) {
    if (done[i]) continue;
    std::vector<uint32_t> members;
    for (uint32_t j = i; j < done.size(); ++j) {
      const Type &a = group.type(static_cast<int>(i)), &b = group.type(static_cast<int>(j));
      if (done[j] || dims.product(a.shape) != dims.product(b.shape)) continue;
      if (j != i && (a.layout.blocked_axis >= 0 || b.layout.blocked_axis >= 0) &&
          (a.shape != b.shape || a.layout != b.layout))
        continue;
      members.push_back(j);
      done[j] = true;
    }
    if (members.size() == 1 && has_narrow_blocks(context.target(), group.type(static_cast<int>(i))))
      lowered.steps.push_back(narrow_blocks_step(context, group, i));
    else
      lowered.steps.push_back(results_together(context, group, "elementwise", members));
  }
  return lowered;
}

LoweredGroup lower_elements(Context& context, const Op& group, const std::string& family) {
  LoweredGroup lowered;
  for (uint32_t i = 0; i < group.results.size(); ++i)
    lowered.steps.push_back(results_together(context, group, family, {i}));
  return lowered;
}

LoweredGroup lower_plain(Context& context, const Op& group) {
  return lower_elements(context, group, std::string(loops::kPlain));
}

}  // namespace lapidary::lowering
