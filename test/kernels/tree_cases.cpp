#include <random>

#include "ir/composites.h"
#include "ir/error.h"
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

// Full trees but for a few leaves further up, over random features.
struct Forest {
  int trees, depth, features;
  int64_t targets = 1;
  bool all_targets = false;  // every leaf speaks of all
  bool missing = false;
  bool shared = false;  // the sides of a split may be one
  OpKind reduce = OpKind::ReduceSum;
  DType dtype = DType::F32;

  std::vector<int32_t> feature, left, right, roots, target;
  std::vector<double> threshold, weight;
  std::vector<bool> missing_left;
  std::mt19937 random{7};

  double number() { return static_cast<double>(static_cast<int>(random() % 2001) - 1000) / 1000; }

  int32_t grow(int below, int tree) {
    if (below == 0 || (below < depth && random() % 8 == 0)) {
      const int64_t width = all_targets ? targets : 1;
      const auto leaf = static_cast<int32_t>(static_cast<int64_t>(target.size()) / width);
      for (int64_t k = 0; k < width; ++k)
        target.push_back(static_cast<int32_t>(all_targets ? k : tree % targets)), weight.push_back(number());
      return -1 - leaf;
    }
    const size_t at = feature.size();
    feature.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(features)));
    threshold.push_back(number());
    missing_left.push_back(random() % 2 != 0);
    left.push_back(0), right.push_back(0);
    const int32_t first = grow(below - 1, tree);
    left[at] = first;
    right[at] = shared && random() % 4 == 0 ? first : grow(below - 1, tree);
    return static_cast<int32_t>(at);
  }

  Value* build(CaseModel& m, Value* x) {
    for (int tree = 0; tree < trees; ++tree) roots.push_back(grow(depth, tree));
    if (feature.empty()) feature = {0}, threshold = {0}, missing_left = {false}, left = {-1}, right = {-1};
    const auto splits = static_cast<int32_t>(feature.size());
    for (std::vector<int32_t>* nodes : {&left, &right, &roots})
      for (int32_t& node : *nodes) node = node >= 0 ? node : splits - 1 - node;
    const auto constant = [&](DType type, std::vector<int64_t> shape, const auto& values) {
      std::vector<Scalar> scalars;
      for (auto value : values)
        scalars.push_back(is_float(type) ? Scalar::of_float(type, round_to(type, static_cast<double>(value)))
                                         : Scalar::of_integer(type, static_cast<int64_t>(value)));
      return m.build.constant(m.module.constants.add_scalars(type, std::move(shape), scalars));
    };
    const int64_t width = all_targets ? targets : 1, leaves = static_cast<int64_t>(target.size()) / width;
    composites::TreeEnsemble of;
    of.x = x, of.targets = targets, of.depth = depth, of.reduce = reduce;
    of.feature = constant(DType::I32, {splits}, feature), of.threshold = constant(dtype, {splits}, threshold);
    of.left = constant(DType::I32, {splits}, left), of.right = constant(DType::I32, {splits}, right);
    of.roots = constant(DType::I32, {trees}, roots);
    of.target = constant(DType::I32, {leaves, width}, target), of.weight = constant(dtype, {leaves, width}, weight);
    if (missing) of.missing_left = constant(DType::Bool, {splits}, missing_left);
    return composites::tree_ensemble(m.build, of);
  }
};

}  // namespace

std::vector<KernelCase> tree_cases() {
  struct Form {
    const char *name, *kernel;
    Forest forest;
    std::vector<int64_t> rows;
  };
  const std::vector<int64_t> few = {0, 1, 3}, many = {9, 32, 33}, around_bits = {5, 16, 17, 33};
  const Form forms[] = {
      {"row_by_row", "walk=trees", {20, 7, 5, 3}, few},
      {"row_by_row_missing", "walk=trees", {9, 4, 5, 2, false, true}, few},
      {"row_by_row_few_of_many_columns", "walk=trees", {5, 2, 90, 1, false, true}, few},
      {"row_by_row_all_targets", "walk=trees", {9, 4, 5, 3, true}, few},
      {"row_by_row_leaf_alone", "walk=trees", {3, 0, 5, 1}, few},
      {"rows", "walk=rows", {6, 7, 5, 3}, many},
      {"rows_missing", "walk=rows", {6, 7, 5, 3, false, true}, many},
      {"rows_many_targets", "walk=rows", {5, 4, 5, 20, true}, many},
      {"rows_shared", "walk=rows", {6, 5, 5, 2, false, true, true}, many},
      {"rows_f64", "walk=rows", {6, 4, 5, 2, false, true, false, OpKind::ReduceMax, DType::F64}, many},
      {"bits_narrow", "bits=32", {7, 5, 5, 3}, around_bits},
      {"bits_wide", "bits=64", {7, 6, 5, 3, false, true}, around_bits},
      {"bits_all_targets", "bits=64", {4, 6, 20, 3, true}, around_bits},
      {"bits_min", "bits=32", {7, 3, 5, 4, false, false, false, OpKind::ReduceMin}, around_bits},
  };
  std::vector<KernelCase> cases;
  for (const Form& form : forms) {
    KernelCase test{.name = form.name, .kernel = form.kernel, .build = [=](CaseModel& m) {
                      Forest forest = form.forest;
                      Value* x = m.input({m.symbol("N"), m.module.dims.constant(forest.features)}, forest.dtype);
                      m.result({forest.build(m, x)});
                    }};
    test.values.clear();
    for (int64_t rows : form.rows) test.values.push_back({{"N", rows}});
    cases.push_back(std::move(test));
  }
  return cases;
}

}  // namespace lapidary::test
