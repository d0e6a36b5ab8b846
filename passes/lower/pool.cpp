// Pooling. Blocked: 16 channels along the lanes, a tile of output pixels of one row at a time; each input column a tile
// reads is reduced over the window's rows once, then the columns of each window are joined:
//
//   3×3, stride 1, 8 pixels: 10 columns · 2 + 8 · 2 = 36 maxima instead of 64
//
// Only pixels whose window overhangs the image are taken one by one with the window clipped, so that no halo is needed
// and what lies outside never counts. A last tile overlaps the one before. Dense: pixels of a row along the lanes;
// vectors that overhang test each lane, the others load (stride 2: two vectors, of which every other lane is kept).
// Measured on one Zen 4 core, 64 × 56 × 56, least times: 3×3 of stride 1 35 µs instead of 89, 5×5 72 instead of 231.
//
// max_pool: NaN wins (ONNX MaxPool-22); average_pool divides by the window's true size or, with include_pad, its size
// inside the padded input.
#include <algorithm>
#include <map>

#include "ir/error.h"
#include "passes/lower/convolution.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/lanes.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/pool_window.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kMostPixels = 8;

class PoolLowering {
 public:
  PoolLowering(Context& context, const Op& group, const Op& pool)
      : dims_(context.module.dims),
        pool_(pool),
        maximum_(pool.is(OpKind::MaxPool)),
        dtype_(pool.type().dtype),
        lanes_(context.target().f32_lanes()),
        columns_(context.target().vector_registers >= 32 ? 20 : 10),
        blocked_(group.operand(pool.operand(0)->index)->type.layout.blocked_axis == 1),
        builder_(context.module, context.target(), "pool", maximum_ ? "max" : "average"),
        emit_(builder_, group) {
    windows_ = pool_windows(pool, pool.operand(0)->type.shape, pool.type().shape);
  }

  LoweredStep lower() {
    const Shape& out = pool_.type().shape;
    const int64_t channels = *lapidary::value_of(out[1]);
    Dim planes = dims_.constant(blocked_ ? (channels + lanes_ - 1) / lanes_ : channels);
    Dim rows = windows_.size() == 2 ? out[2] : dims_.constant(1);
    std::vector<Expr> axes = builder_.split_task({out[0], planes, rows});
    batch_ = axes[0];
    row_ = axes[2];
    channel_ = blocked_ ? builder_.body.let("channel", mul(axes[1], integer(lanes_))) : axes[1];
    if (blocked_ && channels % lanes_) mask_ = first_lanes(sub(builder_.parameter(out[1]), channel_), lanes_);
    taps_ = windows_.size() == 2 ? clip(builder_.body, builder_, windows_[0], row_)
                                 : Clip{integer(0), integer(1), integer(0), integer(1)};
    row_taps_ = pool_.params.has("include_pad") && pool_.params.integer("include_pad") ? taps_.padded
                                                                                       : sub(taps_.end, taps_.begin);
    if (blocked_)
      blocked_row();
    else
      dense_row();
    return single_step(builder_.finish(dims_.product(std::vector<Dim>{out[0], planes, rows})));
  }

 private:
  Expr joined(Expr a, Expr b) const { return maximum_ ? max(a, b) : add(a, b); }
  Expr identity() const { return splat(identity_of(maximum_ ? OpKind::ReduceMax : OpKind::ReduceSum, dtype_), lanes_); }
  Coords coords(const Coord& row, const Coord& pixel, Expr mask) const {
    Coords result{{at(batch_), blocked_ ? along(channel_) : at(channel_)}, lanes_, mask};
    if (windows_.size() == 2) result.axes.push_back(row);
    result.axes.push_back(pixel);
    return result;
  }
  // The input at tap row kh.
  Expr input(Block& block, Expr kh, const Coord& pixel, Expr mask) {
    GroupEmitter::Scope scope(emit_, block);
    Coord row = at(windows_.size() == 2 ? add(taps_.position, mul(kh, integer(windows_[0].dilation))) : integer(0));
    return emit_.value(pool_.operand(0), coords(row, pixel, mask));
  }
  void store(Block& block, const Coord& pixel, Expr value, Expr column_taps, Expr mask) {
    GroupEmitter::Scope scope(emit_, block);
    if (!maximum_) value = apply(ScalarOp::Div, {value, splat_to(convert(column_taps, DType::F32), lanes_)});
    emit_.store_results(pool_.result(), coords(at(row_), pixel, mask), value);
  }

