// The k first of each line on a GPU, by a block of threads that sorts in shared memory: what is compared are the codes
// of top_k_line.h with the places behind them, so that no two are equal and any sorting network keeps the order.
//
//   sort    lines of up to kLongest elements; short ones share a block
//   stream  longer ones: the first kStreamed are kept in order, a chunk of as many is sorted and merged into them, and
//           so on; where more are wanted, the line is gone through again for those that come behind the last one found,
//           kMostTimes: what wants more takes the CPU's way
//
// The network is Batcher's bitonic one with all comparisons in one direction: to join sorted runs of size / 2, each
// element is compared with its mirror image in the run of `size`, then with those size / 4, size / 8, … away.
//   sort of 2048 by 512 threads:  66 rounds of two comparisons a thread, with a barrier behind each
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/top_k_line.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kLeastSorted = 256, kLongest = 4096, kStreamed = 2048;
constexpr int64_t kMostTimes = 8;
constexpr int64_t kMostThreads = 512;
constexpr int64_t kMostPlaces = INT64_C(1) << 31;

Expr shift_right(const Expr& a, const Expr& by) { return apply(ScalarOp::ShiftRight, {a, by}); }
Expr shift_left(const Expr& a, const Expr& by) { return apply(ScalarOp::ShiftLeft, {a, by}); }
Expr unsigned_number(uint64_t value) { return constant(Scalar::of_integer(DType::U64, static_cast<int64_t>(value))); }

// What is sorted, in shared memory. A code of 32 bits and its place are one number.
struct Entries {
  Buffer keys, places;  // places: null where keys hold them
};
struct Entry {
  Expr key, place;
};

class BlockTopK {
 public:
  // `size` elements of a line at a time, a power of two; `streams`: then comes more of it.
  BlockTopK(Context& context, const Op& group, int64_t size, bool streams)
      : line_(context, group, schedule(size, streams)),
        builder_(line_.builder),
        size_(size),
        lines_(std::max<int64_t>(1, kLeastSorted / size)),
        streams_(streams),
        is_wide_(line_.code_bits() == 64) {
    builder_.threads = static_cast<int>(std::min(lines_ * size_ / 2, kMostThreads));
  }

  LoweredVariant lower(Dim when) {
    best_ = entries("best", held());
    if (streams_) {
      fresh_ = entries("fresh", held());
      const auto known = value_of(line_.k_dim);
      if (known && *known <= size_)
        stream();
      else
        stream_again();
    } else {
      take(best_, integer(0));
      sort(best_);
      give(integer(0));
    }
    DimPool& dims = builder_.module.dims;
    return builder_.finish(dims.ceildiv(line_.lines(), builder_.dim(lines_)), when);
  }

 private:
  static std::string schedule(int64_t size, bool streams) {
    return fmt::format("{}={}", streams ? "stream" : "sort", size);
  }

  int64_t held() const { return lines_ * size_; }
  Entries entries(const char* name, int64_t count) {
    return {builder_.body.shared(name, DType::U64, count),
            is_wide_ ? builder_.body.shared("places", DType::I32, count) : nullptr};
  }

  void stream() {
    take(best_, integer(0));
    sort(best_);
    const Var begin = make_var("begin", {}, 0, INT64_MAX / 4, size_);
    for_all_threads(builder_, begin, integer(size_), line_.extent, size_, [&] {
      take(fresh_, variable(begin));
      sort(fresh_);
      merge();
    });
    give(found_);
  }

