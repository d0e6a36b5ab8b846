// By square tiles. Where neighbours in memory follow lines, through shared memory, as transposes (transpose.cpp):
//
//   task: batch, 64 lines, 64 of k
//     thread, packets p = t step 256:  tile[k, line…] = operand(line…, k), or 0 beyond k      barrier
//     thread, runs p = t step 256:     scratch[batch, line, k…] = tile[k…, line]
//
// and else straight: scratch[batch, line, k…] = operand(line, k…).
#include "passes/lower/gpu/factors.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/error.h"
#include "passes/lower/access_recorder.h"
#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kEdge = 64, kPitch = kEdge + 1, kThreads = 256;

const ProductAxis& lines_of(const ProductForm& form, bool of_a) { return of_a ? form.rows : form.columns; }

const Value* operand_of(const ProductForm& form, bool of_a) { return of_a ? form.a : form.b; }

DType dtype_of(const ProductForm& form, const MadeFactors& made, bool of_a) {
  return is_float(made.dtype) ? made.dtype : operand_of(form, of_a)->type.dtype;
}

Dim line_pitch(DimPool& dims, const MadeFactors& made) { return dims.mul(made.pitch, dims.constant(made.pieces)); }

Expr place_of(KernelBuilder& builder, const ProductForm& form, const MadeFactors& made, bool of_a, const Expr& batch,
              const Expr& line, const Expr& k) {
  DimPool& dims = builder.module.dims;
  const Dim pitch = line_pitch(dims, made), plane = dims.mul(lines_of(form, of_a).extent(dims), pitch);
  return add(add(mul(batch, builder.parameter(plane)), mul(line, builder.parameter(pitch))), k);
}

// To 10 bits of mantissa: what 2^13 x + x drops is what x has beyond them. The largest are scaled, so that it is a
// number.
Expr rounded_to_tf32(Block& block, const Expr& x, const Expr& size) {
  const int lanes = x->type.lanes;
  const Expr is_large = block.let("large", less(real(0x1p113F, lanes), size));
  const auto by = [&](float factor) { return select(is_large, real(factor, lanes), real(1, lanes)); };
  const Expr scaled = block.let("scaled", mul(x, by(0x1p-14F)));
  const Expr sum = block.let("sum", fma(scaled, real(0x1p13F, lanes), scaled));
  return mul(sub(sum, sub(sum, scaled)), by(0x1p14F));
}

struct Sum {
  Expr big, small;
};

// x = big + small. What does not round (infinity, NaN, the largest numbers) is small, with a 1 of its sign as big: so
// no product meets infinity with a 0 that only rounding made.
Sum split_to_tf32(Block& block, const Expr& value) {
  const int lanes = value->type.lanes;
  const Expr x = block.let("x", value), size = block.let("size", apply(ScalarOp::Abs, {x}));
  const Expr rounds = block.let("rounds", less(size, real(0x1.ffep127F, lanes)));
  const Expr one = select(less(x, real(0, lanes)), real(-1, lanes), real(1, lanes));
  const Expr big = block.let("big", select(rounds, rounded_to_tf32(block, x, size), one));
  return {big, block.let("small", select(rounds, sub(x, big), x))};
}

class FactorEmitter {
 public:
  FactorEmitter(Context& context, const Op& group, const ProductForm& form, const MadeFactors& made, bool of_a,
                uint32_t scratch)
      : dims_(context.module.dims),
        form_(form),
        made_(made),
        of_a_(of_a),
        along_k_((form.b_rows && !of_a) || lies_along_k(context, group)),
        packet_(packet_along(along_k_ ? form.depth : lines_of(form, of_a))),
        lines_(lines_of(form, of_a).extent(dims_)),
        depth_(form.depth.extent(dims_)),
        factor_(dtype_of(form, made, of_a)),
        computed_(compute_dtype(factor_)),
        builder_(context.module, context.target(), "factors",
                 fmt::format("{}{}{} tile={}x{}", made.pieces > 1 ? fmt::format("{}x", made.pieces) : "",
                             name_of(factor_), along_k_ ? "" : " turned", kEdge, kEdge)),
        emit_(builder_, group),
        scratch_(builder_.scratch(scratch, factor_, true)) {}

