// Sums, or what else reductions combine to, of columns that lie side by side, by a block of threads: a row of threads
// has as many packets of columns next to each other, the rows share out the elements of a column, and what they have
// found is combined in shared memory. The order of it all depends on extents and target alone.
//
// Example, 64 columns of f16 by 8 x 32 threads:
//   thread t: sum[i] = Σ columns 8 (t mod 8) … + 7 of elements t / 8 + 32 i, t / 8 + 32 (i + 4), …; i < 4
//             shared[t / 8][t mod 8] = sum[0] + sum[1] + sum[2] + sum[3]
//   barrier
//   thread t < 8 · 16: shared[t / 8][t mod 8] += shared[t / 8 + 16][t mod 8]    barrier
//   … of eight rows, of four, two and one; thread t < 8: total = shared[0][t]
#pragma once

#include <functional>
#include <vector>

#include "passes/lower/gpu/flat_walk.h"

namespace lapidary::lowering::gpu {

class ColumnSums {
 public:
  struct Shape {
    int across = 1, down = 1;  // threads of a row; rows of threads
    int lanes = 1;             // neighbours a thread takes at once
  };
  // The kernel's block gets as many threads as the shape needs.
  ColumnSums(KernelBuilder&, const std::vector<const Op*>& reductions, const Shape&);

  // Where a thread stands that is so many packets behind the block's first column; null when that is one for certain,
  // else whether it is.
  using StandAt = std::function<loops::Expr(Block&, const loops::Expr& across)>;
  // What the reductions combine at a place on the axes along the columns, `lanes` each.
  using Elements = std::function<std::vector<loops::Expr>(Block&, const std::vector<loops::Expr>& place)>;
  // Takes the totals of the columns a thread stands at: local buffers of one element of `lanes`.
  using Finish = std::function<void(Block&, const std::vector<loops::Buffer>& totals)>;

  // Adds it all to the kernel: positions begin … end - 1 along the columns, on axes of these extents.
  void emit(const FlatRange&, const StandAt&, const Elements&, const Finish&);

  static constexpr int kInFlight = 4;  // elements that a thread has asked for before it sums

 private:
  loops::Buffer sums(Block&, size_t reduction, const char* name, int64_t count) const;
  loops::Expr combined(size_t reduction, const loops::Expr& a, const loops::Expr& b) const;
  int64_t row_of_sums() const { return int64_t{shape_.across} * shape_.lanes; }
  void gather(Block& own, const loops::Expr& thread, const FlatRange&, const StandAt&, const Elements&);
  void sum_up(Block& inner, const loops::Expr& row, const loops::Expr& column, const FlatRange&, const Elements&);
  void halve(int rows, const StandAt&);

  KernelBuilder& builder_;
  const std::vector<const Op*>& reductions_;
  const Shape shape_;
  std::vector<loops::Buffer> shared_;  // of each reduction
};

}  // namespace lapidary::lowering::gpu