  // As often as it takes to find all that are wanted.
  void stream_again() {
    last_ = entries("last", 1);
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      Block first;
      store_entry(first, last_, integer(0), {unsigned_number(0), convert(integer(0), DType::I32)});
      own.add(if_then(equal(thread, integer(0)), first.take()));
    });
    builder_.body.add(barrier());
    const Var found = make_var("found", {}, 0, INT64_MAX / 4, size_);
    found_ = variable(found);
    for_all_threads(builder_, found, integer(0), line_.k, size_, [&] {
      stream();
      for_each_thread(builder_, [&](Block& own, const Expr& thread) {
        Block first;
        store_entry(first, last_, integer(0), load_entry(first, best_, integer(size_ - 1)));
        own.add(if_then(equal(thread, integer(0)), first.take()));
      });
      builder_.body.add(barrier());
    });
  }
  Expr comes_behind_last(Block& block, const Entry& entry) const {
    return or_of(equal(found_, integer(0)), comes_before(load_entry(block, last_, integer(0)), entry));
  }

  // --- a thread's share of `count`, by turns with the others
  void by_turns(int64_t count, const std::function<void(Block&, const Expr&)>& body) {
    const int64_t rounds = count / builder_.threads;
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      const Var round = make_var("u", {}, 0, rounds - 1);
      Block inner;
      body(inner, inner.let("slot", add(thread, mul(variable(round), integer(builder_.threads)))));
      own.add(for_loop(round, integer(0), integer(rounds), 1, LoopKind::Unrolled, inner.take()));
    });
  }

  // --- entries
  Entry load_entry(Block& block, const Entries& from, const Expr& at) const {
    return {block.let("key", load(from.keys, at)), is_wide_ ? block.let("place", load(from.places, at)) : nullptr};
  }
  void store_entry(Block& block, const Entries& to, const Expr& at, const Entry& entry) const {
    block.add(store(to.keys, at, entry.key));
    if (is_wide_) block.add(store(to.places, at, entry.place));
  }
  Expr comes_before(const Entry& a, const Entry& b) const {
    const Expr first = less(a.key, b.key);
    return is_wide_ ? or_of(first, and_of(equal(a.key, b.key), less(a.place, b.place))) : first;
  }
  Expr place_of(Block& block, const Entry& entry) const {
    const Expr place = is_wide_ ? entry.place : apply(ScalarOp::And, {entry.key, unsigned_number(UINT32_MAX)});
    return block.let("from", convert(place, DType::I64));
  }

  Expr line_of(Block& block, const Expr& slot) const {
    return block.let("line", add(mul(variable(builder_.task()), integer(lines_)), floordiv(slot, integer(size_))));
  }
  Expr is_there(const Expr& line) const { return less(line, builder_.parameter(line_.lines())); }

  // `size` elements of each line from `begin` on; behind its end what comes after everything.
  void take(const Entries& to, const Expr& begin) {
    by_turns(held(), [&](Block& block, const Expr& slot) {
      const Expr line = line_of(block, slot);
      const Expr position = block.let("position", add(begin, mod(slot, integer(size_))));
      Block inside, beyond;
      line_.stand_at(inside, line);
      Entry entry{line_.codes(inside, position, 1, nullptr), nullptr};
      const Expr place = convert(position, is_wide_ ? DType::I32 : DType::U64);
      if (is_wide_)
        entry.place = place;
      else
        entry.key = apply(ScalarOp::Or, {shift_left(convert(entry.key, DType::U64), unsigned_number(32)), place});
      const Entry behind_all = {unsigned_number(UINT64_MAX), convert(integer(INT32_MAX), DType::I32)};
      store_entry(beyond, to, slot, behind_all);
      if (last_.keys) {
        Block counts, found;
        store_entry(counts, to, slot, entry);
        store_entry(found, to, slot, behind_all);
        inside.add(if_then(comes_behind_last(inside, entry), counts.take(), found.take()));
      } else {
        store_entry(inside, to, slot, entry);
      }
      block.add(if_then(and_of(less(position, line_.extent), is_there(line)), inside.take(), beyond.take()));
    });
    builder_.body.add(barrier());
  }

  // One comparison for each pair: `places` tells where its two elements are.
  void exchange(const Entries& entries, const std::function<std::pair<Expr, Expr>(Block&, const Expr& pair)>& places) {
    by_turns(held() / 2, [&](Block& block, const Expr& pair) {
      const auto [low, high] = places(block, pair);
      const Entry a = load_entry(block, entries, low), b = load_entry(block, entries, high);
      Block swaps;
      store_entry(swaps, entries, low, b);
      store_entry(swaps, entries, high, a);
      block.add(if_then(comes_before(b, a), swaps.take()));
    });
    builder_.body.add(barrier());
  }

  // Runs of 2^(bits + 1), each of a falling half in front of a rising one or the other way round, into order: elements
  // 2^bits apart, 2^(bits - 1), …
  void settle(const Entries& entries, const Expr& bits) {
    const Var step = make_var("step", {}, 0, 62);
    for_all_threads(builder_, step, integer(0), bits, 1, [&] {
      exchange(entries, [&](Block& block, const Expr& pair) {
        const Expr apart = block.let("bit", sub(sub(bits, integer(1)), variable(step)));
        const Expr low = block.let("low", add(pair, shift_left(shift_right(pair, apart), apart)));
        return std::pair{low, block.let("high", add(low, shift_left(integer(1), apart)))};
      });
    });
  }

  void sort(const Entries& entries) {
    const int64_t bits = std::countr_zero(static_cast<uint64_t>(size_));
    const Var level = make_var("level", {}, 0, bits - 1);
    for_all_threads(builder_, level, integer(0), integer(bits), 1, [&] {
      const Expr half = variable(level);
      exchange(entries, [&](Block& block, const Expr& pair) {
        const Expr begin = block.let("begin", shift_left(shift_right(pair, half), half));
        const Expr low = block.let("low", add(pair, begin));
        const Expr end = add(mul(begin, integer(2)), shift_left(integer(2), half));
        return std::pair{low, block.let("high", sub(sub(end, integer(1)), sub(pair, begin)))};
      });
      settle(entries, half);
    });
  }

  // Of the best and the fresh ones, both in order, those that come first: one of each pair of mirror images.
  void merge() {
    by_turns(size_, [&](Block& block, const Expr& slot) {
      const Entry old = load_entry(block, best_, slot);
      const Entry fresh = load_entry(block, fresh_, block.let("mirror", sub(integer(size_ - 1), slot)));
      Block better;
      store_entry(better, best_, slot, fresh);
      block.add(if_then(comes_before(fresh, old), better.take()));
    });
    builder_.body.add(barrier());
    settle(best_, integer(std::countr_zero(static_cast<uint64_t>(size_))));
  }

  // Those that are wanted, behind the `found` of before.
  void give(const Expr& found) {
    by_turns(held(), [&](Block& block, const Expr& slot) {
      const Expr line = line_of(block, slot), position = block.let("position", add(found, mod(slot, integer(size_))));
      Block wanted;
      line_.stand_at(wanted, line);
      line_.store_from(wanted, position, place_of(wanted, load_entry(wanted, best_, slot)));
      block.add(if_then(and_of(less(position, line_.k), is_there(line)), wanted.take()));
    });
  }

  Line line_;
  KernelBuilder& builder_;
  const int64_t size_, lines_;  // of a line, at a time; lines of a block
  const bool streams_;
  const bool is_wide_;           // codes of 64 bits
  Entries best_, fresh_, last_;  // last_: of those found before
  Expr found_ = integer(0);
};

