// Linear attention: a state S [D, E] of each head instead of a cache of keys, changed and read at every time step:
//
//   S ← e^decay·S, then S ← S + k ⊗ (beta·(v - Sᵀk)), and y = scale · Sᵀq
//
// Columns of S never meet, so one task owns a vector of columns of one (batch, key head) for all time steps: its state,
// D vectors, stays in the thread's own memory, 8 kB for D = 128, which is the first cache. Two passes over it a step:
// what is there for k, then the change together with the products with the queries of the group.
#include "ir/composites.h"
#include "ir/error.h"
#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

class LinearAttentionLowering {
 public:
  LinearAttentionLowering(Context& context, const Op& group, const Op& op)
      : dims_(context.module.dims),
        op_(op),
        builder_(context.module, context.target(), "linear attention"),
        emit_(builder_, group),
        lanes_(context.target().f32_lanes()) {
    int next = 4;
    if (op.params.integer("decay")) decay_ = op.operand(next++);
    if (op.params.integer("beta")) beta_ = op.operand(next++);
  }

  LoweredGroup lower() {
    const Shape &qs = op_.operand(0)->type.shape, &ss = op_.operand(3)->type.shape;  // B T H D, B G D E
    const int64_t heads = *lapidary::value_of(qs[2]), groups = *lapidary::value_of(ss[1]);
    depth_ = *lapidary::value_of(ss[2]);
    readers_ = heads / groups;
    const Dim width = ss[3], blocks = dims_.ceildiv(width, dims_.constant(lanes_));
    const std::vector<Expr> axes = builder_.split_task({ss[0], ss[1], blocks});
    batch_ = axes[0], head_ = axes[1];
    column_ = builder_.body.let("column", mul(axes[2], integer(lanes_)));
    mask_ = first_lanes(sub(builder_.parameter(width), column_), lanes_);
    state_ = builder_.stage("state", DType::F32, dims_.constant(depth_ * lanes_));
    Block& body = builder_.body;
    serial(body, "d", integer(0), integer(depth_), 1, [&](Block& row, Expr d) {
      GroupEmitter::Scope scope(emit_, row);
      row.add(loops::store(state_, at_row(d), emit_.value(op_.operand(3), state_coords(d))));
    });
    serial(body, "t", integer(0), builder_.parameter(qs[1]), 1, [&](Block& step, Expr t) { time_step(step, t); });
    if (!op_.result(1)->uses.empty())
      serial(body, "d", integer(0), integer(depth_), 1, [&](Block& row, Expr d) {
        GroupEmitter::Scope scope(emit_, row);
        emit_.store_results(op_.result(1), state_coords(d), load(state_, at_row(d), lanes_));
      });
    LoweredStep step = single_step(builder_.finish(dims_.product(std::vector<Dim>{ss[0], ss[1], blocks})));
    step.flops = dims_.product(
        std::vector<Dim>{dims_.constant((2 + 2 * readers_ + (beta_ ? 2 : 0)) * depth_), ss[0], ss[1], qs[1], width});
    LoweredGroup result;
    result.steps.push_back(std::move(step));
    return result;
  }

 private:
  Expr at_row(const Expr& d) const { return mul(d, integer(lanes_)); }
  Coords state_coords(const Expr& d) const { return {{at(batch_), at(head_), at(d), along(column_)}, lanes_, mask_}; }
  // Element d of a vector of the step's key head, in every lane.
  Expr element(const Value* operand, const Expr& t, const Expr& d) {
    return splat(emit_.value(operand, {{at(batch_), at(t), at(head_), at(d)}}), lanes_);
  }

  void time_step(Block& step, const Expr& t) {
    GroupEmitter::Scope scope(emit_, step);
    const Coords row{{at(batch_), at(t), at(head_), along(column_)}, lanes_, mask_};
    Expr change = step.let("v", emit_.value(op_.operand(2), row));
    Expr one_decay;
    if (decay_ && lapidary::value_of(decay_->type.shape[3]) == 1)
      one_decay = step.let("decay", apply(ScalarOp::Exp, {element(decay_, t, integer(0))}));
    if (decay_ || beta_) {
      Buffer found = step.local("found", {DType::F32, static_cast<uint16_t>(lanes_)}, 1);
      step.add(loops::store(found, integer(0), real(0, lanes_)));
      serial(step, "d", integer(0), integer(depth_), 1, [&](Block& inner, Expr d) {
        GroupEmitter::Scope inside(emit_, inner);
        Expr state = load(state_, at_row(d), lanes_);
        if (decay_) {
          Expr factor = one_decay ? one_decay : apply(ScalarOp::Exp, {element(decay_, t, d)});
          state = inner.let("s", mul(state, factor));
          inner.add(loops::store(state_, at_row(d), state));
        }
        if (beta_)
          inner.add(loops::store(found, integer(0),
                                 loops::fma(element(op_.operand(1), t, d), state, load(found, integer(0), lanes_))));
      });
      if (beta_) {
        Expr rate = splat(emit_.value(beta_, {{at(batch_), at(t), at(head_)}}), lanes_);
        change = step.let("change", mul(rate, sub(change, load(found, integer(0), lanes_))));
      }
    }
    Buffer sums = step.local("sums", {DType::F32, static_cast<uint16_t>(lanes_)}, readers_);
    const int readers = static_cast<int>(readers_);
    unrolled(step, "r", readers, [&](Block& inner, Expr r) { inner.add(loops::store(sums, r, real(0, lanes_))); });
    auto query_head = [&](const Expr& r) { return at(add(mul(head_, integer(readers_)), r)); };
    serial(step, "d", integer(0), integer(depth_), 1, [&](Block& inner, Expr d) {
      GroupEmitter::Scope inside(emit_, inner);
      Expr state = inner.let("s", loops::fma(element(op_.operand(1), t, d), change, load(state_, at_row(d), lanes_)));
      inner.add(loops::store(state_, at_row(d), state));
      unrolled(inner, "r", readers, [&](Block& part, Expr r) {
        GroupEmitter::Scope of_part(emit_, part);
        Expr q = splat(emit_.value(op_.operand(0), {{at(batch_), at(t), query_head(r), at(d)}}), lanes_);
        part.add(loops::store(sums, r, loops::fma(q, state, load(sums, r, lanes_))));
      });
    });
    const Expr scale = real(static_cast<float>(op_.params.number("scale")), lanes_);
    unrolled(step, "r", readers, [&](Block& part, Expr r) {
      GroupEmitter::Scope of_part(emit_, part);
      if (op_.result(0)->uses.empty()) return;
      emit_.store_results(op_.result(0), {{at(batch_), at(t), query_head(r), along(column_)}, lanes_, mask_},
                          mul(load(sums, r, lanes_), scale));
    });
  }

  DimPool& dims_;
  const Op& op_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  int lanes_;
  const Value *decay_ = nullptr, *beta_ = nullptr;
  int64_t depth_ = 0, readers_ = 0;  // queries' heads of each key head
  Expr batch_, head_, column_, mask_;
  Buffer state_;
};

}  // namespace

LoweredGroup lower_linear_attention(Context& context, const Op& group) {
  return LinearAttentionLowering(context, group, anchor_of(group)).lower();
}

}  // namespace lapidary::lowering
