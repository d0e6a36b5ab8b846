// Attention of few queries, such as a decoder's step: one (batch, head, query) a task. The lanes run along the head
// size where a score is summed, along the keys in the softmax, and along the value size in the result; k and v are read
// in place, row by row, once. A block of 32 queries (attention.cpp) would leave most of its lanes empty.
#include "passes/lower/attention_row.h"

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 4, kMostVectors = 16;  // of a row of k: they are written out
constexpr int kStripPanels = 4;

class RowLowering {
 public:
  RowLowering(Context& context, const Op& group, const Op& attention)
      : dims_(context.module.dims),
        op_(attention),
        builder_(context.module, context.target(), "attention", "row"),
        emit_(builder_, group),
        lanes_(context.target().f32_lanes()),
        head_size_(*lapidary::value_of(attention.operand(0)->type.shape[3])),
        value_size_(*lapidary::value_of(attention.operand(2)->type.shape[3])) {}

  std::optional<LoweredVariant> lower(Dim when) {
    if (head_size_ % lanes_ || head_size_ / lanes_ > kMostVectors || value_size_ % kPanel) return std::nullopt;
    const Shape &q = op_.operand(0)->type.shape, &k = op_.operand(1)->type.shape;
    std::vector<Expr> axes = builder_.split_task({q[0], q[1], q[2]});
    batch_ = axes[0], head_ = axes[1], query_ = axes[2];
    Block& body = builder_.body;
    kv_head_ = body.let("kv_head", floordiv(head_, builder_.literal(dims_.floordiv(q[1], k[1]))));
    const auto keys = rows_of(op_.operand(1)), values = rows_of(op_.operand(2));
    if (!keys || !values) return std::nullopt;
    keys_ = builder_.parameter(k[2]);
    tail_ = !known_multiple(k[2], lanes_);
    scores_ = builder_.stage("scores", DType::F32, k[2]);
    scores(body, *keys);
    outputs(body, *values, softmax(body));
    return builder_.finish(dims_.product(std::vector<Dim>{q[0], q[1], q[2]}), when);
  }

 private:
  // Null where they are not rows of whole vectors.
  std::optional<AffineOperand> rows_of(const Value* operand) {
    auto found = affine_operand(emit_, operand, DType::F32, [&](Expr row, Expr depth) {
      return Coords{{at(batch_), at(kv_head_), at(row), at(depth)}};
    });
    if (found && loops::value_of(found->depth_stride) != 1) found.reset();
    return found;
  }

  // scores[t] = Σ q[d] · scale · k[t][d]
  void scores(Block& block, const AffineOperand& k) {
    const auto vectors = static_cast<int>(head_size_ / lanes_);
    const Expr scale = real(static_cast<float>(op_.params.number("scale")), lanes_);
    std::vector<Expr> query;
    {
      GroupEmitter::Scope scope(emit_, block);
      for (int j = 0; j < vectors; ++j) {
        Coords coords{{at(batch_), at(head_), at(query_), along(integer(int64_t{j} * lanes_))}, lanes_};
        query.push_back(block.let("q", mul(emit_.value(op_.operand(0), coords), scale)));
      }
    }
    const Expr base = block.let("k", k.base);
    serial(block, "t", integer(0), keys_, 1, [&](Block& row, Expr t) {
      const Expr begin = row.let("row", add(base, mul(t, k.row_stride)));
      Expr sums[2];  // two chains, for their latency
      for (int j = 0; j < vectors; ++j) {
        const Expr x = load(k.buffer, add(begin, integer(int64_t{j} * lanes_)), lanes_);
        Expr& sum = sums[j % 2];
        sum = row.let("s",
                      sum ? loops::fma(query[static_cast<size_t>(j)], x, sum) : mul(query[static_cast<size_t>(j)], x));
      }
      row.add(loops::store(scores_, t, reduce(ScalarOp::Add, sums[1] ? add(sums[0], sums[1]) : sums[0])));
    });
  }

