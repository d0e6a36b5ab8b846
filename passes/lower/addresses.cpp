// Element offsets of laid-out tensors, loads and stores.
//
// Each digit of a coordinate contributes digit · (weight · stride), whose product of Dims is one integer parameter, so
// a dense tensor under loops over its own axes costs one multiply-add an axis. A blocked axis takes its last digit as
// the place in the block when it has the block's extent; else the coordinate is divided, which folds away when the
// base is known to be a multiple of the block and the lanes run along it. Blocks that come last are no more than an
// axis of stride 1.
#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/access_recorder.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering {

using namespace loops;

DType compute_dtype(DType stored) { return is_float(stored) && bit_width(stored) < 32 ? DType::F32 : stored; }

namespace {

// Σ of the terms of an address.
struct AddressSum {
  KernelBuilder& builder;
  int lanes;
  bool literal;
  Expr base = integer(0), step = nullptr, vector = nullptr;

  Expr factor_of(Dim stride) { return literal ? builder.literal(stride) : builder.parameter(stride); }
  void add_term(Expr term_base, Expr term_step, Dim stride) {
    if (!term_step && loops::value_of(term_base) == 0) return;  // a collapsed axis asks for no parameter
    Expr factor = factor_of(stride);
    base = loops::add(base, mul(term_base, factor));
    if (!term_step) return;
    Expr scaled = mul(term_step, factor);
    step = step ? loops::add(step, scaled) : scaled;
  }
  void add_vector(Expr coordinate, Dim stride) {
    Expr term = mul(coordinate, splat(factor_of(stride), lanes));
    vector = vector ? loops::add(vector, term) : term;
  }
  GroupEmitter::Address finish() const {
    if (!vector) return {base, step};
    Expr rest = step ? ramp(base, step, lanes) : splat(base, lanes);
    return {loops::add(vector, rest), nullptr, true};
  }
};

}  // namespace

Coord GroupEmitter::flatten(const Coord& coord, Dim extent) {
  if (coord.lanewise) return coord;
  if (recorder)
    for (const Digit& digit : coord.digits)
      if (digit.axis >= 0) recorder->opaque[digit.axis] = true;
  DimPool& dims = builder.module.dims;
  Expr base = integer(0), step = nullptr;
  Dim weight = coord.scale ? coord.scale : builder.dim(1);
  for (size_t i = coord.digits.size(); i-- > 0;) {
    const Digit& digit = coord.digits[i];
    Expr factor = builder.literal(weight);
    base = add(mul(digit.base, factor), base);
    if (digit.step) step = step ? add(mul(digit.step, factor), step) : mul(digit.step, factor);
    if (i) weight = dims.mul(weight, digit.extent);
  }
  if (coord.offset) base = add(base, builder.literal(coord.offset));
  return {{Digit{base, step, extent}}};
}

