// Attention of queries over keys, against the softmax in long double: masks, biases, ragged sizes, all orders of
// threads.
#pragma once

#include "test/cuda/device/product_checks.h"
//
#include "codegen/cuda/device/reduce.h"
//
#include "codegen/cuda/device/attend.h"

struct attend_case {
  i64 queries, keys, key_begin, width, values;
  bool causal;
  // Rising: a function whose largest scores come late. Shared: stored, the same for all rows.
  enum { Function, Rising, None, Stored, Shared } bias = Function;

  f32 bias_of(i64 row, i64 key) const {
    if (bias == Rising) return 6 * f32(3 * key / keys);
    return 0.125f * f32(((bias == Shared ? 0 : row) + 3 * key) % 5);
  }
};

// What the score of a pair is: scaled, with a bias that depends on both, masked above the diagonal if causal.
inline f32 score_of(const attend_case& the, i64 row, i64 key, f32 product) {
  return the.causal && key > row ? -INFINITY : product * 0.35f + the.bias_of(row, key);
}

// What is computed of all queries.
struct attended {
  std::vector<f32> results, logs;
  std::vector<u16> biases;  // where they are stored
  i64 stride;
  const attend_case& the;
  attended(const attend_case& the)
      : results(size_t(the.queries * the.values), NAN), logs(size_t(the.queries), NAN), the(the) {
    stride = the.keys % 3 ? (the.keys + 1) / 2 * 2 : the.keys;
    const i64 rows = the.bias == attend_case::Stored ? the.queries : the.bias == attend_case::Shared ? 1 : 0;
    for (i64 i = 0; i < rows * stride; ++i) {
      const i64 row = i / stride, key = i % stride;
      const bool hidden = the.causal && key > row && the.bias == attend_case::Stored;  // whatever it is
      biases.push_back(encode_f16(key < the.keys && !hidden ? the.bias_of(row, key) : NAN));
    }
  }
  void result(i64 row, i64 column, f32 x) {
    if (row < the.queries && column < the.values) results[size_t(row * the.values + column)] = x;
  }
  void log_sum(i64 row, f32 x) {
    if (row < the.queries) logs[size_t(row)] = x;
  }
};
template <int VECTOR, bool SHARED, bool CAUSAL>
auto stored_score(const attended& found, i64 first) {
  const i64 stride = SHARED ? 0 : found.stride;
  return biased_score<f16_bias, VECTOR, SHARED, CAUSAL>{0.35f, first, found.biases.data() + first * stride, stride,
                                                        found.the.queries - first};
}
// Calls run(f) where f(first) is what says so of a block whose first query is `first`.
template <class RUN>
void with_score(const attended& found, const RUN& run) {
  const attend_case& the = found.the;
  const bool pairs = found.stride % 2 == 0;
  if (the.bias == attend_case::Function || the.bias == attend_case::Rising)
    run([&the](i64 first) {
      return any_score([&the, first](i64 row, i64 key, f32 s) { return score_of(the, first + row, key, s); });
    });
  else if (the.bias == attend_case::Shared && the.causal)
    run([&](i64 first) { return stored_score<1, true, true>(found, first); });
  else if (the.bias == attend_case::Shared)
    run([&](i64 first) { return stored_score<1, true, false>(found, first); });
  else if (the.bias == attend_case::Stored && the.causal)
    pairs ? run([&](i64 first) { return stored_score<2, false, true>(found, first); })
          : run([&](i64 first) { return stored_score<1, false, true>(found, first); });
  else if (the.bias == attend_case::Stored)
    pairs ? run([&](i64 first) { return stored_score<2, false, false>(found, first); })
          : run([&](i64 first) { return stored_score<1, false, false>(found, first); });
  else if (the.causal)
    run([](i64 first) { return scaled_score<true>{0.35f, first}; });
  else
    run([](i64) { return scaled_score<false>{0.35f, 0}; });
}

// A block for each tile of queries.
template <class ATTENTION, int ROWS, int THREADS>
struct by_blocks {
  template <class Q, class K, class V>
  static void run(const attend_case& the, const Q& q, const K& k, const V& v, unsigned order, attended& found) {
    const unsigned blocks = unsigned((the.queries + ROWS - 1) / ROWS);
    emulator::launch({blocks}, {THREADS}, ATTENTION::shared_bytes, order, [&] {
      DYNAMIC_SHARED(shared);
      const i64 first = i64(blockIdx.x) * ROWS;
      const auto queries = q.positions(first);
      with_score(found, [&](const auto& score) {
        ATTENTION::run(
            shared, the.key_begin, the.keys, queries, k.operand(0), v.operand(0), score(first),
            [&](i64 row, i64 column, f32 x, f32 y) {
              found.result(first + row, column, x);
              found.result(first + row, column + 1, y);
            },
            [&](i64 row, f32 x) { found.log_sum(first + row, x); });
      });
    });
  }
};

// How exact products of queries and keys are, and weights.
struct exactness {
  f64 scores, weights;
};

