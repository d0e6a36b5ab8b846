// The positions of the true elements of a mask, in order. How many there are was counted before (the sum of the mask,
// which the host reads), so the result has just the room it needs.
//
// The mask is cut into chunks: a first step counts each chunk's, a second writes them, behind all that earlier chunks
// have. A short mask is one chunk, and one thread's affair.
#include "passes/lower/family.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kMostChunks = 64, kLeastChunk = 4096;

class PositionsLowering {
 public:
  PositionsLowering(Context& context, const Op& group, const Op& op)
      : context_(context),
        dims_(context.module.dims),
        group_(group),
        mask_(group.operand(static_cast<int>(op.operand(0)->index))),
        extent_(mask_->type.shape[0]),
        count_(op.params.dim("count")),
        lanes_(context.target().f32_lanes()) {
    const Dim share = dims_.ceildiv(extent_, dims_.constant(kMostChunks * lanes_));
    chunk_ = dims_.max(dims_.mul(share, dims_.constant(lanes_)), dims_.constant(kLeastChunk));
    chunks_ = dims_.ceildiv(extent_, chunk_);
  }

  LoweredGroup lower() {
    const auto known = lapidary::value_of(extent_);
    if (known && *known <= kLeastChunk) {
      LoweredStep step = written(false);
      step.serial = true;
      return {.steps = {std::move(step)}};
    }
    return {.steps = {counted(), written(true)}, .scratch = {dims_.constant(kMostChunks * 8)}};
  }

 private:
  // Where a task's chunk begins and ends.
  std::pair<Expr, Expr> chunk_of(KernelBuilder& builder) const {
    Expr begin = builder.body.let("begin", mul(variable(builder.task()), builder.parameter(chunk_)));
    Expr end = builder.body.let("end", min(add(begin, builder.parameter(chunk_)), builder.parameter(extent_)));
    return {begin, end};
  }

  LoweredStep counted() const {
    KernelBuilder builder(context_.module, context_.target(), "positions", "count");
    const Buffer from = builder.operand(mask_), counts = builder.scratch(0, DType::I64, true);
    const auto [begin, end] = chunk_of(builder);
    Block& body = builder.body;
    const Expr none = splat(constant(Scalar::of_integer(DType::I32, 0)), lanes_);
    const Buffer sums = body.local("sums", none->type, 1);
    body.add(store(sums, integer(0), none));
    vector_loop(body, begin, end, lanes_, true, [&](Block& block, const Expr& first, const Expr& mask) {
      Expr found = convert(load(from, first, lanes_, mask), DType::I32);
      if (mask) found = select(mask, found, none);
      block.add(store(sums, integer(0), loops::add(load(sums, integer(0)), found)));
    });
    body.add(
        store(counts, variable(builder.task()), convert(reduce(ScalarOp::Add, load(sums, integer(0))), DType::I64)));
    return single_step(builder.finish(chunks_));
  }

  LoweredStep written(bool in_chunks) const {
    KernelBuilder builder(context_.module, context_.target(), "positions", in_chunks ? "write" : "");
    const Buffer from = builder.operand(mask_), to = builder.result(group_.result());
    const Expr count = builder.parameter(count_);
    Block& body = builder.body;
    const Buffer found = body.local("found", {DType::I64}, 1);
    body.add(store(found, integer(0), integer(0)));
    auto [begin, end] = in_chunks ? chunk_of(builder) : std::pair(integer(0), builder.parameter(extent_));
    Expr limit = count;
    if (in_chunks) {
      const Buffer counts = builder.scratch(0, DType::I64, false);
      serial(body, "before", integer(0), variable(builder.task()), 1, [&](Block& block, Expr chunk) {
        block.add(store(found, integer(0), loops::add(load(found, integer(0)), load(counts, chunk))));
      });
      limit =
          body.let("limit", min(count, loops::add(load(found, integer(0)), load(counts, variable(builder.task())))));
    }
    vector_loop(body, begin, end, lanes_, true, [&](Block& block, const Expr& first, const Expr& mask) {
      Block some;
      const Expr last = min(loops::add(first, integer(lanes_)), end);
      serial(some, "at", first, last, 1,
             [&](Block& element, Expr at) {  // written where the next one goes, and kept if true
               Block room;
               const Expr place = element.let("place", load(found, integer(0)));
               room.add(store(to, place, at));
               room.add(store(found, integer(0), loops::add(place, convert(load(from, at), DType::I64))));
               element.add(if_then(less(place, limit), room.take()));
             });
      Expr any = convert(load(from, first, lanes_, mask), DType::I32);
      if (mask) any = select(mask, any, splat(constant(Scalar::of_integer(DType::I32, 0)), lanes_));
      block.add(if_then(less(constant(Scalar::of_integer(DType::I32, 0)), reduce(ScalarOp::Max, any)), some.take()));
    });
    return single_step(builder.finish(in_chunks ? chunks_ : dims_.constant(1)));
  }

  Context& context_;
  DimPool& dims_;
  const Op& group_;
  const Value* mask_;
  const Dim extent_, count_;
  const int lanes_;
  Dim chunk_ = nullptr, chunks_ = nullptr;
};

}  // namespace

LoweredGroup lower_positions(Context& context, const Op& group) {
  return PositionsLowering(context, group, anchor_of(group)).lower();
}

}  // namespace lapidary::lowering
