// Running sums and the like on a GPU: some threads of a block take a line together, a chunk of it at a time. Each sums
// a few neighbours along the line by itself; what those sums come to, before each thread, is found in shared memory in
// log2(threads of the line) steps, and the chunk's total is carried on.
//
// Lines along the innermost axis have neighbouring threads next to each other along the line, those along others side
// by side, so that a warp's accesses are whole lines of memory in both. Lines that are short, or so many that they fill
// the device by themselves, have one thread each and nothing to share.
//
// Example, sums of f32 [R, 1000] along rows:  task: 2 rows; thread t: row 2 task + t / 128
//   thread t: h[i] = Σ x[8 (t mod 128) .. + i], i < 8;  total[t] = h[7]    barrier
//   seven times, s = 1, 2, 4, …:  total'[t] = total[t - s] + total[t]      barrier
//   thread t: y[8 (t mod 128) + i] = carry + total[t - 1] + h[i]
#include <fmt/format.h>

#include <algorithm>

#include "ir/gpu_model.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256, kWarp = 32;
constexpr int64_t kItems = 8;  // neighbours along the line that a thread sums

class BlockScan {
 public:
  BlockScan(Context& context, const Op& group, const Op& op)
      : dims_(context.module.dims),
        op_(op),
        shape_(op.type().shape),
        axis_(static_cast<size_t>(op.params.integer("axis"))),
        is_row_(axis_ + 1 == shape_.size()),
        combine_(*parse_scalar_op(op.params.text("op"))),
        exclusive_(op.params.integer_or("exclusive", 0) != 0),
        reverse_(op.params.integer_or("reverse", 0) != 0),
        identity_(identity_of(reduction_by(combine_), op.type().dtype)),
        lanes_(is_row_ && !reverse_ ? packet_lanes(group, shape_[axis_]) : 1),
        each_(threads_of_line(context.target())),
        builder_(context.module, context.target(), "scan", fmt::format("{} each={}", op.params.text("op"), each_)),
        emit_(builder_, group) {}

  LoweredStep lower() {
    Shape lines = shape_;
    lines[axis_] = dims_.constant(1);
    line_extents_ = lines;
    builder_.threads = kThreads;
    Block& body = builder_.body;
    carry_ = body.fragment("carry", identity_->type.dtype, 1);
    held_ = body.fragment("held", identity_->type.dtype, kItems);
    for (Buffer& totals : totals_)
      if (each_ > 1) totals = body.shared("totals", identity_->type.dtype, kThreads);
    for_each_thread(builder_, [&](Block& own, const Expr&) { own.add(store(carry_, integer(0), identity_)); });
    const int64_t chunk = each_ * kItems;
    const Var begin = make_var("begin", {}, 0, INT64_MAX / 4, chunk);
    for_all_threads(builder_, begin, integer(0), builder_.parameter(shape_[axis_]), chunk,
                    [&] { take_chunk(variable(begin)); });
    return single_step(builder_.finish(dims_.ceildiv(dims_.product(lines), dims_.constant(kThreads / each_))));
  }

 private:
  // Lines side by side stay so many that a warp's accesses are whole.
  int threads_of_line(const Target& target) const {
    int64_t lines = 1;
    for (size_t i = 0; i < shape_.size(); ++i)
      if (i != axis_) lines *= guess(shape_[i]);
    const int64_t beside = is_row_ ? 1 : std::min<int64_t>(guess(shape_.back()), kWarp);
    const int64_t enough = is_row_ ? INT64_MAX : gpu_model(target.capability).threads();
    const auto known = lapidary::value_of(shape_[axis_]);
    const int64_t extent = known ? *known : std::max<int64_t>(guess(shape_[axis_]), kWarp * kItems);
    int each = 1;
    while (2 * each * beside <= kThreads && each * kItems < extent && lines * each < enough) each *= 2;
    return each;
  }

  Expr combined(const Expr& a, const Expr& b) const { return apply(combine_, {a, b}); }

