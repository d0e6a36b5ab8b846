#include "frontend/ops/forest.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lapidary::frontend {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = INFINITY;
constexpr size_t kMost = size_t{1} << 28;  // of splits, leaves and their weights: indices are 32 bits

template <typename T>
ConstantId table(Module& module, DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return module.constants.add_bytes(dtype, std::move(shape), std::move(bytes));
}

}  // namespace

Forest::Forest(DType dtype, size_t splits) : dtype_(dtype), splits_(splits) {
  if (splits > kMost) fail("{} splits, at most {} are supported", splits, kMost);
}

Forest::Target Forest::add(const Split& split) {
  if (splits_.size() >= kMost) fail("more than {} splits", kMost);
  splits_.push_back(split);
  return static_cast<Target>(splits_.size() - 1);
}

double Forest::rounded(double value) const { return round_to(dtype_, value); }

double Forest::before(double value) const {
  return dtype_ == DType::F32 ? std::nextafterf(static_cast<float>(value), -INFINITY)
                              : std::nextafter(value, -INFINITY);
}

// x < value. Of -inf nothing is: then NaN alone may pass, after everything else has been sent the other way.
Forest::Split Forest::less(int64_t feature, double value, Target yes, Target no, bool missing_yes) {
  const auto column = static_cast<int32_t>(feature);
  if (value > -kInfinity || !missing_yes)
    return {value == -kInfinity ? kNaN : before(value), column, yes, no, missing_yes};
  return {kInfinity, column, no, yes, false};
}

Forest::Split Forest::equal_to(int64_t feature, double value, bool missing_yes, Target yes, Target no) {
  const auto column = static_cast<int32_t>(feature);
  const Target not_less = add(less(feature, value, no, yes, false));
  return {value, column, not_less, no, missing_yes};
}

Forest::Target Forest::member_of(int64_t feature, bool missing_yes, std::span<const double> members, Target yes,
                                 Target no) {
  if (members.size() == 1) return add(equal_to(feature, members[0], missing_yes, yes, no));
  const size_t middle = members.size() / 2;
  const Target low = member_of(feature, missing_yes, members.first(middle), yes, no),
               high = member_of(feature, missing_yes, members.subspan(middle), yes, no);
  return add({members[middle - 1], static_cast<int32_t>(feature), low, high, missing_yes});
}

void Forest::set_members(size_t index, int64_t feature, bool missing_yes, std::vector<double> members, Target yes,
                         Target no) {
  for (double& member : members) member = rounded(member);
  std::sort(members.begin(), members.end());
  members.erase(std::unique(members.begin(), members.end()), members.end());
  if (members.empty()) {
    splits_[index] = {kInfinity, static_cast<int32_t>(feature), no, missing_yes ? yes : no, false};
    return;
  }
  const Target first = member_of(feature, missing_yes, members, yes, no);
  splits_[index] = splits_[static_cast<size_t>(first)];
}

void Forest::set_split(size_t index, const Test& test, Target yes, Target no) {
  const auto column = static_cast<int32_t>(test.feature);
  const double value = rounded(test.value);
  const bool missing_yes = test.missing_yes || test.mode == TreeMode::NotEqual;  // NaN != t
  Split split{};
  if (std::isnan(value)) {  // only != holds
    const Target answer = test.mode == TreeMode::NotEqual ? yes : no;
    splits_[index] = {kInfinity, column, answer, missing_yes ? yes : answer, false};
    return;
  }
  switch (test.mode) {
    case TreeMode::LessEqual:
      split = {value, column, yes, no, missing_yes};
      break;
    case TreeMode::Less:
      split = less(test.feature, value, yes, no, missing_yes);
      break;
    case TreeMode::Greater:
      split = {value, column, no, yes, !missing_yes};
      break;
    case TreeMode::GreaterEqual:
      split = less(test.feature, value, no, yes, !missing_yes);
      break;
    case TreeMode::Equal:
      split = equal_to(test.feature, value, missing_yes, yes, no);
      break;
    case TreeMode::NotEqual:
      split = equal_to(test.feature, value, false, no, yes);
      break;
    case TreeMode::Member:
    case TreeMode::Leaf:
      LPD_UNREACHABLE("no comparison");
  }
  splits_[index] = split;
}

