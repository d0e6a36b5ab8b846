// ONNX Runtime's attention operators. Their masks add mask_filter_value where they hide a key, so that a query that
// sees none averages all of them; causality hides keys altogether.
#include <algorithm>
#include <cmath>

#include "frontend/ops/heads.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* mask_bias(Node& node, Value* visible) {
  GraphBuilder& build = node.build;
  return build.select(visible, build.scalar(DType::F32, 0),
                      build.scalar(DType::F32, node.number_or("mask_filter_value", -10000)));
}

// Masks of int32: 1 where a key is seen, [B, T] or [B, S, T]; or where each sequence ends [B], with left padding also
// where it begins [2·B].
Value* bias_of_mask(Node& node, Value* mask, Dim batch, Dim keys) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const int rank = mask->type.rank();
  if (rank == 2 || rank == 3) {
    require_same(node, mask->type.shape[0], batch, "batch of the mask");
    require_same(node, mask->type.shape.back(), keys, "keys of the mask");
    Value* seen = build.scalar_op(ScalarOp::Less, {build.like(mask, 0), mask});
    return build.expand_axes(mask_bias(node, seen), axes_from(1, 5 - rank));
  }
  if (rank != 1) unsupported("a mask of rank {}", rank);
  const Dim extent = mask->type.shape[0];
  const bool ends_only = known_equal(extent, batch), both = known_equal(extent, dims.mul(batch, dims.constant(2)));
  if (!ends_only && !both) unsupported("a mask of {} places for a batch of {}", to_string(extent), to_string(batch));
  Value* key = build.iota(DType::I32, {dims.constant(1), keys}, 1);
  auto part = [&](Dim from) { return build.expand_axes(build.slice_axis(mask, 0, from, batch), {1}); };
  Value* seen = build.scalar_op(ScalarOp::Less, {key, part(dims.constant(0))});
  if (both) seen = build.scalar_op(ScalarOp::And, {seen, build.scalar_op(ScalarOp::LessEqual, {part(batch), key})});
  return build.expand_axes(mask_bias(node, seen), {1, 2});
}

struct Heads {
  Value *q, *k, *v;       // [B, H, S, D] in the node's type; k and v with what came before
  Value* mask = nullptr;  // int32, or null
  Value* bias = nullptr;  // added
  bool causal = false;
};

struct Attended {
  Value *y, *weights;  // [B, H, S, E]; the weights when asked for
};

Attended attended(Node& node, const Heads& heads, Dim past, bool wants_weights) {
  GraphBuilder& build = node.build;
  const Shape &qs = heads.q->type.shape, &ks = heads.k->type.shape;
  AttentionBias bias;
  if (heads.mask) bias.added = bias_of_mask(node, heads.mask, qs[0], ks[2]);
  if (heads.bias) {
    Value* more = build.convert(heads.bias, DType::F32);
    bias.added = bias.added ? build.add(bias.added, more) : more;
  }
  const bool kernel_hides_future =
      heads.causal && !bias.added && !wants_weights && known_equal(ks[2], node.dims().add(past, qs[2]));
  if (heads.causal && !kernel_hides_future) {
    Value* offset = value_of(past) == 0 ? nullptr : build.dims_tensor({past}, {});
    bias.allow(node, not_after(node, attention_positions(node, qs[2], ks[2], offset)));
  }
  AttentionCall call{.q = build.convert(heads.q, DType::F32),
                     .k = build.convert(heads.k, DType::F32),
                     .v = build.convert(heads.v, DType::F32),
                     .bias = bias.value(node, DType::F32),
                     .causal = kernel_hides_future,
                     .zero_where_masked = false};
  set_scale(node, call);
  const DType dtype = heads.q->type.dtype;
  if (!wants_weights) return {build.convert(attend(node, call), dtype), nullptr};
  Value* scores = composites::attention_scores(build, call.q, call.k, call.scale);
  Value* weights = composites::softmax(build, call.bias ? build.add(scores, call.bias) : scores, 3);
  return {build.convert(composites::attention_values(build, weights, call.v), dtype), build.convert(weights, dtype)};
}

// Behind what came before, [B, H, P, D].
Value* behind(Node& node, Value* past, Value* present) {
  if (!past) return present;
  check_rank(past, 4, "the past state");
  for (int axis : {0, 1, 3}) require_same(node, past->type.shape[axis], present->type.shape[axis], "the past state");
  return node.build.concat({past, present}, 2);
}

