// Depthwise convolutions and pools on a GPU, of images whose channels come last: a thread has 16 bytes of channels of
// kPixels neighbouring outputs of a row, so that each input under their windows is loaded once for all of them and
// neighbouring threads load and store neighbouring channels.
//
//   task: image, output row, pixels, channels, the last one fastest
//     for each row of the window that lies in the image
//       for each column under the windows: x = its channels, or what padding counts as
//         for each of the outputs that it belongs to: acc[pixel] = acc[pixel] + x · w, or max(acc[pixel], x)
//     epilogue of each output
//
// What is outside is asked for only where it must be told apart. A window of a maximum that has a place in the image
// takes the image's edge for what lies beyond: that is in the window too, so it changes nothing, and no load waits for
// a condition.
#include <fmt/format.h>

#include <algorithm>

#include "ir/gpu_model.h"
#include "ir/layout.h"
#include "passes/lower/convolution.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/lanes.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kMostTaps = 64;    // of a row, which are written out
constexpr int64_t kRegisters = 64;   // for the sums and a row's weights
constexpr int64_t kMostAtOnce = 32;  // loads of a thread

struct Window {
  std::vector<int64_t> kernel, strides, dilations;
  std::vector<Dim> pads;  // before, then after, as in the op
  bool maximum = false, average = false;
  bool repeats_edges = false;        // beyond the image
  std::vector<bool> ends_inside;     // the last tap along an axis
  std::optional<ConstantId> weight;  // [taps…, channels]

  int axes() const { return static_cast<int>(kernel.size()); }
};

class WindowEmitter {
 public:
  WindowEmitter(Context& context, const Op& group, const Window& window, int lanes, int pixels)
      : dims_(context.module.dims),
        op_(anchor_of(group)),
        window_(window),
        lanes_(lanes),
        pixels_(pixels),
        builder_(context.module, context.target(), "window", fmt::format("pixels={} lanes={}", pixels, lanes)),
        emit_(builder_, group) {
    builder_.for_gpu = true;
  }

  LoweredStep emit() {
    const Shape& out = op_.type().shape;
    std::vector<Dim> extents(out.begin(), out.end());
    extents.erase(extents.begin() + 1);
    extents.back() = dims_.ceildiv(extents.back(), dims_.constant(pixels_));
    extents.push_back(dims_.ceildiv(out[1], dims_.constant(lanes_)));
    place_ = builder_.split_task(extents);
    pixel_ = builder_.body.let("pixel", mul(place_[place_.size() - 2], integer(pixels_)));
    channel_ = builder_.body.let("channel", mul(place_.back(), integer(lanes_)));
    if (!known_multiple(out[1], lanes_))
      mask_ = builder_.body.let("mask", first_lanes(sub(builder_.parameter(out[1]), channel_), lanes_));
    sums_ = builder_.body.local("acc", {sum_type(), static_cast<uint16_t>(lanes_)}, pixels_);
    if (window_.average) counts_ = builder_.body.local("count", {DType::F32, 1}, pixels_);
    for (int p = 0; p < pixels_; ++p) {
      builder_.body.add(store(sums_, integer(p), splat(identity(), lanes_)));
      if (counts_) builder_.body.add(store(counts_, integer(p), real(0)));
    }
    outer_taps(builder_.body, 0, {}, {});
    for (int p = 0; p < pixels_; ++p) finish(p);
    return single_step(builder_.finish(dims_.product(extents)));
  }

 private:
  static Expr real(double value) { return constant(Scalar::of_float(DType::F32, value)); }
  DType sum_type() const { return compute_dtype(op_.type().dtype); }
  Expr identity() const {
    return identity_of(window_.maximum ? OpKind::ReduceMax : OpKind::ReduceSum, op_.type().dtype);
  }
  int64_t loads_at_once() const {
    int64_t loads = (pixels_ - 1) * window_.strides.back() + window_.kernel.back();
    for (int axis = 0; axis + 1 < window_.axes(); ++axis) loads *= window_.kernel[axis];
    return loads;
  }
  // Are there columns under the windows that the image lacks?
  bool hangs_over() const { return is_padded(window_.axes() - 1) || !whole_rows(); }
  bool whole_rows() const { return known_multiple(op_.type().shape.back(), pixels_); }
  const Shape& input() const { return op_.operand(0)->type.shape; }
  bool is_padded(int axis) const {
    const auto zero = [](Dim pad) { return lapidary::value_of(pad) == 0; };
    const bool pools = op_.is(OpKind::MaxPool) || op_.is(OpKind::AveragePool);  // whose sizes may be rounded up
    return !zero(window_.pads[axis]) ||
           (pools ? !window_.ends_inside[axis] : !zero(window_.pads[axis + window_.axes()]));
  }

