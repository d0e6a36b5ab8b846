// Tree ensembles of ai.onnx.ml: the two of opset 1 to 3 (nodes by tree and node id, leaves among them) and the one of
// opset 5 (splits and leaves by index).
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "frontend/ops/forest.h"
#include "frontend/ops/ml_scores.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// --- attributes --------------------------------------------------------------------------------------------------

// A list of numbers, or the tensor that opset 3 allows in its place.
struct Numbers {
  DType dtype = DType::F32;
  std::vector<double> exact;  // of a tensor,
  std::vector<float> single;  // or of a list, which may have millions

  size_t size() const { return single.size() + exact.size(); }
  double operator[](size_t i) const { return single.empty() ? exact[i] : single[i]; }
  std::vector<double> all() const { return single.empty() ? exact : std::vector<double>(single.begin(), single.end()); }
};

Numbers tensor_of(Node& node, const std::string& name) {
  const ConstantTable& constants = node.build.module.constants;
  const ConstantId id = node.tensor(name);
  Numbers numbers{constants[id].dtype, {}, {}};
  const std::vector<std::byte> bytes = constants.bytes_of(id);
  numbers.exact.reserve(static_cast<size_t>(constants[id].elements()));
  for (int64_t i = 0; i < constants[id].elements(); ++i) {
    const Scalar scalar = load_scalar(numbers.dtype, bytes.data(), i);
    numbers.exact.push_back(is_float(numbers.dtype) ? scalar.number : static_cast<double>(scalar.integer));
  }
  return numbers;
}

// Lists may have millions of elements: `expected` is how many there should be.
Numbers numbers_of(Node& node, const std::string& name, size_t expected) {
  const std::string as_tensor = name + "_as_tensor";
  if (!node.has(as_tensor)) {
    Numbers numbers;
    numbers.single.reserve(expected);
    node.for_each_number_of(name, [&](float value) { numbers.single.push_back(value); });
    return numbers;
  }
  if (node.has(name)) fail("both '{}' and '{}' are given", name, as_tensor);
  Numbers numbers = tensor_of(node, as_tensor);
  if (numbers.dtype != DType::F32 && numbers.dtype != DType::F64)
    fail("attribute '{}' cannot be {}", as_tensor, name_of(numbers.dtype));
  return numbers;
}

void require_length(const char* name, size_t found, size_t expected) {
  if (found != expected) fail("attribute '{}' has {} elements, expected {}", name, found, expected);
}

std::vector<int32_t> ids_of(Node& node, const std::string& name, size_t expected) {
  std::vector<int32_t> ids;
  ids.reserve(expected);
  node.for_each_integer_of(name, [&](int64_t value) {
    if (value < INT32_MIN || value > INT32_MAX) fail("attribute '{}' has {}", name, value);
    ids.push_back(static_cast<int32_t>(value));
  });
  return ids;
}

size_t length_of(Node& node, const std::string& name) {
  size_t count = 0;
  node.for_each_integer_of(name, [&](int64_t) { ++count; });
  return count;
}

TreeMode mode_of(std::string_view name) {
  constexpr std::pair<std::string_view, TreeMode> kModes[] = {
      {"BRANCH_LEQ", TreeMode::LessEqual},    {"LEAF", TreeMode::Leaf},         {"BRANCH_LT", TreeMode::Less},
      {"BRANCH_GTE", TreeMode::GreaterEqual}, {"BRANCH_GT", TreeMode::Greater}, {"BRANCH_EQ", TreeMode::Equal},
      {"BRANCH_NEQ", TreeMode::NotEqual}};
  for (const auto& [text, mode] : kModes)
    if (text == name) return mode;
  fail("node mode '{}' is unknown", printable(std::string(name)));
}

int64_t checked_feature(int64_t feature) {
  if (feature < 0 || feature > INT32_MAX) fail("a split asks for feature {}", feature);
  return feature;
}

// --- nodes by id ---------------------------------------------------------------------------------------------------

// Where a node of a tree is listed. Most models list them in order.
class NodeIndex {
 public:
  NodeIndex(std::vector<int32_t> trees, std::vector<int32_t> nodes)
      : trees_(std::move(trees)), nodes_(std::move(nodes)) {
    require_length("nodes_treeids", trees_.size(), nodes_.size());
    bool in_order = true;
    for (size_t i = 1; i < size(); ++i) in_order &= key(i - 1) < key(i);
    if (in_order) return;
    order_.resize(size());
    for (size_t i = 0; i < size(); ++i) order_[i] = static_cast<uint32_t>(i);
    std::ranges::sort(order_, {}, [&](uint32_t i) { return key(i); });
    for (size_t i = 1; i < size(); ++i)
      if (key(order_[i]) == key(order_[i - 1]))
        fail("node {} of tree {} is there twice", nodes_[order_[i]], trees_[order_[i]]);
  }

