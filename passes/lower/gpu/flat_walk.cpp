#include "passes/lower/gpu/flat_walk.h"

#include <optional>

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

// A thread's place on several axes, in variables of its own.
class Place {
 public:
  Place(KernelBuilder& builder, Block& outer, const std::vector<Dim>& extents, const Expr& first, int step)
      : step_(split_index(builder, outer, integer(step), extents)),
        digits_(outer.local("place", {DType::I64, 1}, static_cast<int64_t>(extents.size()))) {
    for (Dim extent : extents) extents_.push_back(builder.parameter(extent));
    const std::vector<Expr> begin = split_index(builder, outer, first, extents);
    for (size_t axis = 0; axis < extents.size(); ++axis) outer.add(store(digits_, at(axis), begin[axis]));
  }

  std::vector<Expr> here(Block& block) const {
    std::vector<Expr> digits;
    for (size_t axis = 0; axis < extents_.size(); ++axis) digits.push_back(digit(block, load(digits_, at(axis))));
    return digits;
  }

  // Both numbers' digits are below the extents, so a sum of two and a carry is below twice the extent.
  void advance(Block& block, const std::vector<Expr>& from) const {
    Expr carry = integer(0);
    for (size_t axis = extents_.size(); axis-- > 0;) {
      const Expr sum = digit(block, add(add(from[axis], step_[axis]), carry));
      if (axis == 0) return block.add(store(digits_, at(axis), sum));
      const Expr stays = block.let("stays", less(sum, extents_[axis]));
      block.add(store(digits_, at(axis), select(stays, sum, sub(sum, extents_[axis]))));
      carry = select(stays, integer(0), integer(1));
    }
  }

 private:
  static Expr at(size_t axis) { return integer(static_cast<int64_t>(axis)); }
  static Expr digit(Block& block, const Expr& value) {
    const Var var = make_var("digit", {}, 0, INT64_MAX / 4);
    block.add(let(var, value));
    return variable(var);
  }

  std::vector<Expr> step_, extents_;
  Buffer digits_;
};

}  // namespace

void walk_flat(KernelBuilder& builder, Block& outer, const FlatRange& range, const FlatTurns& turns,
               const std::function<void(Block&, int, const std::vector<Expr>&)>& body) {
  const Expr first = outer.let("first", add(range.begin, turns.thread));
  std::optional<Place> place;
  if (range.extents.size() > 1) place.emplace(builder, outer, range.extents, first, turns.threads);
  const auto loop_of = [&](const Expr& begin, const Expr& end, int each) {
    const Var var = make_var("x", {}, 0, INT64_MAX / 4);
    Block inner;
    for (int slot = 0; slot < each; ++slot) {
      if (!place) {
        body(inner, slot, {add(variable(var), integer(int64_t{slot} * turns.threads))});
        continue;
      }
      const std::vector<Expr> here = place->here(inner);
      place->advance(inner, here);
      body(inner, slot, here);
    }
    outer.add(for_loop(var, begin, end, int64_t{each} * turns.threads, LoopKind::Serial, inner.take()));
  };
  if (turns.at_once == 1) return loop_of(first, range.end, 1);
  const Expr round = integer(int64_t{turns.at_once} * turns.threads);
  const Expr rest = outer.let("rest", add(mul(floordiv(sub(range.end, range.begin), round), round), first));
  loop_of(first, rest, turns.at_once);
  loop_of(rest, range.end, 1);
}

}  // namespace lapidary::lowering::gpu
