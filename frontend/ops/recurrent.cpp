// Recurrent layers. An LSTM is one composite for each direction, its results concatenated.
#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// Element `index` of the leading axis. A weight in a file is cut there, so that nothing is copied on any run.
Value* leading(Node& node, Value* value, int index) {
  Module& module = node.build.module;
  const Constant* whole = constant_of(module, value);
  const ByteSource* source = whole ? std::get_if<ByteSource>(&whole->source) : nullptr;
  if (source && whole->transforms.empty() && bit_width(whole->dtype) >= 8 && whole->shape[0] > 0) {
    int64_t bytes = whole->bytes() / whole->shape[0];
    Constant part = *whole;
    part.shape.erase(part.shape.begin());
    part.source_shape = part.shape;
    part.source = ByteSource{source->keep_alive, source->bytes.subspan(index * bytes, bytes)};
    return node.build.constant(module.constants.add(std::move(part)));
  }
  Dim one = node.dims().constant(1);
  return node.build.drop_axes(node.build.slice_axis(value, 0, node.dims().constant(index), one), {0});
}

struct Layer {
  Value *x, *w, *r, *b, *h0, *c0;   // x is [S, B, I]; b, h0 and c0 may be null
  int directions;
  bool backwards;                   // the only direction is reverse
  Dim steps, batch, hidden;
  bool batch_first;
};

void check_extent(const Value* value, int axis, Dim expected, const char* what) {
  if (known_unequal(value->type.shape[axis], expected)) fail("{} has extent {} of axis {}, expected {}", what, to_string(value->type.shape[axis]), axis, to_string(expected));
}

void check_plain(Node& node) {
  if (node.input(4)) unsupported("sequence_lens");
  if (node.input(7)) unsupported("peepholes (P)");
  if (node.has("clip")) unsupported("clip");
  if (node.integer_or("input_forget", 0) != 0) unsupported("input_forget");
  std::vector<std::string> activations = node.texts("activations"), usual = {"Sigmoid", "Tanh", "Tanh"};
  for (size_t i = 0; i < activations.size(); ++i) {
    if (activations[i] != usual[i % 3]) unsupported("activation '{}'", printable(activations[i]));
  }
}

Layer layer_of(Node& node, int gates) {
  Layer layer{node.input(0), node.input(1), node.input(2), node.input(3), node.input(5), node.input(6), 1, false, {}, {}, {}, false};
  std::string direction = node.text("direction");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") fail("direction '{}' is unknown", printable(direction));
  layer.directions = direction == "bidirectional" ? 2 : 1;
  layer.backwards = direction == "reverse";
  layer.batch_first = node.integer_or("layout", 0) != 0;
  if (layer.x->type.rank() != 3 || layer.w->type.rank() != 3 || layer.r->type.rank() != 3) {
    fail("X, W and R have ranks {}, {} and {}, expected 3", layer.x->type.rank(), layer.w->type.rank(), layer.r->type.rank());
  }
  if (layer.batch_first) layer.x = node.build.transpose(layer.x, {1, 0, 2});
  layer.steps = layer.x->type.shape[0], layer.batch = layer.x->type.shape[1], layer.hidden = layer.r->type.shape[2];
  DimPool& dims = node.dims();
  Dim count = dims.constant(layer.directions), rows = dims.mul(dims.constant(gates), layer.hidden);
  if (node.has("hidden_size") && known_unequal(layer.hidden, dims.constant(node.integer("hidden_size")))) {
    fail("hidden_size {} but R has {} columns", node.integer("hidden_size"), to_string(layer.hidden));
  }
  for (auto [weight, what] : {std::pair(layer.w, "W"), std::pair(layer.r, "R")}) check_extent(weight, 0, count, what), check_extent(weight, 1, rows, what);
  check_extent(layer.w, 2, layer.x->type.shape[2], "W");
  if (layer.b) {
    if (layer.b->type.rank() != 2) fail("B has rank {}, expected 2", layer.b->type.rank());
    check_extent(layer.b, 0, count, "B"), check_extent(layer.b, 1, dims.mul(dims.constant(2), rows), "B");
  }
  for (auto [state, what] : {std::pair(&layer.h0, "initial_h"), std::pair(&layer.c0, "initial_c")}) {
    if (!*state) continue;
    if ((*state)->type.rank() != 3) fail("{} has rank {}, expected 3", what, (*state)->type.rank());
    if (layer.batch_first) *state = node.build.transpose(*state, {1, 0, 2});
    check_extent(*state, 0, count, what), check_extent(*state, 1, layer.batch, what), check_extent(*state, 2, layer.hidden, what);
  }
  return layer;
}

Value* stacked(Node& node, const Values& parts, int axis) {
  Values wide;
  for (Value* part : parts) wide.push_back(node.build.expand_axes(part, {axis}));
  return wide.size() == 1 ? wide[0] : node.build.concat(wide, axis);
}

Values lstm(Node& node) {
  check_plain(node);
  Layer layer = layer_of(node, 4);
  DType dtype = layer.x->type.dtype;
  Dim rows = node.dims().mul(node.dims().constant(4), layer.hidden);
  Values y, h, c;
  for (int d = 0; d < layer.directions; ++d) {
    Value* bias;
    if (layer.b) {
      Value* both = leading(node, layer.b, d);
      bias = node.build.add(node.build.slice_axis(both, 0, node.dims().constant(0), rows), node.build.slice_axis(both, 0, rows, rows));
    } else {
      bias = node.build.splat(dtype, {rows}, 0);
    }
    auto state = [&](Value* given) { return given ? leading(node, given, d) : node.build.splat(dtype, {layer.batch, layer.hidden}, 0); };
    bool reverse = layer.backwards || d == 1;
    Values results = composites::lstm(node.build, layer.x, leading(node, layer.w, d), leading(node, layer.r, d), bias, state(layer.h0), state(layer.c0), reverse);
    y.push_back(results[0]), h.push_back(results[1]), c.push_back(results[2]);
  }
  Value *all = stacked(node, y, 1), *last_h = stacked(node, h, 0), *last_c = stacked(node, c, 0);   // [S, D, B, H], [D, B, H]
  if (!layer.batch_first) return {all, last_h, last_c};
  return {node.build.transpose(all, {2, 0, 1, 3}), node.build.transpose(last_h, {1, 0, 2}), node.build.transpose(last_c, {1, 0, 2})};
}

constexpr OpEntry kOps[] = {{"LSTM", lstm}};

}  // namespace

std::span<const OpEntry> recurrent_ops() { return kOps; }

}  // namespace lapidary::frontend