// 1 where `dim` is known to be at most `most` or the run finds it so; null: always. Nothing where never.
struct When {
  bool never = false;
  Dim dim = nullptr;
};
When both_hold(DimPool& dims, Dim a, Dim b) {
  const Dim all = dims.mul(a, b);
  const auto known = value_of(all);
  if (known) return {.never = *known == 0};
  return {.dim = all};
}

}  // namespace

LoweredGroup lower_top_k(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  if (!has_codes(op.type().dtype)) return lowering::lower_top_k(context, group);
  DimPool& dims = context.module.dims;
  const Dim extent = op.operand(0)->type.shape[static_cast<size_t>(op.params.integer("axis"))];
  const auto at_most = [&](Dim dim, int64_t most) { return dims.less(dim, dims.constant(most + 1)); };
  LoweredStep step;
  const auto add_variant = [&](int64_t size, bool streams, const When& when) {
    if (!when.never) step.variants.push_back(BlockTopK(context, group, size, streams).lower(when.dim));
    return !when.never && !when.dim;  // nothing else is needed
  };
  const auto lower_all = [&] {
    if (const auto known = value_of(extent); known && *known <= kLongest)
      return add_variant(std::max<int64_t>(2, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(*known)))),
                         false, {});
    if (!value_of(extent))
      for (int64_t size : {kLeastSorted, kLongest})
        if (add_variant(size, false, both_hold(dims, at_most(extent, size), dims.constant(1)))) return true;
    const Dim wanted = op.type().shape[static_cast<size_t>(op.params.integer("axis"))];
    return add_variant(kStreamed, true,
                       both_hold(dims, at_most(extent, kMostPlaces - 1), at_most(wanted, kMostTimes * kStreamed)));
  };
  LoweredGroup lowered;
  if (!lower_all()) {
    LoweredGroup rest = lowering::lower_top_k(context, group);
    for (LoweredVariant& variant : rest.steps[0].variants) step.variants.push_back(std::move(variant));
  }
  lowered.steps.push_back(std::move(step));
  return lowered;
}

}  // namespace lapidary::lowering::gpu
