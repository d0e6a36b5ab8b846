// Which taps max_pool took, and its gradient, of images in channel blocks: 16 channels along the lanes.
//
// Taps: each element of a window is compared with the greatest so far; pixels whose window overhangs the image take
// what is left of it, the others all taps of a row in a row.
//
// The gradient gathers: nothing is scattered, so threads do not meet. A tile of input pixels of one row is a register
// each; for every row of windows that covers it, each output pixel's gradient and tap are loaded once, and the gradient
// is added where the tap is the one that leads from there to here. Along a row inputs i ≡ q (mod stride) see the
// outputs i / stride + a constant, whose taps are constants too:
//
//   3×3, stride 2, pad 1:   dx[2t] += dy[t] where tap = 1,   dx[2t + 1] += dy[t] where tap = 2, dy[t + 1] where tap = 0
#include <algorithm>
#include <limits>
#include <map>

#include "passes/lower/convolution.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/pool_window.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kMostPixels = 8;  // of a tile of inputs
constexpr int64_t kMostTaps = 16;   // of a row

// What both have in common: a task is a row of the result, of as many channels as a vector has lanes.
class RowLowering {
 public:
  RowLowering(Context& context, const Op& group, const Op& op, const char* schedule)
      : dims_(context.module.dims),
        op_(op),
        lanes_(context.target().f32_lanes()),
        builder_(context.module, context.target(), "pool_gradient", schedule),
        emit_(builder_, group) {}

  LoweredStep lower() {
    const Shape& shape = op_.type().shape;
    const int64_t channels = *lapidary::value_of(shape[1]);
    const Dim planes = dims_.constant(ceil_div(channels, lanes_)), rows = is_plane() ? shape[2] : dims_.constant(1);
    const std::vector<Expr> axes = builder_.split_task({shape[0], planes, rows});
    batch_ = axes[0];
    channel_ = builder_.body.let("channel", mul(axes[1], integer(lanes_)));
    row_ = axes[2];
    if (channels % lanes_) mask_ = first_lanes(sub(builder_.parameter(shape[1]), channel_), lanes_);
    row();
    LoweredStep step = single_step(builder_.finish(dims_.product(std::vector<Dim>{shape[0], planes, rows})));
    return step;
  }

 protected:
  ~RowLowering() = default;
  virtual void row() = 0;

  bool is_plane() const { return windows_.size() == 2; }

  Expr operand(Block& block, int index, Expr row, Expr pixel, Expr guard = nullptr) {
    GroupEmitter::Scope scope(emit_, block);
    return block.let("x", splat_to(emit_.value(op_.operand(index), coords(row, pixel, guard)), lanes_));
  }
  void store(Block& block, Expr pixel, Expr value) {
    GroupEmitter::Scope scope(emit_, block);
    emit_.store_results(op_.result(), coords(row_, pixel, nullptr), value);
  }
  Expr number(Expr tap) const { return splat(convert(std::move(tap), DType::I32), lanes_); }

  DimPool& dims_;
  const Op& op_;
  const int lanes_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  std::vector<PoolWindow> windows_;
  Expr batch_, channel_, row_, mask_;

 private:
  Coords coords(Expr row, Expr pixel, Expr guard) const {
    Coords result{{at(batch_), along(channel_)}, lanes_, mask_, std::move(guard)};
    if (is_plane()) result.axes.push_back(at(std::move(row)));
    result.axes.push_back(at(std::move(pixel)));
    return result;
  }
};

class TapLowering final : public RowLowering {
 public:
  TapLowering(Context& context, const Op& group, const Op& op) : RowLowering(context, group, op, "taps") {
    windows_ = pool_windows(op, op.operand(0)->type.shape, op.type().shape);
  }

 private:
  void row() override {
    Block& body = builder_.body;
    const PoolWindow& window = windows_.back();
    rows_ = is_plane() ? clip(body, builder_, windows_[0], row_) : Clip{integer(0), integer(1), integer(0), nullptr};
    const Inside inside = inside_of(dims_, window, 1);
    Expr first = body.let("first", builder_.parameter(inside.first)), last = builder_.parameter(inside.last);
    const auto clipped = [&](Block& block, Expr pixel) {
      this->pixel(block, clip(block, builder_, window, pixel), pixel);
    };
    serial(body, "pixel", integer(0), first, 1, clipped);
    serial(body, "pixel", first, last, 1, [&](Block& block, Expr pixel) {
      Expr position = block.let("p", sub(mul(pixel, integer(window.stride)), builder_.parameter(window.pad)));
      this->pixel(block, {integer(0), integer(window.kernel), position, nullptr}, pixel);
    });
    serial(body, "pixel", last, builder_.parameter(window.out), 1, clipped);
  }

