// The register tile every contraction and convolution is made of: rows × vectors of accumulators, kept in registers
// over the whole reduction. One k step loads the vectors of B once and broadcasts one element of A for each row:
//
//   b[j] = B[…, k, 16·j …]          a = splat(A[row i, k])          acc[i][j] = fma(a, b[j], acc[i][j])
//
// Which tile is best: two FMA a cycle need at least 8 independent accumulators, and (rows + vectors) loads a step must
// not exceed rows · vectors FMAs. With 32 registers 13 rows × 2 vectors (26 + 2 + 1) reach 97 % of peak and 14 rows
// spill; with 16 registers 6 × 2.
#pragma once

#include <functional>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

constexpr int kPanel = 16;  // columns of a packed panel, at every vector width

// What one step of a lane multiplies and adds: one number of A by one of B, or `depth` of each that lie side by side.
struct Atom {
  DType left = DType::F32, right = DType::F32, sum = DType::F32;
  int depth = 1;
  bool operator==(const Atom&) const = default;
};
constexpr Atom kFloats{};
constexpr Atom kIntegers{DType::I32, DType::I32, DType::I32, 1};
constexpr Atom kBytes{DType::U8, DType::I8, DType::I32, 4};  // a dot of VNNI, or what stands for it
constexpr Atom kSignedBytes{DType::I8, DType::U8, DType::I32, 4};

struct TileShape {
  int rows = 0;
  int panels = 1;  // of kPanel columns
  int lanes = 16;
  Atom atom = kFloats;
  int phases = 1;  // sets of accumulators, taken in turn over k: hides FMA latency in small tiles
  int vectors() const { return panels * kPanel / lanes; }
};

// The most rows of a tile with this many panels that stay in registers.
int max_rows(const Target&, int panels, const Atom& = kFloats);

// Phases that hide the latency of a small tile's products; what stands for a dot ends with sums, which have little.
int phases_of(const Target&, const TileShape&);
// How many k steps to write in a row, `most` or fewer: LLVM sums what stands for dots of several steps as a tree, and
// spills.
int steps_in_a_row(const Target&, const Atom&, int most);

class RegisterTile {
 public:
  // Declares the accumulators as a local of `block`, all zero.
  RegisterTile(Block& block, TileShape shape);

  const TileShape shape;
  // Element offsets of the operands of a k step: of A's numbers in row i, and of B's vector j; `k` counts steps from 0,
  // i and j are variables of unrolled loops.
  struct Operands {
    loops::Buffer a, b;
    std::function<loops::Expr(loops::Expr i, loops::Expr k)> a_index;
    std::function<loops::Expr(loops::Expr j, loops::Expr k)> b_index;
  };
  // acc += A · B over k in [0, depth), `unroll` steps at a time (a remainder loop where depth is not a known multiple).
  void multiply(Block&, const Operands&, loops::Expr depth, int unroll) const;
  // One k step with `k` in the middle of the caller's own loops; `phase` is a constant.
  void step(Block&, const Operands&, loops::Expr k, int phase = 0) const;
  // Sums the phases into the first.
  void join_phases(Block&) const;
  // The accumulated vector j of row i (after join_phases).
  loops::Expr value(loops::Expr i, loops::Expr j) const;
  // acc[i][j] += a · b
  void add_product(Block&, loops::Expr i, loops::Expr j, loops::Expr a, loops::Expr b, int phase = 0) const;
  // Calls `body` for every row i and vector j with the accumulated vector: unrolled, on the registers. With a stage
  // (see epilogue.h) the rows pass through it and are a loop.
  void for_each(Block&, const std::function<void(Block&, loops::Expr i, loops::Expr j, loops::Expr value)>& body,
                const loops::Buffer& stage = nullptr) const;

 private:
  loops::Expr slot(loops::Expr i, loops::Expr j, int phase) const;
  loops::Buffer accumulators_;
};

// The first element of vector j in step k of a strip of packed panels [panel][step][kPanel][depth of the atom],
// `panel_stride` apart.
loops::Expr panel_element(loops::Expr j, loops::Expr k, int lanes, loops::Expr panel_stride, const Atom& = kFloats);

// for (var in [0, count), unrolled) body
void unrolled(Block&, const char* name, int64_t count, const std::function<void(Block&, loops::Expr)>& body);
void serial(Block&, const char* name, loops::Expr begin, loops::Expr end, int64_t step,
            const std::function<void(Block&, loops::Expr)>& body);

// How rows of a run-time count are cut into tiles of nearly equal height: tiles = ceil(rows / max), the first
// `longer` of them one row taller than `height`.
struct RowSplit {
  Dim tiles, height, longer;
  std::vector<int> heights;  // that occur, when rows are known; else the whole-tile heights and a ladder 8/4/2/1
  bool ladder = false;
};
RowSplit split_rows(DimPool&, Dim rows, int max_rows);

// Emits `body(block, tile_rows, first_row)` for each height the tile may have, chosen at run time by `height`.
void for_height(Block&, const RowSplit&, loops::Expr height, loops::Expr first_row,
                const std::function<void(Block&, int rows, loops::Expr first_row)>& body);

}  // namespace lapidary::lowering
