// Recurrent layers, each one composite for all its directions.
#include <algorithm>
#include <cctype>

#include "frontend/ops/told_axes.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

struct Layer {
  Value *x, *w, *r, *b, *lengths, *h0, *c0;  // x is [S, B, I]; b, lengths, h0 and c0 may be null
  int directions;
  bool backwards;  // the only direction is reverse
  Dim steps, batch, hidden;
  bool batch_first;
};

void check_extent(const Value* value, int axis, Dim expected, const char* what) {
  if (known_unequal(value->type.shape[axis], expected))
    fail("{} has extent {} of axis {}, expected {}", what, to_string(value->type.shape[axis]), axis,
         to_string(expected));
}

// The activations that ONNX lists, and how many of alpha and beta each takes, with what they are when not given.
struct KnownActivation {
  std::string_view name;
  int numbers = 0;
  std::optional<double> alpha = {}, beta = {};
};
constexpr KnownActivation kActivations[] = {{"sigmoid"},
                                            {"tanh"},
                                            {"relu"},
                                            {"softsign"},
                                            {"softplus"},
                                            {"leakyrelu", 1, 0.01},
                                            {"elu", 1, 1.0},
                                            {"thresholdedrelu", 1, 1.0},
                                            {"scaledtanh", 2},
                                            {"hardsigmoid", 2, 0.2, 0.5},
                                            {"affine", 2, 1.0, 0.0}};

// Those that take an alpha or a beta get the next one of the node's lists.
std::vector<composites::CellActivation> activations_of(Node& node, size_t count) {
  std::vector<composites::CellActivation> activations;
  const std::vector<double> alphas = node.numbers("activation_alpha"), betas = node.numbers("activation_beta");
  size_t next_alpha = 0, next_beta = 0;
  auto number = [&](const std::vector<double>& list, size_t& next, std::optional<double> otherwise, const char* what,
                    const std::string& of) {
    if (next < list.size()) return list[next++];
    if (!otherwise) fail("activation '{}' without {}", of, what);
    return *otherwise;
  };
  for (const std::string& given : node.texts("activations")) {
    std::string name;
    for (char c : given) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const auto* known = std::ranges::find(kActivations, name, &KnownActivation::name);
    if (known == std::end(kActivations)) fail("activation '{}' is unknown", printable(given));
    composites::CellActivation activation{name};
    if (known->numbers > 0) activation.alpha = number(alphas, next_alpha, known->alpha, "activation_alpha", given);
    if (known->numbers > 1) activation.beta = number(betas, next_beta, known->beta, "activation_beta", given);
    activations.push_back(activation);
  }
  if (!activations.empty() && activations.size() < count)
    fail("{} activations, expected {}", activations.size(), count);
  activations.resize(activations.empty() ? 0 : count);  // RNN-1 lists two for one direction
  return activations;
}

bool is_usual(const std::vector<composites::CellActivation>& activations, std::vector<std::string_view> usual) {
  for (size_t i = 0; i < activations.size(); ++i)
    if (activations[i].name != usual[i % usual.size()]) return false;
  return true;
}

// What is not as cells usually are.
void set_options(Node& node, const Layer& layer, composites::Recurrence& of, std::vector<std::string_view> usual) {
  auto activations = activations_of(node, usual.size() * static_cast<size_t>(layer.directions));
  if (!is_usual(activations, usual)) of.activations = std::move(activations);
  of.clip = node.number_or("clip", 0);
  if (!(of.clip >= 0)) fail("clip {}", of.clip);
}

