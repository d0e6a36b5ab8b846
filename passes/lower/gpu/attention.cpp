// Attention on a GPU, softmax(cap(q·kᵀ·scale) + mask)·v: a task is a tile of queries of one (batch, head). The tile's
// scores are never stored (FlashAttention-2, Dao 2023): the collective `attend` goes over the keys in tiles, keeping a
// maximum and a sum for each query; what scales, caps, masks and hides scores is an expression of the score's place. On
// tensor cores for halves, by warpgroups where a device has them and there are queries enough; f32 stays f32.
#include "ir/error.h"
#include "ir/fragment.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

struct Tile {
  int queries, keys, warps, stages, multiple;  // multiple: of the widths of heads
  bool warpgroups;
};
constexpr Tile kOfFloats = {64, 64, 4, 2, 16, false}, kOfHalves = {64, 64, 4, 2, 16, false};
constexpr int kFewQueries = 64;  // that leave a tile of warpgroups half empty

int rounded_up(int64_t extent, int multiple) { return static_cast<int>((extent + multiple - 1) / multiple) * multiple; }

// What tensor cores multiply; F32 where they do not.
DType attention_factor(const Target& target, const Op& op) {
  const DType dtype = op.operand(0)->type.dtype;
  return bit_width(dtype) == 16 && target.capability >= 80 ? dtype : DType::F32;
}

// Heads are padded to whole panels of 64; wider ones leave no room for the scores in registers.
std::optional<Tile> tile_of_warpgroups(const Target& target, const Op& op) {
  constexpr int kPanel = 64, kWidest = 128, kMostStages = 6, kBarrierBytes = 256;
  const bool hopper = target.capability == 90 && target.capability_only;
  if (!hopper || attention_factor(target, op) == DType::F32) return std::nullopt;
  const int depth = rounded_up(*lapidary::value_of(op.operand(0)->type.shape[3]), kPanel),
            columns = rounded_up(*lapidary::value_of(op.operand(2)->type.shape[3]), kPanel);
  if (std::max(depth, columns) > kWidest) return std::nullopt;
  const int keys = op.params.number_or("softcap", 0) != 0 ? 64 : 128;  // its maths takes registers
  Tile tile = {128, keys, 8, kMostStages, kPanel, true};
  const int64_t slot = 2 * keys * std::max(depth, columns), queries = int64_t{2} * tile.queries * depth;
  tile.stages =
      static_cast<int>(std::min<int64_t>(kMostStages, (target.shared_bytes - kBarrierBytes - queries) / slot));
  return tile;
}

class AttentionEmitter {
 public:
  AttentionEmitter(Context& context, const Op& group, const Op& op, const Tile& tile)
      : dims_(context.module.dims),
        op_(op),
        tile_(tile),
        builder_(context.module, context.target(), "attention", tile.warpgroups ? "warpgroups" : ""),
        emit_(builder_, group),
        q_(op.operand(0)),
        k_(op.operand(1)),
        v_(op.operand(2)),
        factor_(attention_factor(context.target(), op)),
        head_size_(*lapidary::value_of(q_->type.shape[3])),
        value_size_(*lapidary::value_of(v_->type.shape[3])) {
    node_.atom = factor_ == DType::F16 ? Atom::F16 : factor_ == DType::BF16 ? Atom::BF16 : Atom::Fma;
    node_.queries = tile.queries, node_.keys = tile.keys, node_.warps = tile.warps, node_.stages = tile.stages;
    node_.warpgroups = tile.warpgroups;
    node_.depth = rounded_up(head_size_, tile.multiple);
    node_.columns = rounded_up(value_size_, node_.atom == Atom::Fma ? 32 : tile.multiple);
    node_.query = make_var("i", {}, 0, tile.queries - 1);
    node_.key = make_var("j", {}, 0, INT64_MAX / 4);
    node_.inner = make_var("d", {}, 0, node_.depth - 1);
    node_.column = make_var("e", {}, 0, node_.columns - 1);
    node_.score = make_var("s", {DType::F32, 1});
    builder_.threads = 32 * tile.warps;
  }

