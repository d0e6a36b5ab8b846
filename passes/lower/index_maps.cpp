// Index maps of the movement ops, backwards (where does this element come from) and forwards (where does it go).
//
// Reshape works on factor groups: the shapes are cut where their running products agree ([B, S, 768] → [B, S, 12, 64]
// has the groups B|B, S|S, 768|12·64), and inside a group the digits of the coordinates are handed out again from the
// innermost. A digit that spans two axes is divided; only what does not nest at all ([6] → [4, 3] of [2, 6]) goes
// through the flat position.
#include "ir/error.h"
#include "passes/lower/access_recorder.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

bool is_one(Dim extent) { return value_of(extent) == 1; }

std::vector<int> axes_that_count(const Shape& shape) {
  std::vector<int> axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (!is_one(shape[i])) axes.push_back(static_cast<int>(i));
  return axes;
}

struct FactorGroup {
  size_t from_begin, from_end, to_begin, to_end;
};

// Cuts both lists of axes where the running products are provably equal.
std::vector<FactorGroup> factor_groups(DimPool& dims, const Shape& from, const std::vector<int>& from_axes,
                                       const Shape& to, const std::vector<int>& to_axes) {
  std::vector<FactorGroup> groups;
  size_t i = 0, j = 0;
  while (i < from_axes.size() || j < to_axes.size()) {
    FactorGroup group{i, from_axes.size(), j, to_axes.size()};
    bool found = false;
    Dim product_from = dims.constant(1);
    for (size_t a = i; a < from_axes.size() && !found; ++a) {
      product_from = dims.mul(product_from, from[from_axes[a]]);
      Dim product_to = dims.constant(1);
      for (size_t b = j; b < to_axes.size() && !found; ++b) {
        product_to = dims.mul(product_to, to[to_axes[b]]);
        if (product_from != product_to) continue;
        group = {i, a + 1, j, b + 1};
        found = true;
      }
    }
    groups.push_back(group);
    i = group.from_end;
    j = group.to_end;
  }
  return groups;
}

// The digits of several adjacent axes as one list; nothing when one of them is not made of plain digits.
std::optional<std::vector<Digit>> joined_digits(const std::vector<Coord>& coords, const Shape& shape,
                                                std::span<const int> axes) {
  std::vector<Digit> joined;
  for (int axis : axes) {
    const Coord& coord = coords[axis];
    const bool one_place = coord.digits.empty() && !coord.lanewise;
    const std::optional<int64_t> place = coord.offset ? lapidary::value_of(coord.offset) : 0;
    if (!coord.plain() && !(one_place && place)) return {};
    if (one_place) joined.push_back({integer(*place), nullptr, shape[axis]});
    for (Digit digit : coord.digits) {
      if (!digit.extent || coord.digits.size() == 1) digit.extent = shape[axis];
      joined.push_back(std::move(digit));
    }
  }
  return joined;
}

}  // namespace

namespace {

// Hands digits out to axes, innermost first.
struct DigitDealer {
  GroupEmitter& emit;
  int lanes;
  std::vector<Digit> digits;  // what is left, the innermost at the back

  DimPool& dims() { return emit.builder.module.dims; }

  // The digits of an axis of this extent; nothing when they do not nest.
  std::optional<Coord> take(Dim extent) {
    Coord coord;
    Dim taken = dims().constant(1);
    while (taken != extent) {
      if (digits.empty()) return {};
      Dim next = dims().mul(taken, digits.back().extent);
      if (next != extent && !fits(next, extent) && !split(taken, extent)) return {};
      coord.digits.insert(coord.digits.begin(), digits.back());
      taken = dims().mul(taken, digits.back().extent);
      digits.pop_back();
    }
    return coord;
  }

  // Can `part` be an inner factor of `whole`?
  bool fits(Dim part, Dim whole) { return dims().mul(part, dims().floordiv(whole, part)) == whole; }

  // Splits the last digit so that its inner half fills an axis of which `taken` is filled.
  bool split(Dim taken, Dim extent) {
    Dim inner = dims().floordiv(extent, taken);
    Digit digit = digits.back();
    if (dims().mul(inner, taken) != extent || !fits(inner, digit.extent)) return false;
    if (emit.recorder && digit.axis >= 0 && !emit.recorder->split && fits(inner, emit.recorder->extents[digit.axis]))
      emit.recorder->split = {digit.axis, inner};
    Coord flat = emit.flatten({{digit}}, digit.extent);
    const QuotientRemainder parts = divide_lanes(emit.builder, flat, inner, lanes);
    if (parts.quotient.lanewise || parts.remainder.lanewise) return false;
    digits.pop_back();
    const auto whole = std::make_shared<const Digit>(digit);
    const auto push = [&](const Coord& coord, Dim part) {
      digits.push_back(coord.digits.empty() ? Digit{integer(0)} : coord.digits[0]);
      digits.back().extent = part;
      digits.back().axis = -1;
      digits.back().divided = whole;
    };
    push(parts.quotient, dims().floordiv(digit.extent, inner));
    push(parts.remainder, inner);
    digits[digits.size() - 2].is_remainder = false;
    digits.back().is_remainder = true;
    return true;
  }
};

}  // namespace