  void pixel(Block& block, const Clip& columns, Expr pixel) {
    const int64_t width = windows_.back().kernel, dilation = windows_.back().dilation;
    const auto lanes = static_cast<uint16_t>(lanes_);
    Buffer best = block.local("best", {DType::F32, lanes}, 1), tap = block.local("tap", {DType::I32, lanes}, 1);
    Expr lowest = constant(Scalar::of_float(DType::F32, -std::numeric_limits<double>::infinity()), lanes_);
    block.add(loops::store(best, integer(0), lowest));
    Expr is_any = apply(ScalarOp::And, {less(rows_.begin, rows_.end), less(columns.begin, columns.end)});
    Expr first = select(is_any, add(mul(rows_.begin, integer(width)), columns.begin), integer(0));
    block.add(loops::store(tap, integer(0), number(block.let("none", first))));
    serial(block, "kh", rows_.begin, rows_.end, 1, [&](Block& row, Expr kh) {
      Expr y = row.let("y", is_plane() ? add(rows_.position, mul(kh, integer(windows_[0].dilation))) : integer(0));
      const auto meets = [&](Block& inner, Expr kw) {
        Expr x = operand(inner, 0, y, add(columns.position, mul(kw, integer(dilation))));
        Expr most = load(best, integer(0), lanes_);
        Expr takes = apply(ScalarOp::Or, {less(most, x), apply(ScalarOp::NotEqual, {x, x})});
        takes = inner.let("takes", takes);
        inner.add(loops::store(best, integer(0), select(takes, x, most)));
        inner.add(loops::store(tap, integer(0),
                               select(takes, number(add(mul(kh, integer(width)), kw)), load(tap, integer(0), lanes_))));
      };
      const auto known = loops::value_of(columns.end);
      if (known && *known <= kMostTaps)
        unrolled(row, "kw", *known, meets);
      else
        serial(row, "kw", columns.begin, columns.end, 1, meets);
    });
    store(block, pixel, convert(load(tap, integer(0), lanes_), op_.type().dtype));
  }

  Clip rows_;
};

class GradientLowering final : public RowLowering {
 public:
  GradientLowering(Context& context, const Op& group, const Op& op) : RowLowering(context, group, op, "gather") {
    windows_ = pool_windows(op, op.type().shape, op.operand(0)->type.shape);
    const PoolWindow& window = windows_.back();
    const int64_t pad = *lapidary::value_of(window.pad);
    for (int64_t phase = 0; phase < window.stride; ++phase)
      for (int64_t kw = 0; kw < window.kernel; ++kw) {
        const int64_t distance = phase + pad - kw * window.dilation;
        if (distance % window.stride == 0) sources_[distance / window.stride].push_back({phase, kw});
      }
  }

 private:
  // Inputs t · stride + phase get, from outputs t + the key, what their tap kw took.
  struct Source {
    int64_t phase, kw;
  };

  void row() override {
    Block& body = builder_.body;
    const PoolWindow& window = windows_.back();
    Dim steps = dims_.ceildiv(window.extent, dims_.constant(window.stride));
    const int64_t width = std::max<int64_t>(1, kMostPixels / window.stride);
    Inside inside{steps, steps, dims_.constant(0)};
    if (!sources_.empty()) {
      Dim first = dims_.constant(std::max<int64_t>(0, -sources_.begin()->first));
      Dim last = dims_.min(dims_.sub(window.out, dims_.constant(sources_.rbegin()->first)),
                           dims_.floordiv(window.extent, dims_.constant(window.stride)));
      inside = tiles_between(dims_, first, last, steps, width);
    }
    Expr first = builder_.parameter(inside.first), last = builder_.parameter(inside.last);
    serial(body, "tile", integer(0), builder_.parameter(inside.tiles), 1, [&](Block& block, Expr tile) {
      Expr t = block.let("t", min(add(first, mul(tile, integer(width))), sub(last, integer(width))));
      pixels(block, t, width, false);
    });
    const auto edge = [&](Block& block, Expr t) { pixels(block, t, 1, true); };
    serial(body, "t", integer(0), first, 1, edge);
    serial(body, "t", last, builder_.parameter(steps), 1, edge);
  }

