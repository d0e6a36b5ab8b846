// Trees of at most 64 leaves without walking: every split of a tree is asked, for a block of rows at once. A row has a
// bit for each leaf, all set; a split that sends it to the right clears the bits of the leaves on its left. The lowest
// bit left is the leaf the row reaches (QuickScorer, Lucchese et al. 2015; in vectors: Lucchese et al. 2016).
//
//   bits = x[slot] <= threshold ? bits : bits & mask
//
// The table of splits is read in order, one broadcast threshold and mask against a vector of rows, and nothing depends
// on the data: 1000 rows through 600 trees of 63 leaves take 2.2 ms on one core of a Zen 4, walking takes 5.9
// (bench/compare.py lightgbm_600x63, with has_tree_bits and without).
// Bits are words of 32, one or two a tree, so that a comparison of 16 floats masks 16 words. The lowest bit of a word
// is found by a multiplication: (word & -word) · c, for a de Bruijn constant c, has another pattern in its upper 5 bits
// for each place of the bit; the leaves are stored in the order of these patterns.
#include <algorithm>
#include <cmath>

#include "ir/error.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/tree_kernels.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kSegmentBytes = 256 << 10;  // a part of the second cache that copying the rows in is little against
constexpr int64_t kMostNumbers = 8;           // of a leaf: an accumulator each
constexpr int kUnroll = 2;                    // splits at a time

constexpr int64_t kWordBits = 32;
constexpr uint32_t kDeBruijn = 0x077CB531;
constexpr int kPatternShift = 27;

size_t most_leaves(const Trees& trees) {
  size_t most = 0;
  for (const TreeShape& tree : trees.shapes) most = std::max(most, tree.leaves.size());
  return most;
}

struct BitTables {
  std::vector<double> threshold, leaf;
  std::vector<int32_t> slot, first_split, first_tree;
  std::vector<uint32_t> mask;  // words of each split
};

class BitTableBuilder {
 public:
  BitTableBuilder(const Trees& trees, const Slots& slots, int64_t words, int64_t row_block)
      : trees_(trees),
        slots_(slots),
        words_(words),
        row_block_(row_block),
        left_of_(trees.feature.size()),
        place_(trees.feature.size()) {}

  BitTables build(const std::vector<Segment>& segments) {
    for (const Segment& segment : segments) {
      tables_.first_tree.push_back(static_cast<int32_t>(tables_.first_split.size()));
      for (const TreeShape* tree : segment.trees) add_tree(*tree);
    }
    tables_.first_tree.push_back(static_cast<int32_t>(tables_.first_split.size()));
    tables_.first_split.push_back(static_cast<int32_t>(tables_.slot.size()));
    return std::move(tables_);
  }

 private:
  void add_tree(const TreeShape& tree) {
    tables_.first_split.push_back(static_cast<int32_t>(tables_.slot.size()));
    count_leaves(tree);
    for (int32_t split : tree.splits) add_split(trees_.threshold[split], slots_.of(trees_, split), left_of_[split]);
    while (tables_.slot.size() % kUnroll != 0) add_split(INFINITY, 0, {});
    const auto width = static_cast<size_t>(trees_.leaf_width());
    const size_t first = tables_.leaf.size();
    tables_.leaf.resize(first + width * static_cast<size_t>(words_ * kWordBits), 0);
    for (size_t i = 0; i < tree.leaves.size(); ++i) {
      const std::vector<double> row = trees_.leaf_row(trees_.leaf_of(tree.leaves[i]));
      std::ranges::copy(row, tables_.leaf.begin() + static_cast<ptrdiff_t>(first + width * pattern(i)));
    }
  }

  static size_t pattern(size_t leaf) {
    const size_t word = leaf / kWordBits, bit = leaf % kWordBits;
    return word * kWordBits + ((kDeBruijn << bit) >> kPatternShift);
  }

  struct Leaves {
    int first = 0, count = 0;
  };

  // The leaves left of each split: splits come before what is below them, so counted from the last on.
  void count_leaves(const TreeShape& tree) {
    std::vector<int> below(tree.splits.size());
    for (size_t i = 0; i < tree.splits.size(); ++i) place_[tree.splits[i]] = static_cast<int32_t>(i);
    auto leaves = [&](int32_t node) { return trees_.is_leaf(node) ? 1 : below[place_[node]]; };
    for (size_t i = tree.splits.size(); i-- > 0;) {
      const int32_t split = tree.splits[i];
      left_of_[split] = {0, leaves(trees_.left[split])};
      below[i] = left_of_[split].count + leaves(trees_.right[split]);
    }
    for (int32_t split : tree.splits) {
      const Leaves here = left_of_[split];
      if (!trees_.is_leaf(trees_.left[split])) left_of_[trees_.left[split]].first = here.first;
      if (!trees_.is_leaf(trees_.right[split])) left_of_[trees_.right[split]].first = here.first + here.count;
    }
  }

