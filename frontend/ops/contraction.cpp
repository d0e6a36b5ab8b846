// Matrix products and what is written as one.
#include <algorithm>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Values matmul(Node& node) {
  if (node.rank(0) == 0 || node.rank(1) == 0)
    fail("operands have ranks {} and {}, expected 1 or more", node.rank(0), node.rank(1));
  Value *a = node.input(0), *b = node.input(1);
  Dim inner_a = a->type.shape.back(), inner_b = b->type.shape[b->type.rank() == 1 ? 0 : b->type.rank() - 2];
  if (known_unequal(inner_a, inner_b)) fail("inner extents are {} and {}", to_string(inner_a), to_string(inner_b));
  return {node.build.matmul(a, b)};
}

// alpha · A'·B' + beta · C
Values gemm(Node& node) {
  Value *a = node.input(0), *b = node.input(1), *c = node.input(2);
  if (a->type.rank() != 2 || b->type.rank() != 2)
    fail("operands have ranks {} and {}, expected 2", a->type.rank(), b->type.rank());
  bool left = node.integer("transA") != 0, right = node.integer("transB") != 0;
  Dim inner_a = a->type.shape[left ? 0 : 1], inner_b = b->type.shape[right ? 1 : 0];
  if (known_unequal(inner_a, inner_b)) fail("inner extents are {} and {}", to_string(inner_a), to_string(inner_b));
  Value* y = node.build.contract(a, b, std::string(left ? "km" : "mk") + (right ? ",nk" : ",kn") + "->mn");
  double alpha = node.number("alpha"), beta = node.number("beta");
  if (alpha != 1) y = node.build.mul(y, node.build.like(y, alpha));
  if (!c || beta == 0) return {y};
  if (c->type.rank() > 2) fail("C has rank {}, expected 2 or less", c->type.rank());
  if (beta != 1) c = node.build.mul(c, node.build.like(c, beta));
  return {node.build.add(y, node.build.broadcast_to(c, y->type.shape))};
}

// The last two axes of an operand swapped, or its first axis put before the last, as FusedMatMul's attributes say.
Value* arranged(Node& node, Value* x, const char* swaps, const char* batch_last) {
  const int rank = x->type.rank();
  std::vector<int64_t> perm = axes_from(0, rank);
  if (rank > 1 && node.integer_or(batch_last, 0) != 0) std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
  if (rank > 1 && node.integer(swaps) != 0) std::swap(perm[rank - 1], perm[rank - 2]);
  return node.build.transpose(x, perm);
}

Values fused_matmul(Node& node) {
  if (node.rank(0) == 0 || node.rank(1) == 0)
    fail("operands have ranks {} and {}, expected 1 or more", node.rank(0), node.rank(1));
  Value *a = arranged(node, node.input(0), "transA", "transBatchA"),
        *b = arranged(node, node.input(1), "transB", "transBatchB");
  Value* y = node.build.matmul(a, b);
  const double alpha = node.number("alpha");
  return {activated(node, alpha == 1 ? y : node.build.mul(y, node.build.like(y, alpha)))};
}

Values fused_gemm(Node& node) { return {activated(node, gemm(node)[0])}; }

// --- Einsum ----------------------------------------------------------------------------------------------------------

struct Equation {
  std::vector<std::string> terms;
  std::string result;
};

