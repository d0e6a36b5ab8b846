// Recurrent layers: ONNX LSTM-1…22 with the default activations.
#include "frontend/op_table.h"
#include "ir/composites.h"

namespace lapidary::frontend {

namespace {

constexpr int kX = 0, kW = 1, kR = 2, kB = 3, kLengths = 4, kH0 = 5, kC0 = 6, kPeepholes = 7;

void refuse_what_is_missing(Node& node, int directions) {
  if (node.input(kLengths)) unsupported("sequence_lens");
  if (node.input(kPeepholes)) unsupported("peephole weights");
  if (node.has("clip")) unsupported("attribute 'clip'");
  if (node.integer_or("input_forget", 0)) unsupported("input_forget 1");
  std::vector<std::string> activations = node.texts("activations");
  for (size_t i = 0; i < activations.size(); ++i) {
    const char* expected = i % 3 == 0 ? "Sigmoid" : "Tanh";
    if (activations[i] != expected) unsupported("activation '{}' in place {}", printable(activations[i]), i);
  }
  if (!activations.empty() && activations.size() != static_cast<size_t>(3 * directions)) {
    fail("attribute 'activations' has {} entries, expected {}", activations.size(), 3 * directions);
  }
}

// Direction `index` of a tensor whose first axis counts directions.
Value* direction_of(GraphBuilder& b, Value* value, int index) {
  return b.drop_axes(b.slice_axis(value, 0, b.dim(index), b.dim(1)), {0});
}

std::vector<Value*> lstm(Node& node) {
  GraphBuilder& b = node.build;
  std::string direction = node.text("direction");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") fail("attribute 'direction': unknown value '{}'", printable(direction));
  int directions = direction == "bidirectional" ? 2 : 1;
  refuse_what_is_missing(node, directions);
  for (int i : {kX, kW, kR}) {
    if (node.rank(i) != 3) fail("input {} has rank {}, expected 3", i, node.rank(i));
  }
  bool batch_first = node.integer_or("layout", 0) != 0;
  Value* x = batch_first ? b.transpose(node.input(kX), {1, 0, 2}) : node.input(kX);
  Dim batch = x->type.shape[1], hidden = node.type(kR).shape[2];
  if (node.has("hidden_size") && value_of(hidden) && value_of(hidden) != node.integer("hidden_size")) {
    fail("hidden_size {} but R has {} columns", node.integer("hidden_size"), to_string(hidden));
  }
  auto rows = value_of(node.type(kW).shape[1]), columns = value_of(hidden);
  if (!rows || !columns) unsupported("weights whose extents are known only at run time");
  if (*rows != 4 * *columns) fail("W has {} rows, expected {}", *rows, 4 * *columns);
  auto state = [&](int input, int index) {
    Value* given = node.input(input);
    if (!given) return b.splat(x->type.dtype, {batch, hidden}, 0);
    return direction_of(b, batch_first ? b.transpose(given, {1, 0, 2}) : given, index);
  };
  std::vector<Value*> y, h, c;
  for (int i = 0; i < directions; ++i) {
    Value* bias = b.splat(x->type.dtype, {b.dim(*rows)}, 0);
    if (node.input(kB)) {
      Value* both = direction_of(b, node.input(kB), i);
      bias = b.add(b.slice_axis(both, 0, b.dim(0), b.dim(*rows)), b.slice_axis(both, 0, b.dim(*rows), b.dim(*rows)));
    }
    bool reverse = direction == "reverse" || i == 1;
    std::vector<Value*> results = composites::lstm(b, x, direction_of(b, node.input(kW), i), direction_of(b, node.input(kR), i), bias, state(kH0, i), state(kC0, i), reverse);
    y.push_back(b.expand_axes(results[0], {1}));   // [S, 1, B, H]
    h.push_back(b.expand_axes(results[1], {0}));
    c.push_back(b.expand_axes(results[2], {0}));
  }
  Value *all_y = b.concat(y, 1), *all_h = b.concat(h, 0), *all_c = b.concat(c, 0);
  if (batch_first) {   // Y [B, S, D, H], states [B, D, H]
    all_y = b.transpose(all_y, {2, 0, 1, 3});
    all_h = b.transpose(all_h, {1, 0, 2});
    all_c = b.transpose(all_c, {1, 0, 2});
  }
  return {all_y, all_h, all_c};
}

constexpr OpEntry kOps[] = {{"LSTM", lstm}};

}  // namespace

std::span<const OpEntry> recurrent_ops() { return kOps; }

}  // namespace lapidary::frontend