  // `near` is the place of another node, likely of the same tree.
  size_t find(int32_t tree, int32_t node, size_t near) const {
    const Key wanted(tree, node);
    size_t low = 0, high = size();
    // Nodes of one tree are usually numbered from 0 on: then its place is known from the one next to it.
    if (near < high) {
      const int64_t guess = static_cast<int64_t>(near) + node - nodes_[near];
      if (guess >= 0 && guess < static_cast<int64_t>(high) && key(static_cast<size_t>(guess)) == wanted)
        return static_cast<size_t>(guess);
    }
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (key(at(middle)) < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == size() || key(at(low)) != wanted) fail("tree {} has no node {}", tree, node);
    return at(low);
  }
  int32_t tree(size_t index) const { return trees_[index]; }
  size_t size() const { return nodes_.size(); }

 private:
  using Key = std::pair<int32_t, int32_t>;
  Key key(size_t i) const { return {trees_[i], nodes_[i]}; }
  size_t at(size_t place) const { return order_.empty() ? place : order_[place]; }
  std::vector<int32_t> trees_, nodes_;
  std::vector<uint32_t> order_;  // by tree and node; empty: as they are
};

struct Ensemble {
  Forest forest;
  Value* x;
  std::vector<double> base;
  bool all_positive = true;  // the weights
};

// A node is a leaf or a split, numbered apart.
std::vector<Forest::Target> places_of(Node& node, std::vector<TreeMode>& modes, size_t expected) {
  modes.reserve(expected);
  node.for_each_text_of("nodes_modes", [&](std::string_view name) { modes.push_back(mode_of(name)); });
  std::vector<Forest::Target> places;
  places.reserve(modes.size());
  int32_t splits = 0, leaves = 0;
  for (TreeMode mode : modes) places.push_back(mode == TreeMode::Leaf ? ~leaves++ : splits++);
  return places;
}

void add_nodes(Node& node, Forest& forest, const NodeIndex& nodes, const std::vector<TreeMode>& modes,
               const std::vector<Forest::Target>& places) {
  const size_t count = nodes.size();
  const std::vector<int32_t> features = ids_of(node, "nodes_featureids", count),
                             yes = ids_of(node, "nodes_truenodeids", count),
                             no = ids_of(node, "nodes_falsenodeids", count),
                             missing = ids_of(node, "nodes_missing_value_tracks_true", count);
  const Numbers values = numbers_of(node, "nodes_values", count);
  require_length("nodes_values", values.size(), count);
  require_length("nodes_featureids", features.size(), count), require_length("nodes_truenodeids", yes.size(), count);
  require_length("nodes_falsenodeids", no.size(), count);
  if (!missing.empty()) require_length("nodes_missing_value_tracks_true", missing.size(), count);
  std::unordered_set<int32_t> trees;
  for (size_t i = 0; i < count; ++i) {
    const int32_t tree = nodes.tree(i);
    if ((i == 0 || tree != nodes.tree(i - 1)) && trees.insert(tree).second)
      forest.add_root(places[i]);  // a tree begins with the first of its nodes
    if (modes[i] == TreeMode::Leaf) continue;
    forest.set_split(static_cast<size_t>(places[i]),
                     {modes[i], checked_feature(features[i]), values[i], !missing.empty() && missing[i] != 0},
                     places[nodes.find(tree, yes[i], i)], places[nodes.find(tree, no[i], i)]);
  }
}

DType dtype_of(Node& node, const std::string& name) {
  return node.has(name + "_as_tensor") ? numbers_of(node, name, 0).dtype : DType::F32;
}

// What leaves say: `part` is "class" or "target".
std::vector<Forest::Says> says_of(Node& node, const std::string& part, int64_t targets, const NodeIndex& nodes,
                                  const std::vector<Forest::Target>& places, bool& all_positive) {
  const size_t count = length_of(node, part + "_ids");
  const std::vector<int32_t> ids = ids_of(node, part + "_ids", count),
                             of_nodes = ids_of(node, part + "_nodeids", count),
                             of_trees = ids_of(node, part + "_treeids", count);
  const Numbers weights = numbers_of(node, part + "_weights", count);
  require_length("weights", weights.size(), count);
  require_length("node ids of weights", of_nodes.size(), count);
  require_length("tree ids of weights", of_trees.size(), count);
  std::vector<Forest::Says> says;
  says.reserve(count);
  size_t near = 0;
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= targets) fail("a weight is of {} {}, there are {}", part, ids[i], targets);
    near = nodes.find(of_trees[i], of_nodes[i], near);
    if (places[near] < 0) says.push_back({~places[near], ids[i], weights[i]});
    all_positive &= weights[i] >= 0;
  }
  return says;
}

