// Place concats: parts of a concatenation are written where they belong. A value that a group makes and a concat reads
// becomes a slice of the concat's buffer: its rows are as wide as the concat's (Layout::leading), the concat's group
// lists it as placed, and lowering gives both one place. What is left for the group to do is to copy the other parts;
// often nothing. A dense block (concat(concat(a, b), c), each read by others) becomes one buffer that grows.
//
//   conv → %1   conv → %2   %3 = concat %1, %2        the convolutions write channels 0… and 32… of one buffer
//
// Placed are parts in channel blocks that begin at a block, and dense parts that are one piece of memory in the result
// or rows of it. Not placed: the model's inputs, constants, results of the function, a second copy of the same value.
// Nor in a whole whose size only a run can tell: it would have to be known before the first part is written.
// Halos are as wide as the widest of the values that share the buffer. Test: test/passes/place_concats/.
#include <algorithm>
#include <map>

#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool in_family(const Op& op, std::initializer_list<std::string_view> families) {
  return op.is(OpKind::Group) && std::ranges::find(families, op.params.text("family")) != families.end();
}

// The concat that is all a group does after its parts are there.
const Op* concat_of(const Op& group) {
  if (!in_family(group, {"elementwise"}) || group.results.size() != 1) return nullptr;
  const Value* value = group.regions[0]->results()[0];
  return value->producer && value->producer->is(OpKind::Concat) && value->has_one_use() ? value->producer : nullptr;
}

// Does a slice along this axis lie in one piece?
bool in_one_piece(const Shape& shape, int64_t axis) {
  return std::all_of(shape.begin(), shape.begin() + axis, [](Dim extent) { return value_of(extent) == 1; });
}

// The part's layout as a slice of the whole (but for halos), or nothing.
std::optional<Layout> layout_as_slice(const Type& part, const Type& whole, int64_t axis, Dim begin, bool last) {
  Layout layout = part.layout;
  const Layout& around = whole.layout;
  const bool blocked = layout.blocked_axis >= 0;
  if (layout.leading || layout.blocked_axis != around.blocked_axis || layout.block != around.block ||
      layout.fill != around.fill)
    return {};
  if (!blocked && (!layout.halo.empty() || !around.halo.empty())) return {};
  if (layout.halo_of(static_cast<int>(axis)) != Halo{} || around.halo_of(static_cast<int>(axis)) != Halo{}) return {};
  if (blocked && layout.blocked_axis == axis &&
      (!known_multiple(begin, layout.block) || (!last && !known_multiple(part.shape[axis], layout.block))))
    return {};
  layout.leading = around.leading;
  if (layout.leading || in_one_piece(part.shape, axis)) return layout;
  if (axis != (blocked ? layout.blocked_axis : part.rank() - 1)) return {};
  layout.leading = whole.shape[axis];
  return layout;
}

class Placement {
 public:
  Placement(DimPool& dims, Region& body, const Target& target) : dims_(dims), body_(body), target_(target) {}

  bool run() {
    // From the last on: a whole knows how it lies itself before its parts are placed in it.
    for (auto op = body_.ops.rbegin(); op != body_.ops.rend(); ++op)
      if (const Op* concat = concat_of(*op)) place_parts(*op, *concat);
    share_halos();
    return !whole_of_.empty();
  }

 private:
  void place_parts(Op& group, const Op& concat) {
    if (std::ranges::any_of(group.type().shape, speaks_of_elements)) return;
    const int64_t axis = concat.params.integer("axis");
    std::vector<int64_t> placed;
    Dim begin = dims_.constant(0);
    for (size_t i = 0; i < concat.operands.size(); ++i) {
      const Value* argument = concat.operands[i];
      const bool last = i + 1 == concat.operands.size();
      if (!argument->producer && place(group.operand(static_cast<int>(argument->index)), group, axis, begin, last))
        placed.push_back(static_cast<int64_t>(i));
      begin = dims_.add(begin, argument->type.shape[static_cast<size_t>(axis)]);
    }
    if (!placed.empty()) group.params.set("placed", placed);
  }

  bool place(Value* part, Op& group, int64_t axis, Dim begin, bool last) {
    if (!part->producer || !part->producer->is(OpKind::Group) || whole_of_.contains(part)) return false;
    const std::optional<Layout> layout = layout_as_slice(part->type, group.type(), axis, begin, last);
    if (!layout || !is_aligned(*layout, group.type(), axis, begin)) return false;
    const bool rows_apart = part->type.layout.dense() && !layout->dense();
    if (rows_apart && !in_family(*part->producer, {"contraction", "attention", "row", "reduce", "elementwise"}))
      return false;
    for (const Use& use : part->uses) {
      if (use.op->is(OpKind::Yield)) return false;
      if (rows_apart && use.op != &group && !in_family(*use.op, {"elementwise", "reduce"})) return false;
    }
    part->type.layout = *layout;
    whole_of_[part] = group.result();
    return true;
  }

  // A GPU counts on buffers aligned to 16 bytes, and so on slices that begin there.
  bool is_aligned(const Layout& layout, const Type& whole, int64_t axis, Dim begin) {
    if (!target_.is_gpu() || layout.blocked_axis == axis) return true;
    Dim inner = begin;
    for (size_t i = static_cast<size_t>(axis) + 1; i < whole.shape.size(); ++i)
      inner = dims_.mul(inner, whole.shape[i]);
    return known_multiple(inner, std::max(1, 128 / std::max(8, bit_width(whole.dtype))));
  }

  // All values of a buffer get the widest halo of any.
  void share_halos() {
    std::map<Value*, std::vector<Halo>> widest;
    for (const auto& [part, whole] : whole_of_) {
      Value* root = root_of(whole);
      widen(widest[root], root->type.layout.halo);
      widen(widest[root], part->type.layout.halo);
    }
    for (const auto& [root, halo] : widest) root->type.layout.halo = halo;
    for (const auto& [part, whole] : whole_of_) part->type.layout.halo = root_of(whole)->type.layout.halo;
  }

  Value* root_of(Value* value) const {
    for (auto found = whole_of_.find(value); found != whole_of_.end(); found = whole_of_.find(value))
      value = found->second;
    return value;
  }

  static void widen(std::vector<Halo>& halo, const std::vector<Halo>& other) {
    if (halo.size() < other.size()) halo.resize(other.size());
    for (size_t axis = 0; axis < other.size(); ++axis) {
      halo[axis].lo = std::max(halo[axis].lo, other[axis].lo);
      halo[axis].hi = std::max(halo[axis].hi, other[axis].hi);
    }
  }

  DimPool& dims_;
  Region& body_;
  const Target& target_;
  std::map<Value*, Value*> whole_of_;  // of each placed part
};

}  // namespace

bool place_concats(Module& module, const Options& options) {
  bool changed = false;
  for_each_body(module, [&](Region& body) { changed |= Placement(module.dims, body, options.target).run(); });
  return changed;
}

}  // namespace lapidary::passes
