// Attention, softmax(cap(q·kᵀ·scale) + mask)·v, one (batch, head, block of up to 32 queries) a task. The queries of a
// block run along the lanes: qᵀ is packed once (transposed in registers, scaled), then every tile of keys gives a tile
// of scores sᵀ [keys][queries], so k is read in place, row by row, and the softmax is a maximum and a sum down the
// columns, with no reduction across lanes. e^(s - max) stays in sᵀ, which is just the packed form that the product with
// v wants as its left operand; v's rows are its right operand, read in place. The division by the sum comes last, on
// the result.
//
// Scores of a block, 128 bytes a key, live in the thread's scratch and so in the second cache up to some 4000 keys.
// Online softmax (FlashAttention, Dao 2022) would cut that for longer ones.
#include <algorithm>

#include "ir/composites.h"
#include "ir/error.h"
#include "passes/lower/attention_row.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/transpose_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kQueries = 32;  // of a block: the columns of the score tile
constexpr int kUnroll = 4;
constexpr int kMostInRows = 4;  // queries that attention_row.cpp takes one by one

class AttentionLowering {
 public:
  AttentionLowering(Context& context, const Op& group, const Op& attention)
      : module_(context.module),
        dims_(module_.dims),
        target_(context.target()),
        group_(group),
        op_(attention),
        builder_(module_, target_, "attention", fmt::format("queries={}", kQueries)),
        emit_(builder_, group),
        q_(attention.operand(0)),
        k_(attention.operand(1)),
        v_(attention.operand(2)),
        lanes_(target_.f32_lanes()) {}

  LoweredGroup lower() {
    Dim batch = q_->type.shape[0], heads = q_->type.shape[1], queries = q_->type.shape[2];
    head_size_ = *lapidary::value_of(q_->type.shape[3]);
    value_size_ = *lapidary::value_of(v_->type.shape[3]);
    keys_ = k_->type.shape[2];
    RowSplit blocks = split_rows(dims_, queries, kQueries);
    std::vector<Expr> axes = builder_.split_task({batch, heads, blocks.tiles});
    batch_ = axes[0];
    head_ = axes[1];
    Dim group_size = dims_.floordiv(heads, k_->type.shape[1]);
    kv_head_ = builder_.body.let("kv_head", floordiv(head_, builder_.literal(group_size)));
    Expr height = builder_.parameter(blocks.height), longer = builder_.parameter(blocks.longer);
    count_ = builder_.body.let("queries", add(height, select(less(axes[2], longer), integer(1), integer(0))));
    first_ = builder_.body.let("first", add(mul(axes[2], height), min(axes[2], longer)));
    key_count_ = builder_.parameter(keys_);
    packed_ = builder_.stage("q", DType::F32, dims_.constant(head_size_ * kQueries));
    scores_ = builder_.stage("scores", DType::F32, dims_.mul(keys_, dims_.constant(kQueries)));
    sums_ = builder_.stage("sums", DType::F32, dims_.constant(kQueries));

    Block& body = builder_.body;
    pack_queries(body);
    Block narrow, wide;
    scores(narrow, 1);
    scores(wide, 2);
    body.add(if_then(less(integer(kPanel), count_), wide.take(), narrow.take()));
    outputs(body);

    LoweredStep step = single_step(builder_.finish(dims_.product(std::vector<Dim>{batch, heads, blocks.tiles})));
    step.flops =
        dims_.product(std::vector<Dim>{dims_.constant(2 * (head_size_ + value_size_)), batch, heads, queries, keys_});
    LoweredGroup result;
    result.steps.push_back(std::move(step));
    return result;
  }

 private:
  // packed[d][q] = q[first + q][d] · scale, in whole panels: beyond the block's queries its last one again.
  void pack_queries(Block& block) {
    Expr scale = real(static_cast<float>(op_.params.number("scale")), lanes_);
    serial(block, "q", integer(0), mul(ceildiv(count_, kPanel), integer(kPanel)), lanes_, [&](Block& columns, Expr q) {
      serial(columns, "d", integer(0), integer(head_size_), lanes_, [&](Block& tile, Expr d) {
        std::vector<Expr> rows;
        Expr mask = head_size_ % lanes_ ? first_lanes(sub(integer(head_size_), d), lanes_) : nullptr;
        for (int r = 0; r < lanes_; ++r) {
          GroupEmitter::Scope scope(emit_, tile);
          Expr query = add(q, integer(r));
          Expr inside = min(query, sub(count_, integer(1)));  // lanes past the block repeat its last query
          Coords coords{{at(batch_), at(head_), at(add(first_, inside)), along(d)}, lanes_, mask};
          rows.push_back(tile.let("row", mul(emit_.value(q_, coords), scale)));
        }
        std::vector<Expr> turned = transposed(tile, rows);
        for (int r = 0; r < lanes_; ++r) {
          Expr depth = add(d, integer(r));
          Stmt put = loops::store(packed_, add(mul(depth, integer(kQueries)), q), turned[r]);
          if (head_size_ % lanes_) put = if_then(less(depth, integer(head_size_)), {put});
          tile.add(put);
        }
      });
    });
  }