  void blocked_row() {
    const PoolWindow& window = windows_.back();
    std::map<int64_t, int64_t> place;  // of the columns a tile reads
    int64_t pixels = kMostPixels;
    const Inside all = inside_of(dims_, window, 1);
    if (const auto count = lapidary::value_of(dims_.sub(all.last, all.first)))
      pixels = std::clamp<int64_t>(*count, 1, pixels);
    const auto fits = [&] {
      place.clear();
      for (int64_t i = 0; i < pixels; ++i)
        for (int64_t kw = 0; kw < window.kernel; ++kw) place.emplace(i * window.stride + kw * window.dilation, 0);
      int64_t count = 0;
      for (auto& [column, number] : place) number = count++;
      return count <= columns_;
    };
    while (!fits() && pixels > 1) --pixels;
    const Inside inside = inside_of(dims_, window, pixels);
    Expr first = builder_.parameter(inside.first), last = builder_.parameter(inside.last);
    if (fits())
      tiles(window, inside, pixels, place);
    else
      first = last = builder_.parameter(window.out);  // a window too wide for the registers
    sides(window, first, last, 1, [&](Block& block, Expr pixel, Expr) { clipped_pixel(block, window, pixel); });
  }

  void tiles(const PoolWindow& window, const Inside& inside, int64_t pixels, const std::map<int64_t, int64_t>& place) {
    Expr first = builder_.parameter(inside.first), last = builder_.parameter(inside.last);
    serial(builder_.body, "tile", integer(0), builder_.parameter(inside.tiles), 1, [&](Block& block, Expr tile) {
      Expr pixel = block.let("pixel", min(add(first, mul(tile, integer(pixels))), sub(last, integer(pixels))));
      Expr position = block.let("p", sub(mul(pixel, integer(window.stride)), builder_.parameter(window.pad)));
      Buffer columns =
          block.local("columns", {dtype_, static_cast<uint16_t>(lanes_)}, static_cast<int64_t>(place.size()));
      for (const auto& [column, number] : place) block.add(loops::store(columns, integer(number), identity()));
      serial(block, "kh", taps_.begin, taps_.end, 1, [&](Block& taps, Expr kh) {
        for (const auto& [column, number] : place) {
          Expr value = input(taps, kh, at(add(position, integer(column))), mask_), slot = integer(number);
          taps.add(loops::store(columns, slot, joined(load(columns, slot, lanes_), value)));
        }
      });
      for (int64_t i = 0; i < pixels; ++i) {
        Expr value;
        for (int64_t kw = 0; kw < window.kernel; ++kw) {
          Expr column = load(columns, integer(place.at(i * window.stride + kw * window.dilation)), lanes_);
          value = value ? block.let("v", joined(value, column)) : column;
        }
        store(block, at(add(pixel, integer(i))), value, mul(row_taps_, integer(window.kernel)), mask_);
      }
    });
  }

  void clipped_pixel(Block& block, const PoolWindow& window, Expr pixel) {
    Clip column = clip(block, builder_, window, pixel);
    Buffer acc = block.local("acc", {dtype_, static_cast<uint16_t>(lanes_)}, 1);
    block.add(loops::store(acc, integer(0), identity()));
    serial(block, "kh", taps_.begin, taps_.end, 1, [&](Block& taps, Expr kh) {
      serial(taps, "kw", column.begin, column.end, 1, [&](Block& tap, Expr kw) {
        Expr value = input(tap, kh, at(add(column.position, mul(kw, integer(window.dilation)))), mask_);
        tap.add(loops::store(acc, integer(0), joined(load(acc, integer(0), lanes_), value)));
      });
    });
    const bool padded = !maximum_ && pool_.params.integer("include_pad");
    store(block, at(pixel), load(acc, integer(0), lanes_),
          mul(row_taps_, padded ? column.padded : sub(column.end, column.begin)), mask_);
  }

  void dense_row() {
    const PoolWindow& window = windows_.back();
    const Inside inside = inside_of(dims_, window, lanes_);
    Expr first = builder_.parameter(inside.first), last = builder_.parameter(inside.last);
    const auto position = [&](Block& block, Expr pixel) {
      return block.let("p", sub(mul(pixel, integer(window.stride)), builder_.parameter(window.pad)));
    };
    serial(builder_.body, "tile", integer(0), builder_.parameter(inside.tiles), 1, [&](Block& block, Expr tile) {
      Expr pixel = block.let("pixel", min(add(first, mul(tile, integer(lanes_))), sub(last, integer(lanes_))));
      whole_vector(block, window, pixel, position(block, pixel));
    });
    sides(window, first, last, lanes_, [&](Block& block, Expr pixel, Expr end) {
      clipped_vector(block, window, pixel, position(block, pixel),
                     block.let("mask", first_lanes(sub(end, pixel), lanes_)));
    });
  }

  // The pixels before `first` and from `last` on, `step` at a time.
  void sides(const PoolWindow& window, Expr first, Expr last, int step,
             const std::function<void(Block&, Expr, Expr)>& body) {
    serial(builder_.body, "side", integer(0), integer(2), 1, [&](Block& side, Expr right) {
      Expr begin = side.let("begin", mul(right, last));
      Expr end = side.let("end", select(equal(right, integer(0)), first, builder_.parameter(window.out)));
      serial(side, "pixel", begin, end, step, [&](Block& block, Expr pixel) { body(block, pixel, end); });
    });
  }

