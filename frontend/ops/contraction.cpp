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

// An ellipsis becomes digits, one for each axis it stands for, aligned at the last; letters are letters.
struct EllipsisReader {
  const std::string& text;
  size_t axes = 0;  // of the longest ellipsis

  std::string read(const std::string& term, size_t count) const {
    const size_t dots = term.find("...");
    std::string letters = term;
    if (dots != std::string::npos) {
      std::string digits;
      for (size_t i = axes - count; i < axes; ++i) digits += static_cast<char>('0' + i);
      letters = term.substr(0, dots) + term.substr(dots + 3);
      check(letters);
      return letters.insert(dots, digits);
    }
    check(letters);
    return letters;
  }
  void check(const std::string& letters) const {
    if (!std::all_of(letters.begin(), letters.end(), [](char c) { return isalpha(static_cast<unsigned char>(c)); }))
      fail("equation '{}' is malformed", printable(text));
  }
};

// Contractions know letters alone: those the equation does not use.
void rename_digits(Equation& equation) {
  std::string all = equation.result;
  for (const std::string& term : equation.terms) all += term;
  std::string free;
  for (char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if (all.find(c) == std::string::npos) free += c;
  auto rename = [&](std::string& term) {
    for (char& c : term) {
      if (!isdigit(static_cast<unsigned char>(c))) continue;
      if (static_cast<size_t>(c - '0') >= free.size()) unsupported("an equation of more than 52 indices");
      c = free[static_cast<size_t>(c - '0')];
    }
  };
  for (std::string& term : equation.terms) rename(term);
  rename(equation.result);
}

Equation parsed(Node& node) {
  constexpr size_t kMostAxes = 10;
  std::string text = node.text("equation");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow);
  Equation equation;
  for (size_t begin = 0; begin <= left.size();) {
    size_t end = std::min(left.find(',', begin), left.size());
    equation.terms.push_back(left.substr(begin, end - begin));
    begin = end + 1;
  }
  if (static_cast<int>(equation.terms.size()) != node.input_count())
    fail("equation has {} for {}", counted(static_cast<int64_t>(equation.terms.size()), "term"),
         counted(node.input_count(), "input"));
  EllipsisReader reader{text};
  std::vector<size_t> lengths;  // of each term's ellipsis
  for (int i = 0; i < node.input_count(); ++i) {
    const std::string& term = equation.terms[i];
    const bool some = term.find("...") != std::string::npos;
    const size_t letters = term.size() - (some ? 3 : 0), rank = node.rank(i);
    if (some ? letters > rank : letters != rank)
      fail("equation term '{}' has {} indices, input {} has rank {}", printable(term), letters, i, rank);
    lengths.push_back(rank - letters);
    reader.axes = std::max(reader.axes, lengths.back());
  }
  if (reader.axes > kMostAxes) unsupported("an ellipsis of more than {} axes", kMostAxes);
  for (size_t i = 0; i < lengths.size(); ++i) equation.terms[i] = reader.read(equation.terms[i], lengths[i]);
  if (arrow != std::string::npos) {
    const std::string result = text.substr(arrow + 2);
    if (reader.axes > 0 && result.find("...") == std::string::npos)
      fail("the result of equation '{}' lacks the ellipsis", printable(text));
    equation.result = reader.read(result, reader.axes);
  } else {  // the ellipsis, then letters that occur once, in alphabetical order
    std::string all;
    for (const std::string& term : equation.terms) all += term;
    std::string once;
    for (char c : all) {
      if (isalpha(static_cast<unsigned char>(c)) && std::count(all.begin(), all.end(), c) == 1) once += c;
    }
    std::sort(once.begin(), once.end());
    equation.result = reader.read("...", reader.axes) + once;
  }
  rename_digits(equation);
  for (char c : equation.result) {
    bool known = std::any_of(equation.terms.begin(), equation.terms.end(),
                             [&](const std::string& term) { return term.find(c) != std::string::npos; });
    if (!known || std::count(equation.result.begin(), equation.result.end(), c) > 1)
      fail("index '{}' of the result of equation '{}'", c, printable(text));
  }
  return equation;
}

// An index twice in one term: what lies off the diagonal falls away.
Value* diagonal(Node& node, Value* x, std::string& term) {
  for (size_t i = 0; i < term.size(); ++i) {
    for (size_t j = term.find(term[i], i + 1); j != std::string::npos; j = term.find(term[i], i + 1)) {
      GraphBuilder& build = node.build;
      const Shape& shape = x->type.shape;
      if (known_unequal(shape[i], shape[j]))
        fail("index '{}' has extents {} and {}", term[i], to_string(shape[i]), to_string(shape[j]));
      Value* on = build.scalar_op(ScalarOp::Equal, {build.iota(DType::I64, shape, static_cast<int>(i)),
                                                    build.iota(DType::I64, shape, static_cast<int>(j))});
      x = build.reduce(OpKind::ReduceSum, build.select(on, x, zero(node, x)), {static_cast<int64_t>(j)});
      term.erase(j, 1);
    }
  }
  return x;
}

// An axis of extent 1 goes along with the same index of another term.
void drop_units(Node& node, std::vector<Value*>& values, std::vector<std::string>& terms) {
  for (size_t i = 0; i < terms.size(); ++i) {
    for (size_t axis = terms[i].size(); axis-- > 0;) {
      if (value_of(values[i]->type.shape[axis]) != 1) continue;
      bool elsewhere = false;
      for (size_t other = 0; other < terms.size(); ++other) {
        size_t at = other == i ? std::string::npos : terms[other].find(terms[i][axis]);
        elsewhere |= at != std::string::npos;
      }
      if (!elsewhere) continue;
      values[i] = node.build.drop_axes(values[i], {static_cast<int64_t>(axis)});
      terms[i].erase(axis, 1);
    }
  }
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
  for (size_t i = 0; i < terms.size(); ++i) values[i] = diagonal(node, values[i], terms[i]);
  drop_units(node, values, terms);
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
