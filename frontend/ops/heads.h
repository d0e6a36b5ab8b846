// What attention operators of all domains share: heads, masks, rotation.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

void check_heads(int64_t count);
// x [B, S, heads·D] → [B, heads, S, D], and back.
Value* split_heads(Node&, Value* x, int64_t heads, const char* what);
Value* merge_heads(Node&, Value* x);

// The bias that scores [B, H, S, T] get: what a mask adds, and -∞ where a query must not look at a key.
struct AttentionBias {
  Value* added = nullptr;    // broadcastable to the scores
  Value* allowed = nullptr;  // bool, likewise
  void allow(Node&, Value* condition);
  Value* value(Node&, DType) const;  // both as one; null when there is neither
};

// Positions of queries and keys as i64 [S, 1] and [1, T]; the first query stands at `offset`, a value that broadcasts.
struct AttentionPositions {
  Value *query, *key;
};
AttentionPositions attention_positions(Node&, Dim queries, Dim keys, Value* offset);
Value* not_after(Node&, const AttentionPositions&);                              // key ≤ query
Value* within(Node&, const AttentionPositions&, int64_t before, int64_t after);  // -1: no bound on that side

struct AttentionCall {
  Value *q = nullptr, *k = nullptr, *v = nullptr;  // [B, H, S, D], [B, G, T, D], [B, G, T, E]
  Value* bias = nullptr;
  double scale = 1, softcap = 0;
  bool causal = false;            // without a bias only
  bool zero_where_masked = true;  // a query that sees no key gets zeros; else what softmax makes of -∞ alone
};
Value* attend(Node&, const AttentionCall&);
// Sets call.scale: the attribute `scale` unless it is 0 or left out, else 1/√D; a D known only at run time goes into q.
void set_scale(Node&, AttentionCall&);
// A condition [.., S, 1]: the bias hides all keys.
Value* sees_nothing(Node&, Value* bias);

// x [B, H, S, D] turned in its first `rotated` components of D by the angles whose cosines and sines are
// [B or 1, S, rotated/2]; pairs lie beside each other (interleaved) or half the components apart.
Value* rotated(Node&, Value* x, Value* cosine, Value* sine, Dim rotated, bool interleaved);

}  // namespace lapidary::frontend