  // Σ or max over the window of `value(kh, position + kw · dilation)`.
  void over_taps(Block& block, const PoolWindow& window, Buffer acc, Expr position,
                 const std::function<Expr(Block&, Expr, Expr, Expr)>& value) {
    block.add(loops::store(acc, integer(0), identity()));
    serial(block, "kh", taps_.begin, taps_.end, 1, [&](Block& taps, Expr kh) {
      serial(taps, "kw", integer(0), integer(window.kernel), 1, [&](Block& tap, Expr kw) {
        Expr here = tap.let("x", add(position, mul(kw, integer(window.dilation))));
        tap.add(loops::store(acc, integer(0), joined(load(acc, integer(0), lanes_), value(tap, kh, kw, here))));
      });
    });
  }

  void whole_vector(Block& block, const PoolWindow& window, Expr pixel, Expr position) {
    Buffer acc = block.local("acc", {dtype_, static_cast<uint16_t>(lanes_)}, 1);
    over_taps(block, window, acc, position, [&](Block& tap, Expr kh, Expr, Expr here) {
      if (window.stride != 2) return input(tap, kh, along(here, integer(window.stride)), nullptr);
      Expr low = input(tap, kh, along(here), nullptr),
           high = input(tap, kh, along(add(here, integer(lanes_ - 1))), nullptr);
      std::vector<int>
          even;  // of the 2 · lanes - 1 elements from `here`, of which `high` begins with the last of `low`
      for (int lane = 0; lane < lanes_; ++lane) even.push_back(2 * lane < lanes_ ? 2 * lane : 2 * lane + 1);
      return shuffle({low, high}, even);
    });
    store(block, along(pixel), load(acc, integer(0), lanes_), mul(row_taps_, integer(window.kernel)), nullptr);
  }

  void clipped_vector(Block& block, const PoolWindow& window, Expr pixel, Expr position, Expr mask) {
    Buffer acc = block.local("acc", {dtype_, static_cast<uint16_t>(lanes_)}, 1);
    over_taps(block, window, acc, position, [&](Block& tap, Expr kh, Expr, Expr here) {
      Coord pixels = along(here, integer(window.stride));
      Expr inside =
          tap.let("inside", splat_to(in_range(pixels, integer(0), builder_.parameter(window.extent), lanes_), lanes_));
      return select(inside, input(tap, kh, pixels, both(mask, inside)), identity());
    });
    Expr count;
    if (!maximum_) {  // the taps of each lane that count
      const bool padded = pool_.params.integer("include_pad");
      Buffer taps = block.local("taps", {DType::F32, static_cast<uint16_t>(lanes_)}, 1);
      block.add(loops::store(taps, integer(0), real(0, lanes_)));
      Dim end = padded ? dims_.add(window.extent, window.pad_hi) : window.extent;
      serial(block, "kw", integer(0), integer(window.kernel), 1, [&](Block& tap, Expr kw) {
        Coord pixels = along(add(position, mul(kw, integer(window.dilation))), integer(window.stride));
        Expr counts =
            splat_to(in_range(pixels, padded ? nullptr : integer(0), builder_.parameter(end), lanes_), lanes_);
        tap.add(loops::store(taps, integer(0),
                             add(load(taps, integer(0), lanes_), select(counts, real(1, lanes_), real(0, lanes_)))));
      });
      count = mul(load(taps, integer(0), lanes_), splat_to(convert(row_taps_, DType::F32), lanes_));
    }
    store(block, along(pixel), load(acc, integer(0), lanes_), count, mask);
  }

  DimPool& dims_;
  const Op& pool_;
  const bool maximum_;
  const DType dtype_;
  const int lanes_, columns_;
  const bool blocked_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  std::vector<PoolWindow> windows_;
  Expr batch_, channel_, row_, row_taps_, mask_;
  Clip taps_;  // of the row
};

}  // namespace

LoweredGroup lower_pool(Context& context, const Op& group) {
  const Op& pool = anchor_of(group);
  const Type& x = pool.operand(0)->type;
  const bool known = lapidary::value_of(x.shape[1]).has_value();
  const bool taken =
      x.dtype == DType::F32 || (pool.is(OpKind::MaxPool) && is_integer(x.dtype) && bit_width(x.dtype) == 8);
  if (!taken || x.rank() > 4 || x.rank() < 3 || !known || pool.operand(0)->producer) return lower_plain(context, group);
  LoweredGroup result;
  result.steps.push_back(PoolLowering(context, group, pool).lower());
  return result;
}

}  // namespace lapidary::lowering
