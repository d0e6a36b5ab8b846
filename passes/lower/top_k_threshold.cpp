// The k first of a line when k is large. Elements become unsigned codes in the order of the result, so that all that
// follows compares integers. Those better than the k-th so far are gathered in scratch, in their order; whenever it is
// full, and at the end, only the k best stay: the code of the k-th is found bit by bit, counting with whole vectors how
// many are below, and one walk drops what is not among them. At last the k are sorted by radix, a byte at a time.
// 300 of 1600 floats take 6 µs, a merge sort of them takes 60.
//
// Both walks and the sort keep equal codes in their order. Test: the kernel cases top_k_*.
#include <bit>

#include "ir/error.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/top_k_line.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kRoom = 2048;  // candidates, at least: a line that is not longer is looked at once
constexpr int64_t kBuckets = 256;

Expr xor_of(const Expr& a, const Expr& b) { return apply(ScalarOp::Xor, {a, b}); }
Expr shifted_right(const Expr& a, const Expr& by) { return apply(ScalarOp::ShiftRight, {a, by}); }

// The code of infinity without its sign: NaNs have greater ones.
uint64_t infinity_bits(DType dtype) {
  switch (dtype) {
    case DType::F16:
      return 0x7c00;
    case DType::BF16:
      return 0x7f80;
    case DType::F32:
      return 0x7f800000;
    case DType::F64:
      return 0x7ff0000000000000;
    default:
      return 0;
  }
}

}  // namespace

bool has_codes(DType dtype) { return !is_float(dtype) || infinity_bits(dtype) != 0; }

DType Line::stored_bits() const {
  static constexpr DType kBits[] = {DType::U8, DType::U16, DType::U32, DType::U64};
  return kBits[std::countr_zero(code_bits() / 8)];
}

void Line::store_from(Block& block, const Expr& position, const Expr& place) {
  GroupEmitter::Scope scope(emit, block);
  const Coords from = at(lowering::at(place), 1, nullptr), to = at(lowering::at(position), 1, nullptr);
  const auto& yielded = group_.regions[0]->results();
  for (uint32_t i = 0; i < yielded.size(); ++i) {
    if (yielded[i]->index != 0) {
      emit.store(i, to, place);
      continue;
    }
    const Value* result = group_.result(static_cast<int>(i));
    const Expr bits = emit.load(builder.operand_as(whole(), stored_bits()), emit.address(whole()->type, from), from);
    emit.store(builder.result_as(result, stored_bits()), emit.address(result->type, to), to, bits);
  }
}

Expr Line::codes(Block& block, const Expr& first, int lanes, const Expr& mask) {
  GroupEmitter::Scope scope(emit, block);
  const DType dtype = whole()->type.dtype;
  if (!has_codes(dtype)) unsupported(builder.module, group_, fmt::format("an order of {}", name_of(dtype)));
  const Coords coords = at(along(first), lanes, mask);
  Expr bits = emit.load(builder.operand_as(whole(), stored_bits()), emit.address(whole()->type, coords), coords);
  bits = block.let("bits", convert(splat_to(bits, lanes), code_dtype()));
  const auto number = [&](uint64_t value) {
    return constant(Scalar::of_integer(code_dtype(), static_cast<int64_t>(value)), lanes);
  };
  const uint64_t all = code_bits() == 64 ? UINT64_MAX : (uint64_t{1} << code_bits()) - 1, sign = all / 2 + 1;
  Expr code = bits;
  if (is_float(dtype)) {
    const Expr size = block.let("size", apply(ScalarOp::And, {bits, number(all / 2)}));
    const Expr negative = and_of(less(number(sign), bits), less(number(0), size));  // -0 is as great as 0
    code = select(negative, xor_of(bits, number(all)), add(size, number(sign)));
    code = select(less(number(infinity_bits(dtype)), size), number(all), code);
  } else if (is_signed_integer(dtype)) {
    code = xor_of(bits, number(sign));
  }
  return block.let("code", largest_ ? xor_of(code, number(all)) : code);
}

namespace {

// Codes and places in scratch; behind them there is room for k more, that sorting needs.
class Candidates {
 public:
  Candidates(Line& line, Block& body)
      : line_(line),
        dtype_(line.code_dtype()),
        lanes_(line.builder.target.f32_lanes() * 32 / (dtype_ == DType::U64 ? 64 : 32)),
        held_(body, "held", integer(0)),
        worst_(body, "worst", code(0)),
        is_full_(body, "full", constant(Scalar::of_bool(false))) {
    DimPool& dims = line.builder.module.dims;
    const Dim room = dims.max(dims.mul(line.k_dim, line.builder.dim(2)), line.builder.dim(kRoom));
    const Dim capacity = dims.add(dims.min(room, line.extent_dim), line.builder.dim(2 * int64_t{lanes_}));
    room_ = line.builder.parameter(room), other_ = line.builder.parameter(capacity);
    const Dim both = dims.add(capacity, line.k_dim);
    codes_ = line.builder.stage("codes", dtype_, both);
    places_ = line.builder.stage("places", DType::I64, both);
  }