  // sᵀ, its columns' maxima, and e^(s - max) with its sums, for `panels` · 16 queries.
  void scores(Block& block, int panels) {
    int vectors = panels * kPanel / lanes_;
    Buffer most = block.local("most", {DType::F32, static_cast<uint16_t>(lanes_)}, vectors);
    unrolled(block, "j", vectors,
             [&](Block& inner, Expr j) { inner.add(loops::store(most, j, real(-INFINITY, lanes_))); });
    RowSplit split = split_rows(dims_, keys_, max_rows(target_, panels));
    Expr height = builder_.literal(split.height), longer = builder_.parameter(split.longer);
    serial(block, "tile", integer(0), builder_.parameter(split.tiles), 1, [&](Block& loop, Expr tile) {
      Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("key", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first,
                 [&](Block& inner, int count, Expr key) { score_tile(inner, panels, count, key, most); });
    });
    Buffer sum = block.local("sum", {DType::F32, static_cast<uint16_t>(lanes_)}, vectors);
    unrolled(block, "j", vectors, [&](Block& inner, Expr j) { inner.add(loops::store(sum, j, real(0, lanes_))); });
    const int at_once =
        std::min(vectors, target_.vector_registers >= 32 ? 4 : 2);  // with their maxima, sums and constants
    for (int first = 0; first < vectors; first += at_once) {
      serial(block, "t", integer(0), key_count_, 1, [&](Block& row, Expr t) {
        unrolled(row, "i", std::min(at_once, vectors - first), [&](Block& inner, Expr i) {
          Expr j = add(i, integer(first)),
               index = inner.let("at", add(mul(t, integer(kQueries)), mul(j, integer(lanes_))));
          Expr power = inner.let("e", apply(ScalarOp::Exp, {sub(load(scores_, index, lanes_), load(most, j, lanes_))}));
          inner.add(loops::store(scores_, index, power));
          inner.add(loops::store(sum, j, add(load(sum, j, lanes_), power)));
        });
      });
    }
    unrolled(block, "j", vectors, [&](Block& inner, Expr j) {
      inner.add(loops::store(sums_, mul(j, integer(lanes_)), load(sum, j, lanes_)));
    });
  }

  void score_tile(Block& block, int panels, int count, Expr key, const Buffer& most) {
    TileShape shape{.rows = count, .panels = panels, .lanes = lanes_};
    if (count * shape.vectors() < 8) shape.phases = 2;
    RegisterTile tile(block, shape);
    AffineOperand k = reach(k_, key);
    Expr base = block.let("k", k.base);
    RegisterTile::Operands operands{
        k.buffer, packed_, [=](Expr i, Expr d) { return add(base, add(mul(i, k.row_stride), mul(d, k.depth_stride))); },
        [=, this](Expr j, Expr d) { return add(mul(d, integer(kQueries)), mul(j, integer(lanes_))); }};
    tile.multiply(block, operands, integer(head_size_), kUnroll);
    tile.join_phases(block);
    tile.for_each(block, [&](Block& inner, Expr i, Expr j, Expr value) {
      GroupEmitter::Scope scope(emit_, inner);
      Expr t = add(key, i), q = mul(j, integer(lanes_));
      Expr left = sub(count_, q);
      Expr score = masked(value, t, q, left);
      score = inner.let("s", score);
      inner.add(loops::store(scores_, add(mul(t, integer(kQueries)), q), score));
      inner.add(loops::store(most, j, max(load(most, j, lanes_), score)));
    });
  }

  // The cap, the additive mask and causality at key t and queries from q on.
  Expr masked(Expr score, Expr t, Expr q, Expr left) {
    if (double cap = op_.params.number_or("softcap", 0); cap != 0) {
      Expr bent = apply(ScalarOp::Tanh, {mul(score, real(static_cast<float>(1 / cap), lanes_))});
      score = mul(bent, real(static_cast<float>(cap), lanes_));
    }
    if (op_.operands.size() > 3) {
      const Value* mask = op_.operand(3);
      const auto where = broadcast_axes(mask->type, {at(batch_), at(head_), along(add(first_, q)), at(t)});
      score = add(score, emit_.value(mask, Coords{where, lanes_, first_lanes(left, lanes_)}));
    }
    if (op_.params.integer_or("causal", 0)) {  // key t is seen by queries from t - (keys - queries) on
      Expr shift = sub(key_count_, builder_.parameter(q_->type.shape[2]));
      Expr query = ramp(add(add(first_, q), shift), integer(1), lanes_);
      score = select(less(query, splat(t, lanes_)), real(-INFINITY, lanes_), score);
    }
    return score;
  }

