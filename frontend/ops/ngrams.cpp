// TfIdfVectorizer: how often each n-gram of a pool is among the tokens of a row, weighted. The pool becomes a trie in a
// hash table, which the host walks from every token on (count_ngrams); strings are looked up among the pool's first.
#include <algorithm>
#include <map>

#include "frontend/ops/strings.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

constexpr size_t kMostNodes = 1 << 26;
constexpr int64_t kMostColumns = 1 << 24;
constexpr int64_t kLongest = INT64_C(1) << 40;  // of lengths and skips: no row is longer

struct Pool {
  std::vector<int64_t> tokens;
  std::vector<std::string> texts;  // of strings: those that the tokens stand for
};

Pool pool_of(Node& node) {
  const std::vector<std::string> texts = node.texts("pool_strings");
  const bool strings = node.type(0).dtype == DType::String;
  if (node.has("pool_strings") && node.has("pool_int64s")) fail("pools of strings and of integers");
  if (strings != node.has("pool_strings")) fail("the input is {}, the pool is not", name_of(node.type(0).dtype));
  Pool pool{node.integers("pool_int64s"), {}};
  std::map<std::string, int64_t> places;
  for (const std::string& text : texts) {
    const auto [found, is_new] = places.try_emplace(text, static_cast<int64_t>(pool.texts.size()));
    if (is_new) pool.texts.push_back(text);
    pool.tokens.push_back(found->second);
  }
  return pool;
}

class Trie {
 public:
  // The n-gram of these tokens is counted in this column.
  void add(std::span<const int64_t> tokens, int64_t column) {
    int64_t node = 0;
    for (int64_t token : tokens) {
      const auto [found, is_new] = children_.try_emplace({node, token}, static_cast<int64_t>(columns_.size()));
      if (is_new) columns_.push_back(-1);
      if (columns_.size() > kMostNodes) unsupported("a pool of more than {} n-grams", kMostNodes);
      node = found->second;
    }
    columns_[static_cast<size_t>(node)] = column;
  }

  // As runtime/ngrams.c reads it, which hashes alike.
  std::vector<Scalar> table(const std::vector<int64_t>& head) const {
    size_t slots = 2;
    while (slots < 2 * children_.size()) slots *= 2;
    std::vector<int64_t> entries(3 * slots);
    for (const auto& [key, child] : children_) {
      const auto [node, token] = key;
      const uint64_t hash =
          (static_cast<uint64_t>(token) ^ static_cast<uint64_t>(node) << 32) * UINT64_C(0x9e3779b97f4a7c15);
      size_t slot = hash >> 29 & (slots - 1);
      while (entries[3 * slot] != 0) slot = (slot + 1) & (slots - 1);
      entries[3 * slot] = node + 1, entries[3 * slot + 1] = token, entries[3 * slot + 2] = child;
    }
    std::vector<Scalar> result;
    const auto append = [&](const std::vector<int64_t>& values) {
      for (int64_t value : values) result.push_back(Scalar::of_integer(DType::I64, value));
    };
    append(head);
    append({static_cast<int64_t>(slots), static_cast<int64_t>(columns_.size())});
    append(columns_);
    append(entries);
    return result;
  }

 private:
  std::map<std::pair<int64_t, int64_t>, int64_t> children_;  // by node and token
  std::vector<int64_t> columns_ = {-1};                      // of the n-gram that ends at each node
};

