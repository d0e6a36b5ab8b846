// Attention over a cache of keys and values that each call extends, and the rotation of positions that goes with it:
// ONNX Runtime's GroupQueryAttention and RotaryEmbedding.
//
// Sequences of a batch may be of different lengths: seqlens_k holds, for each, the index of its last key after the
// call. New keys of a sequence lie behind its own old ones, so a cache is put together by index, not by concatenation.
#include <algorithm>
#include <cmath>

#include "frontend/ops/heads.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* number(Node& node, Dim value) { return node.build.dims_tensor({value}, {}); }

struct Call {
  Value *q, *k, *v;  // [B, H, S, D], [B, G, S, D] twice
  Dim batch, length;
  Dim total;      // keys of the longest sequence after the call
  Dim capacity;   // of the cache after the call
  Value* before;  // i64 [B, 1, 1, 1]: how many keys each sequence had
};

// The old keys of a sequence, the new ones behind them, zeros up to the capacity.
Value* extended(Node& node, const Call& call, Value* past, Value* fresh) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Shape& shape = fresh->type.shape;  // B G S D
  const Shape whole = {shape[0], shape[1], call.capacity, shape[3]},
              places = {dims.constant(1), dims.constant(1), call.capacity, dims.constant(1)};
  Value* place = build.iota(DType::I64, places, 2);
  Value* index = build.sub(place, call.before);  // in what is new
  Value* last = number(node, dims.sub(call.length, dims.constant(1)));
  Value* zero = build.like(index, 0);
  Value* inside = build.scalar_op(ScalarOp::Min, {build.scalar_op(ScalarOp::Max, {index, zero}), last});
  Value* moved = build.gather_elements(fresh, build.broadcast_to(inside, whole), 2);
  Value* is_new = build.scalar_op(ScalarOp::LessEqual, {index, last});
  Value* result = build.select(is_new, moved, build.like(fresh, 0));
  if (!past) return result;
  check_rank(past, 4, "a cache");
  for (int axis : {0, 1, 3}) require_same(node, past->type.shape[axis], shape[axis], "the cache and new keys");
  Shape low(4, dims.constant(0)), high = low;
  high[2] = dims.sub(call.capacity, past->type.shape[2]);
  Value* is_old = build.scalar_op(ScalarOp::Less, {index, zero});
  return build.select(is_old, build.pad(past, low, high), result);
}

// Angles of positions i64 [B, S], as `rotated` takes them.
struct Angles {
  Value *cosine, *sine;
  Dim count;
};

Angles angles(Node& node, Value* cosines, Value* sines, Value* positions) {
  check_rank(cosines, 2, "cos_cache"), check_rank(sines, 2, "sin_cache");
  for (int axis : {0, 1}) require_same(node, cosines->type.shape[axis], sines->type.shape[axis], "the angles' caches");
  return {node.build.gather(cosines, positions, 0), node.build.gather(sines, positions, 0),
          node.dims().mul(cosines->type.shape[1], node.dims().constant(2))};
}

// Past keys (input 3) or values (4) are bytes with a scale, one for all or one for each component of each group.
bool is_quantised(Node& node, int input) { return node.text(input == 3 ? "k_quant_type" : "v_quant_type") != "NONE"; }

void refuse_unknown_parts(Node& node) {
  if (node.input(16)) unsupported("query_seqlens");
  if (node.wants(3)) unsupported("the scores (output 3)");
  if (node.integer("sliding_window_cache") != 0) unsupported("sliding_window_cache");
  for (int i : {3, 4})
    if (node.input(i) && !is_quantised(node, i) && node.type(i).dtype != node.type(0).dtype)
      unsupported("a cache of another type");
}

// The scale as it broadcasts to [B, G, T, D]; null where the cache is of floats.
Value* cache_scale(Node& node, int input, const Shape& fresh) {
  if (!is_quantised(node, input)) return nullptr;
  const std::string type = node.text(input == 3 ? "k_quant_type" : "v_quant_type");
  Value *scale = node.input(input == 3 ? 12 : 13), *past = node.input(input);
  if (type != "PER_TENSOR" && type != "PER_CHANNEL") fail("a cache is quantised '{}'", printable(type));
  if (node.integer_or("kv_cache_bit_width", 8) != 8)
    unsupported("a cache of {} bits", node.integer("kv_cache_bit_width"));
  if (past && past->type.dtype != DType::I8) unsupported("a quantised cache of {}", name_of(past->type.dtype));
  if (!scale) fail("a quantised cache without a scale");
  if (type == "PER_TENSOR") return node.build.reshape(scale, {});
  return node.build.reshape(scale, {fresh[1], node.build.dim(1), fresh[3]});
}

