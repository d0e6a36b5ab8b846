// A block of threads has a few columns and the whole of k, of which a thread takes 16 bytes each time, of all columns
// at once so that as many loads are under way; the threads' sums are added up at the end:
//
//   task: batch, four columns
//     thread t: for k = 8 t, 8 (t + threads), …:  acc[i][j] += Σ a[i][k..k+8] · b[j][k..k+8]
//     combine acc add
//     thread i: epilogue of row i, stored
#include "passes/lower/gpu/few_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/product_kernel.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kWarp = 32, kMostThreads = 128;
constexpr int kColumns = 4;  // of a block
constexpr int kHeights[] = {1, 8};
constexpr int kPacketBits = 128;

// All of up to `height` rows.
class FewRowsEmitter : ProductKernel {
 public:
  FewRowsEmitter(Context& context, const Op& group, const ProductForm& form, int height)
      : ProductKernel(context, group, form, "few_rows", fmt::format("rows={}", height)),
        height_(height),
        lanes_(kPacketBits / bit_width(form.a->type.dtype)) {
    const auto depth = static_cast<uint64_t>(lapidary::value_of(depth_).value_or(INT64_C(1) << 20));
    builder_.threads = static_cast<int>(std::clamp<uint64_t>(std::bit_ceil(depth / lanes_), kWarp, kMostThreads));
  }

  // Do both operands lie along k, in whole packets?
  bool fits() {
    const auto in_packets = [&](const Value* operand, const auto& at_depth) {
      return width_along(emit_, operand->type.dtype, form_.depth.extents.back(),
                         [&](GroupEmitter& emit, const Coord& k) {
                           Parts depth = unknown_positions(form_.depth.extents);
                           depth.back() = k;
                           return emit.value(operand, at_depth(emit, depth));
                         }) == lanes_;
    };
    if (form_.depth.extents.empty()) return false;
    const Parts batch = unknown_positions(form_.batch), row = unknown_positions(form_.rows.extents),
                column = unknown_positions(form_.columns.extents);
    const bool b_fits = form_.b_rows ? known_multiple(form_.b_pitch, lanes_) && known_multiple(depth_, lanes_)
                                     : in_packets(form_.b, [&](GroupEmitter& emit, const Parts& depth) {
                                         return form_.b_at(emit, batch, depth, column);
                                       });
    return b_fits && in_packets(form_.a, [&](GroupEmitter& emit, const Parts& depth) {
             return form_.a_at(emit, batch, row, depth);
           });
  }

