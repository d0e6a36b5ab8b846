#include "ir/winograd.h"

#include <cmath>

#include "ir/error.h"

namespace lapidary {

namespace {

// Coefficients, lowest first, of Π (x - point) over all points but the skipped one.
std::vector<double> product_without(const std::vector<double>& points, size_t skipped) {
  std::vector<double> polynomial = {1};
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == skipped) continue;
    std::vector<double> next(polynomial.size() + 1, 0);
    for (size_t k = 0; k < polynomial.size(); ++k) {
      next[k + 1] += polynomial[k];
      next[k] -= points[i] * polynomial[k];
    }
    polynomial = std::move(next);
  }
  return polynomial;
}

// Rows of Bᵀ are the interpolation polynomials' coefficients, rows of G the powers of the points over the polynomials'
// values there.
//
// For F(4, 3) the usual points 0, ±1, ±2 lose float32 precision to their large coefficients: on 64 channels of random
// data the relative L2 error in two dimensions is 1.3e-6; points 0, ±1/√2, ±√2 give 7.5e-7 (direct convolution: 2e-7),
// and keep the symmetry of ± pairs that halves the transforms' work. F(4, 4), in one dimension and over 512 channels:
// 1.3e-6 with ±3/8, ±4/5, ±2, 1.7e-6 with 0, ±1, ±2, 1/2 (F(4, 3) 0.9e-6, direct 0.8e-6).
WinogradMatrices build(int m, int r, const std::vector<double>& points) {
  const int n = m + r - 1;
  WinogradMatrices result{m,
                          r,
                          n,
                          Matrix(m, std::vector<double>(n, 0)),
                          Matrix(n, std::vector<double>(r, 0)),
                          Matrix(n, std::vector<double>(n, 0))};
  for (int i = 0; i < n - 1; ++i) {
    std::vector<double> polynomial = product_without(points, i);
    double value = 0;
    for (size_t k = 0; k < polynomial.size(); ++k) value += polynomial[k] * std::pow(points[i], k);
    for (size_t k = 0; k < polynomial.size(); ++k) result.bt[i][k] = polynomial[k];
    for (int k = 0; k < r; ++k) result.g[i][k] = std::pow(points[i], k) / value;
    for (int k = 0; k < m; ++k) result.at[k][i] = std::pow(points[i], k);
  }
  std::vector<double> all = product_without(points, points.size());
  for (size_t k = 0; k < all.size(); ++k) result.bt[n - 1][k] = all[k];
  result.g[n - 1][r - 1] = 1;
  result.at[m - 1][n - 1] = 1;
  return result;
}

}  // namespace

const WinogradMatrices& winograd_matrices(int m, int r) {
  static const WinogradMatrices two = build(2, 3, {0, 1, -1});
  static const WinogradMatrices three_taps = build(4, 3, {0, M_SQRT1_2, -M_SQRT1_2, M_SQRT2, -M_SQRT2});
  static const WinogradMatrices four_taps = build(4, 4, {0.375, -0.375, 0.8, -0.8, 2, -2});
  LPD_CHECK((m == 4 && (r == 3 || r == 4)) || (m == 2 && r == 3), "no Winograd form F({}, {})", m, r);
  return m == 2 ? two : r == 3 ? three_taps : four_taps;
}

}  // namespace lapidary
