// Linear models and support vector machines of ai.onnx.ml.
#include <algorithm>

#include "frontend/ops/ml_scores.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

int64_t columns_of(const Value* rows) {
  std::optional<int64_t> known = value_of(rows->type.shape[1]);
  if (!known) unsupported("an input of unknown width");
  return *known;
}

Value* weights(Node& node, int64_t rows, int64_t columns, const std::vector<double>& values, const char* what) {
  if (static_cast<int64_t>(values.size()) != rows * columns)
    fail("{} has {} elements, expected {} · {}", what, values.size(), rows, columns);
  return numbers(node, DType::F32, {rows, columns}, values);
}

Value* plus(Node& node, Value* scores, const std::vector<double>& values) {
  return node.build.add(scores, numbers(node, DType::F32, {static_cast<int64_t>(values.size())}, values));
}

// --- linear models -------------------------------------------------------------------------------------------------

// x · coefficientsᵀ + intercepts
Value* linear(Node& node, Value* x, int64_t targets, const std::vector<double>& intercepts) {
  Value* rows = weights(node, targets, columns_of(x), node.numbers("coefficients"), "coefficients");
  Value* scores = node.build.contract(x, rows, "mk,nk->mn");
  return intercepts.empty() ? scores : plus(node, scores, intercepts);
}

// One column has no transform but PROBIT.
Value* transformed(Node& node, Value* scores, int64_t columns) {
  const std::string transform = node.text("post_transform");
  check_post_transform(transform);
  return columns > 1 || transform == "PROBIT" ? post_transformed(node, scores, transform) : scores;
}

Values linear_regressor(Node& node) {
  const int64_t targets = node.integer("targets");
  const std::vector<double> intercepts = node.numbers("intercepts");
  if (targets < 1) fail("targets is {}", targets);
  if (!intercepts.empty() && static_cast<int64_t>(intercepts.size()) != targets)
    fail("intercepts has {} elements, targets is {}", intercepts.size(), targets);
  Value* x = rows_of(node, node.input(0), DType::F32);
  return {transformed(node, linear(node, x, targets, intercepts), targets)};
}

Value* is_positive(Node& node, Value* scores) {
  return node.build.scalar_op(ScalarOp::Less, {zero(node, scores), scores});
}

Value* integer(Node& node, int64_t value) { return node.build.scalar(Scalar::of_integer(DType::I64, value)); }

Values linear_classifier(Node& node) {
  const std::vector<int64_t> labels = class_labels(node, "classlabels_ints", "classlabels_strings");
  const std::vector<double> intercepts = node.numbers("intercepts");
  Value* x = rows_of(node, node.input(0), DType::F32);
  const int64_t classes =
      intercepts.empty() ? static_cast<int64_t>(labels.size()) : static_cast<int64_t>(intercepts.size());
  if (classes < 1) fail("there are neither class labels nor intercepts");
  Value* scores = linear(node, x, classes, intercepts);
  if (classes == 1) {
    const bool two = labels.size() == 2;
    Value* label = node.build.select(node.build.drop_axes(is_positive(node, scores), {1}),
                                     integer(node, two ? labels[1] : 1), integer(node, two ? labels[0] : 0));
    const std::string transform = node.text("post_transform");
    check_post_transform(transform);
    return {label, two ? of_one_score(node, scores, transform, true) : transformed(node, scores, 1)};
  }
  if (static_cast<int64_t>(labels.size()) != classes) fail("{} labels for {} classes", labels.size(), classes);
  return {labels_at(node, labels, first_greatest(node, scores)), transformed(node, scores, classes)};
}

// --- support vectors -----------------------------------------------------------------------------------------------