  LoweredVariant emit(Dim when) {
    builder_.threads = kThreads;
    std::vector<Dim> extents = form_.batch;
    for (Dim extent : {lines_, made_.pitch}) extents.push_back(dims_.ceildiv(extent, builder_.dim(kEdge)));
    const std::vector<Expr> parts = builder_.split_task(extents);
    for (size_t i = 0; i < form_.batch.size(); ++i) {
      batch_.push_back(at(parts[i]));
      flat_batch_ = add(mul(flat_batch_, builder_.parameter(form_.batch[i])), parts[i]);
    }
    first_line_ = builder_.body.let("first_line", mul(parts[parts.size() - 2], integer(kEdge)));
    first_k_ = builder_.body.let("first_k", mul(parts.back(), integer(kEdge)));
    if (along_k_)
      make_straight();
    else
      make_turned();
    return builder_.finish(dims_.product(extents), when);
  }

 private:
  void make_straight() {
    runs([&](Block& block, const Expr&, const Expr&, const Expr& line, const Expr& k) {
      const Buffer run = block.local("run", {computed_, 1}, made_.run());
      for (int i = 0; i < made_.run(); i += packet_) fetch(block, run, integer(i), line, add(k, integer(i)));
      store_run(block, line, k, load(run, integer(0), made_.run()));
    });
  }

  void make_turned() {
    const Buffer tile = builder_.body.shared("tile", computed_, int64_t{kEdge} * kPitch);
    packets(packet_, [&](Block& block, const Expr& along, const Expr& across) {
      const Expr line = block.let("line", add(first_line_, along)), k = block.let("k", add(first_k_, across));
      fetch(block, tile, add(mul(across, integer(kPitch)), along), line, k);
    });
    builder_.body.add(barrier());
    runs([&](Block& block, const Expr& along, const Expr& across, const Expr& line, const Expr& k) {
      const Expr from = add(mul(along, integer(kPitch)), across);
      store_run(block, line, k, load(tile, ramp(from, integer(kPitch), made_.run()), made_.run()));
    });
  }

  // Calls body(block, place along k, line of the tile, line, k) for each run of a thread that is there.
  void runs(const std::function<void(Block&, const Expr&, const Expr&, const Expr&, const Expr&)>& body) {
    packets(made_.run(), [&](Block& block, const Expr& along, const Expr& across) {
      const Expr line = block.let("line", add(first_line_, across)), k = block.let("k", add(first_k_, along));
      Block inner;
      body(inner, along, across, line, k);
      block.add(if_then(both(less(line, builder_.parameter(lines_)), less(k, builder_.parameter(made_.pitch))),
                        inner.take()));
    });
  }

