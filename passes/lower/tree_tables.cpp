#include "passes/lower/tree_tables.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"

namespace lapidary::lowering {

namespace {

class TableReader {
 public:
  TableReader(Context& context, const Op& group, const Op& op) : module_(context.module), group_(group), op_(op) {}

  std::vector<std::byte> bytes(int operand) const {
    std::optional<ConstantId> id = constant_behind(module_, group_, op_.operand(operand));
    if (!id) unsupported(module_, group_, "trees that are computed at run time");
    return module_.constants.bytes_of(*id);
  }
  std::vector<int32_t> integers(int operand) const {
    const std::vector<std::byte> raw = bytes(operand);
    std::vector<int32_t> values(raw.size() / sizeof(int32_t));
    std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }
  std::vector<double> numbers(int operand) const {
    const std::vector<std::byte> raw = bytes(operand);
    const DType dtype = op_.operand(operand)->type.dtype;
    const size_t count = raw.size() * 8 / static_cast<size_t>(bit_width(dtype));
    std::vector<double> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = load_scalar(dtype, raw.data(), static_cast<int64_t>(i)).number;
    return values;
  }

 private:
  Module& module_;
  const Op &group_, &op_;
};

template <typename T>
ConstantId table(Module& module, DType dtype, const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return module.constants.add_bytes(dtype, {static_cast<int64_t>(values.size())}, std::move(bytes));
}

}  // namespace

Trees::Trees(Context& context, const Op& group, const Op& op)
    : dtype(op.operand(2)->type.dtype), targets(op.params.integer("targets")) {
  const TableReader read(context, group, op);
  reduce = *parse_op_kind(op.params.text("reduce"));
  feature = read.integers(1), threshold = read.numbers(2), left = read.integers(3), right = read.integers(4);
  roots = read.integers(5), target_ = read.integers(6), weight_ = read.numbers(7);
  if (std::ranges::any_of(weight_, [](double weight) { return std::isnan(weight); }))
    unsupported(context.module, group, "leaves that are NaN");
  width_ = *lapidary::value_of(op.operand(6)->type.shape[1]);
  const auto nodes = static_cast<int64_t>(feature.size()) + weights() / std::max<int64_t>(width_, 1);
  for (const std::vector<int32_t>* to : {&left, &right, &roots})
    for (int32_t node : *to) LPD_CHECK(node >= 0 && node < nodes, "node {} of {}", node, nodes);
  if (op.operands.size() > 8)
    for (std::byte flag : read.bytes(8)) missing_left.push_back(flag != std::byte{0});
  find_shapes();
}

double Trees::none() const {
  return reduce == OpKind::ReduceSum ? 0 : reduce == OpKind::ReduceMin ? INFINITY : -INFINITY;
}

int64_t Trees::leaf_width() const {
  if (one_target) return 1;
  const auto whole = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(targets)));
  return std::max<int64_t>(std::min<int64_t>(whole, (targets + 15) / 16 * 16), 4);
}

std::vector<double> Trees::leaf_row(int64_t leaf) const {
  std::vector<double> row(static_cast<size_t>(leaf_width()), none());
  for (int64_t k = 0; k < width_; ++k) {
    const int32_t target = target_[leaf * width_ + k];
    if (target < 0) continue;
    double& number = row[one_target ? 0 : target];
    const double weight = weight_[leaf * width_ + k];
    number = reduce == OpKind::ReduceSum   ? number + weight
             : reduce == OpKind::ReduceMin ? std::min(number, weight)
                                           : std::max(number, weight);
  }
  return row;
}

void Trees::find_shapes() {
  seen_.assign(feature.size() + target_.size() / static_cast<size_t>(std::max<int64_t>(width_, 1)), -1);
  below_.assign(feature.size(), -1);
  one_target = true;
  for (int32_t root : roots) {
    shapes.push_back(shape_of(root));
    TreeShape& shape = shapes.back();
    int64_t target = -1;
    for (int32_t node : shape.leaves) {
      for (int64_t k = 0; k < width_; ++k) {
        const int32_t named = target_[leaf_of(node) * width_ + k];
        if (named >= 0 && target >= 0 && named != target) one_target = false;
        if (named >= 0) target = named;
      }
    }
    shape.target = std::max<int64_t>(target, 0);
    ++tree_;
  }
  seen_ = {}, below_ = {};
}

