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

// attention(q, k, v, mask?; scale, causal): softmax(q·kᵀ·scale + mask)·v.
// q [B, H, S, D], k [B, G, T, D], v [B, G, T, E], H a multiple of G (grouped heads); mask broadcastable to
// [B, H, S, T], added; → [B, H, S, E]. causal: query i sees keys ≤ i + T - S.
Value* attention(GraphBuilder&, Value* q, Value* k, Value* v, Value* mask, double scale, bool causal);

// One direction of an LSTM layer, ONNX LSTM-14's maths with the default activations: an ordinary contraction for the
// input's part of all gates, then the composite "lstm" for what recurs.
// x [S, B, I], w [4H, I], r [4H, H], b [4H] (both biases added), h0 and c0 [B, H]; gates in ONNX's order i, o, f, c.
// → y [S, B, H], h [B, H], c [B, H].
std::vector<Value*> lstm(GraphBuilder&, Value* x, Value* w, Value* r, Value* b, Value* h0, Value* c0, bool reverse);

// lstm(xw, r, h0, c0; reverse) → y, h, c: gates(t) = xw[t] + h(t-1)·rᵀ, xw [S, B, 4H].
std::vector<Value*> lstm_recurrence(GraphBuilder&, Value* xw, Value* r, Value* h0, Value* c0, bool reverse);

}  // namespace lapidary::composites
