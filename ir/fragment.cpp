#include "ir/fragment.h"

namespace lapidary::loops {
namespace {

// The place of thread `thread`'s `index`-th along an axis of `extent` over `threads` of them, in groups of up to four.
Expr spread(int extent, int threads, const Expr& thread, const Expr& index) {
  const int each = extent / threads, group = each % 4 == 0 ? 4 : each % 2 == 0 ? 2 : 1;
  return add(add(mul(floordiv(index, integer(group)), integer(group * threads)), mul(thread, integer(group))),
             mod(index, integer(group)));
}

}  // namespace

int product_threads(const ProductNode& product) {
  return product.warp_rows * product.warp_columns * (product.atom == Atom::Fma ? 1 : 32);
}

int fragment_elements(const ProductNode& product) { return product.rows * product.columns / product_threads(product); }

FragmentPlace fragment_place(const ProductNode& product, const Expr& thread, const Expr& element) {
  const int across = product.warp_columns;
  if (product.atom == Atom::Fma) {
    const Expr columns = integer(product.columns / across);
    return {spread(product.rows, product.warp_rows, floordiv(thread, integer(across)), floordiv(element, columns)),
            spread(product.columns, across, mod(thread, integer(across)), mod(element, columns))};
  }
  const int rows = product.rows / product.warp_rows, columns = product.columns / across;
  const Expr warp = floordiv(thread, integer(32)), lane = mod(thread, integer(32));
  const Expr piece = floordiv(element, integer(4)), part = mod(element, integer(4)), pieces = integer(columns / 8);
  const Expr row = add(mul(floordiv(piece, pieces), integer(16)),
                       add(floordiv(lane, integer(4)), mul(floordiv(part, integer(2)), integer(8))));
  const Expr column = add(mul(mod(piece, pieces), integer(8)),
                          add(mul(mod(lane, integer(4)), integer(2)), mod(part, integer(2))));
  return {add(mul(floordiv(warp, integer(across)), integer(rows)), row),
          add(mul(mod(warp, integer(across)), integer(columns)), column)};
}

}  // namespace lapidary::loops