  int lanes() const { return lanes_; }

  // Takes what is better than the worst of the k held, if k are.
  void take(Block& block, const Expr& first, const Expr& mask) const {
    Expr fresh = line_.codes(block, first, lanes_, mask);
    if (mask) fresh = block.let("fresh", select(mask, fresh, code(UINT64_MAX, lanes_)));
    const Expr worst = worst_.get(block);
    const Expr better = block.let("better", less(fresh, splat(worst, lanes_)));
    Block all, some, full;
    const Expr to = held_.get(all);
    all.add(store(codes_, to, fresh));
    all.add(store(places_, to, ramp(first, integer(1), lanes_)));
    held_.set(all, add(to, mask ? sub(line_.extent, first) : integer(lanes_)));
    const Buffer lane_codes = some.local("lane_codes", {dtype_, 1}, lanes_);
    some.add(store(lane_codes, integer(0), fresh));
    serial(some, "lane", integer(0), integer(lanes_), 1, [&](Block& one, Expr lane) {
      const Expr value = one.let("value", load(lane_codes, lane));
      keep_if(one, less(value, worst), value, add(first, lane), held_);
    });
    full.add(if_then(any_lane(better), some.take()));
    block.add(if_then(is_full_.get(block), full.take(), all.take()));
    Block drops;
    drop(drops);
    block.add(if_then(apply(ScalarOp::LessEqual, {room_, held_.get(block)}), drops.take()));
  }

  // Drops what is not among the k best.
  void drop(Block& block) const {
    const Expr count = held_.get(block), kth = find_kth(block, count);
    const Variable ties(block, "ties", sub(line_.k, count_below(block, count, kth))), to(block, "to", integer(0));
    serial(block, "i", integer(0), count, 1, [&](Block& one, Expr i) {
      const Expr value = one.let("value", load(codes_, i)), place = one.let("place", load(places_, i));
      const Expr tie = one.let("tie", equal(value, kth)), left = ties.get(one);
      ties.set(one, sub(left, select(tie, integer(1), integer(0))));
      keep_if(one, or_of(less(value, kth), and_of(tie, less(integer(0), left))), value, place, to);
    });
    held_.set(block, line_.k);
    worst_.set(block, kth);
    is_full_.set(block, constant(Scalar::of_bool(true)));
  }

  void drop_rest(Block& block) const {
    Block drops;
    drop(drops);
    block.add(if_then(less(line_.k, held_.get(block)), drops.take()));
  }

  // Sorts; the place of the i-th is at `start + i` from then on. The bytes that all codes share are passed over.
  void sort(Block& block) const {
    const Expr count = held_.get(block), differing = differing_bits(block, count);
    const Variable from(block, "from", integer(0));
    for (unsigned shift = 0; shift < line_.code_bits(); shift += 8) {
      Block pass;
      sort_by_byte(pass, count, from.get(pass), shift);
      from.set(pass, sub(other_, from.get(pass)));
      block.add(if_then(less(code(0), shifted_right(differing, code(shift))), pass.take()));
    }
    start_ = from.get(block);
  }

  Expr place(Block& block, const Expr& i) const { return block.let("place", load(places_, add(start_, i))); }

 private:
  Expr code(uint64_t value, int lanes = 1) const {
    if (dtype_ == DType::U32) value &= UINT32_MAX;
    return constant(Scalar::of_integer(dtype_, static_cast<int64_t>(value)), lanes);
  }

  // Without a branch: what is not kept is overwritten by the next.
  void keep_if(Block& block, const Expr& kept, const Expr& value, const Expr& place, const Variable& to) const {
    const Expr at = to.get(block);
    block.add(store(codes_, at, value));
    block.add(store(places_, at, place));
    to.set(block, add(at, select(kept, integer(1), integer(0))));
  }

  // Calls `body` with the vectors of the codes held; behind the last one lies `padding`.
  void for_vectors(Block& block, const Expr& count, const Expr& padding,
                   const std::function<void(Block&, const Expr&)>& body) const {
    block.add(store(codes_, count, splat(padding, lanes_)));
    serial(block, "i", integer(0), count, lanes_,
           [&](Block& inner, Expr i) { body(inner, inner.let("held", load(codes_, i, lanes_))); });
  }

  Expr count_below(Block& block, const Expr& count, const Expr& bound) const {
    const Buffer sums = block.local("sums", {DType::I32, static_cast<uint16_t>(lanes_)}, 1);
    const auto number = [&](int64_t value) { return constant(Scalar::of_integer(DType::I32, value), lanes_); };
    block.add(store(sums, integer(0), number(0)));
    const Expr bounds = block.let("bounds", splat(bound, lanes_));
    for_vectors(block, count, code(UINT64_MAX), [&](Block& inner, const Expr& codes) {
      inner.add(
          store(sums, integer(0), add(load(sums, integer(0)), select(less(codes, bounds), number(1), number(0)))));
    });
    return block.let("below", convert(reduce(ScalarOp::Add, load(sums, integer(0))), DType::I64));
  }