void Forest::set_leaves(size_t leaves, std::vector<Says> says) {
  if (leaves > kMost || says.size() > kMost) fail("more than {} leaves or weights of leaves", kMost);
  leaves_ = leaves;
  says_ = std::move(says);
  if (!std::ranges::is_sorted(says_, {}, &Says::leaf)) std::ranges::stable_sort(says_, {}, &Says::leaf);
}

// The longest way down, by a walk that goes back up only from what has been measured; a split met again on the way to
// itself closes a circle.
int64_t Forest::depth() const {
  constexpr int32_t kNew = -1, kOpen = -2;
  std::vector<int32_t> below(splits_.size(), kNew);
  std::vector<Target> way;
  int64_t deepest = 0;
  for (size_t tree = 0; tree < roots_.size(); ++tree) {
    if (roots_[tree] >= 0) way.push_back(roots_[tree]);
    while (!way.empty()) {
      const Target at = way.back();
      const Split& split = splits_[at];
      if (below[at] == kNew) {
        below[at] = kOpen;
        for (Target child : {split.left, split.right}) {
          if (child >= 0 && below[child] == kOpen) fail("tree {} leads back to itself", tree);
          if (child >= 0 && below[child] == kNew) way.push_back(child);
        }
        continue;
      }
      if (below[at] == kOpen)
        below[at] = 1 + std::max(split.left < 0 ? 0 : below[split.left], split.right < 0 ? 0 : below[split.right]);
      way.pop_back();
    }
    if (roots_[tree] >= 0) deepest = std::max<int64_t>(deepest, below[roots_[tree]]);
  }
  return deepest;
}

void Forest::add_trees(Node& node, composites::TreeEnsemble& of) {
  Module& module = node.build.module;
  if (roots_.empty()) fail("there are no trees");
  if (splits_.empty()) splits_.push_back({0, 0, leaf(0), leaf(0), false});
  of.depth = depth();
  const auto first_leaf = static_cast<int32_t>(splits_.size());
  auto place = [&](Target target) { return target >= 0 ? target : first_leaf + ~target; };
  std::vector<int32_t> feature, left, right, roots;
  std::vector<float> single;
  std::vector<double> exact;
  std::vector<uint8_t> missing;
  bool any_missing = false;
  int32_t most = 0;
  const auto count = static_cast<int64_t>(splits_.size());
  for (std::vector<int32_t>* list : {&feature, &left, &right}) list->reserve(splits_.size());
  (dtype_ == DType::F32 ? single.reserve(splits_.size()) : exact.reserve(splits_.size()));
  missing.reserve(splits_.size());
  for (const Split& split : splits_) {
    feature.push_back(split.feature), left.push_back(place(split.left)), right.push_back(place(split.right));
    if (dtype_ == DType::F32)
      single.push_back(static_cast<float>(split.threshold));
    else
      exact.push_back(split.threshold);
    missing.push_back(split.missing_left);
    any_missing |= split.missing_left;
    most = std::max(most, split.feature);
  }
  for (Target root : roots_) roots.push_back(place(root));
  auto constant = [&](DType dtype, std::vector<int64_t> shape, const auto& values) {
    return node.build.constant(table(module, dtype, std::move(shape), values));
  };
  of.feature = constant(DType::I32, {count}, feature);
  of.threshold = dtype_ == DType::F32 ? constant(dtype_, {count}, single) : constant(dtype_, {count}, exact);
  of.left = constant(DType::I32, {count}, left), of.right = constant(DType::I32, {count}, right);
  of.roots = constant(DType::I32, {static_cast<int64_t>(roots.size())}, roots);
  if (any_missing) of.missing_left = constant(DType::Bool, {count}, missing);
  Dim columns = of.x->type.shape[1];
  if (auto known = value_of(columns); known && most >= *known) fail("a split asks for feature {} of {}", most, *known);
  module.check(node.dims().less(node.dims().constant(most), columns),
               fmt::format("a split asks for feature {}, the input has {}", most, to_string(columns)));
}