// One more place of a buffer [B, H, capacity, D] filled.
Value* put_at(Node& node, Value* buffer, Dim place, Value* fresh) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  check_rank(buffer, 4, "the past state");
  for (int axis : {0, 1, 3}) require_same(node, buffer->type.shape[axis], fresh->type.shape[axis], "the past state");
  require_same(node, fresh->type.shape[2], dims.constant(1), "new places and 1");
  build.module.check(dims.less(place, buffer->type.shape[2]),
                     fmt::format("{}: the buffer of states is full", build.module.describe(build.origin)));
  Value* index =
      build.iota(DType::I64, {dims.constant(1), dims.constant(1), buffer->type.shape[2], dims.constant(1)}, 2);
  Value* here = build.scalar_op(ScalarOp::Equal, {index, build.dims_tensor({place}, {})});
  return build.select(here, build.broadcast_to(fresh, buffer->type.shape), buffer);
}

Value* columns(Node& node, Value* x, Dim from, Dim count) {
  return node.build.slice_axis(x, x->type.rank() - 1, from, count);
}

// One product makes q, k and v.
Values attention(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *weights = node.input(1), *past = node.input(4);
  check_rank(x, 3, "input"), check_rank(weights, 2, "weights");
  require_same(node, x->type.shape[2], weights->type.shape[0], "columns of the input and rows of the weights");
  if (node.integer_or("do_rotary", 0) != 0) unsupported("do_rotary");
  if (node.integer_or("past_present_share_buffer", 0) != 0) unsupported("past_present_share_buffer");
  const int64_t heads = node.integer("num_heads");
  Shape widths;
  for (int64_t width : node.integers("qkv_hidden_sizes")) {
    if (width < 1 || width > INT32_MAX) fail("qkv_hidden_sizes has {}", width);
    widths.push_back(dims.constant(width));
  }
  if (widths.empty()) widths.assign(3, dims.floordiv(weights->type.shape[1], dims.constant(3)));
  if (widths.size() != 3)
    fail("qkv_hidden_sizes has {}, expected 3", counted(static_cast<int64_t>(widths.size()), "element"));
  Dim all = dims.add(dims.add(widths[0], widths[1]), widths[2]);
  require_same(node, all, weights->type.shape[1], "qkv_hidden_sizes and columns of the weights");
  require_same(node, widths[0], widths[1], "hidden sizes of Q and K");
  Value* projected = build.contract(x, weights, "bsi,ih->bsh");
  if (node.input(2)) projected = build.add(projected, node.input(2));
  Value *q = split_heads(node, columns(node, projected, dims.constant(0), widths[0]), heads, "Q"),
        *k = split_heads(node, columns(node, projected, widths[0], widths[1]), heads, "K"),
        *v = split_heads(node, columns(node, projected, dims.add(widths[0], widths[1]), widths[2]), heads, "V");
  Dim before = dims.constant(0);
  if (past) {
    check_rank(past, 5, "past");
    auto half = [&](int64_t index) {
      return build.drop_axes(build.slice_axis(past, 0, dims.constant(index), dims.constant(1)), {0});
    };
    k = behind(node, half(0), k), v = behind(node, half(1), v);
    before = past->type.shape[3];
  }
  Value* present = nullptr;
  if (node.wants(1)) present = build.concat({build.expand_axes(k, {0}), build.expand_axes(v, {0})}, 0);
  const Heads all_heads{q, k, v, node.input(3), node.input(5), node.integer("unidirectional") != 0};
  return {merge_heads(node, attended(node, all_heads, before, false).y), present};
}

// One of the tensors packed as [B, S, H, parts, D] → [B, H, S, D].
Value* unpacked(Node& node, Value* packed, int64_t parts, int64_t index) {
  GraphBuilder& build = node.build;
  check_rank(packed, 5, "packed heads");
  require_same(node, packed->type.shape[3], node.dims().constant(parts), "packed heads");
  Value* part = build.slice_axis(packed, 3, node.dims().constant(index), node.dims().constant(1));
  return build.transpose(build.drop_axes(part, {3}), {0, 2, 1, 3});
}

// Which input is what, in two operators that are one.
struct Inputs {
  int bias, mask, attention_bias, past_key, past_value;
  int past_length = -1;  // of states in a buffer longer than they are
};