Layer layer_of(Node& node, int gates, Value* w, Value* r) {
  Layer layer{node.input(0),
              w,
              r,
              node.input(3),
              node.input(4),
              node.input(5),
              gates == 4 ? node.input(6) : nullptr,
              1,
              false,
              {},
              {},
              {},
              false};
  const std::string direction = node.has("direction") ? node.text("direction") : "forward";  // GRU-1 misspells it
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    fail("direction '{}' is unknown", printable(direction));
  layer.directions = direction == "bidirectional" ? 2 : 1;
  layer.backwards = direction == "reverse";
  layer.batch_first = node.integer_or("layout", 0) != 0;
  if (layer.x->type.rank() != 3 || layer.w->type.rank() != 3 || layer.r->type.rank() != 3) {
    fail("X, W and R have ranks {}, {} and {}, expected 3", layer.x->type.rank(), layer.w->type.rank(),
         layer.r->type.rank());
  }
  if (layer.batch_first) layer.x = node.build.transpose(layer.x, {1, 0, 2});
  layer.steps = layer.x->type.shape[0], layer.batch = layer.x->type.shape[1], layer.hidden = layer.r->type.shape[2];
  DimPool& dims = node.dims();
  Dim count = dims.constant(layer.directions), rows = dims.mul(dims.constant(gates), layer.hidden);
  if (node.has("hidden_size") && known_unequal(layer.hidden, dims.constant(node.integer("hidden_size")))) {
    fail("hidden_size {} but R has {} columns", node.integer("hidden_size"), to_string(layer.hidden));
  }
  for (auto [weight, what] : {std::pair(layer.w, "W"), std::pair(layer.r, "R")})
    check_extent(weight, 0, count, what), check_extent(weight, 1, rows, what);
  check_extent(layer.w, 2, layer.x->type.shape[2], "W");
  if (layer.b) {
    if (layer.b->type.rank() != 2) fail("B has rank {}, expected 2", layer.b->type.rank());
    check_extent(layer.b, 0, count, "B"), check_extent(layer.b, 1, dims.mul(dims.constant(2), rows), "B");
  }
  if (layer.lengths) {
    if (layer.lengths->type.rank() != 1) fail("sequence_lens has rank {}, expected 1", layer.lengths->type.rank());
    check_extent(layer.lengths, 0, layer.batch, "sequence_lens");
    must_be_lengths(node, layer.lengths, layer.x->type.shape[0]);
  }
  for (auto [state, what] : {std::pair(&layer.h0, "initial_h"), std::pair(&layer.c0, "initial_c")}) {
    if (!*state) continue;
    if ((*state)->type.rank() != 3) fail("{} has rank {}, expected 3", what, (*state)->type.rank());
    if (layer.batch_first) *state = node.build.transpose(*state, {1, 0, 2});
    check_extent(*state, 0, count, what), check_extent(*state, 1, layer.batch, what),
        check_extent(*state, 2, layer.hidden, what);
  }
  return layer;
}

Layer layer_of(Node& node, int gates) { return layer_of(node, gates, node.input(1), node.input(2)); }

// The layer behind the importer's checks: `bias` is of all gates and may be null, the cell's own operands are set.
Values finish(Node& node, const Layer& layer, composites::Recurrence of, Value* bias) {
  DType dtype = layer.x->type.dtype;
  Shape state = {node.dims().constant(layer.directions), layer.batch, layer.hidden};
  of.direction = layer.directions == 2 ? composites::kBothDirections
                 : layer.backwards     ? composites::kReverse
                                       : composites::kForward;
  of.r = layer.r;
  of.h0 = layer.h0 ? layer.h0 : node.build.splat(dtype, state, 0);
  if (of.cell == "lstm") of.c0 = layer.c0 ? layer.c0 : node.build.splat(dtype, state, 0);
  of.lengths = layer.lengths;
  Values results = composites::recurrent_layer(node.build, layer.x, layer.w, bias, of);
  if (!layer.batch_first) return results;
  for (size_t i = 0; i < results.size(); ++i)
    results[i] =
        node.build.transpose(results[i], i == 0 ? std::vector<int64_t>{2, 0, 1, 3} : std::vector<int64_t>{1, 0, 2});
  return results;
}

// Rows [first, first + count) · H of the bias of the input (0) or of the recurrence (1), [D, count · H].
Value* bias_rows(Node& node, const Layer& layer, int gates, int half, int first, int count) {
  DimPool& dims = node.dims();
  auto units = [&](int gate) { return dims.mul(dims.constant(gate), layer.hidden); };
  return node.build.slice_axis(layer.b, 1, units(half * gates + first), units(count));
}

Value* both_biases(Node& node, const Layer& layer, int gates) {
  if (!layer.b) return nullptr;
  return node.build.add(bias_rows(node, layer, gates, 0, 0, gates), bias_rows(node, layer, gates, 1, 0, gates));
}