std::vector<Coord> GroupEmitter::reshape(const std::vector<Coord>& coords, const Shape& from, const Shape& to,
                                         int lanes) {
  DimPool& dims = builder.module.dims;
  const std::vector<int> from_axes = axes_that_count(from), to_axes = axes_that_count(to);
  std::vector<Coord> result(to.size());
  const auto deal = [&](std::span<const int> source, std::span<const int> target) {
    auto digits = joined_digits(coords, from, source);
    if (!digits) return false;
    DigitDealer dealer{*this, lanes, std::move(*digits)};
    for (size_t i = target.size(); i-- > 0;) {
      auto coord = i ? dealer.take(to[target[i]]) : Coord{std::move(dealer.digits)};
      if (!coord) return false;
      result[target[i]] = std::move(*coord);
    }
    return true;
  };
  const auto through_position = [&](std::span<const int> source, std::span<const int> target) {
    Coord position;
    Expr base = integer(0), step, vector;
    Dim weight = dims.constant(1);
    for (size_t i = source.size(); i-- > 0;) {
      const Coord flat = flatten(coords[source[i]], from[source[i]]);
      Expr factor = builder.literal(weight);
      if (flat.lanewise) {
        Expr term = mul(flat.lanewise, splat(factor, lanes));
        vector = vector ? add(vector, term) : term;
      } else if (!flat.digits.empty()) {
        base = add(base, mul(flat.digits[0].base, factor));
        if (Expr s = flat.digits[0].step) step = step ? add(step, mul(s, factor)) : mul(s, factor);
      }
      weight = dims.mul(weight, from[source[i]]);
    }
    position = step ? along(base, step) : at(base);
    if (vector) position = lanewise(add(vector, splat_to(lane_values(position, lanes), lanes)));
    for (size_t i = target.size(); i-- > 0;) {
      if (i == 0) {
        result[target[i]] = position;
        break;
      }
      QuotientRemainder parts = divide_lanes(builder, position, to[target[i]], lanes);
      if (position.plain() && !position.digits.empty()) {
        const auto whole = std::make_shared<const Digit>(position.digits[0]);
        for (Coord* half : {&parts.quotient, &parts.remainder}) {
          if (half->lanewise) continue;
          if (half->digits.empty()) half->digits.push_back({integer(0)});
          half->digits[0].divided = whole;
          half->digits[0].is_remainder = half == &parts.remainder;
        }
        if (!parts.remainder.lanewise) parts.remainder.digits[0].extent = to[target[i]];
      }
      result[target[i]] = std::move(parts.remainder);
      position = std::move(parts.quotient);
    }
  };
  for (const FactorGroup& group : factor_groups(dims, from, from_axes, to, to_axes)) {
    const auto source = std::span(from_axes).subspan(group.from_begin, group.from_end - group.from_begin);
    const auto target = std::span(to_axes).subspan(group.to_begin, group.to_end - group.to_begin);
    if (source.size() == 1 && target.size() == 1)
      result[target[0]] = coords[source[0]];
    else if (!deal(source, target))
      through_position(source, target);
  }
  return result;
}

namespace {

Coord shifted(DimPool& dims, Coord coord, Dim offset, Dim scale) {
  if (value_of(scale) != 1) {
    coord.scale = coord.scale ? dims.mul(coord.scale, scale) : scale;
    if (coord.offset) coord.offset = dims.mul(coord.offset, scale);
  }
  coord.offset = coord.offset ? dims.add(coord.offset, offset) : offset;
  if (value_of(coord.offset) == 0) coord.offset = nullptr;
  return coord;
}

}  // namespace

Coord GroupEmitter::shift(const Coord& coord, Dim offset, Dim scale, int lanes) {
  DimPool& dims = builder.module.dims;
  if (!coord.lanewise) return shifted(dims, coord, offset, scale ? scale : dims.constant(1));
  Expr vector = coord.lanewise;
  if (scale) vector = mul(vector, splat(builder.parameter(scale), lanes));
  return lanewise(add(vector, splat(builder.parameter(offset), lanes)));
}