// ngram_counts says where in the pool the n-grams of each length begin.
Trie trie_of(Node& node, const std::vector<int64_t>& tokens, const std::vector<int64_t>& columns) {
  const std::vector<int64_t> begins = node.integers("ngram_counts");
  const int64_t least = node.integer("min_gram_length"), most = node.integer("max_gram_length");
  const auto total = static_cast<int64_t>(tokens.size());
  Trie trie;
  size_t ngram = 0;
  for (size_t i = 0; i < begins.size(); ++i) {
    const auto length = static_cast<int64_t>(i) + 1;
    const int64_t begin = begins[i], end = i + 1 < begins.size() ? begins[i + 1] : total;
    if (begin < 0 || begin > end || end > total) fail("ngram_counts {} do not ascend within the pool", to_text(begins));
    if ((end - begin) % length != 0) fail("{} tokens are no {}-grams", end - begin, length);
    for (int64_t at = begin; at < end; at += length, ++ngram) {
      if (ngram >= columns.size()) fail("{} ngram_indexes for a larger pool", columns.size());
      if (length >= least && length <= most)
        trie.add(std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(length)), columns[ngram]);
    }
  }
  if (ngram != columns.size()) fail("{} ngram_indexes for {} n-grams", columns.size(), ngram);
  return trie;
}

Value* weighted(Node& node, Value* counts, int64_t columns) {
  GraphBuilder& b = node.build;
  const std::string mode = node.text("mode");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") fail("mode '{}' is unknown", printable(mode));
  if (mode == "TF") return counts;
  Value* some = b.convert(b.scalar_op(ScalarOp::Less, {b.like(counts, 0), counts}), DType::F32);
  Value* base = mode == "IDF" ? some : counts;
  const std::vector<double> weights = node.numbers("weights");
  if (weights.empty()) return base;
  const std::vector<int64_t> places = node.integers("ngram_indexes");
  if (weights.size() != places.size()) fail("{} weights for {} n-grams", weights.size(), places.size());
  std::vector<Scalar> row(static_cast<size_t>(columns), Scalar::of_float(DType::F32, 0));
  for (size_t i = 0; i < weights.size(); ++i) row[static_cast<size_t>(places[i])].number = weights[i];
  return b.mul(base, b.constant(b.module.constants.add_scalars(DType::F32, {columns}, row)));
}

Values tf_idf_vectorizer(Node& node) {
  GraphBuilder& b = node.build;
  const int64_t least = node.integer("min_gram_length"), most = node.integer("max_gram_length"),
                skips = node.integer("max_skip_count");
  if (least < 1 || most < least || skips < 0) fail("lengths from {} to {} with {} skips", least, most, skips);
  const std::vector<int64_t> lengths = {std::min(least, kLongest), std::min(most, kLongest), std::min(skips, kLongest)};
  const std::vector<int64_t> columns = node.integers("ngram_indexes");
  if (columns.empty() || *std::ranges::min_element(columns) < 0) fail("ngram_indexes are none, or negative");
  const int64_t width = *std::ranges::max_element(columns) + 1;
  if (width > kMostColumns) unsupported("results of {} columns", width);
  const int rank = node.rank();
  if (rank > 2) fail("input has rank {}, expected 1 or 2", rank);

  const Pool pool = pool_of(node);
  const std::vector<Scalar> table =
      trie_of(node, pool.tokens, columns).table({width, lengths[0], lengths[1], lengths[2]});
  Value* tokens = node.input(0);
  tokens = tokens->type.dtype == DType::String ? place_among(node, tokens, pool.texts) : b.convert(tokens, DType::I64);
  if (rank < 2) tokens = b.reshape(tokens, {b.dim(1), rank == 1 ? tokens->type.shape[0] : b.dim(1)});
  const Shape shape = tokens->type.shape;
  Value* grams = b.constant(b.module.constants.add_scalars(DType::I64, {static_cast<int64_t>(table.size())}, table));
  Params params{{"shape", Shape{shape[0], b.dim(width)}}, {"arguments", std::vector<Dim>{shape[1]}}};
  Value* counts = host_call(node, "count_ngrams", {tokens, grams}, DType::F32, std::move(params));
  if (rank < 2) counts = b.reshape(counts, {b.dim(width)});
  return {weighted(node, counts, width)};
}

constexpr OpEntry kOps[] = {{"TfIdfVectorizer", tf_idf_vectorizer}};

}  // namespace

std::span<const OpEntry> ngram_ops() { return kOps; }

}  // namespace lapidary::frontend