// Queries, keys and values of one attention, projected before. Keys and values are [B, T, H·D], or whole states
// [B, H, T, D], or packed with the queries or with each other.
Values projected_attention(Node& node, const Inputs& at, bool causal) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const int64_t heads = node.integer("num_heads");
  check_heads(heads);
  Value *q = node.input(0), *k = node.input(1), *v = node.input(2), *bias = node.input(at.bias);
  Value *past_key = node.input(at.past_key), *past_value = node.input(at.past_value);
  if (!past_key != !past_value) fail("past_key and past_value go together");
  if (past_key) check_rank(past_key, 4, "the past state"), check_rank(past_value, 4, "the past state");
  Dim place = dims.constant(0);
  // The next part of the bias, [H·D], added to a tensor as it is packed.
  auto biased = [&](Value* x) {  // [B, H, S, D]
    if (!bias) return x;
    const Shape& shape = x->type.shape;
    Dim width = dims.mul(shape[1], shape[3]);
    Value* part = build.reshape(build.slice_axis(bias, 0, place, width), {shape[1], dims.constant(1), shape[3]});
    place = dims.add(place, width);
    return build.add(x, part);
  };
  if (bias) check_rank(bias, 1, "bias");
  if (q->type.rank() == 5) {
    if (k || v) fail("key or value beside packed query, key and value");
    Value* packed = q;
    q = biased(unpacked(node, packed, 3, 0)), k = biased(unpacked(node, packed, 3, 1)),
    v = biased(unpacked(node, packed, 3, 2));
  } else {
    if (!k) fail("key is missing");
    q = biased(split_heads(node, q, heads, "query"));
    if (k->type.rank() == 5) {
      if (v) fail("value beside packed key and value");
      Value* packed = k;
      k = biased(unpacked(node, packed, 2, 0)), v = biased(unpacked(node, packed, 2, 1));
    } else {
      if (!v) fail("value is missing");
      const bool whole = k->type.rank() == 4;  // of cross attention: the bias was added when they were made
      check_rank(v, k->type.rank(), "value");
      if (!whole) k = biased(split_heads(node, k, heads, "key")), v = biased(split_heads(node, v, heads, "value"));
    }
  }
  require_same(node, q->type.shape[3], k->type.shape[3], "head sizes of query and key");
  require_same(node, k->type.shape[2], v->type.shape[2], "lengths of key and value");
  Dim before = past_key ? past_key->type.shape[2] : dims.constant(0);
  Values present;
  if (at.past_length >= 0 && past_key) {
    before = node.extent(at.past_length, kExtents);
    present = {put_at(node, past_key, before, k), put_at(node, past_value, before, v)};
    auto seen = [&](Value* x) { return build.slice_axis(x, 2, dims.constant(0), dims.add(before, dims.constant(1))); };
    k = seen(present[0]), v = seen(present[1]);
  } else {
    k = behind(node, past_key, k), v = behind(node, past_value, v);
    present = {k, v};
  }
  const Heads all{q, k, v, node.input(at.mask), node.input(at.attention_bias), causal};
  Attended result = attended(node, all, before, node.wants(3));
  return {merge_heads(node, result.y), present[0], present[1], result.weights};
}

Values multi_head_attention(Node& node) {
  if (node.input(8) || node.input(9)) unsupported("states in a shared buffer (inputs 8 and 9)");
  return projected_attention(node, {.bias = 3, .mask = 4, .attention_bias = 5, .past_key = 6, .past_value = 7},
                             node.integer("unidirectional") != 0);
}

// One query for each sequence, without beams. States may lie in buffers longer than they are.
Values decoder_attention(Node& node) {
  for (int i : {8, 9})
    if (node.input(i)) unsupported("{}", i == 8 ? "beam_width" : "cache_indirection");
  if (node.wants(3)) unsupported("the scores (output 3)");
  const bool shared = node.integer_or("past_present_share_buffer", 0) != 0;
  if (shared && node.input(5) && !node.input(7)) fail("past_present_share_buffer without past_sequence_length");
  const Inputs at{
      .bias = 10, .mask = 3, .attention_bias = 4, .past_key = 5, .past_value = 6, .past_length = shared ? 7 : -1};
  return projected_attention(node, at, false);
}

// (u·(r·eco_a - 1) + 2) · rel_pos, where u and r are the sigmoids of sums of half a head's projection each.
Values gated_relative_position_bias(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  if (node.input(6)) unsupported("token_offset");
  check_rank(node.input(3), 2, "weight");
  Value* q = split_heads(node, build.add(node.input(0), node.input(1)), node.integer("num_heads"), "query_layer");
  Value* projected = build.add(build.contract(q, node.input(3), "bnsd,dk->bnsk"), node.input(4));
  const Shape shape = projected->type.shape;
  const Dim two = dims.constant(2);
  Value* halves = build.reshape(projected, {shape[0], shape[1], shape[2], two, dims.floordiv(shape[3], two)});
  Value* gates = build.scalar_op(ScalarOp::Sigmoid, {build.reduce(OpKind::ReduceSum, halves, {4})});
  auto gate = [&](int64_t index) { return build.slice_axis(gates, 3, dims.constant(index), dims.constant(1)); };
  Value* inner = build.mul(gate(1), node.input(5));
  Value* factor = build.mul(gate(0), build.sub(inner, build.like(inner, 1)));
  return {build.mul(build.add(factor, build.like(factor, 2)), node.input(2))};
}

