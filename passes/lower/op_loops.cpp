#include "passes/lower/op_loops.h"

#include <limits>

#include "ir/contract_spec.h"
#include "ir/error.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

Scalar lowest(DType dtype) {
  if (is_float(dtype)) return Scalar::of_float(dtype, -std::numeric_limits<double>::infinity());
  const int bits = bit_width(dtype);
  return Scalar::of_integer(dtype, is_signed_integer(dtype) ? INT64_MIN >> (64 - bits) : 0);
}

Scalar highest(DType dtype) {
  if (is_float(dtype)) return Scalar::of_float(dtype, std::numeric_limits<double>::infinity());
  const int bits = bit_width(dtype);
  if (dtype == DType::Bool) return Scalar::of_bool(true);
  if (is_signed_integer(dtype)) return Scalar::of_integer(dtype, static_cast<int64_t>((UINT64_C(1) << (bits - 1)) - 1));
  return Scalar::of_integer(dtype, bits == 64 ? -1 : (INT64_C(1) << bits) - 1);
}

Scalar number(DType dtype, int64_t value) { return convert(Scalar::of_integer(DType::I64, value), dtype); }

}  // namespace

ScalarOp combining_op(OpKind reduction) {
  if (reduction == OpKind::ReduceProd) return ScalarOp::Mul;
  if (reduction == OpKind::ReduceMax) return ScalarOp::Max;
  if (reduction == OpKind::ReduceMin) return ScalarOp::Min;
  return ScalarOp::Add;
}

OpKind reduction_by(ScalarOp combining) {
  if (combining == ScalarOp::Mul) return OpKind::ReduceProd;
  if (combining == ScalarOp::Max) return OpKind::ReduceMax;
  if (combining == ScalarOp::Min) return OpKind::ReduceMin;
  return OpKind::ReduceSum;
}

Expr identity_of(OpKind reduction, DType dtype) {
  dtype = compute_dtype(dtype);
  if (reduction == OpKind::ReduceProd) return constant(number(dtype, 1));
  if (reduction == OpKind::ReduceMax) return constant(lowest(dtype));
  if (reduction == OpKind::ReduceMin) return constant(highest(dtype));
  return constant(number(dtype, 0));
}

DType combined_type(const Op& reduction) { return identity_of(reduction.kind, reduction.type().dtype)->type.dtype; }

namespace {

// A value that loops add to: a Local of one element, before the loops in the same block.
class Accumulator {
 public:
  Accumulator(Block& block, Expr start, int lanes)
      : buffer_(block.local("acc", {start->type.dtype, static_cast<uint16_t>(lanes)}, 1)) {
    block.add(store(buffer_, integer(0), splat_to(start, lanes)));
  }
  Expr get() const { return load(buffer_, integer(0), 1); }
  void set(Block& block, Expr value) const {
    block.add(store(buffer_, integer(0), splat_to(value, buffer_->element.lanes)));
  }

 private:
  Buffer buffer_;
};

// Loops over `extents`, one inside the other; `body` gets the variables.
void nest(GroupEmitter& emit, const std::vector<Dim>& extents,
          const std::function<void(const std::vector<Expr>&)>& body) {
  std::vector<Var> vars;
  std::vector<Expr> indices;
  for (Dim extent : extents) {
    vars.push_back(make_var("k", {}, 0, INT64_MAX / 4));
    indices.push_back(value_of(extent) == 1 ? integer(0) : variable(vars.back()));
  }
  Block inner;
  {
    GroupEmitter::Scope scope(emit, inner);
    body(indices);
  }
  std::vector<Stmt> statements = inner.take();
  for (size_t i = extents.size(); i-- > 0;) {
    if (value_of(extents[i]) == 1) continue;
    statements = {
        for_loop(vars[i], integer(0), emit.builder.parameter(extents[i]), 1, LoopKind::Serial, std::move(statements))};
  }
  emit.block().add(block(std::move(statements)));
}

// Factors of one byte are summed in wider integers.
Expr multiply_add(const Expr& a, const Expr& b, const Expr& sum) {
  const int lanes = std::max({a->type.lanes, b->type.lanes, sum->type.lanes});
  const auto factor = [&](const Expr& x) {
    return splat_to(x->type.dtype == sum->type.dtype ? x : convert(x, sum->type.dtype), lanes);
  };
  Expr x = factor(a), y = factor(b), s = splat_to(sum, lanes);
  return is_float(s->type.dtype) ? fma(x, y, s) : add(mul(x, y), s);
}

Expr reduction(GroupEmitter& emit, const Op& op, const Coords& coords) {
  const Value* operand = op.operand(0);
  const auto& axes = op.params.integers("axes");
  std::vector<Dim> extents;
  for (int64_t axis : axes) extents.push_back(operand->type.shape[axis]);
  const Accumulator acc(emit.block(), identity_of(op.kind, op.type().dtype), coords.lanes);
  nest(emit, extents, [&](const std::vector<Expr>& indices) {
    std::vector<Coord> where;
    size_t kept = 0;
    for (size_t axis = 0; axis < operand->type.shape.size(); ++axis) {
      const auto reduced = std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis));
      where.push_back(reduced == axes.end() ? coords.axes[kept++] : at(indices[reduced - axes.begin()]));
    }
    Expr element = emit.value(operand, coords.with(std::move(where)));
    acc.set(emit.block(), apply(combining_op(op.kind), {acc.get(), element}));
  });
  if (op.kind != OpKind::ReduceMean) return acc.get();
  Dim count = emit.builder.module.dims.product(extents);
  return apply(ScalarOp::Div,
               {acc.get(), splat(convert(emit.builder.parameter(count), acc.get()->type.dtype), coords.lanes)});
}

