// Attention on a GPU, softmax(cap(q·kᵀ·scale) + mask)·v: a task is a tile of queries of one (batch, head). The tile's
// scores are never stored (FlashAttention-2, Dao 2023): the collective `attend` goes over the keys in tiles, keeping a
// maximum and a sum for each query; what scales, caps, masks and hides scores is an expression of the score's place. On
// tensor cores for halves, and for f32 that may be rounded; of halves by warpgroups where a device has them and there
// are queries enough.
#include "ir/error.h"
#include "ir/fragment.h"
#include "passes/lower/gpu/attention_split.h"
#include "passes/lower/gpu/attention_tiles.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kFewQueries = 64;  // that leave a tile of warpgroups half empty

class AttentionEmitter {
 public:
  AttentionEmitter(Context& context, const Op& group, const Op& op, const AttentionTile& tile,
                   const SplitAttention* split = nullptr)
      : dims_(context.module.dims),
        op_(op),
        tile_(tile),
        split_(split),
        builder_(context.module, context.target(), "attention", tile.warpgroups ? "warpgroups" : ""),
        emit_(builder_, group),
        q_(op.operand(0)),
        k_(op.operand(1)),
        v_(op.operand(2)),
        factor_(attention_factor(context.options, op)),
        head_size_(*lapidary::value_of(q_->type.shape[3])),
        value_size_(*lapidary::value_of(v_->type.shape[3])),
        node_(attend_node(context.options, op, tile)) {
    node_.query = make_var("i", {}, 0, tile.queries - 1);
    node_.key = make_var("j", {}, 0, INT64_MAX / 4);
    node_.inner = make_var("d", {}, 0, node_.depth - 1);
    node_.column = make_var("e", {}, 0, node_.columns - 1);
    node_.score = make_var("s", {DType::F32, 1});
    builder_.threads = 32 * tile.warps;
  }

  std::optional<LoweredVariant> emit(Dim when) {
    const Dim queries = q_->type.shape[2], keys = k_->type.shape[2];
    node_.log_sums = split_ != nullptr;
    const Dim tasks = split_ ? begin_part() : begin_tile();
    if (!operands()) return std::nullopt;
    node_.scored = scored(keys, queries);
    if (!node_.scored) return std::nullopt;
    const TileLayout layout = tile_layout(node_);
    const int log_sums = split_ ? rows_held(layout) : 0;
    accumulator_ = builder_.body.fragment("acc", DType::F32, layout.elements() + log_sums);
    Expr end = builder_.parameter(keys);
    if (split_) {
      end = min(end, add(first_key_, builder_.parameter(split_->keys)));
    } else if (op_.params.integer_or("causal", 0)) {  // the last query of the tile sees no key beyond this one
      const Expr seen = add(add(first_, integer(tile_.queries)), sub(end, builder_.parameter(queries)));
      end = min(end, max(seen, integer(1)));  // a query that sees none of some keys is NaN, as softmax has it
    }
    builder_.body.add(attend(accumulator_, node_, first_key_, builder_.body.let("end", end)));
    if (split_)
      store_part(layout);
    else
      store(layout);
    return builder_.finish(tasks, when);
  }

 private:
  struct Place {
    Expr head, query;
  };

  // A task is a tile of queries of a head.
  Dim begin_tile() {
    const Dim batch = q_->type.shape[0], heads = q_->type.shape[1], queries = q_->type.shape[2];
    const Dim tiles = dims_.ceildiv(queries, dims_.constant(tile_.queries));
    const std::vector<Expr> task = builder_.split_task({batch, heads, tiles});
    batch_ = task[0];
    kv_head_ =
        builder_.body.let("kv_head", floordiv(task[1], builder_.divisor(dims_.floordiv(heads, k_->type.shape[1]))));
    first_ = builder_.body.let("first", mul(task[2], integer(tile_.queries)));
    first_key_ = integer(0);
    place_of_ = [head = task[1]](const Expr& row) { return Place{head, row}; };
    return dims_.product(std::vector<Dim>{batch, heads, tiles});
  }

