#include "passes/lower/gpu/attention_split.h"

#include <cmath>

#include "passes/lower/register_tile.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kFewKeys = 128;  // of a part at least; no more of them are not split
constexpr int64_t kTile = 64;      // of keys: parts are whole ones

class Join {
 public:
  Join(GroupEmitter& emit, const Op& op, const SplitAttention& split)
      : emit_(emit), builder_(emit.builder), block_(emit.block()), op_(op), split_(split) {}

  void element(const Coords& coords) {
    const Shape& shape = op_.type().shape;
    std::vector<Expr> at;
    for (size_t axis = 0; axis < shape.size(); ++axis)
      at.push_back(emit_.flatten(coords.axes[axis], shape[axis]).digits[0].base);
    const Expr group = builder_.divisor(split_.group), rows = builder_.parameter(split_.rows);
    const Expr head = add(mul(at[0], builder_.parameter(op_.operand(1)->type.shape[1])), floordiv(at[1], group));
    const Expr row = add(mul(at[2], group), mod(at[1], group));
    const Expr first = block_.let("first", add(mul(mul(head, builder_.parameter(split_.parts)), rows), row));
    const int lanes = coords.lanes;
    const Buffer results = builder_.scratch(SplitAttention::kResults, DType::F32, false),
                 logs = builder_.scratch(SplitAttention::kLogSums, DType::F32, false);
    const Buffer most = local("most", real(-INFINITY)), total = local("total", real(0)),
                 sum = local("sum", real(0, lanes));
    const auto over_parts = [&](const std::function<void(Block&, const Expr& place, const Expr& log)>& body) {
      serial(block_, "part", integer(0), builder_.parameter(split_.parts), 1, [&](Block& loop, const Expr& part) {
        const Expr place = loop.let("place", add(first, mul(part, rows)));
        body(loop, place, loop.let("log", load(logs, place)));
      });
    };
    over_parts([&](Block& loop, const Expr&, const Expr& log) {
      loop.add(store(most, integer(0), apply(ScalarOp::Max, {held(most), log})));
    });
    over_parts([&](Block& loop, const Expr& place, const Expr& log) {
      const Expr weight = loop.let("weight", apply(ScalarOp::Exp, {sub(log, held(most))}));
      const Expr index = add(mul(place, builder_.parameter(shape[3])), at[3]);
      const Expr more = fma(splat_to(weight, lanes), load(results, index, lanes), held(sum));
      loop.add(store(total, integer(0), add(held(total), weight)));
      loop.add(store(sum, integer(0), select(splat_to(equal(log, real(-INFINITY)), lanes), held(sum), more)));
    });
    // All weights are NaN where all keys are hidden.
    Expr value = apply(ScalarOp::Div, {held(sum), splat_to(held(total), lanes)});
    emit_.store_results(op_.result(), coords, rounded(value, op_.type().dtype));
  }

 private:
  Buffer local(const char* name, const Expr& start) {
    const Buffer buffer = block_.local(name, start->type, 1);
    block_.add(store(buffer, integer(0), start));
    return buffer;
  }
  static Expr held(const Buffer& buffer) { return load(buffer, integer(0), buffer->element.lanes); }

  GroupEmitter& emit_;
  KernelBuilder& builder_;
  Block& block_;
  const Op& op_;
  const SplitAttention& split_;
};

}  // namespace

SplitAttention split_attention(DimPool& dims, const passes::Options& options, const Op& op, const AttentionTile& tile) {
  const Shape &q = op.operand(0)->type.shape, &k = op.operand(1)->type.shape;
  const auto number = [&](int64_t value) { return dims.constant(value); };
  SplitAttention split;
  split.group = dims.floordiv(q[1], k[1]);
  split.rows = dims.mul(q[2], split.group);
  const Dim heads = dims.max(dims.mul(k[0], k[1]), number(1));
  const Dim blocks = number(blocks_at_once(options, op, tile));
  split.parts = dims.max(dims.min(dims.ceildiv(k[2], number(kFewKeys)), dims.floordiv(blocks, heads)), number(1));
  split.keys = dims.mul(dims.ceildiv(dims.ceildiv(k[2], split.parts), number(kTile)), number(kTile));
  if (known_equal(q[2], k[2])) {  // as many queries as keys are not few over many
    split.when = number(0);
    return split;
  }
  split.when =
      dims.mul(dims.less(split.rows, number(SplitAttention::kMostRows + 1)), dims.less(number(kFewKeys), k[2]));
  return split;
}

std::vector<Dim> scratch_of(DimPool& dims, const Op& op, const SplitAttention& split) {
  const Shape &k = op.operand(1)->type.shape, &v = op.operand(2)->type.shape;
  const Dim logs = dims.product(std::vector<Dim>{split.when, k[0], k[1], split.parts, split.rows, dims.constant(4)});
  return {dims.mul(logs, v[3]), logs};
}

LoweredStep join_attention(Context& context, const Op& group, const Op& op, const SplitAttention& split) {
  LoweredStep step = map_step(context, group, "attention", op.type(),
                              [&](GroupEmitter& emit, const Coords& coords) { Join(emit, op, split).element(coords); });
  for (LoweredVariant& variant : step.variants) variant.tasks = context.module.dims.mul(split.when, variant.tasks);
  step.flops = context.module.dims.constant(0);
  return step;
}

}  // namespace lapidary::lowering::gpu