  // Where the window's tap along an axis lies in the input; `inside` (null: always) when it does.
  struct Position {
    Expr at, inside, counts;
  };
  // `along` is by how much the place is beyond the one of an output's first tap, where that is known.
  Expr within_image(int axis, Expr place, int64_t along) {
    const bool ends_inside = window_.ends_inside[axis] && (axis + 1 < window_.axes() || whole_rows());
    if (!ends_inside) place = min(place, builder_.literal(dims_.sub(input()[2 + axis], dims_.constant(1))));
    return along >= lapidary::range(window_.pads[axis]).hi ? place : max(place, integer(0));
  }
  Position position(Block& block, int axis, const Expr& output, const Expr& tap) {
    Position p;
    const Expr place = sub(add(mul(output, integer(window_.strides[axis])), mul(tap, integer(window_.dilations[axis]))),
                           builder_.literal(window_.pads[axis]));
    if (window_.repeats_edges) {
      p.at = block.let("at", within_image(axis, place, 0));
      return p;
    }
    p.at = block.let("at", place);
    if (is_padded(axis)) p.inside = in_range(at(p.at), integer(0), builder_.literal(input()[2 + axis]), 1);
    p.counts = p.inside;
    if (window_.average && op_.params.integer("include_pad"))
      p.counts = less(p.at, builder_.literal(dims_.add(input()[2 + axis], window_.pads[axis + window_.axes()])));
    return p;
  }

  void outer_taps(Block& block, int axis, const std::vector<Expr>& taps, const std::vector<Position>& outer) {
    if (axis + 1 == window_.axes()) return row(block, taps, outer);
    const Var tap = make_var("tap", {}, 0, window_.kernel[axis] - 1);
    Block inner;
    const Position here = position(inner, axis, place_[1 + axis], variable(tap));
    std::vector<Expr> further = taps;
    further.push_back(variable(tap));
    std::vector<Position> positions = outer;
    positions.push_back(here);
    outer_taps(inner, axis + 1, further, positions);
    const LoopKind kind =
        window_.repeats_edges && loads_at_once() <= kMostAtOnce ? LoopKind::Unrolled : LoopKind::Serial;
    block.add(for_loop(tap, integer(0), integer(window_.kernel[axis]), 1, kind, inner.take()));
  }

  // The taps of one row of the window.
  void row(Block& block, const std::vector<Expr>& outer_taps, const std::vector<Position>& outer) {
    const int axis = window_.axes() - 1;
    const int64_t taps = window_.kernel[axis], stride = window_.strides[axis], dilation = window_.dilations[axis];
    Expr in_rows, counted_rows;
    for (const Position& position : outer) {
      in_rows = both(in_rows, position.inside);
      counted_rows = both(counted_rows, position.counts);
    }
    Block body;
    std::vector<Expr> weights;
    for (int64_t tap = 0; window_.weight && tap < taps; ++tap) weights.push_back(weight(body, outer_taps, tap));
    std::vector<int64_t> columns;  // under the windows, from the first pixel's first tap on
    for (int64_t p = 0; p < pixels_; ++p)
      for (int64_t tap = 0; tap < taps; ++tap) columns.push_back(p * stride + tap * dilation);
    std::ranges::sort(columns);
    columns.erase(std::ranges::unique(columns).begin(), columns.end());
    const Expr first = body.let("first", mul(pixel_, integer(stride)));
    for (int64_t column : columns) {
      const Expr place = sub(add(first, integer(column)), builder_.literal(window_.pads[axis]));
      const Expr at_column = body.let("column", window_.repeats_edges ? within_image(axis, place, column) : place);
      const Expr x = input_at(body, outer, at_column, axis);
      for (int64_t p = 0; p < pixels_; ++p) {
        const int64_t along = column - p * stride;
        if (along < 0 || along % dilation != 0 || along / dilation >= taps) continue;
        const Expr slot = integer(p), sum = load(sums_, slot, lanes_);
        body.add(store(sums_, slot,
                       window_.weight    ? fma(x, weights[along / dilation], sum)
                       : window_.maximum ? apply(ScalarOp::Max, {sum, x})
                                         : add(sum, x)));
      }
    }
    if (in_rows)
      block.add(if_then(in_rows, body.take()));
    else
      for (Stmt& statement : body.take()) block.add(std::move(statement));
    if (counts_) count(block, counted_rows, axis);
  }

  // How many taps of this row an average counts.
  void count(Block& block, const Expr& counted_rows, int axis) {
    for (int64_t p = 0; p < pixels_; ++p) {
      Expr taps = load(counts_, integer(p), 1);
      for (int64_t tap = 0; tap < window_.kernel[axis]; ++tap) {
        const Expr counts = both(counted_rows, position(block, axis, add(pixel_, integer(p)), integer(tap)).counts);
        taps = add(taps, counts ? select(counts, real(1), real(0)) : real(1));
      }
      block.add(store(counts_, integer(p), taps));
    }
  }