  // o[q][e] = Σ_t sᵀ[t][q] · v[t][e] / sum[q]
  void outputs(Block& block) {
    AffineOperand v = reach(v_, integer(0));
    Expr v_base = block.let("v", v.base);
    int panels = lanes_ < kPanel ? 1 : std::min<int64_t>(2, (value_size_ + kPanel - 1) / kPanel);
    auto strips = [&](Block& into, int count, Expr query) {
      for (int64_t e = 0; e < value_size_; e += int64_t{panels} * kPanel) {
        int width = static_cast<int>(std::min<int64_t>(panels, (value_size_ - e + kPanel - 1) / kPanel));
        output_tile(into, count, width, query, e, v, v_base);
      }
    };
    int rows = target_.vector_registers >= 32 ? 8 : 4;
    Expr whole = block.let("whole", mul(floordiv(count_, integer(rows)), integer(rows)));
    serial(block, "q", integer(0), whole, rows, [&](Block& inner, Expr q) { strips(inner, rows, q); });
    Expr query = whole;
    for (int rung = rows / 2; rung >= 1; rung /= 2) {
      Block inner;
      strips(inner, rung, query);
      Expr taken = mod(floordiv(count_, integer(rung)), integer(2));
      block.add(if_then(equal(taken, integer(1)), inner.take()));
      query = block.let("q", add(query, mul(taken, integer(rung))));
    }
  }

  void output_tile(Block& block, int count, int panels, Expr query, int64_t e, const AffineOperand& v, Expr v_base) {
    TileShape shape{.rows = count, .panels = panels, .lanes = lanes_};
    if (count * shape.vectors() < 8) shape.phases = 2;
    RegisterTile tile(block, shape);
    RegisterTile::Operands operands{
        scores_, v.buffer, [=](Expr i, Expr t) { return add(add(query, i), mul(t, integer(kQueries))); },
        [=, this](Expr j, Expr t) {
          return add(add(v_base, mul(t, v.row_stride)), add(integer(e), mul(j, integer(lanes_))));
        }};
    tile.multiply(block, operands, key_count_, kUnroll);
    tile.join_phases(block);
    tile.for_each(block, [&](Block& inner, Expr i, Expr j, Expr value) {
      GroupEmitter::Scope scope(emit_, inner);
      Expr column = add(integer(e), mul(j, integer(lanes_)));
      Expr any = less(integer(0), key_count_);  // over no keys the result is 0, not 0/0
      Expr sum = splat(select(any, load(sums_, add(query, i)), real(1, 1)), lanes_);
      Expr mask = value_size_ % kPanel ? first_lanes(sub(integer(value_size_), column), lanes_) : nullptr;
      Coords coords{{at(batch_), at(head_), at(add(first_, add(query, i))), along(column)}, lanes_, mask};
      emit_.store_results(op_.result(), coords, apply(ScalarOp::Div, {value, sum}));
    });
  }

  // Rows (keys) of k or v in place.
  AffineOperand reach(const Value* operand, Expr first) {
    auto found = affine_operand(emit_, operand, DType::F32, [&](Expr row, Expr depth) {
      return Coords{{at(batch_), at(kv_head_), at(add(first, row)), at(depth)}};
    });
    bool vector_rows =
        operand != v_ || (found && loops::value_of(found->depth_stride) == 1 && value_size_ % kPanel == 0);
    if (!found || !vector_rows)
      unsupported(module_, group_, "attention over keys or values that are not in rows of whole vectors");
    return *found;
  }

  static Expr ceildiv(Expr a, int64_t b) { return floordiv(add(a, integer(b - 1)), integer(b)); }

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const Op& op_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Value *q_, *k_, *v_;
  int lanes_;
  int64_t head_size_ = 0, value_size_ = 0;
  Dim keys_ = nullptr;
  Expr batch_, head_, kv_head_, first_, count_, key_count_;
  Buffer packed_, scores_, sums_;
};

}  // namespace

LoweredGroup lower_attention(Context& context, const Op& group) {
  DimPool& dims = context.module.dims;
  const Dim few = dims.less(anchor_of(group).operand(0)->type.shape[2], dims.constant(kMostInRows + 1));
  const auto known = lapidary::value_of(few);
  std::optional<LoweredVariant> rows;
  if (known != 0) rows = lower_attention_row(context, group, known ? nullptr : few);
  LoweredGroup result = AttentionLowering(context, group, anchor_of(group)).lower();
  std::vector<LoweredVariant>& variants = result.steps[0].variants;
  if (rows) variants.insert(variants.begin(), std::move(*rows));
  if (rows && known == 1) variants.pop_back();
  return result;
}

}  // namespace lapidary::lowering