// Down the left sides first. A split is passed twice: on the way down, and when what is below it has been measured.
TreeShape Trees::shape_of(int32_t root) {
  TreeShape shape;
  shape.root = root;
  std::vector<int32_t> way = {root};
  while (!way.empty()) {
    const int32_t at = way.back();
    way.pop_back();
    if (at < 0) {  // the complement of a split whose sides are done
      const auto depth = [&](int32_t child) { return is_leaf(child) ? 0 : below_[child]; };
      below_[~at] = 1 + std::max(depth(left[~at]), depth(right[~at]));
      continue;
    }
    if (seen_[at] == tree_) {
      shape.shares = true;
      continue;
    }
    seen_[at] = tree_;
    if (is_leaf(at)) {
      shape.leaves.push_back(at);
      continue;
    }
    shape.splits.push_back(at);
    way.insert(way.end(), {~at, right[at], left[at]});
  }
  shape.depth = is_leaf(root) ? 0 : below_[root];
  return shape;
}

std::vector<Segment> segments_of(const Trees& trees, int64_t most,
                                 const std::function<int64_t(const TreeShape&)>& cost_of, size_t multiple) {
  std::vector<const TreeShape*> order;
  for (const TreeShape& tree : trees.shapes) order.push_back(&tree);
  auto target = [&](const TreeShape* tree) { return trees.one_target ? tree->target : 0; };
  std::ranges::stable_sort(order, [&](const TreeShape* a, const TreeShape* b) {
    return std::pair(target(a), a->depth) < std::pair(target(b), b->depth);
  });
  std::vector<Segment> segments;
  for (size_t first = 0; first < order.size();) {
    size_t end = first;
    int64_t cost = 0;
    while (end < order.size() && target(order[end]) == target(order[first])) cost += cost_of(*order[end++]);
    const size_t count = end - first, parts = static_cast<size_t>(cost / most) + 1,
                 each = ((count + parts - 1) / parts + multiple - 1) / multiple * multiple;
    for (size_t begin = first; begin < end; begin += each)
      segments.push_back({target(order[first]),
                          {order.begin() + static_cast<ptrdiff_t>(begin),
                           order.begin() + static_cast<ptrdiff_t>(std::min(begin + each, end))}});
    first = end;
  }
  return segments;
}

Slots::Slots(const Trees& trees) {
  std::vector<int32_t> plain, missing;
  for (size_t i = 0; i < trees.feature.size(); ++i)
    (trees.sends_missing_left(i) ? missing : plain).push_back(trees.feature[i]);
  int64_t used = 0, most = 0;
  for (std::vector<int32_t>* kind : {&plain, &missing}) {
    std::ranges::sort(*kind);
    kind->erase(std::unique(kind->begin(), kind->end()), kind->end());
    used += static_cast<int64_t>(kind->size());
    if (!kind->empty()) most = std::max<int64_t>(most, kind->back());
  }
  in_order = 2 * used > most * (missing.empty() ? 1 : 2);
  for (std::vector<int32_t>* kind : {&plain, &missing}) {
    if (kind == &missing) replaced = count();
    if (in_order && (kind == &plain || !missing.empty())) {
      kind->resize(static_cast<size_t>(most) + 1);
      std::iota(kind->begin(), kind->end(), 0);
    }
    features.insert(features.end(), kind->begin(), kind->end());
  }
}

int32_t Slots::of(const Trees& trees, int32_t split) const {
  const bool missing = trees.sends_missing_left(static_cast<size_t>(split));
  const int64_t begin = missing ? replaced : 0;
  if (in_order) return static_cast<int32_t>(begin + trees.feature[split]);
  const auto kind =
      std::ranges::subrange(features.begin() + begin, missing ? features.end() : features.begin() + replaced);
  return static_cast<int32_t>(std::ranges::lower_bound(kind, trees.feature[split]) - features.begin());
}

ConstantId add_table(Module& module, const std::vector<int32_t>& values) { return table(module, DType::I32, values); }
ConstantId add_table(Module& module, const std::vector<uint32_t>& values) { return table(module, DType::U32, values); }
ConstantId add_table(Module& module, DType dtype, const std::vector<double>& values) {
  return dtype == DType::F64 ? table(module, dtype, values)
                             : table(module, dtype, std::vector<float>(values.begin(), values.end()));
}

}  // namespace lapidary::lowering