Value* Forest::scores(Node& node, Value* x, int64_t targets, OpKind reduce) {
  composites::TreeEnsemble of;
  of.x = x, of.targets = targets, of.reduce = reduce;
  add_trees(node, of);
  size_t width = 1;
  for (size_t i = 0, first = 0; i < says_.size(); ++i) {
    if (says_[i].leaf != says_[first].leaf) first = i;
    width = std::max(width, i - first + 1);
  }
  const size_t leaves = std::max<size_t>(leaves_, 1);
  if (width * leaves > std::max<size_t>(16 * says_.size(), 1 << 20) || width * leaves > kMost)
    unsupported("leaves with up to {} weights, {} of {} leaves", width, says_.size(), leaves);
  std::vector<int32_t> target(leaves * width, -1);
  std::vector<double> weight(leaves * width, 0);
  for (size_t i = 0, first = 0; i < says_.size(); ++i) {
    if (says_[i].leaf != says_[first].leaf) first = i;
    const size_t place = static_cast<size_t>(says_[i].leaf) * width + (i - first);
    target[place] = says_[i].target, weight[place] = says_[i].weight;
  }
  const std::vector<int64_t> shape = {static_cast<int64_t>(leaves), static_cast<int64_t>(width)};
  Module& module = node.build.module;
  of.target = node.build.constant(table(module, DType::I32, shape, target));
  of.weight = node.build.constant(dtype_ == DType::F32
                                      ? table(module, dtype_, shape, std::vector<float>(weight.begin(), weight.end()))
                                      : table(module, dtype_, shape, weight));
  return composites::tree_ensemble(node.build, of);
}

Value* Forest::counts(Node& node, Value* x, int64_t targets) {
  Forest ones = *this;
  for (Says& says : ones.says_) says.weight = 1;
  return ones.scores(node, x, targets, OpKind::ReduceSum);
}

// The leaves of a tree; none when shared parts make it much larger than what it is made of.
std::vector<Forest::Target> Forest::reachable(Target root) const {
  std::vector<Target> todo = {root}, leaves;
  while (!todo.empty()) {
    const Target at = todo.back();
    todo.pop_back();
    if (at < 0) {
      leaves.push_back(at);
      continue;
    }
    todo.push_back(splits_[at].left), todo.push_back(splits_[at].right);
    if (todo.size() + leaves.size() > 4 * (splits_.size() + leaves_)) return {};
  }
  return leaves;
}

Forest::Named Forest::named(int64_t targets) const {
  Named result{std::vector<bool>(targets), std::vector<bool>(targets)};
  std::vector<size_t> first(leaves_ + 1, 0);
  for (const Says& says : says_) ++first[says.leaf + 1], result.sometimes[says.target] = true;
  for (size_t i = 0; i < leaves_; ++i) first[i + 1] += first[i];
  depth();  // no circles
  struct Count {
    int32_t tree = -1, leaf = 0;
    size_t leaves = 0;
  };
  std::vector<Count> counts(targets);
  for (size_t tree = 0; tree < roots_.size(); ++tree) {
    const std::vector<Target> leaves = reachable(roots_[tree]);
    for (Target leaf : leaves) {
      for (size_t s = first[~leaf]; s < first[~leaf + 1]; ++s) {
        Count& count = counts[says_[s].target];
        if (count.tree != static_cast<int32_t>(tree)) count = {static_cast<int32_t>(tree), 0, 0};
        if (std::exchange(count.leaf, leaf) != leaf) ++count.leaves;  // leaves are below 0
        if (count.leaves == leaves.size()) result.always[says_[s].target] = true;
      }
    }
  }
  return result;
}

}  // namespace lapidary::frontend