// Operands have their lines along the columns of a head, k along the sequence.
template <class LAUNCH, class Q, class K, class V>
void check_attention(const char* name, const attend_case& the, exactness exact, unsigned order) {
  std::mt19937 random(unsigned(the.queries * 31 + the.keys * 17 + the.width));
  const Q q(the.width, the.queries, random);
  const K k(the.width, the.keys, random);
  const V v(the.values, the.keys, random);
  attended found(the);
  emulator::bank_conflicts = 0;
  LAUNCH::run(the, q, k, v, order, found);
  const char* error = emulator_error();
  check(!error, "%s %lldx%lld order %u: %s", name, the.queries, the.keys, order, error ? error : "");
  if (error) return;
  check(emulator::bank_conflicts == 0, "%s %lldx%lld: %llu cycles lost to bank conflicts", name, the.queries, the.keys,
        u64(emulator::bank_conflicts));
  i64 wrong = 0;
  for (i64 i = 0; i < the.queries; ++i) {
    std::vector<long double> scores;
    long double largest = -INFINITY, total = 0;
    for (i64 key = the.key_begin; key < the.keys; ++key) {
      long double product = 0;
      for (i64 c = 0; c < the.width; ++c) product += (long double)q.value(c, i) * k.value(c, key);
      const bool masked = the.causal && key > i;
      const long double bias = the.bias == attend_case::None ? 0 : the.bias_of(i, key);
      scores.push_back(masked ? -INFINITY : product * 0.35f + bias);
      largest = std::max(largest, scores.back());
    }
    const bool none = largest == -INFINITY;  // to look at
    for (long double& score : scores) total += score = std::exp(score - (none ? 0 : largest));
    const auto expect = [&](const char* what, f32 got, long double expected, long double bound) {
      const bool met = std::isnan(expected) ? std::isnan(got) : got == expected || std::fabs(got - expected) <= bound;
      if (!met && wrong++ == 0)
        check(false, "%s %lldx%lld order %u: %s of row %lld is %.9g, expected %.9g within %.2g", name, the.queries,
              the.keys, order, what, i, f64(got), f64(expected), f64(bound));
    };
    const long double error_of_scores =
        2 * std::sqrt((long double)the.width) * exact.scores + 0x1p-22L * (the.bias == attend_case::Rising ? 16 : 1);
    const long double log_sum = std::log(total) + largest;
    expect("logarithm", found.logs[size_t(i)], log_sum, error_of_scores + 0x1p-22L * std::fabs(log_sum));
    for (i64 column = 0; column < the.values; ++column) {
      long double expected = 0, magnitude = 0;
      for (i64 key = the.key_begin; key < the.keys; ++key) {
        const long double term = scores[size_t(key - the.key_begin)] * v.value(column, key) / total;
        expected += term;
        magnitude += std::fabs(term);
      }
      if (none) expected = NAN;
      expect("result", found.results[size_t(i * the.values + column)], expected,
             2 * (error_of_scores + exact.weights) * magnitude);
    }
  }
  check(wrong == 0, "%s %lldx%lld order %u: %lld numbers wrong", name, the.queries, the.keys, order, wrong);
}

template <class LAUNCH, int ROWS, int KEYS, int WIDTH, int VALUES, class Q, class K, class V>
void check_attentions(const char* name, exactness exact, bool all) {
  const auto whole = [](i64 size) { return Q::whole_chunks(K::whole_chunks(V::whole_chunks(size))); };
  const auto run = [&](attend_case the, unsigned order) { check_attention<LAUNCH, Q, K, V>(name, the, exact, order); };
  run({whole(ROWS + 1), whole(3 * KEYS + 5), 0, WIDTH, VALUES, false}, 0);
  run({whole(ROWS), whole(2 * KEYS), 0, whole(WIDTH - 9), whole(VALUES - 10), true}, 1);
  run({whole(ROWS - 1), whole(KEYS - 1), 0, WIDTH, VALUES, false}, 7);
  run({whole(1), whole(1), 0, WIDTH, VALUES, true}, 0);
  run({whole(3), whole(2 * KEYS), whole(KEYS), WIDTH, VALUES, true}, 1);  // rows without a key to look at
  run({whole(3), 0, 0, WIDTH, VALUES, false}, 7);
  run({whole(ROWS + 1), whole(3 * KEYS + 5), 0, WIDTH, VALUES, false, attend_case::None}, 1);
  run({whole(2 * ROWS + 7), whole(2 * KEYS + 3), 0, WIDTH, VALUES, true, attend_case::None}, 7);
  run({whole(ROWS + 1), whole(2 * KEYS + 5), 0, WIDTH, VALUES, false, attend_case::Stored}, 0);
  run({whole(ROWS + 1), whole(KEYS + 7), 0, WIDTH, VALUES, false, attend_case::Stored}, 7);
  run({whole(ROWS - 1), whole(KEYS - 1), 0, WIDTH, VALUES, true, attend_case::Stored}, 1);
  run({whole(ROWS - 1), whole(3 * KEYS), 0, WIDTH, VALUES, false, attend_case::Rising}, 7);
  run({whole(ROWS - 1), whole(2 * KEYS + 6), 0, WIDTH, VALUES, false, attend_case::Shared}, 1);
  run({whole(ROWS - 1), whole(KEYS + 1), 0, WIDTH, VALUES, true, attend_case::Shared}, 0);
  if (!all) return;
  for (unsigned order : {0u, 1u, 5u, 99u})
    for (i64 keys : {i64(1), i64(KEYS), 5 * i64(KEYS) + 1})
      for (bool causal : {false, true})
        for (auto bias : {attend_case::Function, attend_case::None, attend_case::Stored, attend_case::Shared})
          run({whole(2 * ROWS + 3), whole(keys), 0, WIDTH, VALUES, causal, bias}, order);
}