GroupEmitter::Address GroupEmitter::address(const Type& type, const Coords& coords) {
  LPD_CHECK(coords.axes.size() == type.shape.size(), "{} coordinates for {}", coords.axes.size(), to_string(type));
  DimPool& dims = builder.module.dims;
  AddressSum sum{builder, coords.lanes, literal_strides};
  std::vector<Dim> strides(recorder ? recorder->opaque.size() : 0);
  const auto record = [&](const Digit& digit, Dim stride) {
    if (!recorder || digit.axis < 0) return;
    Dim& entry = strides[digit.axis];
    entry = entry ? dims.add(entry, stride) : stride;
  };
  const auto add_digits = [&](std::span<const Digit> digits, Dim stride) {
    for (size_t i = digits.size(); i-- > 0;) {
      sum.add_term(digits[i].base, digits[i].step, stride);
      record(digits[i], stride);
      if (i) stride = dims.mul(stride, digits[i].extent);
    }
  };
  const std::vector<PhysicalAxis> axes = physical_axes(dims, type);
  const bool linear = type.layout.blocked_axis < 0 || type.layout.last;
  const auto is_blocked = [&](const PhysicalAxis& axis) { return type.layout.blocked_axis == axis.axis; };
  // The digit that `quotient`, along axis `outer`, and the coordinate of the axis after it are parts of, when the two
  // lie without a gap.
  const auto divided_over = [&](const Coord& quotient, size_t outer) -> const Digit* {
    if (recorder || !linear || outer + 1 >= axes.size()) return nullptr;
    const PhysicalAxis &a = axes[outer], &b = axes[outer + 1];
    if (is_blocked(a) || is_blocked(b)) return nullptr;
    const Coord& remainder = coords.axes[b.axis];
    const bool halves = quotient.plain() && remainder.plain() && quotient.digits.size() == 1 &&
                        remainder.digits.size() == 1 && quotient.digits[0].divided &&
                        quotient.digits[0].divided == remainder.digits[0].divided && !quotient.digits[0].is_remainder &&
                        remainder.digits[0].is_remainder && remainder.digits[0].extent == type.shape[b.axis];
    const bool adjacent =
        a.halo_lo == 0 && b.halo_lo == 0 && a.stride == dims.mul(b.stride, b.extent) && b.extent == type.shape[b.axis];
    return halves && adjacent ? quotient.digits[0].divided.get() : nullptr;
  };
  // The same of coordinates that differ from lane to lane: v / n and v mod n are v again.
  const auto lanewise_over = [&](size_t outer) -> Expr {
    if (recorder || type.layout.blocked_axis >= 0 || outer + 1 >= axes.size()) return nullptr;
    const PhysicalAxis &a = axes[outer], &b = axes[outer + 1];
    const Expr &quotient = coords.axes[a.axis].lanewise, &remainder = coords.axes[b.axis].lanewise;
    const auto applies = [](const Expr& e, ScalarOp op) { return e && e->kind == ExprKind::Apply && e->op == op; };
    if (!applies(quotient, ScalarOp::Div) || !applies(remainder, ScalarOp::TruncMod)) return nullptr;
    const bool adjacent =
        a.halo_lo == 0 && b.halo_lo == 0 && a.stride == dims.mul(b.stride, b.extent) && b.extent == type.shape[b.axis];
    const bool halves = same(quotient->args[0], remainder->args[0]) && same(quotient->args[1], remainder->args[1]) &&
                        same(quotient->args[1], splat(builder.divisor(b.extent), coords.lanes));
    return adjacent && halves ? quotient->args[0] : nullptr;
  };
  for (size_t place = 0; place < axes.size(); ++place) {
    if (Expr whole = lanewise_over(place)) {
      sum.add_vector(whole, axes[++place].stride);
      continue;
    }
    Coord coord = coords.axes[axes[place].axis];
    bool joined = false;
    for (; const Digit* whole = divided_over(coord, place); ++place, joined = true) coord = Coord{{*whole}};
    if (joined) {
      sum.add_term(coord.digits[0].base, coord.digits[0].step, axes[place].stride);
      continue;
    }
    const PhysicalAxis& axis = axes[place];
    Dim offset = builder.dim(axis.halo_lo);
    if (is_blocked(axis) && linear && !axis.inner) continue;  // of all of it the inner part is the place
    if (!is_blocked(axis) || linear) {
      if (coord.offset) offset = dims.add(offset, coord.offset);
      if (value_of(offset) != 0) sum.add_term(integer(1), nullptr, dims.mul(offset, axis.stride));
      if (coord.lanewise)
        sum.add_vector(coord.lanewise, axis.stride);
      else
        add_digits(coord.digits, coord.scale ? dims.mul(coord.scale, axis.stride) : axis.stride);
      continue;
    }
    LPD_CHECK(axis.halo_lo == 0, "a halo on the blocked axis of {}", to_string(type));
    Dim block = builder.dim(type.layout.block);
    if (coord.plain() && coord.digits.size() > 1 && coord.digits.back().extent == block) {
      std::span<const Digit> digits = coord.digits;
      add_digits(axis.inner ? digits.last(1) : digits.first(digits.size() - 1), axis.stride);
      continue;
    }
    const QuotientRemainder parts = divide_lanes(builder, flatten(coord, type.shape[axis.axis]), block, coords.lanes);
    const Coord& part = axis.inner ? parts.remainder : parts.quotient;
    if (part.lanewise)
      sum.add_vector(part.lanewise, axis.stride);
    else
      add_digits(part.digits, axis.stride);
  }
  if (recorder) recorder->accesses.push_back(std::move(strides));
  return sum.finish();
}

