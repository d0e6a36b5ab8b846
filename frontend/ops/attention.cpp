// ONNX's own attention operators. Masks, windows and causality become one bias; the products and the softmax between
// them are the composite that a kernel knows, unless the node wants the scores too.
#include <cmath>

#include "frontend/ops/heads.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* joined(Node& node, Value* past, Value* present, const char* what) {
  if (!past) return present;
  check_rank(past, 4, what);
  for (int axis : {0, 1, 3}) require_same(node, past->type.shape[axis], present->type.shape[axis], what);
  return node.build.concat({past, present}, 2);
}

// A mask of fewer keys hides the others.
Value* over_all_keys(Node& node, Value* mask, Dim keys) {
  Dim missing = node.dims().sub(keys, mask->type.shape.back());
  if (value_of(missing) == 0) return mask;
  if (range(missing).hi < 0)
    fail("attn_mask is of {} keys, there are {}", to_string(mask->type.shape.back()), to_string(keys));
  const int rank = mask->type.rank();
  Shape low(rank, node.dims().constant(0)), high = low;
  high.back() = missing;
  return node.build.pad(mask, low, high, "constant", node.build.like(mask, -INFINITY));
}

Value* bias_of_mask(Node& node, Value* mask, DType dtype, Dim keys) {
  if (mask->type.rank() < 1 || mask->type.rank() > 4)
    fail("attn_mask has rank {}, expected 4 or less", mask->type.rank());
  if (mask->type.dtype == DType::Bool)
    mask = node.build.select(mask, node.build.scalar(dtype, 0), node.build.scalar(dtype, -INFINITY));
  return over_all_keys(node, node.build.convert(mask, dtype), keys);
}

// [B] → [B, 1, 1, 1]
Value* per_batch(Node& node, Value* vector) {
  check_rank(vector, 1, "nonpad_kv_seqlen");
  return node.build.expand_axes(node.build.convert(vector, DType::I64), {1, 2, 3});
}

// The float type softmax runs in: that asked for when it is wider than the operands', and at least float32.
DType inner_type(Node& node, DType dtype) {
  DType inside = bit_width(dtype) < 32 ? DType::F32 : dtype;
  if (!node.has("softmax_precision")) return inside;
  DType wanted = node.dtype("softmax_precision");
  if (!is_float(wanted)) fail("softmax_precision is {}", name_of(wanted));
  return bit_width(wanted) > bit_width(inside) ? wanted : inside;
}

Values attention(Node& node) {
  GraphBuilder& build = node.build;
  Value *q = node.input(0), *k = node.input(1), *v = node.input(2), *past_k = node.input(4), *past_v = node.input(5),
        *lengths = node.input(6);
  const int rank = q->type.rank();
  if (rank != 3 && rank != 4) fail("Q has rank {}, expected 3 or 4", rank);
  check_rank(k, rank, "K"), check_rank(v, rank, "V");
  if (!past_k != !past_v) fail("past_key and past_value go together");
  if (past_k && lengths) fail("nonpad_kv_seqlen beside past_key");
  if (rank == 3) {
    q = split_heads(node, q, node.integer("q_num_heads"), "Q");
    k = split_heads(node, k, node.integer("kv_num_heads"), "K");
    v = split_heads(node, v, node.integer("kv_num_heads"), "V");
  }
  require_same(node, q->type.shape[3], k->type.shape[3], "head sizes of Q and K");
  require_same(node, k->type.shape[2], v->type.shape[2], "lengths of K and V");
  require_same(node, k->type.shape[1], v->type.shape[1], "heads of K and V");
  auto query_heads = value_of(q->type.shape[1]), key_heads = value_of(k->type.shape[1]);
  if (query_heads && key_heads && (*key_heads == 0 || *query_heads % *key_heads != 0))
    fail("{} heads of Q are not a multiple of {} of K", *query_heads, *key_heads);
  Value *present_k = joined(node, past_k, k, "past_key"), *present_v = joined(node, past_v, v, "past_value");
  const Dim queries = q->type.shape[2], own_keys = k->type.shape[2], keys = present_k->type.shape[2];
  const DType dtype = q->type.dtype, inside = inner_type(node, dtype);

  Value* offset = nullptr;
  if (past_k) offset = build.dims_tensor({past_k->type.shape[2]}, {});
  if (lengths) offset = build.sub(per_batch(node, lengths), build.dims_tensor({queries}, {}));
  const AttentionPositions positions = attention_positions(node, queries, keys, offset);
  const int64_t before = node.integer_or("left_window_size", -1), after = node.integer_or("right_window_size", -1);
  if (before < -1 || after < -1) fail("window sizes {} and {}", before, after);
  const bool causal = node.integer("is_causal") != 0;
  AttentionBias bias;
  if (node.input(3)) bias.added = bias_of_mask(node, node.input(3), inside, keys);
  if (before >= 0 || after >= 0) bias.allow(node, within(node, positions, before, after));
  if (lengths) bias.allow(node, build.scalar_op(ScalarOp::Less, {positions.key, per_batch(node, lengths)}));
  const bool kernel_hides_future =
      causal && !bias.added && !bias.allowed && known_equal(queries, own_keys) && !node.wants(3);
  const bool may_see_nothing = bias.added || bias.allowed;  // by causality alone, all see the first key
  if (causal && !kernel_hides_future) bias.allow(node, not_after(node, positions));

  AttentionCall call{.q = build.convert(q, inside),
                     .k = build.convert(present_k, inside),
                     .v = build.convert(present_v, inside),
                     .bias = bias.value(node, inside),
                     .softcap = node.number("softcap"),
                     .causal = kernel_hides_future,
                     .zero_where_masked = may_see_nothing};
  set_scale(node, call);
  Value *y = nullptr, *shown = nullptr;
  if (!node.wants(3)) {
    y = attend(node, call);
  } else {
    Value* scores = composites::attention_scores(build, call.q, call.k, call.scale);
    Value* capped = composites::soft_capped(build, scores, call.softcap);
    Value* biased = call.bias ? build.add(capped, call.bias) : capped;
    Value* weights = composites::softmax(build, biased, 3);
    if (call.zero_where_masked) weights = build.select(sees_nothing(node, call.bias), build.like(weights, 0), weights);
    const int64_t mode = node.integer("qk_matmul_output_mode");
    if (mode < 0 || mode > 3) fail("qk_matmul_output_mode {}", mode);
    shown = build.convert(std::array{scores, capped, biased, weights}[static_cast<size_t>(mode)], dtype);
    y = composites::attention_values(build, weights, call.v);
  }
  y = build.convert(y, dtype);
  return {rank == 3 ? merge_heads(node, y) : y, present_k, present_v, shown};
}

