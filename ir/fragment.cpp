#include "ir/fragment.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::loops {
namespace {

constexpr int64_t kBarrierBytes = 8;

// The place of a thread's `index`-th along an axis: the first run of every thread, then the second of every thread.
Expr in_runs(const Expr& index, int run, int threads, const Expr& thread) {
  return add(mul(add(mul(floordiv(index, integer(run)), integer(threads)), thread), integer(run)),
             mod(index, integer(run)));
}

FragmentPlace place_of_fma(const TileLayout& tile, const Expr& thread, const Expr& element) {
  const int elements = tile.elements(), columns = elements >= 32 ? 8 : elements >= 8 ? 4 : 2, rows = elements / columns;
  const int run = 16 / std::max(4, tile.word);
  const int threads_m = tile.rows / rows, threads_n = tile.columns / columns;
  const int lanes_n = threads_m < 4 ? 32 / threads_m : std::min(threads_n, 8), lanes_m = 32 / lanes_n,
            warps_n = threads_n / lanes_n;
  const Expr warp = floordiv(thread, integer(32)), lane = mod(thread, integer(32));
  const Expr thread_row =
      add(mul(floordiv(warp, integer(warps_n)), integer(lanes_m)), floordiv(lane, integer(lanes_n)));
  const Expr thread_column = add(mul(mod(warp, integer(warps_n)), integer(lanes_n)), mod(lane, integer(lanes_n)));
  return {in_runs(floordiv(element, integer(columns)), std::min(rows, run), threads_m, thread_row),
          in_runs(mod(element, integer(columns)), std::min(columns, run), threads_n, thread_column)};
}

FragmentPlace place_of_attention(const TileLayout& tile, const Expr& thread, const Expr& element) {
  constexpr int kLanes = 16;
  const int rows = tile.rows / (2 * tile.warp_rows), values = tile.columns / kLanes, piece = values % 4 == 0 ? 4 : 2;
  const Expr first_row =
      add(mul(floordiv(thread, integer(32)), integer(2 * rows)), mod(floordiv(thread, integer(kLanes)), integer(2)));
  const Expr value = mod(element, integer(values)), lane = mod(thread, integer(kLanes));
  return {add(first_row, mul(floordiv(element, integer(values)), integer(2))),
          add(mul(add(mul(floordiv(value, integer(piece)), integer(kLanes)), lane), integer(piece)),
              mod(value, integer(piece)))};
}

bool has_runs(const TileLayout& tile) { return tile.attention && tile.atom != Atom::Fma && tile.columns % 32 == 0; }

// Warps go down the tile; of each 32 columns lane t of four has 8, of its row and of that 8 below.
FragmentPlace place_in_runs(const Expr& thread, const Expr& element) {
  const Expr warp = floordiv(thread, integer(32)), lane = mod(thread, integer(32)), part = mod(element, integer(16));
  return {add(mul(warp, integer(16)), add(floordiv(lane, integer(4)), mul(floordiv(part, integer(8)), integer(8)))),
          add(mul(floordiv(element, integer(16)), integer(32)),
              add(mul(mod(lane, integer(4)), integer(8)), mod(part, integer(8))))};
}

// A group has `blocks` blocks of 64 rows, one below the other.
FragmentPlace place_of_warpgroups(const TileLayout& tile, const Expr& thread, const Expr& element) {
  const int groups = tile.threads() / 128, blocks = tile.rows / (64 * groups), held = tile.columns / 2;
  const Expr group = floordiv(thread, integer(128)), lane = mod(thread, integer(32)),
             warp = mod(floordiv(thread, integer(32)), integer(4));
  const Expr block = floordiv(element, integer(held)), rest = mod(element, integer(held));
  const Expr row = add(mul(warp, integer(16)),
                       add(floordiv(lane, integer(4)), mul(mod(floordiv(rest, integer(2)), integer(2)), integer(8))));
  return {add(mul(add(mul(group, integer(blocks)), block), integer(64)), row),
          add(mul(floordiv(rest, integer(4)), integer(8)),
              add(mul(mod(lane, integer(4)), integer(2)), mod(rest, integer(2))))};
}

// What a thread holds of queries on tensor cores: a warp has 16; TF32x3 keeps each as two numbers.
int registers_of_queries(const AttendNode& attend) {
  switch (attend.atom) {
    case Atom::F16:
    case Atom::BF16:
      return attend.depth / 4;
    case Atom::TF32:
      return attend.depth / 2;
    case Atom::TF32x3:
      return attend.depth;
    case Atom::I8:
    case Atom::Fma:
      break;
  }
  LPD_UNREACHABLE("atom");
}

}  // namespace