  // A task is a part of the keys, for all queries of all heads that share them.
  Dim begin_part() {
    const std::vector<Dim> extents = {k_->type.shape[0], k_->type.shape[1], split_->parts};
    const std::vector<Expr> task = builder_.split_task(extents);
    batch_ = task[0];
    kv_head_ = task[1];
    first_ = integer(0);
    first_key_ = builder_.body.let("first_key", mul(task[2], builder_.parameter(split_->keys)));
    part_ = builder_.body.let(
        "part",
        add(mul(add(mul(batch_, builder_.parameter(extents[1])), kv_head_), builder_.parameter(extents[2])), task[2]));
    const Expr group = builder_.divisor(split_->group), first_head = mul(kv_head_, group);
    const bool one_query = lapidary::value_of(q_->type.shape[2]) == 1;
    place_of_ = [=](const Expr& row) {
      if (one_query) return Place{add(first_head, row), integer(0)};
      return Place{add(first_head, mod(row, group)), floordiv(row, group)};
    };
    return dims_.product(extents);
  }

  // Does the tile's row stand for a query?
  Expr is_row(const Expr& row) {
    const Dim rows = split_ ? split_->rows : q_->type.shape[2];
    return known_multiple(rows, tile_.queries) ? nullptr : less(row, builder_.parameter(rows));
  }
  Expr within(const Expr& index, int64_t extent, int padded) {
    return extent == padded ? nullptr : less(index, integer(extent));
  }

  bool operands() {
    const Expr row = add(first_, variable(node_.query)), key = variable(node_.key), d = variable(node_.inner),
               e = variable(node_.column);
    const Place place = place_of_(row);
    node_.q.value = operand_value(emit_, factor_, both(is_row(row), within(d, head_size_, node_.depth)), [&] {
      return emit_.value(q_, {{at(batch_), at(place.head), at(place.query), at(d)}});
    });
    node_.k.value = operand_value(emit_, factor_, within(d, head_size_, node_.depth), [&] {
      return emit_.value(k_, {{at(batch_), at(kv_head_), at(key), at(d)}});
    });
    node_.v.value = operand_value(emit_, factor_, within(e, value_size_, node_.columns), [&] {
      return emit_.value(v_, {{at(batch_), at(kv_head_), at(key), at(e)}});
    });
    widen(node_.q, q_, !split_);
    widen(node_.k, k_, true);
    widen(node_.v, v_, true);
    return node_.q.value && node_.k.value && node_.v.value;
  }

