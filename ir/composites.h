// The composites: names, operands, parameters, results. Who builds one (an importer, a recogniser) and who knows one
// (a fusion rule, a lowering) agree through this page and the builders below, which write the body in primitives.
#pragma once

#include "ir/graph_builder.h"

namespace lapidary::composites {

// softmax(x; axis): e^(x - max) / Σ e^(x - max) along `axis`.
Value* softmax(GraphBuilder&, Value* x, int axis);

// layer_norm(x, scale, bias; axis, epsilon) → y, mean, inverse deviation: normalised over axes ≥ axis, biased variance.
// scale and bias have the shape of those axes; bias may be null. ONNX LayerNormalization-17.
std::vector<Value*> layer_norm(GraphBuilder&, Value* x, Value* scale, Value* bias, int axis, double epsilon);

// rms_norm(x, scale; axis, epsilon) → y: x / sqrt(mean(x²) + ε) · scale. ONNX RMSNormalization-23.
Value* rms_norm(GraphBuilder&, Value* x, Value* scale, int axis, double epsilon);

// gelu(x; approximate): x/2 · (1 + erf(x/√2)), or the tanh form when approximate = 1. ONNX Gelu-20.
Value* gelu(GraphBuilder&, Value* x, bool approximate);

// attention(q, k, v, mask?; scale, causal, softcap): softmax(cap(q·kᵀ·scale) + mask)·v.
// q [B, H, S, D], k [B, G, T, D], v [B, G, T, E], H a multiple of G (grouped heads); mask broadcastable to
// [B, H, S, T], added; → [B, H, S, E]. causal: query i sees keys ≤ i + T - S. cap(x) = c·tanh(x/c), or x where c is 0.
// Computed in `inside` where that is given and the operands are of other types; so is the result.
Value* attention(GraphBuilder&, Value* q, Value* k, Value* v, Value* mask, double scale, bool causal,
                 double softcap = 0, std::optional<DType> inside = std::nullopt);
// Its parts, where something else happens between them: q·kᵀ·scale [B, H, S, T], cap, and weights·v.
Value* attention_scores(GraphBuilder&, Value* q, Value* k, double scale);
Value* soft_capped(GraphBuilder&, Value* scores, double softcap);
Value* attention_values(GraphBuilder&, Value* weights, Value* v);

// recurrent(xw, r, h0, c0?, r_bias?, lengths?; cell, direction, lengths) → y, h, c?: what recurs of ONNX's RNN-14,
// GRU-14 and LSTM-14 with their default activations, for D directions; the input's part of all gates is done. G gates
// of H units; cells are
//   lstm        G = 4 in the order i, o, f, c; has c0
//   gru         G = 3 in the order z, r, h; the candidate is tanh(xw + (r∘h)·rᵀ)
//   gru_linear  the same with linear_before_reset: tanh(xw + r∘(h·rᵀ + r_bias)); has r_bias
//   rnn, rnn_relu  G = 1
// xw [S, B, D, G·H], r [D, G·H, H], h0 and c0 [D, B, H], r_bias [D, H], lengths i32[B] → y [S, D, B, H], h and c [D, B,
// H]. With lengths, y is 0 from there on and the states are those of each sequence's own end; in reverse a sequence
// begins at its own last element.
// With `gates`, of an lstm without lengths, two more results: the gates behind their activations [S, B, D, 4·H], and c
// of each step [S, D, B, H]. What kernels do not know is no composite but its definition: other activations, clip,
// peepholes, coupled gates.
enum RecurrentDirection { kForward = 0, kReverse = 1, kBothDirections = 2 };
// Of a cell: one of those that ONNX's RNN-14 lists, by that name in small letters.
struct CellActivation {
  std::string name;
  double alpha = 0, beta = 0;
};
struct Recurrence {
  std::string cell;
  int direction = kForward;
  Value *r = nullptr, *h0 = nullptr, *c0 = nullptr, *r_bias = nullptr, *lengths = nullptr, *xw = nullptr;
  std::vector<CellActivation> activations = {};  // those of each direction in turn; empty: the cell's usual ones
  double clip = 0;                               // what the gates' activations take is within ±clip; 0: as it is
  Value* peepholes = nullptr;                    // of lstm, [D, 3·H]: c into the gates i, o, f
  bool coupled = false;                          // of lstm: f = 1 - i
  bool gates = false;
  bool is_usual() const { return activations.empty() && clip == 0 && !peepholes && !coupled; }
};
int gates_of(std::string_view cell);
std::vector<Value*> recurrent(GraphBuilder&, const Recurrence&);
// The same behind xw = x·wᵀ + bias, an ordinary contraction: x [S, B, I], w [D, G·H, I], bias [D, G·H] or null.
std::vector<Value*> recurrent_layer(GraphBuilder&, Value* x, Value* w, Value* bias, Recurrence);

// recurrent_gradient(r, dy, dh, dc, gates, cells, c0; direction) → da, dc0: an lstm's way back through time, from the
// gradients of its y [S, D, B, H] and last h and c [D, B, H], by what it kept: gates [S, B, D, 4·H] and cells [S, D, B,
// H]. da [S, B, D, 4·H] is the gradient of the sums before the gates, so of xw; dc0 [D, B, H] that of c0.
struct RecurrentGradient {
  int direction = kForward;
  Value *r = nullptr, *dy = nullptr, *dh = nullptr, *dc = nullptr, *gates = nullptr, *cells = nullptr, *c0 = nullptr;
};
std::vector<Value*> recurrent_gradient(GraphBuilder&, const RecurrentGradient&);

// dequantize(x, scale, zero_point?) = (x - zero_point) · scale, of scale's type; quantize(x, scale, zero_point; to) =
// round(x / scale) + zero_point, saturated to the range of zero_point's type. scale and zero_point have a shape that
// broadcasts to x's: one for all, one for each index of an axis, or one for each element. ONNX QuantizeLinear-25.
Value* dequantize(GraphBuilder&, Value* x, Value* scale, Value* zero_point);
Value* quantize(GraphBuilder&, Value* x, Value* scale, Value* zero_point);

// Weights [N, K] of `bits` bits in blocks of `block` along K: codes u8 [N, ⌈K/block⌉, block·bits/8], the lowest bits
// first, scales [N, ⌈K/block⌉], zero_points of the same shape and scales' type, or u8 codes in ⌈⌈K/block⌉·bits/8⌉ bytes
// a row; null: half the range.
struct PackedWeights {
  int64_t k, n, bits, block;
  Value *codes = nullptr, *scales = nullptr, *zero_points = nullptr;
};
// matmul_packed(a, codes, scales, zero_points?; k, bits, block): a [.., K] → [.., N]. com.microsoft MatMulNBits.
Value* matmul_packed(GraphBuilder&, Value* a, const PackedWeights&);
PackedWeights packed_weights(const Op& matmul_packed);
// Bytes [.., B] as codes u8 [.., B·8/bits], the lowest bits first.
Value* unpacked(GraphBuilder&, Value* bytes, int bits);

// linear_attention(q, k, v, state, decay?, beta?; scale, decay, beta) → y, state: for each time step t of [0, T), for
// each key head S ← e^decay·S (with decay), S ← S + k ⊗ v or, with beta, S + k ⊗ beta·(v - Sᵀk), and y = scale · Sᵀq.
// q [B, T, H, D], k [B, T, G, D], v [B, T, G, E], state [B, G, D, E], decay [B, T, G, D or 1], beta [B, T, G], H a
// multiple of G; y [B, T, H, E].
struct LinearAttention {
  Value *q = nullptr, *k = nullptr, *v = nullptr, *state = nullptr, *decay = nullptr, *beta = nullptr;
  double scale = 1;
};
std::vector<Value*> linear_attention(GraphBuilder&, const LinearAttention&);

// tree_ensemble(x, feature, threshold, left, right, roots, target, weight, missing_left?; targets, depth, reduce) →
// scores [N, E]: T decision trees over the rows of x [N, F], and for each row and target the sum (least, greatest) of
// what the leaves it reaches say of that target; without any, what such a reduction begins with.
// A node n < S is a split, feature i32[S], threshold [S], left and right i32[S]: on to left[n] when x[row, feature[n]]
// <= threshold[n], or when that x is NaN and missing_left bool[S] says so, else to right[n]. A node n ≥ S is the leaf
// n - S: target i32[L, K] (-1: none) and weight [L, K]. roots i32[T]; no path has more than `depth` splits.
struct TreeEnsemble {
  Value *x = nullptr, *feature = nullptr, *threshold = nullptr, *left = nullptr, *right = nullptr, *roots = nullptr,
        *target = nullptr, *weight = nullptr, *missing_left = nullptr;
  int64_t targets = 1, depth = 0;
  OpKind reduce = OpKind::ReduceSum;  // or ReduceMin, ReduceMax
};
Value* tree_ensemble(GraphBuilder&, const TreeEnsemble&);

}  // namespace lapidary::composites