  // Calls body(block, place along the packets, place across them) for each packet of a thread.
  void packets(int packet, const std::function<void(Block&, const Expr&, const Expr&)>& body) {
    const int in_line = kEdge / packet, each = kEdge * in_line / kThreads;
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      const Var number = make_var("p", {}, 0, each - 1);
      Block inner;
      const Expr flat = add(thread, mul(variable(number), integer(kThreads)));
      const Expr along = inner.let("along", mul(mod(flat, integer(in_line)), integer(packet)));
      const Expr across = inner.let("across", floordiv(flat, integer(in_line)));
      body(inner, along, across);
      own.add(for_loop(number, integer(0), integer(each), 1, LoopKind::Unrolled, inner.take()));
    });
  }

  // Stores the packet that begins at (line, k), or zeros beyond the operand.
  void fetch(Block& block, const Buffer& to, const Expr& index, const Expr& line, const Expr& k) {
    Block inside;
    {
      GroupEmitter::Scope scope(emit_, inside);
      inside.add(store(to, index, element(line, k)));
    }
    const Expr there = both(less(line, builder_.parameter(lines_)), less(k, builder_.parameter(depth_)));
    block.add(if_then(there, inside.take(), {store(to, index, splat_to(zero_of(computed_), packet_))}));
  }

  Expr element(const Expr& line, const Expr& k) {
    if (!of_a_ && form_.b_rows)
      return load(builder_.weight(*form_.b_rows), add(mul(line, builder_.parameter(form_.b_pitch)), k), packet_);
    const auto parts = [&](const Expr& flat, const ProductAxis& axis, bool is_packet) {
      const int lanes = is_packet ? packet_ : 1;
      return emit_.reshape({lanes > 1 ? along(flat) : at(flat)}, {axis.extent(dims_)}, axis.extents, lanes);
    };
    const ProductForm::Parts lines = parts(line, lines_of(form_, of_a_), !along_k_),
                             depth = parts(k, form_.depth, along_k_);
    return value(emit_, batch_, lines, depth, packet_);
  }

  Expr value(GroupEmitter& emit, const ProductForm::Parts& batch, const ProductForm::Parts& lines,
             const ProductForm::Parts& depth, int lanes) const {
    Coords where = of_a_ ? form_.a_at(emit, batch, lines, depth) : form_.b_at(emit, batch, depth, lines);
    where.lanes = lanes;
    return emit.value(operand_of(form_, of_a_), where);
  }

  void store_run(Block& block, const Expr& line, const Expr& k, const Expr& values) {
    const auto store_piece = [&](int piece, const Expr& factor) {
      const Expr along = add(k, mul(builder_.parameter(made_.pitch), integer(piece)));
      block.add(
          store(scratch_, place_of(builder_, form_, made_, of_a_, flat_batch_, line, along), convert(factor, factor_)));
    };
    if (made_.pieces == 1) return store_piece(0, values);
    const Sum sum = split_to_tf32(block, values);
    store_piece(0, of_a_ ? sum.big : sum.small);
    store_piece(1, of_a_ ? sum.small : sum.big);
    store_piece(2, sum.big);
  }

  // Do neighbours along k lie side by side in memory, of what the operand is mainly made of: what varies along both?
  bool lies_along_k(Context& context, const Op& group) const {
    KernelBuilder builder(context.module, context.target(), "dry-run");
    GroupEmitter emit(builder, group);
    const ProductAxis& line_axis = lines_of(form_, of_a_);
    AccessRecorder recorder({last_of(form_.depth), last_of(line_axis)});
    emit.recorder = &recorder;
    const auto positions = [&](const ProductAxis& axis, int number) {
      ProductForm::Parts parts = unknown_positions(axis.extents);
      if (!parts.empty())
        parts.back() = {{Digit{variable(make_var("x", {}, 0, INT64_MAX / 4)), nullptr, axis.extents.back(), number}}};
      return parts;
    };
    Block block;
    GroupEmitter::Scope scope(emit, block);
    value(emit, unknown_positions(form_.batch), positions(line_axis, 1), positions(form_.depth, 0), 1);
    const auto is_adjacent = [](Dim stride) { return stride && lapidary::value_of(stride) == 1; };
    for (const std::vector<Dim>& strides : recorder.accesses) {
      if (is_adjacent(strides[0]) && strides[1]) return true;
      if (is_adjacent(strides[1]) && strides[0]) return false;
    }
    return true;
  }

  Dim last_of(const ProductAxis& axis) const { return axis.extents.empty() ? dims_.constant(1) : axis.extents.back(); }

  // How many neighbours are read at once.
  int packet_along(const ProductAxis& axis) const {
    int packet = 4;
    while (packet > 1 && !known_multiple(last_of(axis), packet)) packet /= 2;
    return packet;
  }

  DimPool& dims_;
  const ProductForm& form_;
  const MadeFactors made_;
  const bool of_a_, along_k_;
  const int packet_;
  const Dim lines_, depth_;
  const DType factor_, computed_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Buffer scratch_;
  ProductForm::Parts batch_;
  Expr flat_batch_ = integer(0), first_line_, first_k_;
};

Dim made_bytes(DimPool& dims, const ProductForm& form, const MadeFactors& made, bool of_a) {
  return dims.product(std::vector<Dim>{dims.product(form.batch), lines_of(form, of_a).extent(dims),
                                       line_pitch(dims, made), dims.constant(bit_width(made.dtype) / 8)});
}

// Is the step's variant that runs one that reads it? 1 or 0.
Dim reads_scratch(DimPool& dims, const LoweredStep& step, uint32_t scratch) {
  Dim reads = dims.constant(0), reached = dims.constant(1);
  for (const LoweredVariant& variant : step.variants) {
    const bool does = std::ranges::any_of(variant.buffers, [&](const BufferSource& source) {
      return source.kind == BufferSource::Kind::Scratch && source.scratch == scratch;
    });
    const Dim when = variant.when ? variant.when : dims.constant(1);
    if (does) reads = dims.add(reads, dims.mul(reached, when));
    reached = dims.mul(reached, dims.equal(when, dims.constant(0)));
  }
  return reads;
}

