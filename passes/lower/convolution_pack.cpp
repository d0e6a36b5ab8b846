#include "passes/lower/convolution_pack.h"

#include <algorithm>

#include "passes/lower/group_emitter.h"
#include "passes/lower/transpose_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

using namespace loops;

GroupedBlocks grouped_blocks(const ConvForm& form, int strip_panels) {
  const int64_t outputs = *lapidary::value_of(form.outputs), channels = *lapidary::value_of(form.channels);
  const int64_t strip = int64_t{strip_panels} * kPanel, all = (channels + kPanel - 1) / kPanel;
  GroupedBlocks blocks;
  for (int64_t first = 0; first < outputs; first += strip) {
    const int64_t begin = first / form.group_outputs() * form.group_channels() / kPanel;
    const int64_t last_group = (std::min(first + strip, outputs) - 1) / form.group_outputs();
    const int64_t end = ((last_group + 1) * form.group_channels() + kPanel - 1) / kPanel;
    blocks.count = std::max(blocks.count, end - begin);
    blocks.first_channels.push_back(begin * kPanel);
  }
  blocks.last_start = all - blocks.count;
  for (int64_t& channel : blocks.first_channels) channel = std::min(channel, blocks.last_start * kPanel);
  return blocks;
}

Expr first_block(KernelBuilder& builder, Block& block, const ConvForm& form, Expr strip, int strip_panels) {
  if (form.group == 1) return integer(0);
  DimPool& dims = builder.module.dims;
  const GroupedBlocks blocks = grouped_blocks(form, strip_panels);
  Expr group = floordiv(mul(std::move(strip), integer(int64_t{strip_panels} * kPanel)),
                        builder.literal(dims.constant(form.group_outputs())));
  return block.let("first_block",
                   min(floordiv(mul(group, builder.parameter(dims.constant(form.group_channels()))), integer(kPanel)),
                       builder.parameter(dims.constant(blocks.last_start))));
}

int64_t WeightForm::taps() const {
  int64_t taps = 1;
  for (int64_t extent : form.kernel) taps *= extent;
  return taps;
}

int64_t WeightForm::elements() const {
  return ceil_div(*lapidary::value_of(form.outputs), kPanel) * kPanel * blocks() * inner * taps();
}

namespace {

// [I, O of a group, k…] of a transposed convolution as [O, I of a group, k…], as others are.
ConstantId in_output_order(ConstantTable& constants, const ConvForm& form) {
  using Kind = Transform::Kind;
  ConstantId weight = *form.weight;
  if (!form.transposed) return weight;
  std::vector<int64_t> shape = {form.group, form.group_channels(), form.group_outputs()}, order = {0, 2, 1},
                       result = {*lapidary::value_of(form.outputs), form.group_channels()};
  for (int axis = 0; axis < form.spatial; ++axis) {
    shape.push_back(form.kernel[axis]);
    order.push_back(3 + axis);
    result.push_back(form.kernel[axis]);
  }
  weight = constants.transformed(weight, {.kind = Kind::Reshape, .shape = shape});
  weight = constants.transformed(weight, {.kind = Kind::Transpose, .axes = order});
  return constants.transformed(weight, {.kind = Kind::Reshape, .shape = result});
}

// A live weight in the same form: one task a panel and channel block.
class WeightPacking {
 public:
  WeightPacking(Context& context, const Op& group, const WeightForm& packed)
      : group_(group),
        packed_form_(packed),
        form_(packed.form),
        lanes_(context.target().f32_lanes()),
        inner_(packed.inner),
        blocks_(packed.blocks()),
        taps_(packed.taps()),
        channels_(packed.channels),
        outputs_(*lapidary::value_of(packed.form.outputs)),
        panels_(ceil_div(outputs_, kPanel)),
        builder_(context.module, context.target(), "conv", "pack weights"),
        emit_(builder_, group) {}

  LoweredStep step() {
    DimPool& dims = this->dims();
    const std::vector<Expr> axes = builder_.split_task({dims.constant(panels_), dims.constant(blocks_)});
    panel_ = axes[0];
    block_ = axes[1];
    packed_ = builder_.scratch(0, DType::F32, true);
    base_ = builder_.body.let("base", mul(add(mul(panel_, builder_.parameter(dims.constant(blocks_))), block_),
                                          builder_.parameter(dims.constant(taps_ * inner_ * kPanel))));
    if (form_.group > 1)
      spread();
    else
      whole();
    LoweredStep step = single_step(builder_.finish(dims.constant(panels_ * blocks_)));
    step.flops = dims.constant(0);
    step.bytes = dims.constant(packed_form_.elements() * 2 * 4);
    return step;
  }

 private:
  DimPool& dims() const { return builder_.module.dims; }

