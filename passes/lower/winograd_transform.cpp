// Points ±a come side by side (ir/winograd.h), so what the two of a pair have in common is computed once: half the
// work.
#include "passes/lower/winograd_transform.h"

#include <cmath>

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr double kRounding = 1e-12;

// Σ coefficient · x, one multiply-add a term.
Expr combine(Block& block, const std::vector<double>& coefficients, const std::vector<Expr>& x) {
  Expr sum = nullptr;
  for (size_t k = 0; k < x.size(); ++k) {
    if (coefficients[k] == 0) continue;
    float c = static_cast<float>(coefficients[k]);
    int lanes = x[k]->type.lanes;
    if (!sum)
      sum = c == 1 ? x[k] : mul(real(c, lanes), x[k]);
    else if (c == 1)
      sum = add(sum, x[k]);
    else if (c == -1)
      sum = sub(sum, x[k]);
    else
      sum = loops::fma(real(c, lanes), x[k], sum);
  }
  return sum ? block.let("c", sum) : real(0, x[0]->type.lanes);
}

// Are these places of the two rows equal, up to a sign that all share?
bool equal_places(const std::vector<double>& a, const std::vector<double>& b, size_t first, double sign) {
  for (size_t k = first; k < a.size(); k += 2)
    if (std::abs(a[k] - sign * b[k]) > kRounding) return false;
  return true;
}

// The rows of a pair ±a: one parity agrees, the other is turned.
bool are_pair(const std::vector<double>& a, const std::vector<double>& b) {
  return (equal_places(a, b, 0, 1) && equal_places(a, b, 1, -1)) ||
         (equal_places(a, b, 0, -1) && equal_places(a, b, 1, 1));
}

std::vector<double> column(const Matrix& matrix, size_t k) {
  std::vector<double> result;
  for (const std::vector<double>& row : matrix) result.push_back(row[k]);
  return result;
}

}  // namespace

std::vector<Expr> winograd_inputs(Block& block, const Matrix& bt, const std::vector<Expr>& x) {
  std::vector<Expr> result;
  for (size_t row = 0; row < bt.size(); ++row) {
    if (row + 1 == bt.size() || !are_pair(bt[row], bt[row + 1])) {
      result.push_back(combine(block, bt[row], x));
      continue;
    }
    std::vector<double> even = bt[row], odd = bt[row];
    for (size_t k = 0; k < even.size(); ++k) (k % 2 ? even : odd)[k] = 0;
    Expr e = combine(block, even, x), o = combine(block, odd, x);
    const bool even_kept = equal_places(bt[row], bt[row + 1], 0, 1);
    result.push_back(block.let("v", add(e, o)));
    result.push_back(block.let("v", even_kept ? sub(e, o) : sub(o, e)));
    ++row;
  }
  return result;
}

// Columns of a pair ±a agree up to the sign in odd rows: work on sums and differences.
std::vector<Expr> winograd_outputs(Block& block, const Matrix& at, std::vector<Expr> x) {
  Matrix matrix = at;
  for (size_t k = 0; k + 1 < x.size(); ++k) {
    if (!are_pair(column(at, k), column(at, k + 1))) continue;
    Expr sum = block.let("s", add(x[k], x[k + 1])), difference = block.let("d", sub(x[k], x[k + 1]));
    x[k] = sum;
    x[k + 1] = difference;
    for (size_t row = 0; row < matrix.size(); ++row) {
      double a = at[row][k], b = at[row][k + 1];
      matrix[row][k] = (a + b) / 2;
      matrix[row][k + 1] = (a - b) / 2;
      if (std::abs(matrix[row][k]) < kRounding) matrix[row][k] = 0;
      if (std::abs(matrix[row][k + 1]) < kRounding) matrix[row][k + 1] = 0;
    }
    ++k;
  }
  std::vector<Expr> result;
  for (const std::vector<double>& row : matrix) result.push_back(combine(block, row, x));
  return result;
}

}  // namespace lapidary::lowering