// `when`: null where it always runs.
LoweredStep make_factors(Context& context, const Op& group, const ProductForm& form, const MadeFactors& made, bool of_a,
                         uint32_t scratch, Dim when) {
  LoweredStep step = single_step(FactorEmitter(context, group, form, made, of_a, scratch).emit(when));
  DimPool& dims = context.module.dims;
  step.flops = dims.constant(0);
  step.bytes = dims.product(std::vector<Dim>{when ? when : dims.constant(1), moved_bytes(dims, form, made, of_a)});
  return step;
}

}  // namespace

bool may_make_factors(const Context& context, const ProductForm& form) {
  const DType dtype = form.a->type.dtype;
  if (bit_width(dtype) == 8) return form.may_be_made && context.target().has_tensor_cores();
  const bool rounds = dtype == DType::F32 && context.options.f32_products != passes::F32Products::IEEE;
  return form.may_be_made && rounds && context.target().has_warpgroups();
}

MadeFactors made_factors(DimPool& dims, const ProductForm& form, passes::F32Products products) {
  const DType dtype = form.a->type.dtype;
  const bool of_f32 = dtype == DType::F32;
  MadeFactors made = {of_f32 && products == passes::F32Products::BF16 ? DType::BF16 : dtype,
                      of_f32 && products == passes::F32Products::TF32x3 ? 3 : 1};
  const Dim run = dims.constant(made.run());
  made.pitch = dims.mul(dims.ceildiv(form.depth.extent(dims), run), run);
  return made;
}

Dim moved_bytes(DimPool& dims, const ProductForm& form, const MadeFactors& made, bool of_a) {
  const DType from = operand_of(form, of_a)->type.dtype;
  const Dim read = dims.product(std::vector<Dim>{dims.product(form.batch), lines_of(form, of_a).extent(dims),
                                                 form.depth.extent(dims), dims.constant(bit_width(from) / 8)});
  return dims.add(read, made_bytes(dims, form, made, of_a));
}

Expr made_element(KernelBuilder& builder, const ProductForm& form, bool of_a, const Expr& batch, const Expr& line,
                  const Expr& k) {
  return load(builder.scratch(of_a ? *form.a_made : *form.b_made, dtype_of(form, form.made, of_a), false),
              place_of(builder, form, form.made, of_a, batch, line, k));
}

ProductForm made_form(Context& context, const ProductForm& form, const Making& making, std::vector<Dim>& scratch) {
  DimPool& dims = context.module.dims;
  ProductForm made = form;
  made.made = made_factors(dims, form, context.options.f32_products);
  for (const bool of_a : {true, false}) {
    if (!(of_a ? making.a : making.b)) continue;
    (of_a ? made.a_made : made.b_made) = static_cast<uint32_t>(scratch.size());
    scratch.push_back(made_bytes(dims, form, made.made, of_a));
  }
  if (made.a_made && made.made.pieces > 1) made.depth = {{dims.mul(made.made.pitch, dims.constant(made.made.pieces))}};
  return made;
}

void add_steps_of_factors(Context& context, const Op& group, const ProductForm& form, const ProductForm& made,
                          LoweredGroup& lowered) {
  DimPool& dims = context.module.dims;
  std::vector<LoweredStep> steps;
  for (const bool of_a : {true, false}) {
    const std::optional<uint32_t> scratch = of_a ? made.a_made : made.b_made;
    if (!scratch) continue;
    const Dim when = reads_scratch(dims, lowered.steps.front(), *scratch);
    if (lapidary::value_of(when) == 0) {
      lowered.scratch[*scratch] = dims.constant(0);
      continue;
    }
    steps.push_back(
        make_factors(context, group, form, made.made, of_a, *scratch, lapidary::value_of(when) ? nullptr : when));
    steps.back().barrier_before = steps.size() == 1;
  }
  lowered.steps.insert(lowered.steps.begin(), std::make_move_iterator(steps.begin()),
                       std::make_move_iterator(steps.end()));
}

}  // namespace lapidary::lowering::gpu