Expr contraction(GroupEmitter& emit, const Op& op, const Coords& coords) {
  const ContractSpec spec = contract_spec(op);
  const std::string letters[2] = {spec.left, spec.right}, &result = spec.result;
  std::string summed;
  std::vector<Dim> extents;
  for (int side = 0; side < 2; ++side)
    for (size_t i = 0; i < letters[side].size(); ++i) {
      const char letter = letters[side][i];
      if (result.find(letter) != std::string::npos || summed.find(letter) != std::string::npos) continue;
      summed += letter;
      extents.push_back(op.operand(side)->type.shape[i]);
    }
  const Accumulator acc(emit.block(), identity_of(OpKind::ReduceSum, op.type().dtype), coords.lanes);
  nest(emit, extents, [&](const std::vector<Expr>& indices) {
    Expr factors[2];
    for (int side = 0; side < 2; ++side) {
      std::vector<Coord> where;
      for (char letter : letters[side]) {
        const size_t kept = result.find(letter);
        where.push_back(kept != std::string::npos ? coords.axes[kept] : at(indices[summed.find(letter)]));
      }
      factors[side] = emit.value_or_scalar(op.operand(side), coords.with(std::move(where)));
    }
    acc.set(emit.block(), multiply_add(factors[0], factors[1], acc.get()));
  });
  return acc.get();
}

// Where a window touches its input along one spatial axis.
struct Tap {
  Coord coord;
  Expr inside;  // null: always
};

// Narrows the coordinates to a tap; collects the condition.
void apply_tap(Coords& where, Expr& inside, size_t axis, Tap tap) {
  where.axes[axis] = std::move(tap.coord);
  if (!tap.inside) return;
  Expr& kept = tap.inside->type.lanes == 1 ? where.guard : where.mask;
  kept = both(kept, tap.inside);
  inside = both(inside, tap.inside);
}

// A flat coordinate moved by a scalar.
Coord displaced(Coord flat, const Expr& by, int lanes) {
  if (flat.lanewise)
    flat.lanewise = add(flat.lanewise, splat(by, lanes));
  else
    flat.digits[0].base = add(flat.digits[0].base, by);
  return flat;
}

// Input coordinate here · scale + displacement - pad, where it is inside.
Tap tap_at(GroupEmitter& emit, const Coords& coords, size_t axis, const Op& op, int64_t scale,
           const Expr& displacement) {
  KernelBuilder& builder = emit.builder;
  Coord flat = emit.flatten(coords.axes[axis], nullptr);
  flat = emit.flatten(
      emit.shift(flat, builder.module.dims.neg(op.params.dims("pads")[axis - 2]), builder.dim(scale), coords.lanes),
      nullptr);
  flat = displaced(std::move(flat), displacement, coords.lanes);
  const Dim extent = op.operand(0)->type.shape[axis];
  return {flat, in_range(flat, integer(0), builder.parameter(extent), coords.lanes)};
}

