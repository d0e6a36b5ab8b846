// Mixtures of experts: every token takes the sum of its k most probable experts' results, weighted by probability.
//
// All experts are computed for all tokens, side by side as two products whose weights stay packed, and weighted by 0
// where they were not chosen: E/k times the multiplications of the chosen ones alone, but no more weights to read once
// the tokens of a call have chosen most of them.
#include "frontend/ops/experts.h"

#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// The probability by which each token [T] counts each expert, [T, E]: 0 for all but k of them.
Value* gates(Node& node) {
  GraphBuilder& build = node.build;
  if (node.integer("use_sparse_mixer") != 0) unsupported("use_sparse_mixer");
  check_rank(node.input(1), 2, "router_probs");
  Value* weights = composites::softmax(build, build.convert(node.input(1), DType::F32), 1);
  const int64_t k = node.integer("k");
  const std::optional<int64_t> experts = value_of(weights->type.shape[1]);
  if (!experts) unsupported("experts known only at run time");
  if (k < 1 || k > *experts) fail("k is {}, of {}", k, counted(*experts, "expert"));
  Op& top = build.create(OpKind::TopK, {weights}, {{"axis", int64_t{1}}, {"k", build.dim(k)}, {"largest", int64_t{1}}});
  Value* chosen = top.result(0);
  if (node.integer("normalize_routing_weights") != 0)
    chosen = build.div(chosen, build.reduce(OpKind::ReduceSum, chosen, {1}, true));
  Value* none = build.splat(DType::F32, weights->type.shape, 0);
  return build.scatter(none, top.result(1), chosen, 1, /*elements=*/true, "none");
}

// One of the two halves of the last axis, which lie one after the other or by turns.
Value* half_of(Node& node, Value* x, bool by_turns, int64_t index) {
  GraphBuilder& build = node.build;
  const int last = x->type.rank() - 1;
  const Dim half = node.dims().floordiv(x->type.shape[last], build.dim(2));
  if (!by_turns) return build.slice_axis(x, last, index == 0 ? build.dim(0) : half, half);
  Shape pairs = x->type.shape;
  pairs[last] = half;
  pairs.push_back(build.dim(2));
  return build.drop_axes(build.slice_axis(build.reshape(x, pairs), last + 1, build.dim(index), build.dim(1)),
                         {last + 1});
}

// fc1(x), and fc3(x) where there is one, [T, E, I] or [T, E, 2·I] → [T, E, I].
Value* expert_activation(Node& node, Value* x, Value* up) {
  GraphBuilder& build = node.build;
  const std::string name = node.text("activation_type");
  auto sigmoid = [&](Value* y) { return build.scalar_op(ScalarOp::Sigmoid, {y}); };
  if (name != "swiglu") {
    if (up) unsupported("fc3 with activation '{}'", printable(name));
    if (name == "relu") return build.scalar_op(ScalarOp::Max, {x, zero(node, x)});
    if (name == "silu") return build.mul(x, sigmoid(x));
    if (name == "gelu") return composites::gelu(build, x, /*approximate=*/true);
    if (name == "identity") return x;
    unsupported("activation '{}'", printable(name));
  }
  const int64_t fusion = node.integer("swiglu_fusion");
  if (node.integer("swiglu_limit_after_activation") != 0) unsupported("swiglu_limit_after_activation");
  if (fusion == 0 ? !up : fusion > 2 || up) unsupported("swiglu_fusion {} with{} fc3", fusion, up ? "" : "out");
  Value* gate = x;
  if (fusion > 0) gate = half_of(node, x, fusion == 1, 0), up = half_of(node, x, fusion == 1, 1);
  if (node.has("swiglu_limit")) {
    Value *high = build.like(x, node.number("swiglu_limit")), *low = build.like(x, -node.number("swiglu_limit"));
    gate = build.scalar_op(ScalarOp::Min, {gate, high});
    up = build.scalar_op(ScalarOp::Min, {build.scalar_op(ScalarOp::Max, {up, low}), high});
  }
  Value* active = build.mul(gate, sigmoid(build.mul(gate, build.like(x, node.number("activation_alpha")))));
  return build.mul(active, build.add(up, build.like(x, node.number("activation_beta"))));
}

// The layers of all experts as two products: the first gives each expert's own columns, the second sums over experts.
class Experts {
 public:
  explicit Experts(Node& node) : node_(node), build_(node.build) {}
  virtual ~Experts() = default;
  virtual Value* apart(Value* x, int weights) = 0;   // [T, H] → [T, E · N]
  virtual Value* summed(Value* x, int weights) = 0;  // [T, E · I] → [T, N]

  Values run(int fc1, int fc1_bias, int fc2, int fc2_bias, int fc3, int fc3_bias) {
    const Shape shape = node_.type(0).shape;
    if (shape.size() != 2 && shape.size() != 3) fail("input has rank {}, expected 2 or 3", shape.size());
    Value* weights = gates(node_);
    experts_ = weights->type.shape[1], tokens_ = weights->type.shape[0];
    Value* x = build_.reshape(build_.convert(node_.input(0), DType::F32), {tokens_, shape.back()});
    for (int index : {fc1, fc2, fc3})
      if (node_.input(index)) {
        check_rank(node_.input(index), 3, "a weight");
        require_same(node_, node_.type(index).shape[0], experts_, "experts of a weight and of router_probs");
      }
    Value* up = node_.input(fc3) ? layer(x, fc3, fc3_bias) : nullptr;
    Value* y = expert_activation(node_, layer(x, fc1, fc1_bias), up);
    Value* by = build_.expand_axes(weights, {2});  // what was not chosen may be infinite
    y = build_.select(build_.scalar_op(ScalarOp::Less, {build_.like(by, 0), by}), build_.mul(y, by), build_.like(y, 0));
    y = summed(build_.reshape(y, {tokens_, node_.dims().mul(experts_, y->type.shape[2])}), fc2);
    if (node_.input(fc2_bias))
      y = build_.add(y, build_.matmul(weights, build_.convert(node_.input(fc2_bias), DType::F32)));
    return {build_.convert(build_.reshape(y, shape), node_.type(0).dtype)};
  }

