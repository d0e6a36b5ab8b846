// The positions of the true elements of a mask, in order, on a GPU: what passes/lower/positions.cpp does, by blocks of
// threads. The mask is cut into chunks, a block's each: one step counts what is true in each, a second one writes it
// behind what all chunks before have. A mask that is known to be short is one chunk, and needs no counting.
//
//   count  thread t: n = Σ mask[begin + t + 256 i]    combine n add 256    counts[chunk] = n
//   write  thread t: base = counts[t] + counts[t + 256] of the chunks before    combine base add 256
//          for each 2048 elements of the chunk
//            thread t: n = of the eight from 8 t on, how many are true; what is so before t is found as in scan.cpp
//            thread t: out[base + those before …] = the positions of its own
#include <array>

#include "passes/lower/gpu/flat_walk.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/threads.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256;
constexpr int64_t kItems = 8;   // neighbours of a thread; elements it has asked for before it counts
constexpr int64_t kRounds = 2;  // of threads, for the counts of all chunks
constexpr int64_t kMostChunks = kRounds * kThreads, kTile = kThreads * kItems, kLeastChunk = 2 * kTile;

Expr number(int64_t value) { return constant(Scalar::of_integer(DType::I32, value)); }
Expr as_number(const Expr& truth) { return convert(truth, DType::I32); }

class PositionsLowering {
 public:
  PositionsLowering(Context& context, const Op& group, const Op& op)
      : context_(context),
        group_(group),
        mask_(group.operand(static_cast<int>(op.operand(0)->index))),
        extent_(mask_->type.shape[0]),
        count_(op.params.dim("count")) {
    DimPool& dims = context.module.dims;
    const Dim share = dims.mul(dims.ceildiv(extent_, dims.constant(kMostChunks * kTile)), dims.constant(kTile));
    chunk_ = dims.max(share, dims.constant(kLeastChunk));
    chunks_ = dims.ceildiv(extent_, chunk_);
  }

  LoweredGroup lower() {
    const auto known = lapidary::value_of(chunks_);
    if (known && *known <= 1) return {.steps = {written()}};
    has_counts_ = true;
    return {.steps = {counted(), written()}, .scratch = {context_.module.dims.constant(kMostChunks * 8)}};
  }

 private:
  // Where a task's chunk begins and ends.
  std::pair<Expr, Expr> chunk_of(KernelBuilder& builder) const {
    const Expr begin = builder.body.let("begin", mul(variable(builder.task()), builder.parameter(chunk_)));
    return {begin, builder.body.let("end", min(add(begin, builder.parameter(chunk_)), builder.parameter(extent_)))};
  }