  std::optional<LoweredVariant> emit(Dim when) {
    const Dim batch = q_->type.shape[0], heads = q_->type.shape[1], queries = q_->type.shape[2],
              keys = k_->type.shape[2];
    const Dim tiles = dims_.ceildiv(queries, dims_.constant(tile_.queries));
    const std::vector<Expr> task = builder_.split_task({batch, heads, tiles});
    batch_ = task[0];
    head_ = task[1];
    kv_head_ =
        builder_.body.let("kv_head", floordiv(head_, builder_.divisor(dims_.floordiv(heads, k_->type.shape[1]))));
    first_ = builder_.body.let("first", mul(task[2], integer(tile_.queries)));
    if (!operands()) return std::nullopt;
    node_.scored = scored(keys, queries);
    if (!node_.scored) return std::nullopt;
    const TileLayout layout = tile_layout(node_);
    accumulator_ = builder_.body.fragment("acc", DType::F32, layout.elements());
    Expr end = builder_.parameter(keys);
    if (op_.params.integer_or("causal", 0)) {  // the last query of the tile sees no key beyond this one
      const Expr seen = add(add(first_, integer(tile_.queries)), sub(end, builder_.parameter(queries)));
      end = min(end, max(seen, integer(1)));  // a query that sees none of some keys is NaN, as softmax has it
    }
    builder_.body.add(attend(accumulator_, node_, integer(0), builder_.body.let("end", end)));
    store(layout);
    return builder_.finish(dims_.product(std::vector<Dim>{batch, heads, tiles}), when);
  }

 private:
  Expr within(const Expr& index, int64_t extent, int padded) {
    return extent == padded ? nullptr : less(index, integer(extent));
  }
  Expr is_query(const Expr& query) {
    const Dim queries = q_->type.shape[2];
    return known_multiple(queries, tile_.queries) ? nullptr : less(query, builder_.parameter(queries));
  }

  bool operands() {
    const Expr query = add(first_, variable(node_.query)), key = variable(node_.key), d = variable(node_.inner),
               e = variable(node_.column);
    node_.q.value = operand_value(emit_, factor_, both(is_query(query), within(d, head_size_, node_.depth)), [&] {
      return emit_.value(q_, {{at(batch_), at(head_), at(query), at(d)}});
    });
    node_.k.value = operand_value(emit_, factor_, within(d, head_size_, node_.depth), [&] {
      return emit_.value(k_, {{at(batch_), at(kv_head_), at(key), at(d)}});
    });
    node_.v.value = operand_value(emit_, factor_, within(e, value_size_, node_.columns), [&] {
      return emit_.value(v_, {{at(batch_), at(kv_head_), at(key), at(e)}});
    });
    widen(node_.q, q_);
    widen(node_.k, k_);
    widen(node_.v, v_);
    return node_.q.value && node_.k.value && node_.v.value;
  }

  // Rows of q, k and v along their last axis, or, as a transposed key may lie, along the one before.
  void widen(ProductOperand& operand, const Value* value) {
    operand.along_k = false;
    for (const size_t axis : {3, 2}) {
      const Shape& shape = value->type.shape;
      const std::optional<int> width =
          width_along(emit_, factor_, shape[axis], [&](GroupEmitter& emit, const Coord& position) {
            Coords coords;
            for (size_t i = 0; i < shape.size(); ++i)
              coords.axes.push_back(i == axis ? position : unknown_position(shape[i]));
            return emit.value(value, coords);
          });
      if (!width) continue;
      operand.along_k = axis == 2;
      operand.vector = *width;
      return;
    }
  }