 protected:
  Node& node_;
  GraphBuilder& build_;

 private:
  Value* layer(Value* x, int weights, int bias) {
    Value* y = build_.reshape(apart(x, weights), {tokens_, experts_, node_.type(weights).shape[1]});
    return node_.input(bias) ? build_.add(y, build_.convert(node_.input(bias), DType::F32)) : y;
  }

  Dim experts_ = nullptr, tokens_ = nullptr;
};

class FloatExperts : public Experts {
 public:
  using Experts::Experts;
  Value* apart(Value* x, int weights) override {
    const Shape& shape = node_.type(weights).shape;
    Value* w = build_.reshape(in_f32(weights), {node_.dims().mul(shape[0], shape[1]), shape[2]});
    return build_.contract(x, w, "th,nh->tn");
  }
  Value* summed(Value* x, int weights) override {
    const Shape& shape = node_.type(weights).shape;
    Value* w = build_.transpose(in_f32(weights), {0, 2, 1});
    return build_.matmul(x, build_.reshape(w, {node_.dims().mul(shape[0], shape[2]), shape[1]}));
  }

 private:
  Value* in_f32(int weights) { return build_.convert(node_.input(weights), DType::F32); }
};

// Weights [E, N, K · bits / 8] with a scale for each row, [E, N], or for each block of a row, [E, N, K / block].
class PackedExperts : public Experts {
 public:
  using Experts::Experts;
  Value* apart(Value* x, int weights) override { return product(x, weights, false); }
  Value* summed(Value* x, int weights) override { return product(x, weights, true); }

 private:
  Value* product(Value* x, int index, bool sum) {
    Value *codes = node_.input(index), *scales = node_.input(index + 1);
    if (!scales) fail("input {} is left out", index + 1);
    const int64_t bits = node_.integer("expert_weight_bits");
    if (bits != 4 && bits != 8) unsupported("{} bits", bits);
    auto known = [&](int axis) {
      auto extent = value_of(codes->type.shape[static_cast<size_t>(axis)]);
      if (!extent) unsupported("weights of extents known only at run time");
      constexpr int64_t kMost = 1 << 20;
      if (*extent < 1 || *extent > kMost) unsupported("weights of extent {}", *extent);
      return *extent;
    };
    const int64_t experts = known(0), rows = known(1), depth = known(2) * 8 / bits;
    const int64_t block = node_.integer_or("block_size", 0) > 0 ? node_.integer("block_size") : depth;
    if (depth % block != 0 || block * bits % 8 != 0) unsupported("rows of {} in blocks of {}", depth, block);
    const int64_t blocks = depth / block, bytes = block * bits / 8;
    if (known_unequal(node_.dims().product(scales->type.shape), build_.dim(experts * rows * blocks)))
      fail("input {} has {} elements, expected {}", index + 1, to_string(node_.dims().product(scales->type.shape)),
           experts * rows * blocks);
    composites::PackedWeights packed{sum ? experts * depth : depth, sum ? rows : experts * rows, bits, block};
    const Shape by_expert = build_.shape({experts, rows, blocks, bytes});
    codes = build_.reshape(codes, by_expert);
    scales = build_.reshape(build_.convert(scales, DType::F32), {by_expert.begin(), by_expert.begin() + 3});
    if (sum) codes = build_.transpose(codes, {1, 0, 2, 3}), scales = build_.transpose(scales, {1, 0, 2});
    const int64_t all_blocks = packed.k / block;
    packed.codes = build_.reshape(codes, build_.shape({packed.n, all_blocks, bytes}));
    packed.scales = build_.reshape(scales, build_.shape({packed.n, all_blocks}));
    return composites::matmul_packed(build_, x, packed);
  }
};

}  // namespace

std::vector<Value*> moe(Node& node) { return FloatExperts(node).run(2, 3, 4, 5, 6, 7); }

std::vector<Value*> qmoe(Node& node) {
  for (int i = 11; i < node.input_count(); ++i)
    if (node.input(i)) unsupported("input {}", i);
  if (node.text("quant_type") != "int") unsupported("quant_type '{}'", printable(node.text("quant_type")));
  for (const char* name : {"fc1_expert_weight_bits", "fc2_expert_weight_bits", "fc3_expert_weight_bits"})
    if (node.has(name) && node.integer(name) != node.integer("expert_weight_bits")) unsupported("{}", name);
  if (node.integer("normalize_routing_weights") == 0)
    unsupported("normalize_routing_weights = 0, which ONNX Runtime's kernels read in two ways");
  if (node.integer("weights_prepacked") > 0) unsupported("weights_prepacked");
  return PackedExperts(node).run(2, 4, 5, 7, 8, 10);
}

}  // namespace lapidary::frontend
