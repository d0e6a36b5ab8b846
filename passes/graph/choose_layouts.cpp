// Chooses how values lie in memory. Images between convolutions are kept in blocks of 16 channels,
// [N, C/16, H, W, 16], so that a vector of channels is one load and neighbouring pixels lie 64 bytes apart; each value
// gets a halo as wide as the pads of the convolutions that read it, which its producer fills, so no kernel has borders.
//
//   conv → relu → conv          both values blocked, the first with a halo of the second's pads
//   image [N, 3, H, W] → conv   dense with a halo: a first layer reads single channels
//   conv → flatten → gemm       a relayout to dense between the two
//
// On a GPU channels come last, [N, H, W, C], padded to whole accesses of 16 bytes (a first layer's to 4 channels), and
// there are no halos, since asynchronous copies mask for nothing: but where pads are not zeros, which a mask gives. So
// do those of weights that are no constants: a step of training makes one copy for a convolution and its gradient.
//
// Blocked are the results of convolutions, of pools of blocked values, and of elementwise groups in the shape of, or
// concatenating, padding, or resampling the pixels of blocked values. Results of the function are dense. Where what a
// reader needs and what a value is differ (a model's input without halo, a blocked value for a matrix product), a
// relayout of its own stands between.
#include <algorithm>

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/relayout.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr uint8_t kBlock = 16;
constexpr uint8_t kDot = 4;          // bytes that are multiplied at once: the block of a first layer of codes
constexpr int64_t kFewChannels = 4;  // a first layer's: not worth a block
constexpr int kAccessBits = 128;     // of a GPU's thread

bool has_image_shape(const Type& type) {
  return type.kind == Type::Kind::Tensor && (type.rank() == 3 || type.rank() == 4) && value_of(type.shape[1]);
}

// Halves are images where they are not widened: on a GPU.
bool is_image(const Type& type) {
  return has_image_shape(type) &&
         (type.dtype == DType::F32 || type.dtype == DType::U8 || type.dtype == DType::F16 || type.dtype == DType::BF16);
}

bool in_family(const Op& op, std::string_view family) {
  return op.is(OpKind::Group) && op.params.text("family") == family;
}

bool has_constant_weight(const Op& group, const Op& conv) {
  const Value* w = conv.operand(1);
  while (w->producer && (w->producer->is(OpKind::Reshape) || w->producer->is(OpKind::Transpose)))
    w = w->producer->operand(0);
  const Op* weight = w->producer ? w->producer : group.operand(w->index)->producer;
  return weight && weight->is(OpKind::Constant);
}

// A convolution the blocked kernels take: known channels, pads and window; on a GPU groups only with constant weights.
bool takes_blocks(const Op& group, bool gpu) {
  if (!in_family(group, "conv")) return false;
  const Op& conv = anchor_of(group);
  const Value* x = conv.operand(0);
  if (x->producer || !is_image(group.operand(x->index)->type) || !has_image_shape(conv.type()) || !halo_read_by(conv))
    return false;
  return conv.params.integer("group") == 1 || !gpu || (conv.is(OpKind::Conv) && has_constant_weight(group, conv));
}

// The gradient of a convolution by its weight, whose x is laid out as the convolution's and whose dy, on a CPU, is in
// blocks.
bool takes_gradient_blocks(const Op& group, bool gpu) {
  if (!in_family(group, "filter_gradient")) return false;
  const Op& op = anchor_of(group);
  for (const Value* operand : op.operands) {
    if (operand->producer || !is_image(operand->type) || (!gpu && operand->type.dtype != DType::F32)) return false;
  }
  return halo_read_by(op).has_value();
}

Value* conv_input(const Op& group) { return group.operand(anchor_of(group).operand(0)->index); }

bool covers(const std::vector<Halo>& halo, const std::vector<Halo>& wanted) {
  for (size_t axis = 0; axis < wanted.size(); ++axis) {
    Halo have = halo.empty() ? Halo{} : halo[axis];
    if (have.lo < wanted[axis].lo || have.hi < wanted[axis].hi) return false;
  }
  return true;
}