  // Inputs [t · stride, (t + width) · stride).
  void pixels(Block& block, Expr t, int64_t width, bool at_edge) {
    const PoolWindow& window = windows_.back();
    Buffer sums = block.local("sums", {DType::F32, static_cast<uint16_t>(lanes_)}, width * window.stride);
    unrolled(block, "z", width * window.stride,
             [&](Block& inner, Expr z) { inner.add(loops::store(sums, z, real(0, lanes_))); });
    covering_rows(block, [&](Block& inner, Expr oh, Expr kh) {
      std::map<int64_t, Expr> taps;
      for (int64_t kw = 0; kw < window.kernel; ++kw)
        taps[kw] = inner.let("k", number(add(mul(kh, integer(window.kernel)), integer(kw))));
      std::map<int64_t, std::vector<Source>> readers;  // by output, from t on; phases go on over the tile
      for (int64_t i = 0; i < width; ++i)
        for (const auto& [offset, sources] : sources_)
          for (const Source& source : sources)
            readers[i + offset].push_back({i * window.stride + source.phase, source.kw});
      for (const auto& [offset, sources] : readers) {
        Expr ow = inner.let("ow", add(t, integer(offset))), guard;
        if (at_edge) {
          Expr in_front = apply(ScalarOp::LessEqual, {integer(0), ow});
          guard = inner.let("inside", apply(ScalarOp::And, {in_front, less(ow, builder_.parameter(window.out))}));
        }
        Expr dy = operand(inner, 0, oh, ow, guard);
        Expr tap = inner.let("tap", convert(operand(inner, 1, oh, ow, guard), DType::I32));
        for (const Source& source : sources) {
          Expr sum = load(sums, integer(source.phase), lanes_);
          inner.add(loops::store(sums, integer(source.phase), select(equal(tap, taps[source.kw]), add(sum, dy), sum)));
        }
      }
    });
    for (int64_t i = 0; i < width * window.stride; ++i) {
      Expr pixel = block.let("pixel", add(mul(t, integer(window.stride)), integer(i)));
      if (!at_edge) {
        store(block, pixel, load(sums, integer(i), lanes_));
        continue;
      }
      Block stores;
      store(stores, pixel, load(sums, integer(i), lanes_));
      block.add(if_then(less(pixel, builder_.parameter(window.extent)), stores.take()));
    }
  }

  // The rows of windows that cover this row of inputs, and with which of their rows.
  void covering_rows(Block& block, const std::function<void(Block&, Expr, Expr)>& body) {
    if (!is_plane()) return body(block, integer(0), integer(0));
    const PoolWindow& window = windows_[0];
    serial(block, "kh", integer(0), integer(window.kernel), 1, [&](Block& outer, Expr kh) {
      Expr distance = outer.let("d", sub(add(row_, builder_.parameter(window.pad)), mul(kh, integer(window.dilation))));
      Expr oh = outer.let("oh", floordiv(distance, integer(window.stride)));
      Expr in_front = apply(ScalarOp::LessEqual, {integer(0), oh});
      Expr covers = both(both(in_front, less(oh, builder_.parameter(window.out))),
                         equal(mul(oh, integer(window.stride)), distance));
      Block inner;
      body(inner, oh, kh);
      outer.add(if_then(covers, inner.take()));
    });
  }

  std::map<int64_t, std::vector<Source>> sources_;
};

}  // namespace

LoweredGroup lower_pool_gradient(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  const Value* x = op.operand(0);
  const auto produced = [](const Value* value) { return value->producer != nullptr; };
  const std::vector<Dim>& pads = op.params.dims("pads");
  const bool taken = x->type.dtype == DType::F32 && x->type.rank() <= 4 && lapidary::value_of(x->type.shape[1]) &&
                     std::ranges::none_of(op.operands, produced) &&
                     group.operand(x->index)->type.layout.blocked_axis == 1 &&
                     op.params.integers("strides").back() <= kMostPixels &&
                     op.params.integers("kernel").back() <= kMostTaps && lapidary::value_of(pads[pads.size() / 2 - 1]);
  if (!taken) return lower_plain(context, group);
  LoweredGroup result;
  result.steps.push_back(op.is(OpKind::MaxPoolTap) ? TapLowering(context, group, op).lower()
                                                   : GradientLowering(context, group, op).lower());
  return result;
}

}  // namespace lapidary::lowering
