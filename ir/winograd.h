// The matrices of Winograd's minimal filtering F(m, 3): y = Aᵀ[(G g) ⊙ (Bᵀ d)] for m outputs of a filter of 3 taps over
// m + 2 inputs, in one dimension; two dimensions apply them to rows and columns (Lavin and Gray 2015). Built by Toom
// and Cook's construction from m + 1 finite points and infinity; weights go through G when the artifact is written,
// inputs and outputs through Bᵀ and Aᵀ in kernels, so all three must come from here.
#pragma once

#include <vector>

namespace lapidary {

using Matrix = std::vector<std::vector<double>>;

struct WinogradMatrices {
  int outputs, inputs;  // m, m + 2
  Matrix at, g, bt;     // [m][m + 2], [m + 2][3], [m + 2][m + 2]
};

// m = 2 or 4. Points: see winograd.cpp. Row 2i of bt is row 2i - 1 with the signs of odd columns, or of even ones,
// turned, for 1 <= i <= m / 2: points come in pairs ±a.
const WinogradMatrices& winograd_matrices(int m);

}  // namespace lapidary