void widen(std::vector<Halo>& halo, const std::vector<Halo>& wanted) {
  if (halo.empty()) halo.resize(wanted.size());
  for (size_t axis = 0; axis < wanted.size(); ++axis) {
    halo[axis].lo = std::max(halo[axis].lo, wanted[axis].lo);
    halo[axis].hi = std::max(halo[axis].hi, wanted[axis].hi);
  }
}

bool is_wide(const std::vector<Halo>& halo) {
  return std::ranges::any_of(halo, [](const Halo& h) { return h.lo > 0 || h.hi > 0; });
}

class LayoutChoice {
 public:
  LayoutChoice(Module& module, Region& body, bool gpu) : module_(module), body_(body), gpu_(gpu) {}

  bool run() {
    bool changed = false;
    for (Op& op : body_.ops) changed |= block_results(op);
    for (Op& op : body_.ops) {
      const bool conv = takes_blocks(op, gpu_), gradient = takes_gradient_blocks(op, gpu_);
      if (conv || (gradient && !gpu_)) changed |= prepare_input(op);
      if (conv && gpu_) changed |= prepare_weight(op);
      if (gradient) changed |= gpu_ ? prepare_gradient(op) : block_gradient(op, 1);
      if (!gpu_ && in_family(op, "pool_gradient") && op.result()->type.layout.blocked_axis == 1)
        changed |= block_gradient(op, 0);  // else dense behind a flattened image: its taps are in blocks
    }
    for (Op& op : body_.ops) changed |= make_operands_dense(op);
    return changed;
  }

 private:
  static bool is_result(const Value& value) {
    return std::ranges::any_of(value.uses, [](const Use& use) { return use.op->is(OpKind::Yield); });
  }

  // Is it a group that chooses how it lies?
  static bool in_own_form(const Value& value) {
    return value.producer && value.producer->is(OpKind::Group) && !is_result(value);
  }

  static bool keeps_channels(const Shape& a, const Shape& b) {
    return a.size() > 2 && b.size() > 2 && a[0] == b[0] && a[1] == b[1];
  }

  // Pixels gathered, padded, or repeated: [N, C, H, W] → [N, C, H, 2, W, 2] → [N, C, 2H, 2W].
  static bool resamples(const Op& op) {
    if (op.is(OpKind::Pad)) return keeps_channels(op.operand(0)->type.shape, op.type().shape);
    if (op.is(OpKind::Gather))
      return op.params.integer("axis") >= 2 && op.operand(1)->type.rank() == 1 &&
             keeps_channels(op.operand(0)->type.shape, op.type().shape);
    if (!op.is(OpKind::Broadcast) || op.operand(0)->type.rank() >= op.type().rank()) return false;
    const auto& axes = op.params.integers("axes");
    return axes.size() > 2 && axes[0] == 0 && axes[1] == 1 &&
           keeps_channels(op.operand(0)->type.shape, op.type().shape);
  }

  uint8_t block_of(DType dtype) const { return gpu_ ? static_cast<uint8_t>(kAccessBits / bit_width(dtype)) : kBlock; }

  void block(Layout& layout, uint8_t size) const {
    layout.blocked_axis = 1;
    layout.block = size;
    layout.last = gpu_;
  }