// Input coordinate out · stride + kernel · dilation - pad of a convolution or pool.
Tap window_tap(GroupEmitter& emit, const Coords& coords, size_t axis, const Op& op, size_t spatial,
               const Expr& kernel) {
  return tap_at(emit, coords, axis, op, op.params.integers("strides")[spatial],
                mul(kernel, integer(op.params.integers("dilations")[spatial])));
}

// Input coordinate (out + pad - kernel · dilation) / stride of a transposed convolution, where it divides.
Tap transposed_tap(GroupEmitter& emit, const Coords& coords, size_t axis, const Op& op, size_t spatial,
                   const Expr& kernel) {
  KernelBuilder& builder = emit.builder;
  Coord flat = emit.flatten(
      emit.shift(emit.flatten(coords.axes[axis], nullptr), op.params.dims("pads")[spatial], nullptr, coords.lanes),
      nullptr);
  Expr position = lane_values(flat, coords.lanes);
  const int lanes = position->type.lanes;
  position = sub(position, splat_to(mul(kernel, integer(op.params.integers("dilations")[spatial])), lanes));
  Expr stride = splat_to(integer(op.params.integers("strides")[spatial]), lanes);
  Expr divides = equal(apply(ScalarOp::FloorMod, {position, stride}), splat_to(integer(0), lanes));
  Expr not_negative = apply(ScalarOp::LessEqual, {splat_to(integer(0), lanes), position});
  Expr source = apply(ScalarOp::Div, {position, stride});
  Expr below = less(source, splat_to(builder.parameter(op.operand(0)->type.shape[axis]), lanes));
  return {lanes == 1 ? at(source) : lanewise(source), both(both(divides, not_negative), below)};
}

// x [N, C, …], w [O, C/group, k…] → [N, O, …]; transposed: w [C, O/group, k…].
Expr convolution(GroupEmitter& emit, const Op& op, const Coords& coords) {
  KernelBuilder& builder = emit.builder;
  DimPool& dims = builder.module.dims;
  const bool transposed = op.is(OpKind::ConvTranspose);
  const Value *x = op.operand(0), *w = op.operand(1);
  const Dim groups = builder.dim(op.params.integer("group"));
  const Dim in_per_group = dims.floordiv(x->type.shape[1], groups),
            out_per_group = dims.floordiv(op.type().shape[1], groups);
  std::vector<Dim> extents = {in_per_group};
  for (size_t i = 2; i < w->type.shape.size(); ++i) extents.push_back(w->type.shape[i]);
  const Coord out_channel = emit.flatten(coords.axes[1], op.type().shape[1]);
  const QuotientRemainder split = divide_lanes(builder, out_channel, out_per_group, coords.lanes);
  Expr start = identity_of(OpKind::ReduceSum, op.type().dtype);
  if (op.operands.size() > 2) start = emit.value(op.operand(2), coords.with({coords.axes[1]}));
  const Accumulator acc(emit.block(), start, coords.lanes);
  nest(emit, extents, [&](const std::vector<Expr>& k) {
    Coords from = coords, weights = coords;
    Expr inside;
    from.axes[1] = emit.shift(emit.flatten(split.quotient, nullptr), builder.dim(0), in_per_group, coords.lanes);
    from.axes[1] = displaced(emit.flatten(from.axes[1], nullptr), k[0], coords.lanes);
    if (transposed)
      weights.axes = {from.axes[1], split.remainder};
    else
      weights.axes = {coords.axes[1], at(k[0])};
    for (size_t i = 1; i < k.size(); ++i) {
      weights.axes.push_back(at(k[i]));
      apply_tap(from, inside, i + 1, (transposed ? transposed_tap : window_tap)(emit, coords, i + 1, op, i - 1, k[i]));
    }
    Expr element = emit.value_or_scalar(x, from), weight = emit.value_or_scalar(w, weights);
    if (inside) {  // a fused producer need not give 0 where its input is not touched
      const int lanes = std::max(element->type.lanes, inside->type.lanes);
      element = select(splat_to(inside, lanes), splat_to(element, lanes),
                       constant(number(compute_dtype(x->type.dtype), op.params.integer_or("fill", 0)), lanes));
    }
    acc.set(emit.block(), multiply_add(element, weight, acc.get()));
  });
  return acc.get();
}