  void add_split(double threshold, int32_t slot, Leaves cleared) {
    tables_.threshold.push_back(threshold);
    tables_.slot.push_back(static_cast<int32_t>(slot * row_block_));
    const uint64_t mask = ~(((uint64_t{1} << cleared.count) - 1) << cleared.first);
    for (int64_t word = 0; word < words_; ++word)
      tables_.mask.push_back(static_cast<uint32_t>(mask >> (word * kWordBits)));
  }

  const Trees& trees_;
  const Slots& slots_;
  const int64_t words_, row_block_;
  BitTables tables_;
  std::vector<Leaves> left_of_;  // by split
  std::vector<int32_t> place_;   // of a split in its tree
};

class BitLowering {
 public:
  BitLowering(const TreeEnsembleForm& form, int vectors)
      : form_(form),
        vectors_(vectors),
        trees_(form.trees),
        words_(most_leaves(trees_) <= kWordBits ? 1 : 2),
        module_(form.context.module),
        builder_(module_, form.context.target(), "tree_ensemble",
                 fmt::format("bits={} rows={}", words_ * kWordBits, vectors * form.context.target().f32_lanes())),
        emit_(builder_, form.group),
        lanes_(builder_.target.f32_lanes()),
        block_(vectors_ * lanes_) {}

  TreeVariant lower(Dim when) {
    const int64_t split_bytes = 8 + words_ * 4, leaf_bytes = trees_.leaf_width() * words_ * kWordBits * 4;
    const std::vector<Segment> segments = segments_of(
        trees_, kSegmentBytes,
        [&](const TreeShape& tree) { return static_cast<int64_t>(tree.splits.size()) * split_bytes + leaf_bytes; }, 1);
    tables_of(segments);
    Dim blocks = module_.dims.ceildiv(form_.rows, builder_.dim(block_)),
        segment_count = builder_.dim(static_cast<int64_t>(segments.size()));
    std::vector<Expr> axes = builder_.split_task({segment_count, blocks});
    Block& body = builder_.body;
    Expr rows = builder_.parameter(form_.rows), first_row = body.let("first_row", mul(axes[1], integer(block_)));
    stage_rows(body, first_row, rows);
    const int64_t numbers = trees_.leaf_width();
    Buffer sum = body.local("sum", {DType::F32, static_cast<uint16_t>(lanes_)}, numbers * vectors_);
    unrolled(body, "i", sum->size, [&](Block& block, Expr i) { block.add(store(sum, i, nothing(trees_, lanes_))); });
    Expr first = load_index(first_tree_, axes[0]), end = load_index(first_tree_, add(axes[0], integer(1)));
    serial(body, "tree", first, end, 1, [&](Block& block, Expr tree) { add_tree(block, tree, sum); });
    unrolled(body, "v", vectors_, [&](Block& block, Expr v) {
      Expr row = block.let("row", add(first_row, mul(v, integer(lanes_))));
      Expr mask = block.let("mask", first_lanes(sub(rows, row), lanes_));
      Expr place = block.let("place", mul(add(mul(axes[0], rows), row), integer(numbers)));
      unrolled(block, "e", numbers, [&](Block& inner, Expr e) {
        Expr total = load(sum, add(mul(e, integer(int64_t{vectors_})), v), lanes_), at = add(place, e);
        if (numbers > 1) at = ramp(at, integer(numbers), lanes_);
        inner.add(store(partial_, at, total, mask));
      });
    });
    TreeVariant result;
    for (const Segment& segment : segments) result.targets.push_back(segment.target);
    result.variant = builder_.finish(module_.dims.mul(segment_count, blocks), when);
    return result;
  }

 private:
  void tables_of(const std::vector<Segment>& segments) {
    const BitTables tables = BitTableBuilder(trees_, form_.slots, words_, block_).build(segments);
    threshold_ = builder_.weight(add_table(module_, DType::F32, tables.threshold));
    slot_ = builder_.weight(add_table(module_, tables.slot));
    mask_ = builder_.weight(add_table(module_, tables.mask));
    leaf_ = builder_.weight(add_table(module_, DType::F32, tables.leaf));
    first_split_ = builder_.weight(add_table(module_, tables.first_split));
    first_tree_ = builder_.weight(add_table(module_, tables.first_tree));
    features_ = builder_.weight(add_table(module_, form_.slots.features));
    partial_ = builder_.scratch(0, DType::F32, true);
    stage_ = builder_.stage("x", DType::F32, builder_.dim(form_.slots.count() * block_));
  }

