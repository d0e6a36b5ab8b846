// Products with weights of 4 or 8 bits in blocks that have a scale each (composite matmul_packed), on a GPU.
//
// Few rows: what counts is that every code is read once, at the speed of memory. A block of threads has a few columns
// and the whole of k, of which a thread has 16 bytes of codes each time, of all columns at once so that as many loads
// are under way. Codes become floats where they lie in their word: the other factor is scaled instead of shifting them.
// Scales and zero points come in once a unit, those of its blocks together, and count once a word:
//
//   y[n] += s[n, block] · (Σ q·a - z[n, block] · Σ a)          Σ over a word's codes
//
// and the threads' sums are added up at the end.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "ir/error.h"
#include "passes/lower/gpu/few_rows.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/packed_units.h"
#include "passes/lower/gpu/product.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kWarp = 32, kMostThreads = 128;
constexpr int kColumns = 4;  // of a block
constexpr int kHeights[] = {1, 2, 4, 8};

// All of up to `height` rows.
class FewRowsEmitter {
 public:
  FewRowsEmitter(Context& context, const Op& group, const PackedForm& form, const PackedUnits& units, int height)
      : form_(form),
        units_(units),
        height_(height),
        is_tall_(height > 4),
        builder_(context.module, context.target(), "packed", fmt::format("{} bits rows={}", form.bits, height)),
        emit_(builder_, group),
        a_(builder_.operand(form.a)),
        weights_(builder_, units),
        depth_(builder_.parameter(builder_.dim(form.depth))) {
    const auto sharers = static_cast<uint64_t>(units.units * PackedUnits::kSharers);
    builder_.threads = static_cast<int>(std::clamp<uint64_t>(std::bit_ceil(sharers), kWarp, kMostThreads));
  }

  LoweredVariant emit(Dim when) {
    DimPool& dims = builder_.module.dims;
    const Dim any = dims.min(form_.rows, dims.constant(1)),
              tasks = dims.mul(any, dims.constant(ceil_div(form_.columns, kColumns)));
    const Expr first_column = builder_.body.let("column", mul(variable(builder_.task()), integer(kColumns)));
    const Buffer total = builder_.body.fragment("total", DType::F32, int64_t{height_} * kColumns);
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      unrolled(own, "i", total->size, [&](Block& one, Expr i) { one.add(store(total, i, real(0))); });
      const Expr sharer = own.let("sharer", mod(thread, integer(PackedUnits::kSharers)));
      const Var unit = make_var("unit", {}, 0, INT64_MAX / 1024);
      Block step;
      multiply(step, first_column, variable(unit), sharer, total);
      own.add(for_loop(unit, floordiv(thread, integer(PackedUnits::kSharers)), weights_.units(),
                       builder_.threads / PackedUnits::kSharers, LoopKind::Serial, step.take()));
    });
    builder_.body.add(combine(total, ScalarOp::Add, builder_.threads));
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { store_row(own, thread, first_column, total); });
    return builder_.finish(tasks, when);
  }

 private:
  // Scales and zero points of a unit's blocks, of all columns: fetched before its words are multiplied, or, where these
  // share no blocks, with each.
  struct BlocksOfUnit {
    BlocksOfUnit(const FewRowsEmitter& of, Block& block, const Expr& first_column, const Expr& unit)
        : of(of), first_column(first_column), count(of.is_tall_ ? 0 : of.units_.blocks_of_unit()) {
      if (count == 0) return;
      scales = block.local("scales", {DType::F32, 1}, int64_t{kColumns} * count);
      zeros = block.local("zeros", {DType::F32, 1}, int64_t{kColumns} * count);
      unrolled(block, "j", kColumns, [&](Block& one, Expr j) {
        const std::vector<Expr> s = of.weights_.scales(one, add(first_column, j), unit),
                                z = of.weights_.zero_points(one, add(first_column, j), unit);
        for (int i = 0; i < count; ++i) {
          const Expr at = add(mul(j, integer(count)), integer(i));
          one.add(store(scales, at, s[i]));
          one.add(store(zeros, at, z[i]));
        }
      });
    }
    Expr scale(const Expr& j, const Expr& w, const Expr& k) const {
      return count ? load(scales, at(j, w)) : of.weights_.scale(add(first_column, j), k);
    }
    Expr zero_point(const Expr& j, const Expr& w, const Expr& k) const {
      return count ? load(zeros, at(j, w)) : of.weights_.zero_point(add(first_column, j), k);
    }
    Expr at(const Expr& j, const Expr& w) const {
      return add(mul(j, integer(count)), floordiv(mul(w, integer(count)), integer(PackedUnits::kWords)));
    }

    const FewRowsEmitter& of;
    const Expr first_column;
    const int count;
    Buffer scales, zeros;
  };

  // What a thread has of one unit.
  void multiply(Block& block, const Expr& first_column, const Expr& unit, const Expr& sharer, const Buffer& total) {
    const int each = units_.codes_of_word();
    const auto column = [&](const Expr& j) { return add(first_column, j); };
    Buffer words;
    if (!is_tall_) {
      words = block.local("words", {DType::I32, 1}, int64_t{kColumns} * PackedUnits::kWords);
      unrolled(block, "j", kColumns, [&](Block& one, Expr j) {
        one.add(store(words, mul(j, integer(PackedUnits::kWords)), weights_.words(column(j), unit, sharer)));
      });
    }
    const BlocksOfUnit blocks(*this, block, first_column, unit);
    for_each_word(block, [&](Block& of_word, const Expr& w) {
      Block inner;
      const Expr k = of_word.let("k", weights_.first_k(unit, sharer, w));
      const Buffer a = inner.local("a", {DType::F32, 1}, int64_t{height_} * each),
                   sums = inner.local("sum", {DType::F32, 1}, height_);
      load_rows(inner, k, a, sums);
      unrolled(inner, "j", kColumns, [&](Block& one, Expr j) {
        const Expr word = one.let("word", is_tall_ ? weights_.word(column(j), unit, sharer, w)
                                                   : load(words, add(mul(j, integer(PackedUnits::kWords)), w))),
                   upper = one.let("upper", weights_.upper_half(word)), scale = one.let("s", blocks.scale(j, w, k)),
                   zero = one.let("z", blocks.zero_point(j, w, k));
        std::vector<Expr> codes;
        for (int c = 0; c < each; ++c) codes.push_back(one.let("q", weights_.code(word, upper, c)));
        unrolled(one, "i", height_, [&](Block& row, Expr i) {
          Expr sum = mul(zero, load(sums, i));
          for (int c = 0; c < each; ++c) sum = fma(load(a, add(mul(i, integer(each)), integer(c))), codes[c], sum);
          const Expr at = add(mul(i, integer(kColumns)), j);
          row.add(store(total, at, fma(scale, sum, load(total, at))));
        });
      });
      if (form_.depth % units_.codes_of_unit() == 0)
        of_word.add(loops::block(inner.take()));
      else
        of_word.add(if_then(less(k, depth_), inner.take()));
    });
  }

  void for_each_word(Block& block, const std::function<void(Block&, const Expr&)>& body) {
    const Var word = make_var("w", {}, 0, PackedUnits::kWords - 1);
    Block inner;
    body(inner, variable(word));
    block.add(for_loop(word, integer(0), integer(PackedUnits::kWords), 1,
                       is_tall_ ? LoopKind::Serial : LoopKind::Unrolled, inner.take()));
  }

  // Of each row what a word's codes are multiplied with, scaled as they are not shifted, and its sum, negated.
  void load_rows(Block& block, const Expr& k, const Buffer& a, const Buffer& sums) {
    const int each = units_.codes_of_word();
    unrolled(block, "i", height_, [&](Block& one, Expr i) {
      Expr row = i;
      if (lapidary::value_of(form_.rows) != height_ && height_ > 1)
        row = min(row, sub(builder_.parameter(form_.rows), integer(1)));
      const Expr place = add(mul(row, depth_), k);
      const Expr loaded = one.let("x", convert(load(a_, place, each), DType::F32));
      one.add(store(sums, i, sub(real(0), reduce(ScalarOp::Add, loaded))));
      for (int c = 0; c < each; ++c) {
        const float scale = std::ldexp(1.0F, -weights_.shift_of(c));
        one.add(store(a, add(mul(i, integer(each)), integer(c)), mul(shuffle({loaded}, {c}), real(scale))));
      }
    });
  }

  // A row for each of the first threads: all of them know all sums.
  void store_row(Block& own, const Expr& thread, const Expr& first_column, const Buffer& total) {
    const Expr sum = sums_of_own_row(total, thread, height_, kColumns, 0, kColumns);
    Block inner;
    {
      GroupEmitter::Scope scope(emit_, inner);
      Coords coords = form_.result_at(emit_, thread, along(first_column), kColumns);
      if (form_.columns % kColumns != 0)
        coords.mask = first_lanes(sub(builder_.parameter(builder_.dim(form_.columns)), first_column), kColumns);
      emit_.store_results(form_.op.result(), coords, rounded(sum, form_.op.type().dtype));
    }
    own.add(if_then(less(thread, height_ == 1 ? integer(1) : builder_.parameter(form_.rows)), inner.take()));
  }

  const PackedForm& form_;
  const PackedUnits& units_;
  const int height_;
  const bool is_tall_;  // the rows take the registers: words are loaded one by one
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Buffer a_;
  const PackedReader weights_;
  const Expr depth_;
};

