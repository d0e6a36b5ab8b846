// The trees of a tree_ensemble as a kernel wants them: read from the composite's constants, sorted into segments, and
// laid out in tables.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"
#include "passes/lower/family.h"

namespace lapidary::lowering {

struct TreeShape {
  int32_t root = 0;             // a split, or a leaf counted from the number of splits on
  int64_t target = 0;           // that all its leaves speak of
  int32_t depth = 0;            // splits on the longest way down
  std::vector<int32_t> splits;  // each once, before what it leads to
  std::vector<int32_t> leaves;  // each once, from left to right
  bool shares = false;          // some part hangs below two splits
};

// All of one composite. Throws Unsupported when a table is no constant.
struct Trees {
  Trees(Context&, const Op& group, const Op& op);

  DType dtype;  // of thresholds and weights
  int64_t targets;
  OpKind reduce;
  std::vector<int32_t> feature, left, right, roots;
  std::vector<double> threshold;
  std::vector<bool> missing_left;  // empty: none
  std::vector<TreeShape> shapes;
  bool one_target;  // each tree speaks of one target, so a leaf is one number; else it is a row of all targets

  bool sends_missing_left(size_t split) const { return !missing_left.empty() && missing_left[split]; }
  int64_t weights() const { return static_cast<int64_t>(weight_.size()); }
  bool is_leaf(int32_t node) const { return node >= static_cast<int32_t>(feature.size()); }
  int64_t leaf_of(int32_t node) const { return node - static_cast<int64_t>(feature.size()); }
  double none() const;         // what the reduction begins with
  int64_t leaf_width() const;  // numbers of a leaf in tables: 1, or the targets filled up to whole vectors
  std::vector<double> leaf_row(int64_t leaf) const;  // leaf_width() of them

 private:
  void find_shapes();
  TreeShape shape_of(int32_t root);
  int64_t width_ = 0;  // weights of a leaf
  std::vector<int32_t> target_;
  std::vector<double> weight_;
  std::vector<int32_t> seen_;   // by node: the tree it was last met in
  std::vector<int32_t> below_;  // by split: its depth
  int32_t tree_ = 0;
};

// Trees that one task walks: all of one target, or of all.
struct Segment {
  int64_t target = 0;
  std::vector<const TreeShape*> trees;
};
// Trees of a target together, the less deep first, in parts of about `most` by what `cost_of` says; a multiple of
// `multiple` trees each, but for a target's last.
std::vector<Segment> segments_of(const Trees&, int64_t most, const std::function<int64_t(const TreeShape&)>& cost_of,
                                 size_t multiple);

// The columns of x that the splits read, each once, or once more for splits that send NaN to the left: there NaN is
// replaced by -inf, so that all comparisons are the same. Column `slot` of what is compared with is x's `features`
// [slot]; those from `replaced` on are of the second kind.
struct Slots {
  explicit Slots(const Trees&);
  std::vector<int32_t> features;
  int64_t replaced = 0;
  bool in_order = false;  // features 0, 1, … of each kind: whole vectors of a row
  int64_t count() const { return static_cast<int64_t>(features.size()); }
  int32_t of(const Trees&, int32_t split) const;
};

// Constants of tables.
ConstantId add_table(Module&, const std::vector<int32_t>&);
ConstantId add_table(Module&, DType, const std::vector<double>&);
ConstantId add_table(Module&, const std::vector<uint32_t>&);

}  // namespace lapidary::lowering