// K(x, s) of every row and every support vector: [N, S].
Value* kernel_values(Node& node, Value* x, Value* vectors) {
  GraphBuilder& b = node.build;
  const std::string kernel = node.text("kernel_type");
  const std::vector<double> params = node.numbers("kernel_params");
  if (!params.empty() && params.size() != 3) fail("kernel_params has {} elements, expected 3", params.size());
  auto param = [&](size_t i) { return b.like(x, params.empty() ? 0 : params[i]); };
  if (kernel == "RBF") {
    Value* gap = b.sub(b.expand_axes(x, {1}), b.expand_axes(vectors, {0}));
    return b.scalar_op(ScalarOp::Exp, {b.neg(b.mul(b.reduce(OpKind::ReduceSum, b.mul(gap, gap), {2}), param(0)))});
  }
  Value* product = b.contract(x, vectors, "mk,nk->mn");
  if (kernel == "LINEAR") return product;
  product = b.add(b.mul(product, param(0)), param(1));
  if (kernel == "SIGMOID") return b.scalar_op(ScalarOp::Tanh, {product});
  if (kernel != "POLY") fail("kernel_type '{}' is unknown", printable(kernel));
  const double degree = params.empty() ? 0 : params[2];
  if (degree == 2) return b.mul(product, product);
  if (degree == 3) return b.mul(b.mul(product, product), product);
  return b.scalar_op(ScalarOp::Pow, {product, param(2)});
}

Value* support_vectors(Node& node, Value* x, int64_t count) {
  return weights(node, count, columns_of(x), node.numbers("support_vectors"), "support_vectors");
}

std::vector<double> rho(Node& node, size_t least) {
  std::vector<double> values = node.numbers("rho");
  if (values.size() < least) fail("rho has {} elements, expected {}", values.size(), least);
  values.resize(least);
  return values;
}

Values svm_regressor(Node& node) {
  if (node.text("post_transform") != "NONE") unsupported("post_transform '{}'", printable(node.text("post_transform")));
  const int64_t count = node.integer("n_supports");
  Value* x = rows_of(node, node.input(0), DType::F32);
  const std::vector<double> coefficients = node.numbers("coefficients");
  Value* features = count > 0 ? kernel_values(node, x, support_vectors(node, x, count)) : x;
  Value* rows = weights(node, 1, columns_of(features), coefficients, "coefficients");
  Value* scores = plus(node, node.build.contract(features, rows, "mk,nk->mn"), rho(node, 1));
  if (node.integer("one_class") == 0) return {scores};
  return {node.build.select(is_positive(node, scores), node.build.like(scores, 1), node.build.like(scores, -1))};
}

// Classes i < j in order.
template <typename Visit>
void for_each_pair(int64_t classes, Visit visit) {
  int64_t pair = 0;
  for (int64_t i = 0; i < classes; ++i)
    for (int64_t j = i + 1; j < classes; ++j) visit(i, j, pair++);
}

// The decision between each two classes: [N, pairs]. Row j - 1 of the coefficients is class j's for the vectors of
// classes before it, row i class i's for those after.
Value* pair_scores(Node& node, Value* kernels, const std::vector<int64_t>& per_class, int64_t vectors) {
  const auto classes = static_cast<int64_t>(per_class.size());
  const std::vector<double> coefficients = node.numbers("coefficients");
  if (static_cast<int64_t>(coefficients.size()) < (classes - 1) * vectors)
    fail("coefficients has {} elements, expected {} · {}", coefficients.size(), classes - 1, vectors);
  std::vector<int64_t> first(classes + 1, 0);
  for (int64_t i = 0; i < classes; ++i) first[i + 1] = first[i] + per_class[i];
  const int64_t pairs = classes * (classes - 1) / 2;
  std::vector<double> of_pairs(pairs * vectors, 0);
  for_each_pair(classes, [&](int64_t i, int64_t j, int64_t pair) {
    for (int64_t v = first[i]; v < first[i + 1]; ++v)
      of_pairs[pair * vectors + v] = coefficients[(j - 1) * vectors + v];
    for (int64_t v = first[j]; v < first[j + 1]; ++v) of_pairs[pair * vectors + v] = coefficients[i * vectors + v];
  });
  Value* rows = weights(node, pairs, vectors, of_pairs, "coefficients");
  return plus(node, node.build.contract(kernels, rows, "mk,nk->mn"), rho(node, static_cast<size_t>(pairs)));
}

Value* column(Node& node, Value* of, int64_t index) {
  return node.build.slice_axis(of, 1, node.dims().constant(index), node.dims().constant(1));
}