  // e^(s - max) in place of the scores; gives their sum.
  Expr softmax(Block& block) {
    const ExprType vector{DType::F32, static_cast<uint16_t>(lanes_)};
    const Buffer most = block.local("most", vector, 1), sum = block.local("sum", vector, 1);
    const Expr least = real(-INFINITY, lanes_), zero = integer(0);
    block.add(loops::store(most, zero, least));
    vector_loop(block, zero, keys_, lanes_, tail_, [&](Block& inner, const Expr& t, const Expr& mask) {
      GroupEmitter::Scope scope(emit_, inner);
      const Expr score = inner.let("s", masked(load(scores_, t, lanes_, mask), t, mask));
      inner.add(loops::store(scores_, t, score, mask));
      inner.add(loops::store(most, zero, max(load(most, zero, lanes_), mask ? select(mask, score, least) : score)));
    });
    const Expr highest = splat(block.let("max", reduce(ScalarOp::Max, load(most, zero, lanes_))), lanes_);
    block.add(loops::store(sum, zero, real(0, lanes_)));
    vector_loop(block, zero, keys_, lanes_, tail_, [&](Block& inner, const Expr& t, const Expr& mask) {
      Expr power = apply(ScalarOp::Exp, {sub(load(scores_, t, lanes_, mask), highest)});
      if (mask) power = select(mask, power, real(0, lanes_));
      power = inner.let("e", power);
      inner.add(loops::store(scores_, t, power, mask));
      inner.add(loops::store(sum, zero, add(load(sum, zero, lanes_), power)));
    });
    const Expr total = reduce(ScalarOp::Add, load(sum, zero, lanes_));
    return block.let("total", select(less(zero, keys_), total, real(1)));  // over no keys the result is 0, not 0/0
  }

  // The cap, the additive mask and causality at the keys from t on.
  Expr masked(Expr score, const Expr& t, const Expr& lanes_in) {
    if (double cap = op_.params.number_or("softcap", 0); cap != 0) {
      Expr bent = apply(ScalarOp::Tanh, {mul(score, real(static_cast<float>(1 / cap), lanes_))});
      score = mul(bent, real(static_cast<float>(cap), lanes_));
    }
    if (op_.operands.size() > 3) {
      const Value* mask = op_.operand(3);
      const auto where = broadcast_axes(mask->type, {at(batch_), at(head_), at(query_), along(t)});
      score = add(score, splat_to(emit_.value(mask, Coords{where, lanes_, lanes_in}), lanes_));
    }
    if (op_.params.integer_or("causal", 0)) {  // key t is seen by queries from t - (keys - queries) on
      const Expr last = add(query_, sub(keys_, builder_.parameter(op_.operand(0)->type.shape[2])));
      score = select(less(splat(last, lanes_), ramp(t, integer(1), lanes_)), real(-INFINITY, lanes_), score);
    }
    return score;
  }

  // o[e] = Σ_t scores[t] · v[t][e] / total
  void outputs(Block& block, const AffineOperand& v, const Expr& total) {
    const Expr base = block.let("v", v.base);
    for (int64_t e = 0; e < value_size_; e += kStripPanels * kPanel) {
      const auto panels = static_cast<int>(std::min<int64_t>(kStripPanels, (value_size_ - e) / kPanel));
      TileShape shape{.rows = 1, .panels = panels, .lanes = lanes_};
      if (shape.vectors() < 8) shape.phases = 2;
      Block strip;
      RegisterTile tile(strip, shape);
      RegisterTile::Operands operands{scores_, v.buffer, [](Expr, Expr t) { return t; },
                                      [=, this](Expr j, Expr t) {
                                        return add(add(base, mul(t, v.row_stride)),
                                                   add(integer(e), mul(j, integer(lanes_))));
                                      }};
      tile.multiply(strip, operands, keys_, kUnroll);
      tile.join_phases(strip);
      tile.for_each(strip, [&](Block& inner, Expr, Expr j, Expr value) {
        GroupEmitter::Scope scope(emit_, inner);
        Coords coords{{at(batch_), at(head_), at(query_), along(add(integer(e), mul(j, integer(lanes_))))}, lanes_};
        emit_.store_results(op_.result(), coords, apply(ScalarOp::Div, {value, splat(total, lanes_)}));
      });
      for (Stmt& statement : strip.take()) block.add(std::move(statement));
    }
  }

  DimPool& dims_;
  const Op& op_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const int lanes_;
  const int64_t head_size_, value_size_;
  bool tail_ = true;
  Expr batch_, head_, kv_head_, query_, keys_;
  Buffer scores_;
};

}  // namespace

std::optional<LoweredVariant> lower_attention_row(Context& context, const Op& group, Dim when) {
  return RowLowering(context, group, anchor_of(group)).lower(when);
}

}  // namespace lapidary::lowering