Ensemble ensemble_of(Node& node, const std::string& part, int64_t targets) {
  const bool exact = node.type(0).dtype == DType::F64 || dtype_of(node, "nodes_values") == DType::F64 ||
                     dtype_of(node, part + "_weights") == DType::F64;
  const DType dtype = exact ? DType::F64 : DType::F32;
  const size_t count = length_of(node, "nodes_nodeids");
  const NodeIndex nodes(ids_of(node, "nodes_treeids", count), ids_of(node, "nodes_nodeids", count));
  std::vector<TreeMode> modes;
  const std::vector<Forest::Target> places = places_of(node, modes, count);
  require_length("nodes_modes", modes.size(), count);
  const auto leaves = static_cast<size_t>(std::ranges::count(modes, TreeMode::Leaf));
  Ensemble ensemble{Forest(dtype, count - leaves), rows_of(node, node.input(0), dtype),
                    numbers_of(node, "base_values", 0).all()};
  add_nodes(node, ensemble.forest, nodes, modes, places);
  ensemble.forest.set_leaves(leaves, says_of(node, part, targets, nodes, places, ensemble.all_positive));
  return ensemble;
}

// --- scores --------------------------------------------------------------------------------------------------------

struct Regression {
  OpKind reduce;
  bool average;
  std::string transform;
  std::vector<double> base;
};

Values regression(Node& node, Forest& forest, Value* x, int64_t targets, const Regression& how, DType result) {
  check_post_transform(how.transform);
  Value* scores = forest.scores(node, x, targets, how.reduce);
  if (how.average) scores = node.build.div(scores, node.build.like(scores, static_cast<double>(forest.trees())));
  if (!how.base.empty()) scores = node.build.add(scores, numbers(node, forest.dtype(), {targets}, how.base));
  // What no leaf reached says anything of is 0; of one target alone every leaf speaks.
  const bool may_lack = how.reduce != OpKind::ReduceSum || (!how.base.empty() && targets > 1);
  if (may_lack && forest.named(targets).always != std::vector<bool>(static_cast<size_t>(targets), true)) {
    Value* said = node.build.scalar_op(ScalarOp::Less, {zero(node, scores), forest.counts(node, x, targets)});
    scores = node.build.select(said, scores, zero(node, scores));
  }
  if (targets > 1 || how.transform == "PROBIT") scores = post_transformed(node, scores, how.transform);
  return {node.build.convert(scores, result)};
}

constexpr int64_t kMostTargets = 1 << 20;

Values tree_ensemble_regressor(Node& node) {
  const int64_t targets = node.integer_or("n_targets", 1);
  if (targets < 1 || targets > kMostTargets) fail("n_targets is {}", targets);
  const std::string aggregate = node.text("aggregate_function");
  const bool average = aggregate == "AVERAGE";
  if (!average && aggregate != "SUM" && aggregate != "MIN" && aggregate != "MAX")
    fail("aggregate_function '{}' is unknown", printable(aggregate));
  Ensemble trees = ensemble_of(node, "target", targets);
  if (!trees.base.empty()) require_length("base_values", trees.base.size(), static_cast<size_t>(targets));
  const OpKind reduce = aggregate == "MIN"   ? OpKind::ReduceMin
                        : aggregate == "MAX" ? OpKind::ReduceMax
                                             : OpKind::ReduceSum;
  return regression(node, trees.forest, trees.x, targets, {reduce, average, node.text("post_transform"), trees.base},
                    DType::F32);
}

// --- classifiers ---------------------------------------------------------------------------------------------------

Value* column(Node& node, Value* scores, int64_t index) {
  return node.build.slice_axis(scores, 1, node.dims().constant(index), node.dims().constant(1));
}

Value* greater(Node& node, Value* a, double bound) {
  return node.build.scalar_op(ScalarOp::Less, {node.build.like(a, bound), a});
}

Value* chosen(Node& node, Value* condition, int64_t yes, int64_t no) {
  condition = node.build.drop_axes(condition, {1});
  return node.build.select(condition, node.build.scalar(Scalar::of_integer(DType::I64, yes)),
                           node.build.scalar(Scalar::of_integer(DType::I64, no)));
}

