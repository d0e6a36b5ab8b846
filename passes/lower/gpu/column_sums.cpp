#include "passes/lower/gpu/column_sums.h"

#include "passes/lower/coords.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kWarp = 32;

}  // namespace

ColumnSums::ColumnSums(KernelBuilder& builder, const std::vector<const Op*>& reductions, const Shape& shape)
    : builder_(builder), reductions_(reductions), shape_(shape) {
  builder.threads = (shape.across * shape.down + kWarp - 1) / kWarp * kWarp;
}

Buffer ColumnSums::sums(Block& block, size_t reduction, const char* name, int64_t count) const {
  return block.local(name, {combined_type(*reductions_[reduction]), static_cast<uint16_t>(shape_.lanes)}, count);
}

Expr ColumnSums::combined(size_t reduction, const Expr& a, const Expr& b) const {
  return apply(combining_op(reductions_[reduction]->kind), {a, b});
}

void ColumnSums::emit(const FlatRange& range, const StandAt& stand_at, const Elements& elements, const Finish& finish) {
  for (const Op* op : reductions_)
    shared_.push_back(builder_.body.shared("sums", combined_type(*op), row_of_sums() * shape_.down));
  for_each_thread(builder_, [&](Block& own, const Expr& thread) { gather(own, thread, range, stand_at, elements); });
  builder_.body.add(barrier());
  for (int rows = shape_.down; rows > 1; rows = (rows + 1) / 2) halve(rows, stand_at);
  for_each_thread(builder_, [&](Block& own, const Expr& thread) {
    const Expr guard = both(less(thread, integer(shape_.across)), stand_at(own, thread));
    Block inner;
    std::vector<Buffer> totals;
    for (size_t i = 0; i < reductions_.size(); ++i) {
      totals.push_back(sums(inner, i, "total", 1));
      inner.add(store(totals[i], integer(0), load(shared_[i], mul(thread, integer(shape_.lanes)), shape_.lanes)));
    }
    finish(inner, totals);
    own.add(if_then(guard, inner.take()));
  });
}

void ColumnSums::gather(Block& own, const Expr& thread, const FlatRange& range, const StandAt& stand_at,
                        const Elements& elements) {
  const Expr column = own.let("across", mod(thread, integer(shape_.across))),
             row = own.let("row", floordiv(thread, integer(shape_.across)));
  Expr guard = stand_at(own, column);
  if (shape_.across * shape_.down != builder_.threads) guard = both(guard, less(row, integer(shape_.down)));
  Block inner;
  sum_up(inner, row, column, range, elements);
  own.add(guard ? if_then(guard, inner.take()) : block(inner.take()));
}

void ColumnSums::sum_up(Block& inner, const Expr& row, const Expr& column, const FlatRange& range,
                        const Elements& elements) {
  const int lanes = shape_.lanes;
  std::vector<Buffer> found;
  for (size_t i = 0; i < reductions_.size(); ++i) {
    found.push_back(sums(inner, i, "sum", kInFlight));
    const Expr identity = splat_to(identity_of(reductions_[i]->kind, reductions_[i]->type().dtype), lanes);
    for (int slot = 0; slot < kInFlight; ++slot) inner.add(store(found[i], integer(slot), identity));
  }
  const FlatTurns turns{.thread = row, .threads = shape_.down, .at_once = kInFlight};
  walk_flat(builder_, inner, range, turns, [&](Block& block, int slot, const std::vector<Expr>& place) {
    const std::vector<Expr> element = elements(block, place);
    for (size_t i = 0; i < found.size(); ++i)
      block.add(store(found[i], integer(slot), combined(i, load(found[i], integer(slot), lanes), element[i])));
  });
  for (size_t i = 0; i < found.size(); ++i) {
    Expr sum = load(found[i], integer(0), lanes);
    for (int slot = 1; slot < kInFlight; ++slot) sum = combined(i, sum, load(found[i], integer(slot), lanes));
    inner.add(store(shared_[i], mul(add(mul(row, integer(shape_.across)), column), integer(lanes)), sum));
  }
}

// Of so many rows of sums the later half goes into the first one; of an odd number the middle one stays as it is.
void ColumnSums::halve(int rows, const StandAt& stand_at) {
  const int half = (rows + 1) / 2, lanes = shape_.lanes;
  for_each_thread(builder_, [&](Block& own, const Expr& thread) {
    const Expr guard = both(less(thread, integer(int64_t{rows - half} * shape_.across)),
                            stand_at(own, own.let("across", mod(thread, integer(shape_.across)))));
    const Expr here = mul(thread, integer(lanes)),
               there = mul(add(thread, integer(int64_t{half} * shape_.across)), integer(lanes));
    Block inner;
    for (size_t i = 0; i < reductions_.size(); ++i)
      inner.add(store(shared_[i], here, combined(i, load(shared_[i], here, lanes), load(shared_[i], there, lanes))));
    own.add(if_then(guard, inner.take()));
  });
  builder_.body.add(barrier());
}

}  // namespace lapidary::lowering::gpu