  // Column by column, the rows of the block along the lanes.
  void stage_rows(Block& body, Expr first_row, Expr rows) {
    for (bool replaced : {false, true}) {
      const int64_t begin = replaced ? form_.slots.replaced : 0,
                    end = replaced ? form_.slots.count() : form_.slots.replaced;
      if (begin == end) continue;
      serial(body, "slot", integer(begin), integer(end), 1, [&](Block& block, Expr slot) {
        Expr feature = block.let("feature", load_index(features_, slot));
        unrolled(block, "v", vectors_, [&](Block& inner, Expr v) {
          GroupEmitter::Scope scope(emit_, inner);
          Expr row = inner.let("row", add(first_row, mul(v, integer(lanes_))));
          Expr mask = inner.let("mask", first_lanes(sub(rows, row), lanes_));
          Expr value = inner.let("x", emit_.value(form_.op.operand(0), {{along(row), at(feature)}, lanes_, mask}));
          if (replaced) value = select(apply(ScalarOp::IsNan, {value}), real(-INFINITY, lanes_), value);
          inner.add(store(stage_, add(mul(slot, integer(block_)), mul(v, integer(lanes_))), value));
        });
      });
    }
  }

  Expr whole(uint32_t value) const { return constant(Scalar::of_integer(DType::U32, value), lanes_); }

  // Word `word` of vector v: beside each other.
  Expr word_at(Expr v, int64_t word) const { return add(mul(v, integer(words_)), integer(word)); }

  void add_tree(Block& block, Expr tree, const Buffer& sum) {
    Buffer bits = block.local("bits", {DType::U32, static_cast<uint16_t>(lanes_)}, vectors_ * words_);
    unrolled(block, "i", bits->size, [&](Block& inner, Expr i) { inner.add(store(bits, i, whole(UINT32_MAX))); });
    Expr first = load_index(first_split_, tree), end = load_index(first_split_, add(tree, integer(1)));
    serial(block, "split", first, end, kUnroll, [&](Block& loop, Expr split) {
      unrolled(loop, "u", kUnroll, [&](Block& step, Expr u) {
        Expr at = add(split, u);
        Expr slot = step.let("slot", load_index(slot_, at));
        Expr threshold = step.let("threshold", splat(load(threshold_, at), lanes_));
        std::vector<Expr> masks;
        for (int64_t word = 0; word < words_; ++word)
          masks.push_back(step.let("mask", splat(load(mask_, word_at(at, word)), lanes_)));
        unrolled(step, "v", vectors_, [&](Block& inner, Expr v) {
          Expr x = load(stage_, add(slot, mul(v, integer(lanes_))), lanes_);
          Expr goes = inner.let("goes", apply(ScalarOp::Not, {apply(ScalarOp::LessEqual, {x, threshold})}));
          for (int64_t word = 0; word < words_; ++word) {
            Expr now = load(bits, word_at(v, word), lanes_);
            inner.add(store(bits, word_at(v, word), select(goes, apply(ScalarOp::And, {now, masks[word]}), now)));
          }
        });
      });
    });
    const int64_t numbers = trees_.leaf_width();
    unrolled(block, "v", vectors_, [&](Block& inner, Expr v) {
      Expr word = inner.let("word", load(bits, word_at(v, 0), lanes_)), leaf = whole(0);
      if (words_ > 1) {
        Expr empty = inner.let("empty", equal(word, whole(0)));
        word = inner.let("word", select(empty, load(bits, word_at(v, 1), lanes_), word));
        leaf = select(empty, whole(kWordBits), leaf);
      }
      Expr lowest = apply(ScalarOp::And, {word, sub(whole(0), word)});
      Expr pattern = apply(ScalarOp::ShiftRight, {mul(lowest, whole(kDeBruijn)), whole(kPatternShift)});
      leaf = convert(add(leaf, pattern), DType::I64);
      leaf = add(leaf, splat(mul(tree, integer(words_ * kWordBits)), lanes_));
      leaf = inner.let("leaf", mul(leaf, splat(integer(numbers), lanes_)));
      unrolled(inner, "e", numbers, [&](Block& part, Expr e) {
        Expr at = add(mul(e, integer(int64_t{vectors_})), v), number = load(leaf_, add(leaf, splat(e, lanes_)), lanes_);
        part.add(store(sum, at, combined(trees_, load(sum, at, lanes_), number)));
      });
    });
  }

  const TreeEnsembleForm& form_;
  const int vectors_;  // of rows in a block
  const Trees& trees_;
  const int64_t words_;  // of bits
  Module& module_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const int lanes_;
  const int64_t block_;  // rows
  Buffer threshold_, slot_, mask_, leaf_, first_split_, first_tree_, features_, partial_, stage_;
};

}  // namespace

bool has_tree_bits(const Trees& trees, const Target& target) {
  if (trees.dtype != DType::F32 || target.f32_lanes() < 8 || trees.leaf_width() > kMostNumbers) return false;
  return std::ranges::all_of(trees.shapes,
                             [](const TreeShape& tree) { return !tree.shares && tree.leaves.size() <= 64; });
}

TreeVariant ask_all_splits(const TreeEnsembleForm& form, int vectors, Dim when) {
  return BitLowering(form, vectors).lower(when);
}

}  // namespace lapidary::lowering