TileLayout tile_layout(const ProductNode& product) {
  return {product.atom,      product.rows,         product.columns,
          product.warp_rows, product.warp_columns, bit_width(product.a.value->type.dtype) / 8,
          product.warpgroups};
}

TileLayout tile_layout(const AttendNode& attend) {
  return {.atom = attend.atom,
          .rows = attend.queries,
          .columns = attend.columns,
          .warp_rows = attend.warps,
          .warp_columns = 1,
          .word = bit_width(attend.q.value->type.dtype) / 8,
          .attention = true};
}

int64_t product_shared_bytes(const ProductNode& product, int64_t word) {
  if (product.warpgroups) {
    return product.stages * ((product.rows + product.columns) * product.depth * word + 2 * kBarrierBytes) +
           (takes_turns(product) ? kTurns * kBarrierBytes : 0);
  }
  if (product.atom != Atom::Fma) return product.stages * (product.rows + product.columns) * product.depth * word;
  const int64_t pack = word == 1 ? 4 : 1, packed = pack * word;  // a slot is [k][line], lines padded by 16 bytes
  return product.stages * (product.depth / pack) * ((product.rows + product.columns) * packed + 32);
}

int64_t attend_shared_bytes(const AttendNode& attend, int64_t word) {
  if (attend.warpgroups) {
    constexpr int kPlaces = 2;  // of queries
    const int64_t consumers = attend.warps / 4;
    return kPlaces * attend.queries * attend.depth * word +
           attend.stages * attend.keys * std::max(attend.depth, attend.columns) * word +
           (2 * (kPlaces + attend.stages) + consumers) * kBarrierBytes;
  }
  if (attend.atom == Atom::Fma) {  // lines of a slot padded by 16 bytes, and the weights
    const int64_t line = attend.depth * 4 + 16, value_line = attend.columns * 4 + 16;
    return attend.queries * (line + attend.keys * 4 + 16) + attend.stages * attend.keys * (line + value_line);
  }
  return (attend.queries * attend.depth + attend.stages * attend.keys * (attend.depth + attend.columns)) * word;
}

int64_t product_shared_bytes(const ProductNode& product) {
  return product_shared_bytes(product, bit_width(product.a.value->type.dtype) / 8);
}
int64_t attend_shared_bytes(const AttendNode& attend) {
  return attend_shared_bytes(attend, bit_width(attend.q.value->type.dtype) / 8);
}

bool holds_queries(const AttendNode& attend) {
  const bool halves = attend.atom == Atom::F16 || attend.atom == Atom::BF16;  // words are read one by one, many at once
  const int results_and_scores = attend.queries * (attend.columns + attend.keys) / (32 * attend.warps);
  return results_and_scores + registers_of_queries(attend) <= (halves ? 128 : 88);
}

int rows_held(const TileLayout& tile) { return tile.atom == Atom::Fma ? tile.rows / (2 * tile.warp_rows) : 2; }

Expr row_held(const TileLayout& tile, const Expr& thread, int index) {
  const int apart = tile.atom == Atom::Fma ? tile.elements() / rows_held(tile) : has_runs(tile) ? 8 : 2;
  return fragment_place(tile, thread, integer(index * apart)).row;
}

FragmentPlace fragment_place(const TileLayout& tile, const Expr& thread, const Expr& element) {
  if (tile.warpgroups) return place_of_warpgroups(tile, thread, element);
  if (has_runs(tile)) return place_in_runs(thread, element);
  const int across = tile.warp_columns;
  if (tile.atom == Atom::Fma && tile.attention) return place_of_attention(tile, thread, element);
  if (tile.atom == Atom::Fma) return place_of_fma(tile, thread, element);
  const int rows = tile.rows / tile.warp_rows, columns = tile.columns / across;
  const Expr warp = floordiv(thread, integer(32)), lane = mod(thread, integer(32));
  const Expr piece = floordiv(element, integer(4)), part = mod(element, integer(4)), pieces = integer(columns / 8);
  const Expr row = add(mul(floordiv(piece, pieces), integer(16)),
                       add(floordiv(lane, integer(4)), mul(floordiv(part, integer(2)), integer(8))));
  const Expr column =
      add(mul(mod(piece, pieces), integer(8)), add(mul(mod(lane, integer(4)), integer(2)), mod(part, integer(2))));
  const Expr down = integer(tile.warp_rows);
  return {add(mul(mod(warp, down), integer(rows)), row), add(mul(floordiv(warp, down), integer(columns)), column)};
}

}  // namespace lapidary::loops