// Which row of the table the distance between a query and a key takes: near ones each their own, far ones in steps that
// grow with their logarithm.
Value* distance_bucket(Node& node, Value* distance, int64_t buckets, int64_t most, bool both_ways) {
  GraphBuilder& build = node.build;
  auto number = [&](int64_t value) { return build.scalar(Scalar::of_integer(DType::I64, value)); };
  Value* base = number(0);
  if (both_ways) {
    buckets /= 2;
    Value* after = build.scalar_op(ScalarOp::Less, {number(0), distance});
    base = build.select(after, number(buckets), number(0));
    distance = build.scalar_op(ScalarOp::Abs, {distance});
  } else {
    distance = build.scalar_op(ScalarOp::Max, {build.neg(distance), number(0)});
  }
  const int64_t exact = buckets / 2;
  if (exact < 1 || most <= exact) fail("max_distance {} for {} buckets", most, buckets);
  Value* ratio = build.div(build.convert(build.scalar_op(ScalarOp::Max, {distance, number(exact)}), DType::F32),
                           build.scalar(DType::F32, static_cast<double>(exact)));
  const double per_unit =
      static_cast<double>(buckets - exact) / std::log(static_cast<double>(most) / static_cast<double>(exact));
  Value* step = build.mul(build.scalar_op(ScalarOp::Log, {ratio}), build.scalar(DType::F32, per_unit));
  Value* far =
      build.scalar_op(ScalarOp::Min, {build.add(build.convert(step, DType::I64), number(exact)), number(buckets - 1)});
  Value* is_near = build.scalar_op(ScalarOp::Less, {distance, number(exact)});
  return build.add(base, build.select(is_near, distance, far));
}

// bias_table [buckets, heads] by the distances of queries and keys: [1, heads, S, T].
Values relative_position_bias(Node& node) {
  GraphBuilder& build = node.build;
  Value* table = node.input(0);
  check_rank(table, 2, "bias_table");
  std::optional<int64_t> buckets = value_of(table->type.shape[0]);
  if (!buckets) unsupported("a table of an extent known only at run time");
  const Dim queries = node.extent(1, kExtents), keys = node.extent(2, kExtents);
  const AttentionPositions at = attention_positions(node, queries, keys, nullptr);
  Value* bucket = distance_bucket(node, build.sub(at.key, at.query), *buckets, node.integer("max_distance"),
                                  node.integer("is_bidirectional") != 0);
  Value* bias = build.gather(table, bucket, 0, /*inside=*/true);
  return {build.expand_axes(build.transpose(bias, {2, 0, 1}), {0})};
}

constexpr OpEntry kOps[] = {
    {"Attention", attention,
     "input: T, weights: T, bias?: T, mask_index?: i32, past?: T, attention_bias?: T, past_sequence_length?: i32 ->"
     " output: T, present?: T | num_heads: int, unidirectional = 0, scale?: float, mask_filter_value?: float,"
     " do_rotary?: int, past_present_share_buffer?: int, qkv_hidden_sizes?: ints, rotary_embedding_dim?: int |"
     " T = f32 f16 bf16"},
    {"DecoderMaskedMultiHeadAttention", decoder_attention,
     "query: T, key?: T, value?: T, mask_index?: i32, attention_bias?: T, past_key?: T, past_value?: T,"
     " past_sequence_length?: i32, beam_width?: i32, cache_indirection?: i32, bias?: T -> output: T, present_key?: T,"
     " present_value?: T, qk?: QK | num_heads: int, past_present_share_buffer?: int, scale?: float,"
     " mask_filter_value?: float, output_qk?: int | T = f32 f16, QK = f32 f16"},
    {"GatedRelativePositionBias", gated_relative_position_bias,
     "query_layer: T, query_bias: T, rel_pos: T, weight: T, bias: T, eco_a: T, token_offset?: i32 -> output: T |"
     " num_heads: int | T = f32 f16"},
    {"MultiHeadAttention", multi_head_attention,
     "query: T, key?: T, value?: T, bias?: T, key_padding_mask?: i32, attention_bias?: T, past_key?: T,"
     " past_value?: T, past_sequence_length?: i32, cache_indirection?: i32 -> output: T, present_key?: T,"
     " present_value?: T, qk?: T | num_heads: int, unidirectional = 0, scale?: float, mask_filter_value?: float |"
     " T = f32 f16 bf16"},
    {"RelativePositionBias", relative_position_bias,
     "bias_table: T, query_length: i64, key_length: i64 -> output: T | max_distance: int, is_bidirectional = 0 |"
     " T = f32 f16"},
};

}  // namespace

std::span<const OpEntry> microsoft_attention_ops() { return kOps; }

}  // namespace lapidary::frontend
