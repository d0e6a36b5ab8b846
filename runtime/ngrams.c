/* Counts the n-grams of rows of tokens, for TfIdfVectorizer. The table is a trie in a hash table: columns, least and
 * greatest length, skips, slots (a power of two), nodes; for each node its column or -1; then for each slot node + 1
 * (0: free), token, child. The root is node 0. */
#include "internal.h"

typedef struct {
  const int64_t *head, *columns, *slots;
} grams;

static int64_t child_of(const grams *g, int64_t node, int64_t token) {
  const uint64_t mask = (uint64_t)g->head[4] - 1; /* the hash: as in frontend/ops/ngrams.cpp */
  uint64_t hash = ((uint64_t)token ^ (uint64_t)node << 32) * UINT64_C(0x9e3779b97f4a7c15);
  for (uint64_t slot = (hash >> 29) & mask;; slot = (slot + 1) & mask) {
    const int64_t *entry = g->slots + 3 * slot;
    if (entry[0] == 0) return -1;
    if (entry[0] == node + 1 && entry[1] == token) return entry[2];
  }
}

static void count_from(const grams *g, const int64_t *tokens, int64_t length, int64_t begin, int64_t distance,
                       int64_t least, float *counts) {
  int64_t node = 0, at = begin;
  for (int64_t size = 1; size <= g->head[2]; ++size) {
    node = child_of(g, node, tokens[at]);
    if (node < 0) return;
    if (size >= least && g->columns[node] >= 0) counts[g->columns[node]] += 1;
    if (distance >= length - at) return;
    at += distance;
  }
}

lpd_status lpd_count_ngrams(const lpd_call *call) {
  const int64_t *table = call->operands[1], length = call->integers[1], columns = table[0];
  const grams g = {table, table + 6, table + 6 + table[5]};
  const int64_t rows = columns > 0 ? call->integers[0] / columns : 0;
  float *counts = call->operands[2];
  for (int64_t i = 0; i < rows * columns; ++i) counts[i] = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t *tokens = (const int64_t *)call->operands[0] + row * length;
    int64_t least = table[1];
    for (int64_t distance = 1; distance <= table[3] + 1 && distance <= length; ++distance) {
      for (int64_t begin = 0; begin < length; ++begin)
        count_from(&g, tokens, length, begin, distance, least, counts + row * columns);
      if (least == 1 && ++least > table[2]) break; /* single tokens are counted once: nothing is skipped in them */
    }
  }
  return LPD_OK;
}