// How many decisions each class wins: [N, classes].
Value* votes(Node& node, Value* scores, int64_t classes) {
  GraphBuilder& b = node.build;
  std::vector<Value*> count(classes, b.mul(column(node, scores, 0), b.like(scores, 0)));
  for_each_pair(classes, [&](int64_t i, int64_t j, int64_t pair) {
    Value* won = b.convert(is_positive(node, column(node, scores, pair)), DType::F32);
    count[i] = b.add(count[i], won);
    count[j] = b.add(count[j], b.sub(b.like(won, 1), won));
  });
  return b.concat(count, 1);
}

// Probabilities of the classes from those of the pairs: the p that minimises Σ (r_ji·p_i - r_ij·p_j)² with Σ p = 1, by
// libsvm's iteration (Wu, Lin and Weng 2004), which leaves off once no residual is above 0.005 / classes. That takes
// two or three rounds, of 3000 random cases never more than four.
class Coupling {
 public:
  Coupling(Node& node, int64_t classes) : node_(node), b_(node.build), classes_(classes) {}

  Value* run(const std::vector<std::vector<Value*>>& r) {
    constexpr int kRounds = 8;
    q_.assign(classes_, std::vector<Value*>(classes_));
    for (int64_t i = 0; i < classes_; ++i) {
      for (int64_t j = 0; j < classes_; ++j) {
        if (i == j) continue;
        Value* square = b_.mul(r[j][i], r[j][i]);
        q_[i][i] = q_[i][i] ? b_.add(q_[i][i], square) : square;
        q_[i][j] = b_.neg(b_.mul(r[j][i], r[i][j]));
      }
    }
    std::vector<Value*> p(classes_,
                          b_.broadcast_to(b_.like(r[0][1], 1.0 / static_cast<double>(classes_)), r[0][1]->type.shape));
    for (int i = 0; i < kRounds; ++i) p = round(p);
    return b_.concat(p, 1);
  }

 private:
  std::vector<Value*> round(const std::vector<Value*>& before) {
    std::vector<Value*> p = before, qp;
    Value *energy = nullptr, *worst = nullptr;
    for (int64_t i = 0; i < classes_; ++i) {
      Value* sum = nullptr;
      for (int64_t j = 0; j < classes_; ++j) sum = plus(sum, b_.mul(q_[i][j], p[j]));
      qp.push_back(sum);
      energy = plus(energy, b_.mul(p[i], sum));
    }
    for (Value* value : qp) {
      Value* error = b_.scalar_op(ScalarOp::Abs, {b_.sub(value, energy)});
      worst = worst ? b_.scalar_op(ScalarOp::Max, {worst, error}) : error;
    }
    Value* done = b_.scalar_op(ScalarOp::Less, {worst, b_.like(worst, 0.005 / static_cast<double>(classes_))});
    for (int64_t i = 0; i < classes_; ++i) {
      Value* step = b_.div(b_.sub(energy, qp[i]), q_[i][i]);
      p[i] = b_.add(p[i], step);
      Value* whole = b_.add(step, b_.like(step, 1));
      Value* change = b_.mul(step, b_.add(b_.mul(step, q_[i][i]), b_.mul(qp[i], b_.like(step, 2))));
      energy = b_.div(b_.div(b_.add(energy, change), whole), whole);
      for (int64_t j = 0; j < classes_; ++j) {
        qp[j] = b_.div(b_.add(qp[j], b_.mul(step, q_[i][j])), whole);
        p[j] = b_.div(p[j], whole);
      }
    }
    for (int64_t i = 0; i < classes_; ++i) p[i] = b_.select(done, before[i], p[i]);
    return p;
  }
  Value* plus(Value* sum, Value* term) { return sum ? b_.add(sum, term) : term; }

  Node& node_;
  GraphBuilder& b_;
  const int64_t classes_;
  std::vector<std::vector<Value*>> q_;
};