// x / sqrt(mean(x²) + ε) · weight, of each head [.., D].
Value* normalised_heads(Node& node, Value* x, int weight, const char* epsilon) {
  if (!node.input(weight)) return x;
  GraphBuilder& build = node.build;
  Value* y = composites::rms_norm(build, build.convert(x, DType::F32), build.convert(node.input(weight), DType::F32), 3,
                                  node.number_or(epsilon, node.number("qk_norm_epsilon")));
  return build.convert(y, x->type.dtype);
}

// q, k and v from operands of their own or from one.
void split_operands(Node& node, Call& call) {
  DimPool& dims = node.dims();
  const int64_t heads = node.integer("num_heads"), groups = node.integer("kv_num_heads");
  check_heads(heads), check_heads(groups);
  if (heads % groups != 0) fail("{} heads are not a multiple of {}", heads, groups);
  Value *q = node.input(0), *k = node.input(1), *v = node.input(2);
  check_rank(q, 3, "query");
  if (!k != !v) fail("key and value go together");
  if (!k) {
    Dim size = dims.floordiv(q->type.shape[2], dims.constant(heads + 2 * groups));
    auto part = [&](int64_t from, int64_t count) {
      return node.build.slice_axis(q, 2, dims.mul(size, dims.constant(from)), dims.mul(size, dims.constant(count)));
    };
    v = part(heads + groups, groups), k = part(heads, groups), q = part(0, heads);
  }
  call.q = split_heads(node, q, heads, "query");
  call.k = split_heads(node, k, groups, "key"), call.v = split_heads(node, v, groups, "value");
  call.batch = q->type.shape[0], call.length = q->type.shape[1];
  require_same(node, call.length, k->type.shape[1], "lengths of query and key");
  require_same(node, call.q->type.shape[3], call.k->type.shape[3], "head sizes of query and key");
}

// Softmax with one more term in the denominator: e^sink of each head, or e^0.
Value* with_sink(Node& node, Value* scores, Value* sink) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Shape shape = scores->type.shape;
  const Shape column = {shape[0], shape[1], shape[2], dims.constant(1)};
  Value* extra = sink ? build.expand_axes(build.convert(sink, DType::F32), {1, 2}) : build.scalar(DType::F32, 0);
  Value* weights = composites::softmax(build, build.concat({scores, build.broadcast_to(extra, column)}, 3), 3);
  return build.slice_axis(weights, 3, dims.constant(0), shape[3]);
}