namespace {

std::vector<Coord> backward_broadcast(GroupEmitter& emit, const Op& op, const Coords& coords) {
  const Shape& from = op.operand(0)->type.shape;
  const Shape& to = op.type().shape;
  const auto& axes = op.params.integers("axes");
  DimPool& dims = emit.builder.module.dims;
  std::vector<Coord> result(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    const Coord& coord = coords.axes[axes[i]];
    if (is_one(from[i])) continue;
    if (from[i] == to[axes[i]])
      result[i] = coord;
    else {  // 1 or the result's extent, known at run time: times 0 or 1
      Dim counts = dims.sub(dims.constant(1), dims.equal(from[i], dims.constant(1)));
      result[i] = emit.shift(emit.flatten(coord, to[axes[i]]), dims.constant(0), counts, coords.lanes);
    }
  }
  return result;
}

std::vector<Coord> backward_slice(GroupEmitter& emit, const Op& op, const Coords& coords) {
  const auto& starts = op.params.dims("starts");
  const auto& steps = op.params.integers("steps");
  std::vector<Coord> result;
  for (size_t i = 0; i < coords.axes.size(); ++i)
    result.push_back(emit.shift(coords.axes[i], starts[i], emit.builder.dim(steps[i]), coords.lanes));
  return result;
}

}  // namespace

Coords GroupEmitter::backward(const Op& op, const Coords& coords) {
  if (is_scalar_op(op.kind) || op.is(OpKind::Convert) || op.is(OpKind::Relayout)) return coords;
  if (op.is(OpKind::Broadcast)) return coords.with(backward_broadcast(*this, op, coords));
  if (op.is(OpKind::Slice)) return coords.with(backward_slice(*this, op, coords));
  if (op.is(OpKind::Reshape))
    return coords.with(reshape(coords.axes, op.type().shape, op.operand(0)->type.shape, coords.lanes));
  LPD_CHECK(op.is(OpKind::Transpose), "{} has no index map", name_of(op.kind));
  const auto& perm = op.params.integers("perm");
  std::vector<Coord> result(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) result[perm[i]] = coords.axes[i];
  return coords.with(std::move(result));
}

bool maps_forward(const Op& op) {
  if (is_scalar_op(op.kind) || op.is(OpKind::Convert) || op.is(OpKind::Relayout)) return true;
  if (op.is(OpKind::Transpose) || op.is(OpKind::Reshape)) return true;
  if (op.is(OpKind::Slice)) {
    for (int64_t step : op.params.integers("steps"))
      if (step != 1) return false;
    return true;
  }
  if (!op.is(OpKind::Broadcast)) return false;
  const Shape& from = op.operand(0)->type.shape;
  std::vector<bool> covered(op.type().shape.size(), false);
  const auto& axes = op.params.integers("axes");
  for (size_t i = 0; i < from.size(); ++i) covered[axes[i]] = from[i] == op.type().shape[axes[i]];
  for (size_t i = 0; i < covered.size(); ++i)
    if (!covered[i] && !is_one(op.type().shape[i])) return false;
  return true;
}

Coords GroupEmitter::forward(const Op& op, const Coords& coords) {
  LPD_CHECK(maps_forward(op), "{} cannot be followed forwards", name_of(op.kind));
  if (op.is(OpKind::Reshape))
    return coords.with(reshape(coords.axes, op.operand(0)->type.shape, op.type().shape, coords.lanes));
  if (op.is(OpKind::Transpose)) {
    std::vector<Coord> result;
    for (int64_t axis : op.params.integers("perm")) result.push_back(coords.axes[axis]);
    return coords.with(std::move(result));
  }
  if (op.is(OpKind::Broadcast)) {
    std::vector<Coord> result(op.type().shape.size());
    const auto& axes = op.params.integers("axes");
    for (size_t i = 0; i < axes.size(); ++i) result[axes[i]] = coords.axes[i];
    return coords.with(std::move(result));
  }
  if (!op.is(OpKind::Slice)) return coords;
  DimPool& dims = builder.module.dims;
  Coords result = coords;
  for (size_t i = 0; i < coords.axes.size(); ++i) {
    Dim start = op.params.dims("starts")[i], size = op.params.dims("sizes")[i];
    if (value_of(start) == 0 && size == op.operand(0)->type.shape[i]) continue;
    const Coord flat = flatten(coords.axes[i], op.operand(0)->type.shape[i]);
    Expr inside = in_range(flat, builder.parameter(start), builder.parameter(dims.add(start, size)), coords.lanes);
    Expr& kept = inside->type.lanes == 1 && coords.lanes > 1 ? result.guard : result.mask;
    kept = both(kept, inside);
    result.axes[i] = shift(flat, dims.neg(start), nullptr, coords.lanes);
  }
  return result;
}

}  // namespace lapidary::lowering