  LoweredStep counted() const {
    KernelBuilder builder(context_.module, context_.target(), "positions", "count");
    builder.threads = kThreads;
    const Buffer from = builder.operand(mask_), counts = builder.scratch(0, DType::I64, true);
    const auto [begin, end] = chunk_of(builder);
    const FlatRange range{{extent_}, begin, end};
    const Buffer found = builder.body.fragment("found", DType::I64, 1);
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      const Buffer sums = own.local("sums", {DType::I32, 1}, kItems);
      for (int64_t i = 0; i < kItems; ++i) own.add(store(sums, integer(i), number(0)));
      const FlatTurns turns{.thread = thread, .threads = kThreads, .at_once = kItems};
      walk_flat(builder, own, range, turns, [&](Block& block, int slot, const std::vector<Expr>& place) {
        block.add(store(sums, integer(slot), add(load(sums, integer(slot)), as_number(load(from, place[0])))));
      });
      Expr sum = load(sums, integer(0));
      for (int64_t i = 1; i < kItems; ++i) sum = add(sum, load(sums, integer(i)));
      own.add(store(found, integer(0), convert(sum, DType::I64)));
    });
    builder.body.add(combine(found, ScalarOp::Add, kThreads));
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      own.add(if_then(equal(thread, integer(0)), {store(counts, variable(builder.task()), load(found, integer(0)))}));
    });
    return single_step(builder.finish(chunks_));
  }

  LoweredStep written() const {
    KernelBuilder builder(context_.module, context_.target(), "positions", has_counts_ ? "write" : "");
    builder.threads = kThreads;
    const auto [begin, end] = chunk_of(builder);
    const Buffer base = builder.body.fragment("base", DType::I64, 1);
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      own.add(store(base, integer(0), has_counts_ ? share_of_before(builder, own, thread) : integer(0)));
    });
    if (has_counts_) builder.body.add(combine(base, ScalarOp::Add, kThreads));
    const Var tile = make_var("tile", {}, 0, INT64_MAX / 4);
    for_all_threads(builder, tile, begin, end, kTile,
                    [&, end = end] { write_tile(builder, base, variable(tile), end); });
    return single_step(builder.finish(chunks_));
  }

  // What some of the chunks before have.
  Expr share_of_before(KernelBuilder& builder, Block& own, const Expr& thread) const {
    const Buffer counts = builder.scratch(0, DType::I64, false);
    const Expr task = variable(builder.task());
    Expr sum = integer(0);
    for (int64_t round = 0; round < kRounds; ++round) {
      const Expr chunk = own.let("chunk", add(thread, integer(round * kThreads)));
      const Expr count = own.let("count", load(counts, min(chunk, task)));
      sum = add(sum, select(less(chunk, task), count, integer(0)));
    }
    return sum;
  }

  void write_tile(KernelBuilder& builder, const Buffer& base, const Expr& tile, const Expr& end) const {
    const Buffer from = builder.operand(mask_), to = builder.result(group_.result());
    const Buffer held = builder.body.fragment("held", DType::I32, kItems);
    const std::array<Buffer, 2> totals = {builder.body.shared("totals", DType::I32, kThreads),
                                          builder.body.shared("totals", DType::I32, kThreads)};
    const auto first_of = [&](const Expr& thread) { return add(tile, mul(thread, integer(kItems))); };
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      const Expr first = own.let("first", first_of(thread));
      Expr total = number(0);
      for (int64_t i = 0; i < kItems; ++i) {
        const Expr at = own.let("at", add(first, integer(i)));
        const Expr truth = as_number(load(from, min(at, sub(end, integer(1)))));
        const Expr counts = own.let("counts", select(less(at, end), truth, number(0)));
        own.add(store(held, integer(i), counts));
        total = add(total, counts);
      }
      own.add(store(totals[0], thread, total));
    });
    builder.body.add(barrier());
    const Buffer running = totals[scan_threads(builder, totals, {.each = kThreads},
                                               [](const Expr& a, const Expr& b) { return add(a, b); })];
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      const Expr before = own.let("before", load(running, max(sub(thread, integer(1)), integer(0))));
      Expr place =
          add(load(base, integer(0)), convert(select(equal(thread, integer(0)), number(0), before), DType::I64));
      for (int64_t i = 0; i < kItems; ++i) {
        place = own.let("place", place);
        const Expr truth = own.let("truth", load(held, integer(i)));
        const Expr is_true = less(number(0), truth), has_room = less(place, builder.parameter(count_));
        own.add(
            if_then(apply(ScalarOp::And, {is_true, has_room}), {store(to, place, add(first_of(thread), integer(i)))}));
        place = add(place, convert(truth, DType::I64));
      }
      const Expr all = load(running, integer(kThreads - 1));
      own.add(store(base, integer(0), add(load(base, integer(0)), convert(all, DType::I64))));
    });
    builder.body.add(barrier());
  }

  Context& context_;
  const Op& group_;
  const Value* mask_;
  const Dim extent_, count_;
  Dim chunk_ = nullptr, chunks_ = nullptr;
  bool has_counts_ = false;
};

}  // namespace

LoweredGroup lower_positions(Context& context, const Op& group) {
  return PositionsLowering(context, group, anchor_of(group)).lower();
}

}  // namespace lapidary::lowering::gpu