  // Rows of q, k and v along their last axis, or, as a transposed key may lie, along the one before, if that is the
  // tile's.
  void widen(ProductOperand& operand, const Value* value, bool is_axis_of_tile) {
    operand.along_k = false;
    for (const size_t axis : {3, 2}) {
      if (axis == 2 && !is_axis_of_tile) continue;
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
    const Expr row = add(first_, variable(node_.query)), key = variable(node_.key);
    const Place place = place_of_(row);
    Expr score = mul(variable(node_.score), real(static_cast<float>(op_.params.number("scale"))));
    if (const double cap = op_.params.number_or("softcap", 0); cap != 0)
      score =
          mul(apply(ScalarOp::Tanh, {mul(score, real(static_cast<float>(1 / cap)))}), real(static_cast<float>(cap)));
    if (op_.operands.size() > 3) {
      const Value* mask = op_.operand(3);
      const auto where = broadcast_axes(mask->type, {at(batch_), at(place.head), at(place.query), at(key)});
      const Expr added = operand_value(emit_, DType::F32, both(is_row(row), less(key, builder_.parameter(keys))),
                                       [&] { return emit_.value(mask, {where}); });
      if (!added) return nullptr;
      score = add(score, added);
    }
    if (op_.params.integer_or("causal", 0)) {  // key j is seen by queries from j - (keys - queries) on
      const Expr shift = sub(builder_.parameter(keys), builder_.parameter(queries));
      score = select(less(add(place.query, shift), key), real(-INFINITY), score);
    }
    return score;
  }

  // That a thread has in a row: value sizes are multiples of 16.
  int neighbours() const { return node_.atom != Atom::Fma && node_.columns % 32 == 0 ? 8 : 2; }

  void store(const TileLayout& layout) {
    const int lanes = neighbours();
    for_each_held(builder_, accumulator_, lanes, [&](Block& block, const Expr& thread, const Expr& element) {
      const FragmentPlace place = fragment_place(layout, thread, element);
      const Expr query = block.let("query", add(first_, place.row)), column = block.let("column", place.column);
      Block guarded;
      {
        GroupEmitter::Scope scope(emit_, guarded);
        const Coords where{{at(batch_), at(place_of_(query).head), at(query), along(column)}, lanes};
        Expr value = load(accumulator_, element, lanes);
        if (range(k_->type.shape[2]).lo < 1)  // over no keys the result is 0
          value =
              select(splat_to(less(integer(0), builder_.parameter(k_->type.shape[2])), lanes), value, real(0, lanes));
        emit_.store_results(op_.result(), where, rounded(value, op_.type().dtype));
      }
      const Expr inside = both(is_row(query), within(column, value_size_, node_.columns));
      block.add(inside ? if_then(inside, guarded.take()) : loops::block(guarded.take()));
    });
  }

  // Results and logarithms as they are, for the step that joins parts.
  void store_part(const TileLayout& layout) {
    const int lanes = neighbours(), sharers = layout.threads() * rows_held(layout) / layout.rows;  // sharers: of a row
    const Expr first_row = mul(part_, builder_.parameter(split_->rows));
    const Buffer results = builder_.scratch(SplitAttention::kResults, DType::F32, true),
                 logs = builder_.scratch(SplitAttention::kLogSums, DType::F32, true);
    const auto if_inside = [](Block& block, const Expr& inside, Stmt put) {
      block.add(inside ? if_then(inside, {std::move(put)}) : std::move(put));
    };
    for_each_held(builder_, accumulator_, layout.elements(), lanes,
                  [&](Block& block, const Expr& thread, const Expr& element) {
                    const FragmentPlace place = fragment_place(layout, thread, element);
                    const Expr row = block.let("row", place.row), column = block.let("column", place.column);
                    const Expr index = add(mul(add(first_row, row), builder_.parameter(v_->type.shape[3])), column);
                    if_inside(block, both(is_row(row), within(column, value_size_, node_.columns)),
                              loops::store(results, index, load(accumulator_, element, lanes)));
                  });
    for_each_thread(builder_, [&](Block& block, const Expr& thread) {
      for (int i = 0; i < rows_held(layout); ++i) {
        const Expr row = block.let("row", row_held(layout, thread, i));
        const Expr inside = both(is_row(row), equal(mod(thread, integer(sharers)), integer(0)));
        if_inside(block, inside,
                  loops::store(logs, add(first_row, row), load(accumulator_, integer(layout.elements() + i))));
      }
    });
  }

  DimPool& dims_;
  const Op& op_;
  AttentionTile tile_;
  const SplitAttention* split_;  // null: a task has all keys
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Value *q_, *k_, *v_;
  DType factor_;
  int64_t head_size_, value_size_;
  AttendNode node_;
  std::function<Place(const Expr& row)> place_of_;
  Expr batch_, kv_head_, first_, first_key_, part_;
  Buffer accumulator_;
};

}  // namespace

LoweredGroup lower_attention(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  DimPool& dims = context.module.dims;
  const Shape &q = op.operand(0)->type.shape, &v = op.operand(2)->type.shape;
  LoweredStep step;
  bool all = false;  // cases have a variant
  const auto add_variant = [&](const AttentionTile& tile, Dim when, const SplitAttention* split = nullptr) {
    if (all || lapidary::value_of(when) == 0) return;
    const bool always = lapidary::value_of(when) == 1;
    std::optional<LoweredVariant> variant =
        AttentionEmitter(context, group, op, tile, split).emit(always ? nullptr : when);
    if (variant) step.variants.push_back(std::move(*variant));
    all = variant && always;
  };
  std::optional<SplitAttention> split;
  if (const auto tile = attention_tile_of_few(context.options, op)) {
    split = split_attention(dims, context.options, op, *tile);
    add_variant(*tile, split->when, &*split);
  }
  const bool splits = !step.variants.empty();
  if (const auto tile = attention_tile_of_warpgroups(context.options, op))
    add_variant(*tile, dims.less(dims.constant(kFewQueries), q[2]));
  if (const auto tile = attention_tile(context.options, op)) add_variant(*tile, dims.constant(1));
  if (!all) return lowering::lower_attention(context, group);
  step.flops = dims.product(
      std::vector<Dim>{dims.constant(2), dims.add(q[3], v[3]), q[0], q[1], q[2], op.operand(1)->type.shape[2]});
  LoweredGroup lowered;
  lowered.steps.push_back(std::move(step));
  if (splits) {
    lowered.scratch = scratch_of(dims, op, *split);
    lowered.steps.push_back(join_attention(context, group, op, *split));
  }
  return lowered;
}

}  // namespace lapidary::lowering::gpu