// x [N, C, …], dy [N, O, …] → [O, C/group, k…].
Expr filter_gradient(GroupEmitter& emit, const Op& op, const Coords& coords) {
  KernelBuilder& builder = emit.builder;
  DimPool& dims = builder.module.dims;
  const Value *x = op.operand(0), *dy = op.operand(1);
  std::vector<Dim> extents = {dy->type.shape[0]};
  for (size_t i = 2; i < dy->type.shape.size(); ++i) extents.push_back(dy->type.shape[i]);
  Coord channel = coords.axes[1];
  if (const int64_t group = op.params.integer("group"); group > 1) {
    const Dim outputs = dims.floordiv(op.type().shape[0], builder.dim(group));
    const Coord part =
        divide_lanes(builder, emit.flatten(coords.axes[0], op.type().shape[0]), outputs, coords.lanes).quotient;
    const Coord first = emit.flatten(
        emit.shift(emit.flatten(part, nullptr), builder.dim(0), op.type().shape[1], coords.lanes), nullptr);
    Expr a = lane_values(first, coords.lanes), b = lane_values(emit.flatten(channel, nullptr), coords.lanes);
    const int lanes = std::max(a->type.lanes, b->type.lanes);
    Expr sum = add(splat_to(a, lanes), splat_to(b, lanes));
    channel = lanes == 1 ? at(sum) : lanewise(sum);
  }
  const Accumulator acc(emit.block(), identity_of(OpKind::ReduceSum, op.type().dtype), coords.lanes);
  nest(emit, extents, [&](const std::vector<Expr>& position) {
    Coords from = coords, gradient = coords.with({at(position[0]), coords.axes[0]});
    from.axes[0] = at(position[0]);
    from.axes[1] = channel;
    Expr inside;
    for (size_t axis = 2; axis < coords.axes.size(); ++axis) {
      Expr window = mul(position[axis - 1], integer(op.params.integers("strides")[axis - 2]));
      apply_tap(from, inside, axis, tap_at(emit, coords, axis, op, op.params.integers("dilations")[axis - 2], window));
      gradient.axes.push_back(at(position[axis - 1]));
    }
    Expr element = emit.value_or_scalar(x, from), weight = emit.value_or_scalar(dy, gradient);
    if (inside) {
      const int lanes = std::max(element->type.lanes, inside->type.lanes);
      element = select(splat_to(inside, lanes), splat_to(element, lanes),
                       constant(number(compute_dtype(x->type.dtype), 0), lanes));
    }
    acc.set(emit.block(), multiply_add(element, weight, acc.get()));
  });
  return acc.get();
}

std::vector<Dim> window_extents(KernelBuilder& builder, const Op& op) {
  std::vector<Dim> extents;
  for (int64_t extent : op.params.integers("kernel")) extents.push_back(builder.dim(extent));
  return extents;
}

// The number of a tap, row-major.
Expr tap_number(const Op& op, const std::vector<Expr>& k) {
  Expr tap = integer(0);
  for (size_t i = 0; i < k.size(); ++i) tap = add(mul(tap, integer(op.params.integers("kernel")[i])), k[i]);
  return tap;
}

Expr max_pool_tap(GroupEmitter& emit, const Op& op, const Coords& coords) {
  KernelBuilder& builder = emit.builder;
  const DType dtype = op.type().dtype;
  const Accumulator best(emit.block(), identity_of(OpKind::ReduceMax, op.operand(0)->type.dtype), coords.lanes);
  const Accumulator tap(emit.block(), constant(number(dtype, 0)), coords.lanes);
  const Accumulator found(emit.block(), constant(Scalar::of_bool(false)), coords.lanes);
  nest(emit, window_extents(builder, op), [&](const std::vector<Expr>& k) {
    Coords from = coords;
    Expr inside;
    for (size_t i = 0; i < k.size(); ++i) apply_tap(from, inside, i + 2, window_tap(emit, coords, i + 2, op, i, k[i]));
    Expr element = splat_to(emit.value(op.operand(0), from), coords.lanes);
    Expr none = apply(ScalarOp::Not, {found.get()}), is_nan = apply(ScalarOp::Not, {equal(element, element)});
    Expr takes = apply(ScalarOp::Or, {none, apply(ScalarOp::Or, {less(best.get(), element), is_nan})});
    if (inside) takes = both(takes, splat_to(inside, coords.lanes));
    takes = emit.block().let("takes", takes);
    best.set(emit.block(), select(takes, element, best.get()));
    tap.set(emit.block(), select(takes, splat(convert(tap_number(op, k), dtype), coords.lanes), tap.get()));
    found.set(emit.block(), apply(ScalarOp::Or, {found.get(), takes}));
  });
  return tap.get();
}