Equation parsed(Node& node) {
  std::string text = node.text("equation");
  std::erase(text, ' ');
  if (text.find('.') != std::string::npos) unsupported("an ellipsis in equation '{}'", printable(text));
  size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow);
  Equation equation;
  for (size_t begin = 0; begin <= left.size();) {
    size_t end = std::min(left.find(',', begin), left.size());
    equation.terms.push_back(left.substr(begin, end - begin));
    begin = end + 1;
  }
  auto letters = [](const std::string& term) {
    return std::all_of(term.begin(), term.end(), [](char c) { return isalpha(static_cast<unsigned char>(c)); });
  };
  for (const std::string& term : equation.terms) {
    if (!letters(term)) fail("equation '{}' is malformed", printable(text));
  }
  if (arrow != std::string::npos) {
    equation.result = text.substr(arrow + 2);
    if (!letters(equation.result)) fail("equation '{}' is malformed", printable(text));
  } else {  // letters that occur once, in alphabetical order
    std::erase(left, ',');
    for (char c : left) {
      if (std::count(left.begin(), left.end(), c) == 1) equation.result += c;
    }
    std::sort(equation.result.begin(), equation.result.end());
  }
  if (static_cast<int>(equation.terms.size()) != node.input_count())
    fail("equation has {} for {}", counted(static_cast<int64_t>(equation.terms.size()), "term"),
         counted(node.input_count(), "input"));
  for (int i = 0; i < node.input_count(); ++i) {
    const std::string& term = equation.terms[i];
    if (static_cast<int>(term.size()) != node.rank(i))
      fail("equation term '{}' has {} indices, input {} has rank {}", printable(term), term.size(), i, node.rank(i));
    for (char c : term) {
      if (std::count(term.begin(), term.end(), c) > 1) unsupported("the diagonal '{}'", term);
    }
  }
  for (char c : equation.result) {
    bool known = std::any_of(equation.terms.begin(), equation.terms.end(),
                             [&](const std::string& term) { return term.find(c) != std::string::npos; });
    if (!known || std::count(equation.result.begin(), equation.result.end(), c) > 1)
      fail("index '{}' of the result of equation '{}'", c, printable(text));
  }
  return equation;
}

// Sums over the letters of a term that neither the other terms nor the result have.
Value* summed(Node& node, Value* x, std::string& term, const std::string& needed) {
  std::vector<int64_t> axes;
  std::string kept;
  for (size_t i = 0; i < term.size(); ++i) {
    if (needed.find(term[i]) == std::string::npos)
      axes.push_back(static_cast<int64_t>(i));
    else
      kept += term[i];
  }
  term = kept;
  return axes.empty() ? x : node.build.reduce(OpKind::ReduceSum, x, axes);
}

// Two terms at a time, from the left; the last step gives the result's order.
Values einsum(Node& node) {
  Equation equation = parsed(node);
  std::vector<Value*> values = node.inputs();
  std::vector<std::string> terms = equation.terms;
  auto needed_beside = [&](size_t from) {
    std::string letters = equation.result;
    for (size_t i = from; i < terms.size(); ++i) letters += terms[i];
    return letters;
  };
  Value* y = values[0];
  std::string term = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    y = summed(node, y, term, needed_beside(i));
    Value* other = summed(node, values[i], terms[i], needed_beside(i + 1) + term);
    std::string next;
    for (char c : needed_beside(i + 1)) {
      if ((term + terms[i]).find(c) != std::string::npos && next.find(c) == std::string::npos) next += c;
    }
    y = node.build.contract(y, other, term + "," + terms[i] + "->" + next);
    term = next;
  }
  y = summed(node, y, term, equation.result);
  std::vector<int64_t> perm;
  for (char c : equation.result) perm.push_back(static_cast<int64_t>(term.find(c)));
  return {node.build.transpose(y, perm)};
}

constexpr OpEntry kOps[] = {
    {"Einsum", einsum},
    {"FusedGemm", fused_gemm,
     "A: T, B: T, C?: T -> Y: T | alpha = 1.0, beta = 1.0, transA = 0, transB = 0, activation?: str,"
     " activation_alpha?: float, activation_beta?: float, activation_gamma?: float | T = f16 f32 f64"},
    {"FusedMatMul", fused_matmul,
     "A: T, B: T -> Y: T | alpha = 1.0, transA = 0, transB = 0, transBatchA = 0, transBatchB = 0 | T = f16 f32 f64 "
     "bf16"},
    {"FusedMatMulActivation", fused_matmul,
     "A: T, B: T -> Y: T | alpha = 1.0, transA = 0, transB = 0, transBatchA = 0, transBatchB = 0, activation: str,"
     " activation_alpha?: float, activation_beta?: float, activation_gamma?: float, activation_axis?: int |"
     " T = f16 f32 f64 bf16"},
    {"Gemm", gemm},
    {"MatMul", matmul},
    {"TransposeMatMul", fused_matmul,
     "A: T, B: T -> Y: T | alpha = 1.0, transA = 0, transB = 0 | T = f16 f32 f64 bf16"},
};

}  // namespace

std::span<const OpEntry> contraction_ops() { return kOps; }

}  // namespace lapidary::frontend