Expr GroupEmitter::load(const Buffer& buffer, const Address& address, const Coords& coords) {
  const int lanes = coords.lanes;
  const auto lane_mask = [&] { return both(coords.mask, coords.guard ? splat_to(coords.guard, lanes) : nullptr); };
  Expr value;
  if (address.lanewise)
    value = loops::load(buffer, address.base, lanes, lane_mask());
  else if (!address.step || loops::value_of(address.step) == 0)
    value = loops::load(buffer, address.base, 1, coords.guard);
  else if (loops::value_of(address.step) == 1)
    value = loops::load(buffer, address.base, lanes, lane_mask());
  else
    value = loops::load(buffer, ramp(address.base, address.step, lanes), lanes, lane_mask());
  const DType dtype = value->type.dtype;
  return dtype == compute_dtype(dtype) ? value : convert(value, compute_dtype(dtype));
}

void GroupEmitter::store(const Buffer& buffer, const Address& address, const Coords& coords, Expr value) {
  const int lanes = coords.lanes;
  if (value->type.dtype != buffer->element.dtype) value = convert(value, buffer->element.dtype);
  value = splat_to(value, lanes);
  Expr mask = both(coords.mask, coords.guard ? splat_to(coords.guard, lanes) : nullptr);
  if (address.lanewise || lanes == 1 || loops::value_of(address.step ? address.step : integer(0)) == 1) {
    block().add(loops::store(buffer, address.base, value, mask));
    return;
  }
  if (!address.step ||
      loops::value_of(address.step) == 0) {  // the lanes run along an axis of extent 1: only the first can be in it
    Expr inside = coords.mask ? shuffle({coords.mask}, {0}) : nullptr;
    block().add(loops::store(buffer, address.base, shuffle({value}, {0}), both(inside, coords.guard)));
    return;
  }
  block().add(loops::store(buffer, ramp(address.base, address.step, lanes), value, mask));
}

// The lanes of a blocked axis past its extent are stored as zeros: consumers read whole blocks.
void GroupEmitter::store(uint32_t index, const Coords& coords, Expr value) {
  const Value* result = group.result(static_cast<int>(index));
  const Layout& layout = result->type.layout;
  Coords where = coords;
  if (layout.blocked_axis >= 0 && coords.lanes > 1) {
    const Coord& channel = coords.axes[layout.blocked_axis];
    Dim extent = result->type.shape[layout.blocked_axis];
    if (!channel.uniform() && !channel.lanewise && !known_multiple(extent, layout.block)) {
      const Coord flat = flatten(channel, extent);
      const bool pixels = layout.last && coords.lanes > layout.block;  // some neighbours, whole
      Expr inside = first_lanes(sub(pixels ? builder.literal(extent) : builder.parameter(extent), flat.digits[0].base),
                                pixels ? layout.block : coords.lanes);
      if (pixels) {
        std::vector<int> of_each;
        for (int lane = 0; lane < coords.lanes; ++lane) of_each.push_back(lane % layout.block);
        inside = shuffle({inside}, of_each);
      }
      Expr zero = constant(convert(Scalar::of_integer(DType::I64, 0), value->type.dtype), coords.lanes);
      value = select(both(inside, coords.mask), splat_to(value, coords.lanes), zero);
      where.mask = nullptr;
    }
  }
  store(builder.result(result), address(result->type, where), where, value);
}

}  // namespace lapidary::lowering
