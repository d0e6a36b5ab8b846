#include "passes/lower/transpose_tile.h"

#include "ir/error.h"

namespace lapidary::lowering {

using namespace loops;

// In the round of width w, rows r and r + w (bit w of r clear) swap their off-diagonal blocks of w lanes: lane c of the
// new row r comes from row r where bit w of c is clear, else from row r + w at c - w; the new row r + w likewise.
std::vector<Expr> transposed(Block& block, std::vector<Expr> rows) {
  int n = static_cast<int>(rows.size());
  LPD_CHECK(n > 0 && rows[0]->type.lanes == n && (n & (n - 1)) == 0);
  for (int width = n / 2; width >= 1; width /= 2) {
    std::vector<int> upper(n), lower(n);
    for (int c = 0; c < n; ++c) {
      upper[c] = c & width ? n + c - width : c;
      lower[c] = c & width ? n + c : c + width;
    }
    for (int r = 0; r < n; ++r) {
      if (r & width) continue;
      Expr a = rows[r], b = rows[r + width];
      rows[r] = block.let("t", shuffle({a, b}, upper));
      rows[r + width] = block.let("t", shuffle({a, b}, lower));
    }
  }
  return rows;
}

}  // namespace lapidary::lowering