Values group_query_attention(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  refuse_unknown_parts(node);
  Call call;
  split_operands(node, call);
  Value *past_k = node.input(3), *past_v = node.input(4);
  if (!past_k != !past_v) fail("past_key and past_value go together");
  if (past_k) check_rank(past_k, 4, "past_key"), check_rank(past_v, 4, "past_value");
  call.total = node.extent(6);
  call.capacity = past_k ? dims.max(past_k->type.shape[2], call.total) : call.total;
  Value* lengths = build.reshape(build.convert(node.input(5), DType::I64), {call.batch});
  // A call with all keys new is a first one, whatever the lengths: padding lies behind the shorter sequences.
  Value* is_first = build.scalar_op(ScalarOp::Equal, {number(node, call.total), number(node, call.length)});
  Value* before = build.sub(build.add(lengths, build.like(lengths, 1)), number(node, call.length));
  before = build.select(is_first, build.like(before, 0), before);
  call.before = build.expand_axes(before, {1, 2, 3});

  if (!node.input(14) != !node.input(15)) fail("q_norm_weight and k_norm_weight go together");
  call.q = normalised_heads(node, call.q, 14, "q_norm_epsilon");
  call.k = normalised_heads(node, call.k, 15, "k_norm_epsilon");
  if (node.integer_or("do_rotary", 0) != 0) {
    if (!node.input(7) || !node.input(8)) fail("do_rotary without cos_cache and sin_cache");
    Value* positions = node.input(9);
    if (!positions)
      positions = build.add(build.expand_axes(before, {1}), build.iota(DType::I64, {dims.constant(1), call.length}, 1));
    const Angles turn = angles(node, node.input(7), node.input(8), positions);
    const bool interleaved = node.integer_or("rotary_interleaved", 0) != 0;
    call.q = rotated(node, call.q, turn.cosine, turn.sine, turn.count, interleaved);
    call.k = rotated(node, call.k, turn.cosine, turn.sine, turn.count, interleaved);
  }
  Value *k_scale = cache_scale(node, 3, call.k->type.shape), *v_scale = cache_scale(node, 4, call.v->type.shape);
  auto stored = [&](Value* fresh, Value* scale) {
    if (!scale) return fresh;
    return composites::quantize(build, build.convert(fresh, DType::F32), scale, build.scalar(DType::I8, 0));
  };
  Value *present_k = extended(node, call, past_k, stored(call.k, k_scale)),
        *present_v = extended(node, call, past_v, stored(call.v, v_scale));
  auto seen = [&](Value* cache, Value* scale) {
    Value* keys = build.slice_axis(cache, 2, dims.constant(0), call.total);
    return scale ? composites::dequantize(build, keys, scale, nullptr) : build.convert(keys, DType::F32);
  };

  const AttentionPositions positions = attention_positions(node, call.length, call.total, call.before);
  AttentionBias bias;
  if (node.integer("causal") != 0) {
    bias.allow(node, not_after(node, positions));
  } else {
    Value* held = build.expand_axes(build.add(lengths, build.like(lengths, 1)), {1, 2, 3});
    bias.allow(node, build.scalar_op(ScalarOp::Less, {positions.key, held}));
  }
  const int64_t window = node.integer("local_window_size");
  if (window >= 0) bias.allow(node, within(node, positions, window - 1, -1));
  bias.added = node.input(10) ? build.convert(node.input(10), DType::F32) : nullptr;
  AttentionCall attention{.q = build.convert(call.q, DType::F32),
                          .k = seen(present_k, k_scale),
                          .v = seen(present_v, v_scale),
                          .bias = bias.value(node, DType::F32),
                          .softcap = node.number_or("softcap", 0),
                          .zero_where_masked = false};
  set_scale(node, attention);
  Value* y;
  if (node.integer("smooth_softmax") == 1 || node.input(11)) {
    Value* scores = composites::attention_scores(build, attention.q, attention.k, attention.scale);
    scores = build.add(composites::soft_capped(build, scores, attention.softcap), attention.bias);
    y = composites::attention_values(build, with_sink(node, scores, node.input(11)), attention.v);
  } else {
    y = attend(node, attention);
  }
  return {merge_heads(node, build.convert(y, call.q->type.dtype)), present_k, present_v};
}

// The heads of input 0, turned by the angles that `angles_of` gives for sequences of a length.
template <typename AnglesOf>
Values rotary(Node& node, AnglesOf angles_of) {
  DimPool& dims = node.dims();
  if (node.integer_or("is_packed_batching", 0) != 0) unsupported("is_packed_batching");
  if (node.number_or("scale", 1) != 1) unsupported("scale {}", node.number("scale"));
  Value* x = node.input(0);
  const int rank = x->type.rank();
  if (rank != 3 && rank != 4) fail("input has rank {}, expected 3 or 4", rank);
  int64_t heads = node.integer_or("num_heads", 0);
  if (rank == 3 && heads == 0) {  // as many as a cache of whole heads says
    check_rank(node.input(2), 2, "cos_cache");
    std::optional<int64_t> half = value_of(node.type(2).shape[1]), width = value_of(x->type.shape[2]);
    if (!half || !width || *half == 0) unsupported("heads known only at run time");
    heads = std::max<int64_t>(*width / (2 * *half), 1);
  }
  if (rank == 3) x = split_heads(node, x, heads, "input");
  const Shape shape = x->type.shape;
  const Angles turn = angles_of(shape[2]);
  if (range(dims.sub(shape[3], turn.count)).hi < 0)
    fail("{} angles for heads of size {}", to_string(turn.count), to_string(shape[3]));
  Value* y = rotated(node, x, turn.cosine, turn.sine, turn.count, node.integer_or("interleaved", 0) != 0);
  return {rank == 3 ? merge_heads(node, y) : y};
}

// position_ids are of each place, [B, S], or the first one, [1].
Values rotary_embedding(Node& node) {
  return rotary(node, [&](Dim length) {
    GraphBuilder& build = node.build;
    Value* positions = node.input(1);
    if (positions->type.rank() == 1)
      positions = build.add(build.expand_axes(positions, {1}), build.iota(DType::I64, {build.dim(1), length}, 1));
    check_rank(positions, 2, "position_ids");
    return angles(node, node.input(2), node.input(3), positions);
  });
}