  Expr input_at(Block& block, const std::vector<Position>& outer, const Expr& column, int axis) {
    Coords where;
    where.lanes = lanes_;  // those past the channels are there too, and zeros
    where.axes = {at(place_[0]), along(channel_)};
    for (const Position& position : outer) where.axes.push_back(at(position.at));
    where.axes.push_back(at(column));
    const Expr inside = hangs_over() && !window_.repeats_edges
                            ? in_range(at(column), integer(0), builder_.literal(input()[2 + axis]), 1)
                            : nullptr;
    if (!inside) {
      GroupEmitter::Scope scope(emit_, block);
      return block.let("x", emit_.value(op_.operand(0), where));
    }
    const Buffer held = block.local("x", {sum_type(), static_cast<uint16_t>(lanes_)}, 1);
    block.add(store(held, integer(0), splat(identity(), lanes_)));
    Block loaded;
    {
      GroupEmitter::Scope scope(emit_, loaded);
      const Expr x = emit_.value(op_.operand(0), where);
      loaded.add(store(held, integer(0), x));
    }
    block.add(if_then(inside, loaded.take()));
    return load(held, integer(0), lanes_);
  }

  Expr weight(Block& block, const std::vector<Expr>& outer_taps, int64_t tap) {
    Expr taps = integer(0);
    for (size_t axis = 0; axis < outer_taps.size(); ++axis)
      taps = mul(add(taps, outer_taps[axis]), integer(window_.kernel[axis + 1]));
    const Dim channels = dims_.mul(dims_.ceildiv(op_.type().shape[1], dims_.constant(lanes_)), dims_.constant(lanes_));
    const Expr index = add(mul(add(taps, integer(tap)), builder_.parameter(channels)), channel_);
    const Expr stored = load(builder_.weight(*window_.weight), index, lanes_);
    const DType dtype = stored->type.dtype;
    return block.let("w", dtype == compute_dtype(dtype) ? stored : convert(stored, compute_dtype(dtype)));
  }

  void finish(int p) {
    const Expr pixel = add(pixel_, integer(p));
    Block inner;
    {
      GroupEmitter::Scope scope(emit_, inner);
      Coords where;
      where.lanes = lanes_;
      where.mask = mask_;
      where.axes = {at(place_[0]), along(channel_)};
      for (int axis = 0; axis + 1 < window_.axes(); ++axis) where.axes.push_back(at(place_[1 + axis]));
      where.axes.push_back(at(pixel));
      Expr sum = load(sums_, integer(p), lanes_);
      if (window_.average) sum = apply(ScalarOp::Div, {sum, splat(load(counts_, integer(p), 1), lanes_)});
      if (window_.weight && op_.operands.size() > 2)
        sum = add(sum, splat_to(emit_.value(op_.operand(2), where.with({where.axes[1]})), lanes_));
      emit_.store_results(op_.result(), where, rounded(sum, op_.type().dtype));
    }
    const Dim end = op_.type().shape.back();
    if (known_multiple(end, pixels_))
      for (Stmt& statement : inner.take()) builder_.body.add(std::move(statement));
    else
      builder_.body.add(if_then(less(pixel, builder_.parameter(end)), inner.take()));
  }

  DimPool& dims_;
  const Op& op_;
  const Window& window_;
  const int lanes_, pixels_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  std::vector<Expr> place_;
  Expr pixel_, channel_, mask_;
  Buffer sums_, counts_;
};

// [C, 1, taps…] → [taps…, C in whole accesses].
ConstantId depthwise_weight(ConstantTable& constants, ConstantId weight, int lanes) {
  std::vector<int64_t> shape = constants[weight].shape, axes;
  shape[0] = (shape[0] + lanes - 1) / lanes * lanes;
  weight = constants.transformed(weight, {.kind = Transform::Kind::Pad, .shape = shape});
  for (int64_t axis = 1; axis < static_cast<int64_t>(shape.size()); ++axis) axes.push_back(axis);
  axes.push_back(0);
  return constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = axes});
}

// Where the last window along an axis begins.
Dim last_begin(DimPool& dims, const Op& op, const Window& window, int axis) {
  const Dim last = dims.sub(op.type().shape[2 + axis], dims.constant(1));
  return dims.sub(dims.mul(last, dims.constant(window.strides[axis])), window.pads[axis]);
}
bool is_below(DimPool& dims, Dim place, Dim end) { return lapidary::range(dims.sub(end, place)).lo >= 1; }