Values lstm_of(Node& node, const Layer& layer) {
  composites::Recurrence of{.cell = "lstm"};
  set_options(node, layer, of, {"sigmoid", "tanh", "tanh"});
  of.coupled = node.integer_or("input_forget", 0) != 0;
  of.peepholes = node.input(7);
  if (of.peepholes) {
    check_rank(of.peepholes, 2, "P");
    check_extent(of.peepholes, 0, node.dims().constant(layer.directions), "P");
    check_extent(of.peepholes, 1, node.dims().mul(node.dims().constant(3), layer.hidden), "P");
  }
  return finish(node, layer, of, both_biases(node, layer, 4));
}

Values lstm(Node& node) { return lstm_of(node, layer_of(node, 4)); }

// [D, I, 4·H] with a scale and a zero point for each direction, or for each of its columns: as floats [D, 4·H, I].
Value* dequantised_weights(Node& node, int codes, int scale) {
  Value* w = node.input(codes);
  if (w->type.rank() != 3) fail("input {} has rank {}, expected 3", codes, w->type.rank());
  auto parameter = [&](int index) {
    Value* x = node.input(index);
    const int rank = x->type.rank();
    if (rank != 1 && rank != 2) fail("input {} has rank {}, expected 1 or 2", index, rank);
    check_extent(x, 0, w->type.shape[0], "a scale or zero point");
    if (rank == 2) check_extent(x, 1, w->type.shape[2], "a scale or zero point");
    return node.build.expand_axes(x, rank == 1 ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{1});
  };
  return node.build.transpose(composites::dequantize(node.build, w, parameter(scale), parameter(scale + 1)), {0, 2, 1});
}

// Weights are stored in bytes, and computed with as the floats they stand for: ONNX Runtime quantises X and the hidden
// states on the way too, to the same end.
Values dynamic_quantize_lstm(Node& node) {
  return lstm_of(node, layer_of(node, 4, dequantised_weights(node, 1, 8), dequantised_weights(node, 2, 10)));
}

Values gru(Node& node) {
  Layer layer = layer_of(node, 3);
  composites::Recurrence of{.cell = "gru"};
  set_options(node, layer, of, {"sigmoid", "tanh"});
  if (node.integer_or("linear_before_reset", 0) == 0) return finish(node, layer, of, both_biases(node, layer, 3));
  of.cell = "gru_linear";
  of.r_bias = node.build.splat(layer.x->type.dtype, {node.dims().constant(layer.directions), layer.hidden}, 0);
  if (!layer.b) return finish(node, layer, of, nullptr);
  Value* recurrent =
      node.build.concat({bias_rows(node, layer, 3, 1, 0, 2), of.r_bias}, 1);  // the candidate's is under the reset gate
  of.r_bias = bias_rows(node, layer, 3, 1, 2, 1);
  return finish(node, layer, of, node.build.add(bias_rows(node, layer, 3, 0, 0, 3), recurrent));
}

Values rnn(Node& node) {
  Layer layer = layer_of(node, 1);
  composites::Recurrence of{.cell = "rnn"};
  set_options(node, layer, of, {"tanh"});
  if (is_usual(of.activations, {"relu"}) && !of.activations.empty()) of.cell = "rnn_relu", of.activations.clear();
  return finish(node, layer, of, both_biases(node, layer, 1));
}

constexpr OpEntry kOps[] = {
    {"DynamicQuantizeLSTM", dynamic_quantize_lstm,
     "X: f32, W: T2, R: T2, B?: f32, sequence_lens?: i32, initial_h?: f32, initial_c?: f32, P?: f32, W_scale: f32,"
     " W_zero_point: T2, R_scale: f32, R_zero_point: T2 -> Y?: f32, Y_h?: f32, Y_c?: f32 | direction = \"forward\","
     " hidden_size?: int, activations?: strs, activation_alpha?: floats, activation_beta?: floats, clip?: float,"
     " input_forget = 0 | T2 = u8 i8"},
    {"GRU", gru},
    {"LSTM", lstm},
    {"RNN", rnn},
};

}  // namespace

std::span<const OpEntry> recurrent_ops() { return kOps; }

}  // namespace lapidary::frontend