// cos_cache and sin_cache are of each position [B, S, D/2], or of every position there may be [P, D/2] and gathered.
Values rotary_embedding(Node& node) {
  Value* x = node.input(0);
  const int rank = x->type.rank();
  if (rank != 3 && rank != 4) fail("X has rank {}, expected 3 or 4", rank);
  if (rank == 3) x = split_heads(node, x, node.integer("num_heads"), "X");
  const Dim head_size = x->type.shape[3], batch = x->type.shape[0], length = x->type.shape[2];
  int64_t asked = node.integer("rotary_embedding_dim");
  Dim count = asked > 0 ? node.dims().constant(asked) : head_size;
  if (asked < 0 || range(node.dims().sub(head_size, count)).hi < 0)
    fail("rotary_embedding_dim {} of head size {}", asked, to_string(head_size));
  if (auto known = value_of(count); known && *known % 2 != 0) fail("{} components are no pairs", *known);
  std::array<Value*, 2> tables = {node.input(1), node.input(2)};
  for (Value*& table : tables) {
    if (node.input(3)) {
      check_rank(table, 2, "a cache");
      check_rank(node.input(3), 2, "position_ids");
      table = node.build.gather(table, node.input(3), 0);
    }
    check_rank(table, 3, "a cache without position_ids");
    require_same(node, table->type.shape[2], node.dims().floordiv(count, node.dims().constant(2)),
                 "columns of a cache");
    require_same(node, table->type.shape[0], batch, "batch of the caches");
    require_same(node, table->type.shape[1], length, "length of the caches");
  }
  Value* y = rotated(node, x, tables[0], tables[1], count, node.integer("interleaved") != 0);
  return {rank == 3 ? merge_heads(node, y) : y};
}

// A depthwise convolution over what came before and x; the last k - 1 places of both go on to the next call.
Values causal_conv(Node& node) {
  Value *x = node.input(0), *w = node.input(1), *bias = node.input(2), *past = node.input(3);
  check_rank(x, 3, "input"), check_rank(w, 3, "weight");
  const Shape shape = x->type.shape;
  std::optional<int64_t> channels = value_of(shape[1]), reach = value_of(w->type.shape[2]);
  if (!channels || !reach) unsupported("channels or a kernel known only at run time");
  require_same(node, w->type.shape[0], shape[1], "channels of input and weight");
  const int64_t dilation = node.integer_or("dilation", 1);
  if (*reach < 1 || dilation < 1 || dilation > INT32_MAX)
    fail("a kernel of {} places, dilated by {}", *reach, dilation);
  if (node.integer_or("ndim", 1) != 1) unsupported("{} spatial axes", node.integer("ndim"));
  const std::string activation = node.text("activation");
  if (activation != "none" && activation != "silu" && activation != "swish")
    fail("activation '{}' is unknown", printable(activation));
  Dim carried = node.dims().mul(node.dims().constant(*reach - 1), node.dims().constant(dilation)),
      none = node.dims().constant(0);
  if (past) {
    check_rank(past, 3, "past_state");
    require_same(node, past->type.shape[2], carried, "length of past_state");
  } else {
    past = node.build.splat(x->type.dtype, {shape[0], shape[1], carried}, 0);
  }
  Value* whole = node.build.concat({past, x}, 2);
  Value* y = node.build.conv(whole, w, bias, *channels, {1}, {dilation}, {none, none});
  if (activation != "none") y = node.build.mul(y, node.build.scalar_op(ScalarOp::Sigmoid, {y}));
  return {y, node.build.slice_axis(whole, 2, shape[2], carried)};
}