  void take_chunk(const Expr& begin) {
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { gather(own, thread, begin); });
    if (each_ > 1) builder_.body.add(barrier());
    const int current = scan_threads(builder_, totals_, lines_of_threads(),
                                     [this](const Expr& before, const Expr& total) { return combined(before, total); });
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { scatter(own, thread, begin, current); });
    if (each_ > 1) builder_.body.add(barrier());
  }

  int lines_of_block() const { return kThreads / each_; }
  ThreadLines lines_of_threads() const { return {.each = each_, .apart = is_row_ ? 1 : lines_of_block()}; }
  // Of the thread within its line; of its line within the block.
  Expr part_of(const Expr& thread) const { return lines_of_threads().part_of(thread); }
  Expr line_of(const Expr& thread) const {
    return is_row_ ? floordiv(thread, integer(each_)) : mod(thread, integer(lines_of_block()));
  }

  // Calls body(block, first item, its coordinates, are they of the line?) for each packet of the thread; `line` is one
  // there is.
  void packets(Block& own, const Expr& thread, const Expr& line, const Expr& begin, bool clamped,
               const std::function<void(Block&, int64_t, const Coords&, const Expr&)>& body) {
    std::vector<Expr> place = split_index(builder_, own, line, line_extents_);
    const Expr extent = builder_.parameter(shape_[axis_]);
    const Expr first = own.let("first", add(begin, mul(part_of(thread), integer(kItems))));
    for (int64_t item = 0; item < kItems; item += lanes_) {
      const Expr at_item = add(first, integer(item));
      const Expr inside = own.let("inside", less(at_item, extent));
      Expr position = clamped ? min(at_item, sub(extent, integer(lanes_))) : at_item;
      if (reverse_) position = sub(sub(extent, integer(1)), position);
      position = own.let("position", position);
      Coords coords;
      for (const Expr& part : place) coords.axes.push_back(at(part));
      coords.axes[axis_] = lanes_ > 1 ? along(position) : at(position);
      coords.lanes = lanes_;
      body(own, item, coords, inside);
    }
  }

  Expr lines() { return builder_.parameter(dims_.product(line_extents_)); }
  Expr line_at(Block& own, const Expr& thread) {
    return own.let("line", add(mul(variable(builder_.task()), integer(lines_of_block())), line_of(thread)));
  }

  // The thread's own sums; threads beyond the last line read that one.
  void gather(Block& own, const Expr& thread, const Expr& begin) {
    const Expr line = own.let("line", min(line_at(own, thread), sub(lines(), integer(1))));
    GroupEmitter::Scope scope(emit_, own);
    packets(own, thread, line, begin, true, [&](Block& block, int64_t item, const Coords& coords, const Expr& inside) {
      const Expr x = splat_to(emit_.value(op_.operand(0), coords), lanes_);
      block.add(store(held_, integer(item), select(splat_to(inside, lanes_), x, splat_to(identity_, lanes_))));
    });
    for (int64_t item = 1; item < kItems; ++item)
      own.add(store(held_, integer(item), combined(load(held_, integer(item - 1)), load(held_, integer(item)))));
    if (each_ > 1) own.add(store(totals_[0], thread, load(held_, integer(kItems - 1))));
  }

  // Results, from what comes before the thread; and the carry of the next chunk.
  void scatter(Block& own, const Expr& thread, const Expr& begin, int current) {
    const Expr carry = own.let("carry", load(carry_, integer(0)));
    Expr before = carry, total = load(held_, integer(kItems - 1));
    if (each_ > 1) {
      const Expr others =
          own.let("others", load(totals_[current], max(lines_of_threads().before(thread, 1), integer(0))));
      before = select(less(part_of(thread), integer(1)), carry, combined(carry, others));
      const Expr last = is_row_ ? add(sub(thread, part_of(thread)), integer(each_ - 1))
                                : add(line_of(thread), integer(int64_t{each_ - 1} * lines_of_block()));
      total = load(totals_[current], last);
    }
    before = own.let("before", before);
    own.add(store(carry_, integer(0), combined(carry, total)));
    for (int64_t item = kItems; item-- > 0;) {
      Expr result = before;
      if (!exclusive_) result = combined(before, load(held_, integer(item)));
      if (exclusive_ && item > 0) result = combined(before, load(held_, integer(item - 1)));
      own.add(store(held_, integer(item), result));
    }
    const Expr line = line_at(own, thread);
    Block there;
    {
      GroupEmitter::Scope scope(emit_, there);
      packets(there, thread, line, begin, false,
              [&](Block& block, int64_t item, const Coords& coords, const Expr& inside) {
                Block stores;
                {
                  GroupEmitter::Scope inner(emit_, stores);
                  emit_.store(0, coords, load(held_, integer(item), lanes_));
                }
                block.add(if_then(inside, stores.take()));
              });
    }
    own.add(if_then(less(line, lines()), there.take()));
  }

  DimPool& dims_;
  const Op& op_;
  const Shape& shape_;
  const size_t axis_;
  const bool is_row_;  // along the innermost axis
  const ScalarOp combine_;
  const bool exclusive_, reverse_;
  const Expr identity_;
  const int lanes_;  // neighbours a thread loads at once
  const int each_;   // threads of a line
  KernelBuilder builder_;
  GroupEmitter emit_;
  Shape line_extents_;
  Buffer carry_, held_;
  std::array<Buffer, 2> totals_;
};

}  // namespace

LoweredGroup lower_scan(Context& context, const Op& group) {
  LoweredGroup lowered;
  lowered.steps.push_back(BlockScan(context, group, anchor_of(group)).lower());
  return lowered;
}

}  // namespace lapidary::lowering::gpu