  // The highest bit in which two of the codes differ, and whatever lies below it.
  Expr differing_bits(Block& block, const Expr& count) const {
    const Expr any = block.let("any", load(codes_, integer(0), 1, less(integer(0), count)));
    const ExprType type{dtype_, static_cast<uint16_t>(lanes_)};
    const Buffer least = block.local("least", type, 1), most = block.local("most", type, 1);
    for (const Buffer& extreme : {least, most}) block.add(store(extreme, integer(0), splat(any, lanes_)));
    for_vectors(block, count, any, [&](Block& inner, const Expr& codes) {
      inner.add(store(least, integer(0), min(load(least, integer(0)), codes)));
      inner.add(store(most, integer(0), max(load(most, integer(0)), codes)));
    });
    return block.let("differing", xor_of(reduce(ScalarOp::Min, load(least, integer(0))),
                                         reduce(ScalarOp::Max, load(most, integer(0)))));
  }

  // The greatest code that fewer than k are below.
  Expr find_kth(Block& block, const Expr& count) const {
    const Expr any = block.let("any", load(codes_, integer(0), 1, less(integer(0), count)));
    const Expr differing = differing_bits(block, count);
    const Variable kth(block, "kth", code(0));
    serial(block, "b", integer(0), integer(line_.code_bits()), 1, [&](Block& inner, Expr b) {
      const Expr place = inner.let("b", sub(integer(line_.code_bits() - 1), b));
      const Expr shift = inner.let("shift", convert(place, dtype_));
      const Expr bit = inner.let("bit", apply(ScalarOp::ShiftLeft, {code(1), shift})), so_far = kth.get(inner);
      Block shared, counted;
      kth.set(shared, apply(ScalarOp::Or, {so_far, apply(ScalarOp::And, {any, bit})}));
      const Expr tried = counted.let("tried", apply(ScalarOp::Or, {so_far, bit}));
      kth.set(counted, select(less(count_below(counted, count, tried), line_.k), tried, so_far));
      inner.add(if_then(less(code(0), shifted_right(differing, shift)), counted.take(), shared.take()));
    });
    return kth.get(block);
  }

  void sort_by_byte(Block& block, const Expr& count, const Expr& from, unsigned shift) const {
    const Expr to = block.let("target", sub(other_, from));
    const Buffer ends = block.local("ends", {DType::I64, 1}, kBuckets);
    const auto bucket = [&](Block& inner, const Expr& value) {
      Expr byte = apply(ScalarOp::And, {shifted_right(value, code(shift)), code(kBuckets - 1)});
      return inner.let("bucket", convert(byte, DType::I64));
    };
    serial(block, "i", integer(0), integer(kBuckets / lanes_), 1,
           [&](Block& inner, Expr i) { inner.add(store(ends, mul(i, integer(lanes_)), splat(integer(0), lanes_))); });
    serial(block, "i", integer(0), count, 1, [&](Block& inner, Expr i) {
      const Expr at = bucket(inner, load(codes_, add(from, i)));
      inner.add(store(ends, at, add(load(ends, at), integer(1))));
    });
    const Variable sum(block, "sum", integer(0));
    serial(block, "i", integer(0), integer(kBuckets), 1, [&](Block& inner, Expr i) {
      const Expr begin = sum.get(inner), size = inner.let("size", load(ends, i));
      inner.add(store(ends, i, begin));
      sum.set(inner, add(begin, size));
    });
    serial(block, "i", integer(0), count, 1, [&](Block& inner, Expr i) {
      const Expr value = inner.let("value", load(codes_, add(from, i)));
      const Expr at = bucket(inner, value), begin = inner.let("begin", load(ends, at));
      const Expr target = inner.let("place", add(to, begin));
      inner.add(store(codes_, target, value));
      inner.add(store(places_, target, load(places_, add(from, i))));
      inner.add(store(ends, at, add(begin, integer(1))));
    });
  }

  Line& line_;
  const DType dtype_;
  const int lanes_;
  const Variable held_, worst_, is_full_;
  Buffer codes_, places_;
  Expr room_, other_;
  mutable Expr start_;
};

}  // namespace

LoweredVariant lower_top_k_threshold(Context& context, const Op& group) {
  Line line(context, group, "threshold");
  line.stand_at(line.builder.body, variable(line.builder.task()));
  Block& body = line.builder.body;
  Candidates candidates(line, body);
  const bool tail = !known_multiple(line.extent_dim, candidates.lanes());
  vector_loop(body, integer(0), line.extent, candidates.lanes(), tail,
              [&](Block& block, const Expr& first, const Expr& mask) { candidates.take(block, first, mask); });
  candidates.drop_rest(body);
  candidates.sort(body);
  serial(body, "i", integer(0), line.k, 1,
         [&](Block& block, Expr i) { line.store_from(block, i, candidates.place(block, i)); });
  return line.finish(nullptr);
}

}  // namespace lapidary::lowering