  // Does this group write its result as cheaply in blocks?
  bool follows_blocks(const Op& group, const Type& result) const {
    auto blocked = [](const Value* value) { return value->type.layout.blocked_axis == 1; };
    if (in_family(group, "pool")) return blocked(group.operand(anchor_of(group).operand(0)->index));
    if (in_family(group, "pool_gradient")) return std::ranges::any_of(group.operands, blocked);
    if (!in_family(group, "elementwise")) return false;
    bool resampled = false;
    for (const Op& op : group.regions[0]->ops) {  // only ops that leave channels where they are
      resampled |= resamples(op);
      bool stays = is_elementwise(op) || op.is(OpKind::Broadcast) || op.is(OpKind::Constant) || op.is(OpKind::Yield) ||
                   op.is(OpKind::Reshape) || resamples(op) || (op.is(OpKind::Slice) && op.type().rank() < 3) ||
                   (op.is(OpKind::Concat) && op.params.integer("axis") == 1);
      if (!stays) return false;
      if (op.is(OpKind::Concat)) {
        for (size_t i = 0; i + 1 < op.operands.size(); ++i) {  // each part begins at a block
          if (value_of(op.operand(static_cast<int>(i))->type.shape[1]).value_or(1) % block_of(result.dtype) != 0)
            return false;
        }
      }
    }
    return std::ranges::any_of(group.operands, [&](const Value* operand) {
      return blocked(operand) && operand->type.rank() == result.rank() &&
             (operand->type.shape.back() == result.shape.back() ||
              (resampled && keeps_channels(operand->type.shape, result.shape)));
    });
  }

  bool block_results(Op& op) {
    if (!op.is(OpKind::Group)) return false;
    bool changed = false;
    for (auto& result : op.results) {
      Type& type = result->type;
      const bool sums = has_image_shape(type) && type.dtype == DType::I32,
                 marks = !gpu_ && has_image_shape(type) && type.dtype == DType::Bool;  // where a relu let nothing by
      if ((!is_image(type) && !sums && !marks) || is_result(*result)) continue;
      // A group may end in a shape op: then it is not the convolution's own result that is stored.
      bool own = takes_blocks(op, gpu_) && type.shape == anchor_of(op).type().shape;
      if (!own && !follows_blocks(op, type)) continue;
      block(type.layout, block_of(type.dtype));
      changed = true;
    }
    return changed;
  }

  // The input of a convolution in the form its kernel reads.
  bool prepare_input(Op& group) {
    Value* x = conv_input(group);
    const Op& conv = anchor_of(group);
    const double fill = static_cast<double>(conv.params.integer_or("fill", 0));
    std::vector<Halo> wanted = *halo_read_by(conv);
    if (gpu_ && fill == 0) wanted.clear();
    bool few = *value_of(x->type.shape[1]) <= kFewChannels && conv.params.integer("group") == 1;
    bool blocked = x->type.layout.blocked_axis == 1;
    bool own_form = in_own_form(*x);
    const bool codes = conv.params.has("to"), in_fours = few && (codes || gpu_);
    if (blocked && is_wide(wanted) && is_wide(x->type.layout.halo) && x->type.layout.fill != fill) blocked = false;
    if ((in_fours || gpu_) && own_form && !blocked && in_family(*x->producer, "elementwise")) {
      block(x->type.layout, in_fours ? kDot : block_of(x->type.dtype));
      blocked = true;
    }
    if (blocked && is_wide(wanted)) x->type.layout.fill = fill;
    if (blocked || (few && !in_fours && (own_form || !is_wide(wanted)))) {
      if (covers(x->type.layout.halo, wanted)) return false;
      widen(x->type.layout.halo, wanted);
      return true;
    }
    Type type = x->type;
    type.layout = {};
    if (!few || in_fours) block(type.layout, few ? kDot : block_of(type.dtype));
    if (is_wide(wanted)) {
      type.layout.halo = wanted;
      type.layout.fill = fill;
    }
    replace_operand(group, x, type);
    return true;
  }

  // A live weight [O, C, taps…] as [O, taps…, C], in the image's blocks: what a convolution multiplies by a pixel's
  // channels lies beside each other then, and so do the columns of the transposed one that is its gradient.
  bool prepare_weight(Op& group) {
    const Op& conv = anchor_of(group);
    if (conv.operand(1)->producer || has_constant_weight(group, conv)) return false;
    Value* w = group.operand(conv.operand(1)->index);
    const bool has_taps = std::ranges::any_of(w->type.shape.begin() + 2, w->type.shape.end(),
                                              [](Dim extent) { return value_of(extent) != 1; });
    if (!is_image(w->type) || w->type.layout.blocked_axis >= 0 || !has_taps) return false;
    Type type = w->type;
    block(type.layout, conv.is(OpKind::Conv) ? conv_input(group)->type.layout.block : block_of(type.dtype));
    if (in_own_form(*w) && in_family(*w->producer, "elementwise"))
      w->type = type;
    else
      replace_operand(group, w, type);
    return true;
  }