  // The scale, the cap, the additive mask and causality.
  Expr scored(Dim keys, Dim queries) {
    const Expr query = add(first_, variable(node_.query)), key = variable(node_.key);
    Expr score = mul(variable(node_.score), real(static_cast<float>(op_.params.number("scale"))));
    if (const double cap = op_.params.number_or("softcap", 0); cap != 0)
      score =
          mul(apply(ScalarOp::Tanh, {mul(score, real(static_cast<float>(1 / cap)))}), real(static_cast<float>(cap)));
    if (op_.operands.size() > 3) {
      const Value* mask = op_.operand(3);
      const auto where = broadcast_axes(mask->type, {at(batch_), at(head_), at(query), at(key)});
      const Expr added = operand_value(emit_, DType::F32, both(is_query(query), less(key, builder_.parameter(keys))),
                                       [&] { return emit_.value(mask, {where}); });
      if (!added) return nullptr;
      score = add(score, added);
    }
    if (op_.params.integer_or("causal", 0)) {  // key j is seen by queries from j - (keys - queries) on
      const Expr shift = sub(builder_.parameter(keys), builder_.parameter(queries));
      score = select(less(add(query, shift), key), real(-INFINITY), score);
    }
    return score;
  }

  // By the neighbours that a thread has: value sizes are multiples of 16.
  void store(const TileLayout& layout) {
    const int lanes = node_.atom != Atom::Fma && node_.columns % 32 == 0 ? 8 : 2;
    for_each_held(builder_, accumulator_, lanes, [&](Block& block, const Expr& thread, const Expr& element) {
      const FragmentPlace place = fragment_place(layout, thread, element);
      const Expr query = block.let("query", add(first_, place.row)), column = block.let("column", place.column);
      Block guarded;
      {
        GroupEmitter::Scope scope(emit_, guarded);
        const Coords where{{at(batch_), at(head_), at(query), along(column)}, lanes};
        Expr value = load(accumulator_, element, lanes);
        if (range(k_->type.shape[2]).lo < 1)  // over no keys the result is 0
          value =
              select(splat_to(less(integer(0), builder_.parameter(k_->type.shape[2])), lanes), value, real(0, lanes));
        emit_.store_results(op_.result(), where, rounded(value, op_.type().dtype));
      }
      const Expr inside = both(is_query(query), within(column, value_size_, node_.columns));
      block.add(inside ? if_then(inside, guarded.take()) : loops::block(guarded.take()));
    });
  }

  DimPool& dims_;
  const Op& op_;
  Tile tile_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Value *q_, *k_, *v_;
  DType factor_;
  int64_t head_size_, value_size_;
  AttendNode node_;
  Expr batch_, head_, kv_head_, first_;
  Buffer accumulator_;
};

}  // namespace

LoweredGroup lower_attention(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  DimPool& dims = context.module.dims;
  const bool halves = attention_factor(context.target(), op) != DType::F32;
  const Shape &q = op.operand(0)->type.shape, &v = op.operand(2)->type.shape;
  LoweredStep step;
  const auto add_variant = [&](const Tile& tile, Dim when) {
    std::optional<LoweredVariant> variant = AttentionEmitter(context, group, op, tile).emit(when);
    if (variant) step.variants.push_back(std::move(*variant));
    return variant.has_value();
  };
  const Dim many = dims.less(dims.constant(kFewQueries), q[2]);
  const bool always = lapidary::value_of(many) == 1, never = lapidary::value_of(many) == 0;
  const auto of_warpgroups = never ? std::nullopt : tile_of_warpgroups(context.target(), op);
  if (of_warpgroups) add_variant(*of_warpgroups, always ? nullptr : many);
  const bool chosen = always && !step.variants.empty();
  if (!chosen && !add_variant(halves ? kOfHalves : kOfFloats, nullptr))
    return lowering::lower_attention(context, group);
  step.flops = dims.product(
      std::vector<Dim>{dims.constant(2), dims.add(q[3], v[3]), q[0], q[1], q[2], op.operand(1)->type.shape[2]});
  LoweredGroup lowered;
  lowered.steps.push_back(std::move(step));
  return lowered;
}

}  // namespace lapidary::lowering::gpu