// Heads are packed into the last axis of all operands but the state.
Values linear_attention(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const int64_t heads = node.integer("q_num_heads"), groups = node.integer("kv_num_heads");
  check_heads(heads), check_heads(groups);
  if (heads % groups != 0) fail("q_num_heads {} is not a multiple of kv_num_heads {}", heads, groups);
  if (node.integer_or("state_window", 0) != 0) unsupported("state_window");
  const std::string rule = node.text("update_rule");
  const bool gated = rule == "gated" || rule == "gated_delta", delta = rule == "delta" || rule == "gated_delta";
  if (!gated && !delta && rule != "linear") fail("update_rule '{}' is unknown", printable(rule));
  if (gated != (node.input(4) != nullptr)) fail("decay goes with the gated rules, and with no other");
  if (delta != (node.input(5) != nullptr)) fail("beta goes with the delta rules, and with no other");
  auto unpacked = [&](int index, int64_t count, const char* what) {
    Value* x = node.input(index);
    check_rank(x, 3, what);
    std::optional<int64_t> width = value_of(x->type.shape[2]);
    if (width && *width % count != 0) fail("{} has {} columns, not a multiple of {} heads", what, *width, count);
    const Shape& shape = x->type.shape;
    return build.reshape(build.convert(x, DType::F32),
                         {shape[0], shape[1], dims.constant(count), dims.floordiv(shape[2], dims.constant(count))});
  };
  composites::LinearAttention of{unpacked(0, heads, "query"), unpacked(1, groups, "key"), unpacked(2, groups, "value")};
  const DType dtype = node.type(0).dtype, kept = node.input(3) ? node.type(3).dtype : dtype;
  const Shape &qs = of.q->type.shape, &ks = of.k->type.shape, &vs = of.v->type.shape;
  require_same(node, qs[3], ks[3], "head sizes of query and key");
  require_same(node, qs[1], ks[1], "lengths of query and key"),
      require_same(node, ks[1], vs[1], "lengths of key and value");
  const Shape state = {qs[0], dims.constant(groups), ks[3], vs[3]};
  if (node.input(3)) {
    check_rank(node.input(3), 4, "past_state");
    for (int axis = 0; axis < 4; ++axis) require_same(node, node.type(3).shape[axis], state[axis], "past_state");
    of.state = build.convert(node.input(3), DType::F32);
  } else {
    of.state = build.splat(DType::F32, state, 0);
  }
  if (gated) of.decay = unpacked(4, groups, "decay");
  if (delta) {
    check_rank(node.input(5), 3, "beta");
    of.beta = build.broadcast_to(build.convert(node.input(5), DType::F32), {qs[0], qs[1], dims.constant(groups)});
  }
  const double scale = node.number("scale");
  std::optional<int64_t> size = value_of(qs[3]);
  if (scale == 0 && !size) unsupported("a head size known only at run time");
  of.scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(*size));
  Values results = composites::linear_attention(build, of);
  Value* y = build.reshape(results[0], {qs[0], qs[1], dims.mul(qs[2], vs[3])});
  return {build.convert(y, dtype), build.convert(results[1], kept)};
}

constexpr OpEntry kOps[] = {
    {"LinearAttention", linear_attention},
    {"LinearAttention", linear_attention,
     "query: T, key: T, value: T, past_state?: S, decay?: T, beta?: T -> output: T, present_state: S |"
     " q_num_heads: int, kv_num_heads: int, update_rule = \"gated_delta\", scale = 0.0, chunk_size = 64, state_window "
     "= 0 |"
     " T = f32 f16 bf16, S = f32 f16 bf16"},
    {"CausalConvWithState", causal_conv,
     "input: T, weight: T, bias?: T, past_state?: T -> output: T, present_state: T | ndim = 1, dilation = 1,"
     " activation = \"none\" | T = f32 f16 bf16"},
    {"Attention", attention},
    {"CausalConvWithState", causal_conv},
    {"RotaryEmbedding", rotary_embedding}};

}  // namespace

std::span<const OpEntry> attention_ops() { return kOps; }

}  // namespace lapidary::frontend