Expr max_pool_gradient(GroupEmitter& emit, const Op& op, const Coords& coords) {
  KernelBuilder& builder = emit.builder;
  const Value *dy = op.operand(0), *taps = op.operand(1);
  const Accumulator acc(emit.block(), identity_of(OpKind::ReduceSum, op.type().dtype), coords.lanes);
  nest(emit, window_extents(builder, op), [&](const std::vector<Expr>& k) {
    Coords from = coords;
    Expr inside;
    for (size_t i = 0; i < k.size(); ++i)
      apply_tap(from, inside, i + 2, transposed_tap(emit, coords, i + 2, op, i, k[i]));
    Expr tap = splat_to(emit.value(taps, from), coords.lanes);
    Expr took = equal(tap, splat(convert(tap_number(op, k), taps->type.dtype), coords.lanes));
    took = both(took, splat_to(inside, coords.lanes));
    Expr gradient = splat_to(emit.value(dy, from), coords.lanes);
    Expr zero = constant(number(compute_dtype(op.type().dtype), 0), coords.lanes);
    acc.set(emit.block(), add(acc.get(), select(took, gradient, zero)));
  });
  return acc.get();
}

Expr pool(GroupEmitter& emit, const Op& op, const Coords& coords) {
  KernelBuilder& builder = emit.builder;
  const bool average = op.is(OpKind::AveragePool);
  const OpKind reduction = average ? OpKind::ReduceSum : OpKind::ReduceMax;
  const DType dtype = compute_dtype(op.type().dtype);
  Expr identity = identity_of(reduction, op.type().dtype);
  const Accumulator acc(emit.block(), identity, coords.lanes);
  const Accumulator count(emit.block(), identity_of(OpKind::ReduceSum, dtype), coords.lanes);
  nest(emit, window_extents(builder, op), [&](const std::vector<Expr>& k) {
    Coords from = coords;
    Expr inside, counted;
    for (size_t i = 0; i < k.size(); ++i) {
      Tap tap = window_tap(emit, coords, i + 2, op, i, k[i]);
      if (average && op.params.integer("include_pad")) {  // positions past the padding do not count either
        DimPool& dims = builder.module.dims;
        Dim padded = dims.add(op.operand(0)->type.shape[i + 2], op.params.dims("pads")[i + k.size()]);
        counted = both(counted, in_range(tap.coord, nullptr, builder.parameter(padded), coords.lanes));
      }
      apply_tap(from, inside, i + 2, std::move(tap));
    }
    Expr element = emit.value(op.operand(0), from);
    if (inside) element = select(splat_to(inside, coords.lanes), element, splat(identity, coords.lanes));
    acc.set(emit.block(), apply(combining_op(reduction), {acc.get(), element}));
    if (!average) return;
    Expr counts = op.params.integer("include_pad") ? counted : inside;
    Expr one = splat(identity_of(OpKind::ReduceProd, dtype), coords.lanes);
    Expr zero = splat(identity_of(OpKind::ReduceSum, dtype), coords.lanes);
    count.set(emit.block(), add(count.get(), counts ? select(splat_to(counts, coords.lanes), one, zero) : one));
  });
  return average ? apply(ScalarOp::Div, {acc.get(), count.get()}) : acc.get();
}

}  // namespace

Expr emit_op_loops(GroupEmitter& emit, const Op& op, const Coords& coords) {
  if (op.is(OpKind::Contract)) return contraction(emit, op, coords);
  if (op.is(OpKind::Conv) || op.is(OpKind::ConvTranspose)) return convolution(emit, op, coords);
  if (op.is(OpKind::ConvFilterGradient)) return filter_gradient(emit, op, coords);
  if (op.is(OpKind::MaxPool) || op.is(OpKind::AveragePool)) return pool(emit, op, coords);
  if (op.is(OpKind::MaxPoolTap)) return max_pool_tap(emit, op, coords);
  if (op.is(OpKind::MaxPoolGradient)) return max_pool_gradient(emit, op, coords);
  return reduction(emit, op, coords);
}

}  // namespace lapidary::lowering