  void whole() {
    const Value* weight = form_.conv->operand(1);
    const bool apart = !form_.transposed || taps_ > 1;  // outputs, which else are vectors already
    if (apart && !weight->producer && group_.operand(weight->index)->type.layout.dense())
      turned(group_.operand(weight->index));
    else
      picked();
  }

  // A dense weight, turned 16 by 16 in registers: [outputs][channels · taps], or [outputs][taps] of each channel of a
  // transposed one.
  void turned(const Value* weight) {
    DimPool& dims = this->dims();
    const int64_t line = channels_ * taps_;
    Buffer source = builder_.operand(weight);
    if (!form_.transposed) {
      Expr length = builder_.parameter(dims.constant(line));
      Expr first = builder_.body.let("first", mul(block_, builder_.parameter(dims.constant(inner_ * taps_))));
      return turn(builder_.body, {source, first, length, sub(length, first), inner_ * taps_, nullptr});
    }
    Expr channels = builder_.parameter(dims.constant(channels_));
    serial(builder_.body, "k", integer(0), integer(inner_), 1, [&](Block& block, Expr k) {
      Expr channel = block.let("channel", add(mul(block_, integer(inner_)), k));
      Expr first = block.let("first", mul(channel, builder_.parameter(dims.constant(outputs_ * taps_))));
      Expr valid = block.let("valid", select(less(channel, channels), integer(taps_), integer(0)));
      turn(block, {source, first, integer(taps_), valid, taps_, k});
    });
  }

  // Runs of `length` numbers, one for each output, `apart` from each other, of which `valid` are there: of channels and
  // their taps, or of the taps of one.
  struct Runs {
    Buffer source;
    Expr first, apart, valid;
    int64_t length;
    Expr channel;
  };
  void turn(Block& into, const Runs& runs) {
    Expr outputs = builder_.parameter(dims().constant(outputs_));
    serial(into, "v", integer(0), integer(kPanel / lanes_), 1, [&](Block& vector, Expr v) {
      Expr output = vector.let("output", add(mul(panel_, integer(kPanel)), mul(v, integer(lanes_))));
      serial(vector, "r", integer(0), integer(runs.length), lanes_, [&](Block& inner, Expr r) {
        Expr left = inner.let("left", max(integer(0), sub(runs.valid, r)));
        std::vector<Expr> loaded;
        for (int lane = 0; lane < lanes_; ++lane) {
          Expr o = inner.let("o", add(output, integer(lane)));
          Expr mask = first_lanes(select(less(o, outputs), left, integer(0)), lanes_);
          loaded.push_back(
              inner.let("x", load(runs.source, add(add(mul(o, runs.apart), runs.first), r), lanes_, mask)));
        }
        const std::vector<Expr> columns = transposed(inner, std::move(loaded));
        for (int lane = 0; lane < lanes_; ++lane) {
          Expr row = inner.let("row", add(r, integer(lane))), channel = runs.channel, tap = row;
          if (!channel) channel = floordiv(row, integer(taps_)), tap = mod(row, integer(taps_));
          Block one;
          one.add(loops::store(packed_, index_of(tap, channel, mul(v, integer(lanes_))), columns[lane]));
          if (runs.length % lanes_ == 0)
            for (Stmt& statement : one.take()) inner.add(std::move(statement));
          else
            inner.add(if_then(less(row, integer(runs.length)), one.take()));
        }
      });
    });
  }

  // One vector of outputs at a time.
  void picked() {
    serial(builder_.body, "tap", integer(0), builder_.parameter(dims().constant(taps_)), 1, [&](Block& row, Expr tap) {
      serial(row, "k", integer(0), integer(inner_), 1, [&](Block& block, Expr k) { vectors(block, tap, k); });
    });
  }

  void vectors(Block& row, Expr tap, Expr k) {
    const Op& conv = *form_.conv;
    const std::vector<Coord> window = this->window(row, tap);
    unrolled(row, "j", kPanel / lanes_, [&](Block& block, Expr j) {
      Expr output = block.let("output", add(mul(panel_, integer(kPanel)), mul(j, integer(lanes_))));
      Expr channel = block.let("channel", add(mul(block_, integer(inner_)), k));
      Expr left = block.let("left", sub(builder_.parameter(dims().constant(outputs_)), output));
      Expr index = index_of(tap, k, mul(j, integer(lanes_)));
      Block some, none;
      {
        GroupEmitter::Scope scope(emit_, some);
        Coords coords{{along(output), at(channel)}, lanes_, first_lanes(left, lanes_)};
        if (form_.transposed) std::swap(coords.axes[0], coords.axes[1]);
        coords.axes.insert(coords.axes.end(), window.begin(), window.end());
        some.add(loops::store(packed_, index, emit_.value(conv.operand(1), coords)));
      }
      none.add(loops::store(packed_, index, real(0, lanes_)));
      Expr inside = both(less(integer(0), left), less(channel, builder_.parameter(dims().constant(channels_))));
      block.add(if_then(inside, some.take(), none.take()));
    });
  }