// Has every window a place in the image, and with it the edge of the image that is next to each place beyond?
bool reach_edges(DimPool& dims, const Op& op, const Window& window) {
  for (int axis = 0; axis < window.axes(); ++axis) {
    const bool begins = is_below(dims, last_begin(dims, op, window, axis), op.operand(0)->type.shape[2 + axis]) &&
                        lapidary::range(window.pads[axis]).hi < window.kernel[axis];
    if (window.dilations[axis] != 1 || !begins) return false;
  }
  return true;
}

std::vector<bool> ends_inside(DimPool& dims, const Op& op, const Window& window) {
  std::vector<bool> result;
  for (int axis = 0; axis < window.axes(); ++axis) {
    const Dim taps = dims.constant((window.kernel[axis] - 1) * window.dilations[axis]);
    const Dim last = dims.add(last_begin(dims, op, window, axis), taps);
    result.push_back(is_below(dims, last, op.operand(0)->type.shape[2 + axis]));
  }
  return result;
}

std::optional<LoweredStep> window_step(Context& context, const Op& group, const Window& window) {
  const Op& op = anchor_of(group);
  const Value* x = op.operand(0);
  if (x->producer || !results_follow(group, &op)) return std::nullopt;
  const Type& input = group.operand(x->index)->type;
  const int lanes = 128 / bit_width(input.dtype);
  const auto in_accesses = [&](const Type& type) {
    return type.layout.blocked_axis == 1 && type.layout.last && type.layout.block == lanes;
  };
  const auto takes = [&](const auto& result) {
    return result->type.layout.blocked_axis < 0 || (in_accesses(result->type) && result->type.shape == op.type().shape);
  };
  const bool fits = in_accesses(input) && std::ranges::all_of(group.results, takes);
  const bool small = std::ranges::all_of(window.kernel, [](int64_t taps) { return taps > 0 && taps <= kMostTaps; });
  if (!fits || !small) return std::nullopt;
  DimPool& dims = context.module.dims;
  const int64_t threads = guess(dims.product(op.type().shape)) / lanes;
  const int64_t at_once = gpu_model(context.target().capability).threads();  // beyond it a thread may as well do more
  int pixels = threads >= 4 * at_once ? 4 : threads >= 2 * at_once ? 2 : 1;
  const int64_t weights = window.weight ? window.kernel.back() : 0;
  while (pixels > 1 && lanes * (pixels + weights) > kRegisters) pixels /= 2;
  return WindowEmitter(context, group, window, lanes, pixels).emit();
}

LoweredGroup step_or_plain(Context& context, const Op& group, const Window& window) {
  std::optional<LoweredStep> step = window_step(context, group, window);
  if (!step) return lower_plain(context, group);
  LoweredGroup lowered;
  lowered.steps.push_back(std::move(*step));
  return lowered;
}

}  // namespace

LoweredGroup lower_depthwise(Context& context, const Op& group, const ConvForm& form) {
  const Op& conv = *form.conv;
  const DType dtype = conv.operand(0)->type.dtype;
  const bool taken = !form.transposed && form.weight && form.group_channels() == 1 && form.group_outputs() == 1 &&
                     is_float(dtype) && dtype != DType::F64 && conv.params.integer_or("fill", 0) == 0;
  if (!taken) return gpu::lower_grouped_convolution(context, group, form);
  const int lanes = 128 / bit_width(dtype);
  Window window{form.kernel, form.strides, form.dilations, form.pads};
  window.ends_inside = ends_inside(context.module.dims, conv, window);
  window.weight = depthwise_weight(context.module.constants, *form.weight, lanes);
  return step_or_plain(context, group, window);
}

LoweredGroup lower_pool(Context& context, const Op& group) {
  const Op& pool = anchor_of(group);
  const DType dtype = pool.operand(0)->type.dtype;
  const bool bytes = is_integer(dtype) && bit_width(dtype) == 8 && pool.is(OpKind::MaxPool);
  if (!bytes && (!is_float(dtype) || dtype == DType::F64)) return lower_plain(context, group);
  Window window{pool.params.integers("kernel"), pool.params.integers("strides"), pool.params.integers("dilations"),
                pool.params.dims("pads")};
  window.maximum = pool.is(OpKind::MaxPool);
  window.average = pool.is(OpKind::AveragePool);
  window.ends_inside = ends_inside(context.module.dims, pool, window);
  window.repeats_edges = window.maximum && reach_edges(context.module.dims, pool, window);
  return step_or_plain(context, group, window);
}

// An element of the gradient gathers from the windows that took it, and one of the taps looks at its window: threads
// have nothing to share but what the caches hold.
LoweredGroup lower_pool_gradient(Context& context, const Op& group) {
  return lower_elements(context, group, "pool_gradient");
}

}  // namespace lapidary::lowering::gpu