// Two classes: ONNX Runtime reads the second's score as that of "yes". Which classes the leaves name decides the rest.
Values two_classes(Node& node, Ensemble& trees, const std::vector<int64_t>& labels, const std::string& transform) {
  Forest& forest = trees.forest;
  const Forest::Named named = forest.named(2);
  Value* scores = forest.scores(node, trees.x, 2, OpKind::ReduceSum);
  Value *first = column(node, scores, 0), *second = column(node, scores, 1), *none = node.build.sub(first, first);
  auto plus = [&](Value* score, size_t base) {
    return node.build.add(score, node.build.like(score, trees.base[base]));
  };
  const bool one_class = !named.sometimes[0] || !named.sometimes[1];
  const double bound = one_class && trees.all_positive ? 0.5 : 0;
  const int64_t yes = one_class ? labels[1] : 1, no = one_class ? labels[0] : 0;
  auto answer = [&](Value* deciding, Value* probabilities) {
    return Values{chosen(node, greater(node, deciding, bound), yes, no), node.build.convert(probabilities, DType::F32)};
  };
  const size_t bases = trees.base.size();
  if (bases > 2) fail("attribute 'base_values' has {} elements, expected 2 or less", bases);
  if (!named.sometimes[1]) {
    if (bases == 2) {
      Value* score = plus(first, 0);
      return answer(score, post_transformed(node, beside(node, score, none), transform));
    }
    Value* score = bases == 1 ? plus(first, 0) : first;
    return answer(score, of_one_score(node, score, transform, trees.all_positive));
  }
  if (!named.always[1] || (named.sometimes[0] && !named.always[0]))
    unsupported("two classes of which some leaves name one and others both");
  if (bases == 2) {
    second = plus(first, 1);
    first = named.sometimes[0] ? node.build.neg(second) : none;
  } else if (bases == 1 && named.sometimes[0]) {
    first = plus(first, 0);
  }
  return answer(second, post_transformed(node, beside(node, first, second), transform));
}

Values tree_ensemble_classifier(Node& node) {
  const std::vector<int64_t> labels = class_labels(node, "classlabels_int64s", "classlabels_strings");
  const auto classes = static_cast<int64_t>(labels.size());
  if (classes < 1 || classes > kMostTargets) fail("there are {} class labels", classes);
  const std::string transform = node.text("post_transform");
  check_post_transform(transform);
  Ensemble trees = ensemble_of(node, "class", classes);
  if (classes == 2) return two_classes(node, trees, labels, transform);
  if (!trees.base.empty()) require_length("base_values", trees.base.size(), labels.size());
  const Forest::Named named = trees.forest.named(classes);
  Value* scores = trees.forest.scores(node, trees.x, classes, OpKind::ReduceSum);
  if (!trees.base.empty()) scores = node.build.add(scores, numbers(node, trees.forest.dtype(), {classes}, trees.base));
  if (classes == 1) {
    Value* label = chosen(node, greater(node, scores, 0), 1, 0);
    if (transform == "PROBIT") scores = probit(node, scores);
    return {label, node.build.convert(scores, DType::F32)};
  }
  // Only classes that leaves spoke of are chosen.
  Value* candidates = scores;
  if (trees.base.empty() && named.always != std::vector<bool>(labels.size(), true)) {
    Value* counts;
    if (named.always == named.sometimes) {
      std::vector<double> said(named.always.begin(), named.always.end());
      counts = numbers(node, trees.forest.dtype(), {classes}, said);
    } else {
      counts = trees.forest.counts(node, trees.x, classes);
    }
    Value* said = node.build.scalar_op(ScalarOp::Less, {node.build.like(scores, 0), counts});
    candidates = node.build.select(said, scores, node.build.like(scores, -INFINITY));
  }
  return {labels_at(node, labels, first_greatest(node, candidates)),
          node.build.convert(post_transformed(node, scores, transform), DType::F32)};
}

// --- opset 5 -------------------------------------------------------------------------------------------------------

// The sets of membership splits, each ended by a NaN but maybe the last.
std::vector<std::vector<double>> member_sets(Node& node) {
  std::vector<std::vector<double>> sets;
  if (!node.has("membership_values")) return sets;
  bool open = false;
  for (double value : tensor_of(node, "membership_values").exact) {
    if (!open) sets.emplace_back();
    open = !std::isnan(value);
    if (open) sets.back().push_back(value);
  }
  return sets;
}

