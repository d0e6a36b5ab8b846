// Decision trees as ONNX writes them, brought to the one form of composites::tree_ensemble: splits `x <= threshold`
// that say which way NaN goes. The other comparisons are that one with another threshold, the sides exchanged, or two
// of it:
//
//   x < t   is  x <= p            where p is the number before t
//   x > t   is  x <= t, sides exchanged; NaN, which is not > t, keeps its side by being missing
//   x == t  is  x <= t, and then x <= p with the sides exchanged
//   x in {…}  is a balanced tree over the sorted members with x == t at its leaves
//
// Splits may share what they lead to. Test: test/frontend/ml_tests.py.
#pragma once

#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {

enum class TreeMode : uint8_t { LessEqual, Less, GreaterEqual, Greater, Equal, NotEqual, Member, Leaf };

class Forest {
 public:
  // What a split leads to: a split by its index, a leaf by the complement of its own.
  using Target = int32_t;
  static Target leaf(size_t index) { return ~static_cast<Target>(index); }

  // Numbers are rounded to `dtype`, F32 or F64, which the trees compare in.
  Forest(DType dtype, size_t splits);

  DType dtype() const { return dtype_; }
  struct Test {
    TreeMode mode;
    int64_t feature;
    double value;
    bool missing_yes;  // NaN is taken to pass
  };
  // The split `index` < splits of the constructor.
  void set_split(size_t index, const Test&, Target yes, Target no);
  // The same for a test of membership; `members` are in any order, none is NaN.
  void set_members(size_t index, int64_t feature, bool missing_yes, std::vector<double> members, Target yes, Target no);
  void add_root(Target root) { roots_.push_back(root); }
  size_t trees() const { return roots_.size(); }

  // What leaves say: (leaf, target, weight) in any order.
  struct Says {
    int32_t leaf, target;
    double weight;
  };
  void set_leaves(size_t leaves, std::vector<Says>);
  const std::vector<Says>& says() const { return says_; }

  // The sum (least, greatest) over all trees for rows of x [N, F] of dtype(): [N, targets].
  Value* scores(Node&, Value* x, int64_t targets, OpKind reduce);
  // How many leaves reached say something of each target.
  Value* counts(Node&, Value* x, int64_t targets);
  // Targets that at least one leaf names; and those that all leaves of some tree name.
  struct Named {
    std::vector<bool> sometimes, always;
  };
  Named named(int64_t targets) const;

 private:
  struct Split {
    double threshold;
    int32_t feature;
    Target left, right;
    bool missing_left;
  };
  Target add(const Split&);
  double rounded(double value) const;
  double before(double value) const;
  Split equal_to(int64_t feature, double value, bool missing_yes, Target yes, Target no);
  Split less(int64_t feature, double value, Target yes, Target no, bool missing_yes);
  Target member_of(int64_t feature, bool missing_yes, std::span<const double> members, Target yes, Target no);
  std::vector<Target> reachable(Target root) const;
  int64_t depth() const;
  void add_trees(Node&, composites::TreeEnsemble&);

  DType dtype_;
  std::vector<Split> splits_;
  std::vector<Target> roots_;
  size_t leaves_ = 0;
  std::vector<Says> says_;  // by leaf
};

}  // namespace lapidary::frontend