// Which of the three positions of a place each angle is of: time, height, width. By turns, every third angle is
// height's and every third width's as far as their sections reach, and all others time's.
std::vector<int64_t> stream_of_angle(const std::vector<int64_t>& sections, bool by_turns) {
  std::vector<int64_t> streams;
  for (size_t stream = 0; stream < 3; ++stream)
    streams.insert(streams.end(), static_cast<size_t>(sections[stream]), by_turns ? 0 : static_cast<int64_t>(stream));
  for (size_t stream = 1; by_turns && stream < 3; ++stream)
    for (size_t i = 0, at = stream; i < static_cast<size_t>(sections[stream]) && at < streams.size(); ++i, at += 3)
      streams[at] = static_cast<int64_t>(stream);
  return streams;
}

// Positions are [3, B, S]: each angle follows one of the three.
Values multimodal_rotary_embedding(Node& node) {
  const std::vector<int64_t> sections = node.integers("mrope_section");
  constexpr int64_t kMost = 1 << 16;
  if (sections.size() != 3 ||
      std::ranges::any_of(sections, [](int64_t section) { return section < 0 || section > kMost; }))
    fail("mrope_section {}, expected 3 sections", to_text(sections));
  const int64_t layout = node.integer_or("mrope_layout", 0);
  if (layout != 0 && layout != 1) fail("mrope_layout {}", layout);
  return rotary(node, [&](Dim) {
    GraphBuilder& build = node.build;
    check_rank(node.input(1), 3, "position_ids");
    require_same(node, node.type(1).shape[0], build.dim(3), "streams of position_ids and 3");
    const std::vector<int64_t> streams = stream_of_angle(sections, layout == 1);
    const Dim count = build.dim(static_cast<int64_t>(streams.size()));
    const Angles all = angles(node, node.input(2), node.input(3), node.input(1));  // [3, B, S, half]
    require_same(node, all.cosine->type.shape[3], count, "angles of the cache and of mrope_section");
    auto chosen = [&](Value* of_streams) {
      auto of = [&](int64_t stream) {
        return build.drop_axes(build.slice_axis(of_streams, 0, build.dim(stream), build.dim(1)), {0});
      };
      Value* result = of(0);
      for (int64_t stream : {1, 2}) {
        std::vector<Scalar> here;
        for (int64_t each : streams) here.push_back(Scalar::of_bool(each == stream));
        const auto extent = static_cast<int64_t>(here.size());
        Value* mask = build.constant(build.module.constants.add_scalars(DType::Bool, {extent}, here));
        result = build.select(mask, of(stream), result);
      }
      return result;
    };
    return Angles{chosen(all.cosine), chosen(all.sine), all.count};
  });
}

constexpr OpEntry kOps[] = {
    {"GroupQueryAttention", group_query_attention,
     "query: T, key?: T, value?: T, past_key?: T_CACHE, past_value?: T_CACHE, seqlens_k: i32,"
     " total_sequence_length: i32, cos_cache?: T, sin_cache?: T, position_ids?: i64, attention_bias?: T,"
     " head_sink?: T, k_scale?: f32, v_scale?: f32, q_norm_weight?: T, k_norm_weight?: T, query_seqlens?: i32 ->"
     " output: T, present_key?: T_CACHE, present_value?: T_CACHE, output_qk?: T | num_heads: int, kv_num_heads: int,"
     " scale?: float, softcap?: float, causal = 1, local_window_size = -1, do_rotary?: int, rotary_interleaved?: int,"
     " smooth_softmax = -1, qk_output = 0, sliding_window_cache = 0, kv_cache_bit_width?: int,"
     " k_quant_type = \"NONE\", v_quant_type = \"NONE\", qk_norm_epsilon = 1.0e-6, q_norm_epsilon?: float,"
     " k_norm_epsilon?: float | T = f16 bf16 f32, T_CACHE = f32 f16 bf16 u8 i8 f8e4m3fn"},
    {"MRotaryEmbedding", multimodal_rotary_embedding,
     "input: T, position_ids: i64, cos_cache: T, sin_cache: T -> output: T | mrope_section: ints, mrope_layout?: int,"
     " num_heads?: int, rotary_embedding_dim?: int, interleaved?: int, is_packed_batching?: int, scale?: float |"
     " T = f32 f16 bf16"},
    {"RotaryEmbedding", rotary_embedding,
     "input: T, position_ids: i64, cos_cache: T, sin_cache: T -> output: T | num_heads?: int,"
     " rotary_embedding_dim?: int, interleaved?: int, is_packed_batching?: int, scale?: float | T = f32 f16 bf16"},
};

}  // namespace

std::span<const OpEntry> cached_attention_ops() { return kOps; }

}  // namespace lapidary::frontend