  // Groups: zeros, and amid them what an output's own group has in this block, output by output.
  void spread() {
    Block& body = builder_.body;
    serial(body, "i", integer(0), builder_.parameter(dims().constant(taps_ * inner_ * kPanel)), lanes_,
           [&](Block& block, Expr i) { block.add(loops::store(packed_, add(base_, i), real(0, lanes_))); });
    Expr first = body.let("first", mul(panel_, integer(kPanel)));
    Expr last = body.let("last", min(add(first, integer(kPanel)), builder_.parameter(form_.outputs)));
    Expr strip = floordiv(panel_, integer(packed_form_.strip_panels));
    Expr channel =
        packed_form_.own_only
            ? nullptr
            : body.let("channel", mul(add(first_block(builder_, body, form_, strip, packed_form_.strip_panels), block_),
                                      integer(kPanel)));
    serial(body, "output", first, last, 1, [&](Block& block, Expr output) {
      Expr group = block.let("group", floordiv(output, builder_.divisor(dims().constant(form_.group_outputs()))));
      Expr own = block.let("own", mul(group, builder_.parameter(dims().constant(form_.group_channels()))));
      Expr end = add(own, builder_.parameter(dims().constant(form_.group_channels())));
      Expr from = channel ? channel : own;
      serial(block, "c", max(own, from), min(end, add(from, integer(inner_))), 1, [&](Block& inner, Expr c) {
        serial(inner, "tap", integer(0), builder_.parameter(dims().constant(taps_)), 1, [&](Block& one, Expr tap) {
          one_of_group(one, tap,
                       {output, sub(output, mul(group, builder_.parameter(dims().constant(form_.group_outputs())))), c,
                        sub(c, own)},
                       index_of(tap, sub(c, from), sub(output, first)));
        });
      });
    });
  }

  struct Place {
    Expr output, output_of_group, channel, channel_of_group;
  };
  void one_of_group(Block& block, const Expr& tap, const Place& place, Expr index) {
    GroupEmitter::Scope scope(emit_, block);
    Coords coords{form_.transposed ? std::vector<Coord>{at(place.channel), at(place.output_of_group)}
                                   : std::vector<Coord>{at(place.output), at(place.channel_of_group)}};
    for (Coord& axis : window(block, tap)) coords.axes.push_back(std::move(axis));
    block.add(loops::store(packed_, std::move(index), emit_.value(form_.conv->operand(1), coords)));
  }

  std::vector<Coord> window(Block& block, const Expr& tap) {
    if (form_.spatial == 1) return {at(tap)};
    Expr by = builder_.divisor(dims().constant(form_.kernel.back()));
    return {at(block.let("kh", floordiv(tap, by))), at(block.let("kw", mod(tap, by)))};
  }

  Expr index_of(Expr tap, const Expr& channel, const Expr& output) const {
    if (packed_form_.reversed()) tap = sub(integer(taps_ - 1), tap);
    return add(add(base_, mul(add(mul(tap, integer(inner_)), channel), integer(kPanel))), output);
  }

  const Op& group_;
  const WeightForm& packed_form_;
  const ConvForm& form_;
  const int lanes_;
  const int64_t inner_, blocks_, taps_, channels_, outputs_, panels_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  Buffer packed_;
  Expr panel_, block_, base_;
};

}  // namespace

ConstantId packed_weight(Module& module, const WeightForm& packed) {
  ConstantTable& constants = module.constants;
  const ConvForm& form = packed.form;
  ConstantId weight = in_output_order(constants, form);
  if (form.group > 1 && !packed.own_only) {
    const GroupedBlocks blocks = grouped_blocks(form, packed.strip_panels);
    weight = constants.transformed(weight, {.kind = Transform::Kind::SpreadGroups,
                                            .axes = blocks.first_channels,
                                            .shape = {form.group_outputs(), blocks.count * kPanel},
                                            .block = int64_t{packed.strip_panels} * kPanel});
  }
  const auto kind = packed.atom.depth == 1 ? Transform::Kind::PackConv : Transform::Kind::PackConvDots;
  return constants.transformed(weight, {.kind = kind, .shape = {packed.inner}, .block = kPanel});
}

LoweredStep pack_live_weight(Context& context, const Op& group, const WeightForm& packed) {
  return WeightPacking(context, group, packed).step();
}

}  // namespace lapidary::lowering