Values tree_ensemble(Node& node) {
  const std::vector<int64_t> features = node.integers("nodes_featureids"), yes = node.integers("nodes_truenodeids"),
                             no = node.integers("nodes_falsenodeids"), yes_leaf = node.integers("nodes_trueleafs"),
                             no_leaf = node.integers("nodes_falseleafs"),
                             missing = node.integers("nodes_missing_value_tracks_true"),
                             roots = node.integers("tree_roots"), target_of = node.integers("leaf_targetids");
  const Numbers values = tensor_of(node, "nodes_splits"), modes = tensor_of(node, "nodes_modes"),
                weights = tensor_of(node, "leaf_weights");
  const size_t count = features.size();
  for (auto [name, size] :
       {std::pair("nodes_truenodeids", yes.size()), std::pair("nodes_falsenodeids", no.size()),
        std::pair("nodes_trueleafs", yes_leaf.size()), std::pair("nodes_falseleafs", no_leaf.size()),
        std::pair("nodes_splits", values.size()), std::pair("nodes_modes", modes.size())})
    require_length(name, size, count);
  if (!missing.empty()) require_length("nodes_missing_value_tracks_true", missing.size(), count);
  require_length("leaf_weights", weights.size(), target_of.size());
  const int64_t targets = node.integer_or("n_targets", 1);
  if (targets < 1 || targets > kMostTargets) fail("n_targets is {}", targets);

  const DType result = node.type(0).dtype, dtype = result == DType::F64 ? DType::F64 : DType::F32;
  Forest forest(dtype, count);
  auto place = [&](int64_t index, bool leaf) -> Forest::Target {
    const size_t size = leaf ? target_of.size() : count;
    if (index < 0 || index >= static_cast<int64_t>(size)) fail("there is no {} {}", leaf ? "leaf" : "node", index);
    return leaf ? Forest::leaf(static_cast<size_t>(index)) : static_cast<Forest::Target>(index);
  };
  const std::vector<std::vector<double>> sets = member_sets(node);
  size_t next_set = 0;
  for (size_t i = 0; i < count; ++i) {
    const Forest::Target on_yes = place(yes[i], yes_leaf[i] != 0), on_no = place(no[i], no_leaf[i] != 0);
    const bool missing_yes = !missing.empty() && missing[i] != 0;
    if (modes[i] < 0 || modes[i] > 6) fail("node mode {} is unknown", modes[i]);
    constexpr TreeMode kModes[] = {TreeMode::LessEqual, TreeMode::Less,     TreeMode::GreaterEqual, TreeMode::Greater,
                                   TreeMode::Equal,     TreeMode::NotEqual, TreeMode::Member};
    const TreeMode mode = kModes[static_cast<int>(modes[i])];
    if (mode == TreeMode::Member) {
      if (next_set >= sets.size()) fail("'membership_values' has {} sets, fewer than there are nodes", sets.size());
      forest.set_members(i, checked_feature(features[i]), missing_yes, sets[next_set++], on_yes, on_no);
    } else {
      forest.set_split(i, {mode, checked_feature(features[i]), values[i], missing_yes}, on_yes, on_no);
    }
  }
  if (next_set != sets.size()) fail("'membership_values' has {} sets for {} nodes", sets.size(), next_set);
  for (int64_t root : roots) forest.add_root(place(root, false));
  std::vector<Forest::Says> says;
  for (size_t i = 0; i < target_of.size(); ++i) {
    if (target_of[i] < 0 || target_of[i] >= targets) fail("leaf {} is of target {} of {}", i, target_of[i], targets);
    says.push_back({static_cast<int32_t>(i), static_cast<int32_t>(target_of[i]), weights[i]});
  }
  forest.set_leaves(target_of.size(), std::move(says));

  const int64_t aggregate = node.integer("aggregate_function"), transform = node.integer("post_transform");
  if (aggregate < 0 || aggregate > 3) fail("aggregate_function {} is unknown", aggregate);
  constexpr const char* kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  if (transform < 0 || transform > 4) fail("post_transform {} is unknown", transform);
  const OpKind reduce = aggregate == 2 ? OpKind::ReduceMin : aggregate == 3 ? OpKind::ReduceMax : OpKind::ReduceSum;
  return regression(node, forest, rows_of(node, node.input(0), dtype), targets,
                    {reduce, aggregate == 0, kTransforms[transform], {}}, result);
}

constexpr OpEntry kOps[] = {
    {"TreeEnsemble", tree_ensemble},
    {"TreeEnsembleClassifier",
     [](Node& node) { return with_texts(node, "classlabels_strings", tree_ensemble_classifier(node)); }},
    {"TreeEnsembleRegressor", tree_ensemble_regressor}};

}  // namespace

std::span<const OpEntry> ml_tree_ops() { return kOps; }

}  // namespace lapidary::frontend