  // A weight's gradient is made of the copy of the image that its convolution has. Where channels are no whole blocks
  // it has columns for the zeros beside them too, and a place for those.
  bool prepare_gradient(Op& group) {
    Value* x = conv_input(group);
    if (anchor_of(group).params.integer("group") != 1) return false;
    Layout layout = x->type.layout;
    const int64_t channels = *value_of(x->type.shape[1]);
    if (layout.blocked_axis < 0) block(layout, channels <= kFewChannels ? kDot : block_of(x->type.dtype));
    const bool fills = channels % layout.block != 0;
    const bool alone = group.operands.size() == 2 && group.results.size() == 1 && !is_result(*group.result());
    const bool moves = x->type.layout != layout;
    if (fills && !alone) return false;
    if (moves) {
      Type type = x->type;
      type.layout = layout;
      replace_operand(group, x, type);
    }
    if (fills) block(group.result()->type.layout, layout.block);
    return fills || moves;
  }

  // The gradient of an image, operand `index` of the anchor.
  bool block_gradient(Op& group, int index) {
    Value* dy = group.operand(anchor_of(group).operand(index)->index);
    if (dy->type.layout.blocked_axis == 1) return false;
    Type type = dy->type;
    type.layout = {};
    block(type.layout, kBlock);
    replace_operand(group, dy, type);
    return true;
  }

  void replace_operand(Op& group, Value* operand, const Type& type) {
    Value* moved = relayout(operand, type, group);
    for (uint32_t i = 0; i < group.operands.size(); ++i) {
      if (group.operands[i] == operand) group.set_operand(i, moved);
    }
  }

  // Families that read rows of a dense tensor.
  bool make_operands_dense(Op& op) {
    static constexpr std::string_view kDense[] = {"contraction", "attention",        "recurrent", "recurrent_gradient",
                                                  "packed",      "linear_attention", "trees",     "row",
                                                  "positions",   "suppress",         "scatter",   "scan",
                                                  "top_k",       "bit_cast"};
    bool dense = op.is_control() || op.is(OpKind::ToHost) || op.is(OpKind::HostCall) ||
                 std::ranges::any_of(kDense, [&](auto family) { return in_family(op, family); });
    if (!dense) return false;
    bool changed = false;
    for (uint32_t i = 0; i < op.operands.size(); ++i) {
      Value* operand = op.operands[i];
      if (operand->type.layout.dense()) continue;
      Type type = operand->type;
      type.layout = {};
      op.set_operand(i, relayout(operand, type, op));
      changed = true;
    }
    return changed;
  }

  // One copy in each layout that somebody wants, made right before its first reader.
  Value* relayout(Value* value, const Type& type, Op& reader) {
    for (const Use& use : value->uses) {
      if (in_family(*use.op, "elementwise") && use.op->regions[0]->ops.front().is(OpKind::Relayout) &&
          use.op->type() == type && precedes(*use.op, reader)) {
        return use.op->result();
      }
    }
    return relayout_group(module_, value, type, reader.self, reader.origin).result();
  }

  bool precedes(const Op& first, const Op& second) const {
    for (const Op& op : body_.ops) {
      if (&op == &first) return true;
      if (&op == &second) return false;
    }
    return false;
  }

  Module& module_;
  Region& body_;
  const bool gpu_;
};

}  // namespace

bool choose_layouts(Module& module, const Options& options) {
  const bool gpu = options.target.is_gpu();
  bool changed = false;
  for_each_body(module, [&](Region& body) { changed |= LayoutChoice(module, body, gpu).run(); });
  return changed;
}

}  // namespace lapidary::passes