LoweredGroup many_rows(Context& context, const Op& group, const PackedForm& form, const PackedUnits& units,
                       std::vector<LoweredVariant> of_fewer) {
  using Parts = ProductForm::Parts;
  const auto in_order = [](const Parts& row, const Parts& last) {
    Coords coords;
    coords.axes = row;
    coords.axes.push_back(last[0]);
    return coords;
  };
  const Shape& shape = form.op.type().shape;
  ProductForm product;
  product.anchor = &form.op;
  product.a = form.op.operand(0);
  product.rows.extents.assign(shape.begin(), shape.end() - 1);
  product.columns.extents = {shape.back()};
  product.depth.extents = {context.module.dims.constant(form.depth)};
  product.a_at = [&](GroupEmitter&, const Parts&, const Parts& row, const Parts& k) { return in_order(row, k); };
  product.result_at = [&](GroupEmitter&, const Parts&, const Parts& row, const Parts& column) {
    return in_order(row, column);
  };
  product.b_value = [&](KernelBuilder& builder, const Expr& column, const Expr& k) {
    return PackedReader(builder, units).number(column, k);
  };
  if (form.depth % units.codes_of_word() == 0) product.b_together = units.codes_of_word();
  std::optional<LoweredGroup> lowered = lower_product(context, group, product, std::move(of_fewer));
  LPD_CHECK(lowered, "no product of packed weights");
  return std::move(*lowered);
}

}  // namespace

LoweredGroup lower_packed(Context& context, const Op& group) {
  const PackedForm form(context.module, group, anchor_of(group));
  const PackedUnits units(context.module, form, kColumns);
  return many_rows(context, group, form, units,
                   variants_by_height(context.module.dims, form.rows, kHeights, [&](int height, Dim when) {
                     return FewRowsEmitter(context, group, form, units, height).emit(when);
                   }));
}

}  // namespace lapidary::lowering::gpu