  LoweredVariant emit(Dim when) {
    std::vector<Dim> task_extents = form_.batch;
    task_extents.push_back(
        dims_.mul(dims_.min(rows_, builder_.dim(1)), dims_.ceildiv(stored_columns_, builder_.dim(kColumns))));
    const std::vector<Expr> of_task = builder_.split_task(task_extents);
    take_batch(of_task);
    const Expr first_column = builder_.body.let("column", mul(of_task.back(), integer(kColumns)));
    const Buffer total = builder_.body.fragment("total", DType::F32, int64_t{height_} * kColumns);
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      unrolled(own, "i", total->size, [&](Block& one, Expr i) { one.add(loops::store(total, i, real(0))); });
      const Var k = make_var("k", {}, 0, INT64_MAX / 1024, lanes_);
      Block step;
      multiply(step, first_column, variable(k), total);
      own.add(for_loop(k, mul(thread, integer(lanes_)), builder_.parameter(depth_), int64_t{builder_.threads} * lanes_,
                       LoopKind::Serial, step.take()));
    });
    builder_.body.add(combine(total, ScalarOp::Add, builder_.threads));
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { store_row(own, thread, first_column, total); });
    return builder_.finish(dims_.product(task_extents), when);
  }

 private:
  // The last row or column in place of one beyond it, which is not stored. Columns that are stored may be more than
  // there are.
  Expr row_at(int i) {
    return known_multiple(rows_, height_) ? integer(i) : min(integer(i), sub(builder_.parameter(rows_), integer(1)));
  }
  Expr column_at(const Expr& first, int j) {
    const Expr column = add(first, integer(j));
    if (stored_columns_ == columns_ && known_multiple(columns_, kColumns)) return column;
    return min(column, sub(builder_.parameter(columns_), integer(1)));
  }

  // What a thread has of one packet of k.
  void multiply(Block& block, const Expr& first_column, const Expr& k, const Buffer& total) {
    GroupEmitter::Scope scope(emit_, block);
    const auto of_row = [&](int i) {
      Coords at = form_.a_at(emit_, batch_, parts(row_at(i), form_.rows), parts(k, form_.depth, lanes_));
      at.lanes = lanes_;
      return block.let("a", emit_.value(form_.a, at));
    };
    const auto of_column = [&](int j) {
      const Expr column = column_at(first_column, j);
      if (form_.b_rows)
        return convert(
            load(builder_.weight(*form_.b_rows), add(mul(column, builder_.parameter(form_.b_pitch)), k), lanes_),
            DType::F32);
      Coords at = form_.b_at(emit_, batch_, parts(k, form_.depth, lanes_), parts(column, form_.columns));
      at.lanes = lanes_;
      return emit_.value(form_.b, at);
    };
    std::vector<Expr> a, b;
    for (int j = 0; j < kColumns; ++j) b.push_back(block.let("b", of_column(j)));
    for (int i = 0; i < height_; ++i) {
      const Expr row = of_row(i);
      for (int j = 0; j < kColumns; ++j) {
        const Expr at = integer(int64_t{i} * kColumns + j);
        Expr sum = load(total, at);
        for (int lane = 0; lane < lanes_; ++lane) sum = fma(shuffle({row}, {lane}), shuffle({b[j]}, {lane}), sum);
        block.add(loops::store(total, at, sum));
      }
    }
  }

  // A row for each of the first threads: all of them know all sums.
  void store_row(Block& own, const Expr& thread, const Expr& first_column, const Buffer& total) {
    int lanes = kColumns;
    while (!known_multiple(stored_columns_, lanes)) lanes /= 2;
    Block inner;
    for (int j = 0; j < kColumns; j += lanes) {
      const Expr sum = sums_of_own_row(total, thread, height_, kColumns, j, lanes);
      const Expr column = inner.let("column", add(first_column, integer(j)));
      Block stored;
      store_result(stored, thread, column, sum, lanes);
      if (known_multiple(stored_columns_, kColumns))
        inner.add(loops::block(stored.take()));
      else
        inner.add(if_then(less(column, builder_.parameter(stored_columns_)), stored.take()));
    }
    own.add(if_then(less(thread, height_ == 1 ? integer(1) : builder_.parameter(rows_)), inner.take()));
  }

  const int height_, lanes_;
};

}  // namespace

bool may_be_few_rows(Dim rows) { return range(rows).lo <= std::ranges::max(kHeights); }

std::vector<LoweredVariant> few_rows_variants(Context& context, const Op& group, const ProductForm& form) {
  DimPool& dims = context.module.dims;
  const Dim rows = form.rows.extent(dims);
  if (bit_width(form.a->type.dtype) != 16 || !may_be_few_rows(rows) || form.b_value) return {};
  if (!FewRowsEmitter(context, group, form, 1).fits()) return {};
  return variants_by_height(dims, rows, kHeights, [&](int height, Dim when) {
    return FewRowsEmitter(context, group, form, height).emit(when);
  });
}

std::vector<LoweredVariant> variants_by_height(DimPool& dims, Dim rows, std::span<const int> heights,
                                               const std::function<LoweredVariant(int, Dim)>& emit) {
  std::vector<LoweredVariant> variants;
  for (const int height : heights) {
    const Dim fits = dims.less(rows, dims.constant(height + 1));
    const auto known = lapidary::value_of(fits);
    if (known == 0) continue;
    variants.push_back(emit(height, known ? nullptr : fits));
    if (known) break;
  }
  return variants;
}

Expr sums_of_own_row(const Buffer& sums, const Expr& thread, int height, int columns, int column, int lanes) {
  Expr own = load(sums, integer(column), lanes);
  for (int i = 1; i < height; ++i)
    own =
        select(splat(equal(thread, integer(i)), lanes), load(sums, integer(int64_t{i} * columns + column), lanes), own);
  return own;
}

}  // namespace lapidary::lowering::gpu
