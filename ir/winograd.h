// The matrices of Winograd's minimal filtering F(m, r): y = Aᵀ[(G g) ⊙ (Bᵀ d)] for m outputs of a filter of r taps over
// m + r - 1 inputs, in one dimension; two dimensions apply them to rows and columns (Lavin and Gray 2015). Built by
// Toom and Cook's construction from m + r - 2 finite points and infinity; weights go through G when the artifact is
// written, inputs and outputs through Bᵀ and Aᵀ in kernels, so all three must come from here.
#pragma once

#include <vector>

namespace lapidary {

using Matrix = std::vector<std::vector<double>>;

struct WinogradMatrices {
  int outputs, taps, inputs;  // m, r, m + r - 1
  Matrix at, g, bt;           // [m][inputs], [inputs][r], [inputs][inputs]
};

// F(2, 3), F(4, 3) or F(4, 4). Points: see winograd.cpp. They come in pairs ±a, side by side: of such a pair's rows of
// bt, and columns of at, one is the other with the signs of its odd places, or of its even ones, turned.
const WinogradMatrices& winograd_matrices(int m, int r);

}  // namespace lapidary