Value* probabilities(Node& node, Value* scores, int64_t classes, const std::vector<double>& a,
                     const std::vector<double>& c) {
  constexpr int64_t kMostClasses = 16;
  if (classes > kMostClasses) unsupported("probabilities of {} classes, more than {}", classes, kMostClasses);
  GraphBuilder& b = node.build;
  std::vector<std::vector<Value*>> r(classes, std::vector<Value*>(classes));
  for_each_pair(classes, [&](int64_t i, int64_t j, int64_t pair) {
    Value* score = column(node, scores, pair);
    Value* line = b.add(b.mul(score, b.like(score, a[pair])), b.like(score, c[pair]));
    Value* wins = logistic(node, b.neg(line));
    wins = b.scalar_op(ScalarOp::Max, {wins, b.like(score, 1e-7)});
    r[i][j] = b.scalar_op(ScalarOp::Min, {wins, b.like(score, 1 - 1e-7)});
    r[j][i] = b.sub(b.like(score, 1), r[i][j]);
  });
  return Coupling(node, classes).run(r);
}

// Without support vectors: one linear score for each class.
Values linear_svm(Node& node, Value* x, const std::vector<int64_t>& labels) {
  const auto classes = static_cast<int64_t>(labels.size());
  const std::vector<double> coefficients = node.numbers("coefficients");
  Value* rows = weights(node, classes, columns_of(x), coefficients, "coefficients");
  Value* scores = node.build.contract(x, rows, "mk,nk->mn");
  scores = node.build.add(scores, node.build.like(scores, rho(node, 1)[0]));
  Value* label = labels_at(node, labels, first_greatest(node, scores));
  if (classes == 2) {
    const bool all_positive = std::ranges::all_of(coefficients, [](double value) { return value >= 0; });
    Value* best = node.build.reduce(OpKind::ReduceMax, scores, {1});
    Value* second = node.build.scalar_op(all_positive ? ScalarOp::LessEqual : ScalarOp::Less,
                                         {node.build.like(best, all_positive ? 0.5 : 0), best});
    label = node.build.select(second, integer(node, labels[1]), label);
  }
  return {label, transformed(node, scores, classes)};
}

Values svm_classifier(Node& node) {
  const std::vector<int64_t> labels = class_labels(node, "classlabels_ints", "classlabels_strings");
  const auto classes = static_cast<int64_t>(labels.size());
  constexpr int64_t kMostClasses = 1024;
  if (classes < 2 || classes > kMostClasses) unsupported("{} classes", classes);
  Value* x = rows_of(node, node.input(0), DType::F32);
  const std::vector<int64_t> per_class = node.integers("vectors_per_class");
  int64_t vectors = 0;
  for (int64_t count : per_class) {
    if (count < 0 || count > INT32_MAX) fail("a class has {} vectors", count);
    vectors += count;
  }
  if (vectors == 0) return linear_svm(node, x, labels);
  if (static_cast<int64_t>(per_class.size()) != classes)
    fail("vectors_per_class has {} elements for {} labels", per_class.size(), classes);
  Value* scores = pair_scores(node, kernel_values(node, x, support_vectors(node, x, vectors)), per_class, vectors);
  Value* label = labels_at(node, labels, first_greatest(node, votes(node, scores, classes)));
  const std::vector<double> a = node.numbers("prob_a"), c = node.numbers("prob_b");
  const auto pairs = static_cast<size_t>(classes * (classes - 1) / 2);
  if (a.size() != c.size() || (!a.empty() && a.size() < pairs))
    fail("prob_a and prob_b have {} and {} elements, expected {}", a.size(), c.size(), pairs);
  const std::string transform = node.text("post_transform");
  if (!a.empty()) return {label, transformed(node, probabilities(node, scores, classes, a, c), classes)};
  if (classes == 2) return {label, of_one_score(node, scores, transform, transform != "NONE")};
  return {label, transformed(node, scores, classes)};
}

constexpr OpEntry kOps[] = {
    {"LinearClassifier", [](Node& node) { return with_texts(node, "classlabels_strings", linear_classifier(node)); }},
    {"LinearRegressor", linear_regressor},
    {"SVMClassifier", [](Node& node) { return with_texts(node, "classlabels_strings", svm_classifier(node)); }},
    {"SVMRegressor", svm_regressor}};

}  // namespace

std::span<const OpEntry> ml_linear_ops() { return kOps; }

}  // namespace lapidary::frontend
