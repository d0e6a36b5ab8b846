// By square tiles, as transposes (transpose.cpp):
//
//   task: batch, 64 lines, 64 of k
//     thread, packets p = t step 256:  tile[k, line…] = operand(line…, k), or 0 beyond k      barrier
//     thread, packets p = t step 256:  scratch[batch, line, k…] = tile[k…, line]
#include "passes/lower/gpu/turned.h"

#include <fmt/format.h>

#include "passes/lower/gpu/threads.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kEdge = 64, kPitch = kEdge + 1, kThreads = 256;

const ProductAxis& lines_of(const ProductForm& form, bool of_a) { return of_a ? form.rows : form.columns; }

Dim pitch_of(DimPool& dims, const ProductForm& form) {
  return dims.mul(dims.ceildiv(form.depth.extent(dims), dims.constant(kTurnedRun)), dims.constant(kTurnedRun));
}

class TurnEmitter {
 public:
  TurnEmitter(Context& context, const Op& group, const ProductForm& form, const Turning& turning, int packet)
      : dims_(context.module.dims),
        form_(form),
        turning_(turning),
        packet_(packet),
        lines_(lines_of(form, turning.of_a).extent(dims_)),
        depth_(form.depth.extent(dims_)),
        pitch_(pitch_of(dims_, form)),
        builder_(context.module, context.target(), "turn", fmt::format("tile={0}x{0}", kEdge)),
        emit_(builder_, group) {}

  LoweredVariant emit(Dim when) {
    builder_.threads = kThreads;
    std::vector<Dim> extents = form_.batch;
    for (Dim extent : {lines_, pitch_}) extents.push_back(dims_.ceildiv(extent, builder_.dim(kEdge)));
    const std::vector<Expr> parts = builder_.split_task(extents);
    Expr flat_batch = integer(0);
    for (size_t i = 0; i < form_.batch.size(); ++i) {
      batch_.push_back(at(parts[i]));
      flat_batch = add(mul(flat_batch, builder_.parameter(form_.batch[i])), parts[i]);
    }
    const Expr first_line = builder_.body.let("first_line", mul(parts[parts.size() - 2], integer(kEdge))),
               first_k = builder_.body.let("first_k", mul(parts.back(), integer(kEdge)));
    const Buffer tile = builder_.body.shared("tile", DType::F32, int64_t{kEdge} * kPitch),
                 turned = builder_.scratch(turning_.scratch, DType::F32, true);

    packets(packet_, [&](Block& block, const Expr& along, const Expr& across) {
      const Expr line = block.let("line", add(first_line, along)), k = block.let("k", add(first_k, across));
      const Expr to = add(mul(across, integer(kPitch)), along);
      Block inside, beyond;
      {
        GroupEmitter::Scope scope(emit_, inside);
        inside.add(store(tile, to, element(line, k)));
      }
      beyond.add(store(tile, to, real(0, packet_)));
      const Expr there = both(less(line, builder_.parameter(lines_)), less(k, builder_.parameter(depth_)));
      block.add(if_then(there, inside.take(), beyond.take()));
    });
    builder_.body.add(barrier());
    packets(kTurnedRun, [&](Block& block, const Expr& along, const Expr& across) {
      const Expr line = block.let("line", add(first_line, across)), k = block.let("k", add(first_k, along));
      const Expr from = add(mul(along, integer(kPitch)), across);
      const Stmt stored = store(turned, turned_place(builder_, form_, turning_.of_a, flat_batch, line, k),
                                load(tile, ramp(from, integer(kPitch), kTurnedRun), kTurnedRun));
      const Expr there = both(less(line, builder_.parameter(lines_)), less(k, builder_.parameter(pitch_)));
      block.add(if_then(there, {stored}));
    });
    return builder_.finish(dims_.product(extents), when);
  }

 private:
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

  // Of a packet that begins at the line.
  Expr element(const Expr& line, const Expr& k) {
    const auto parts = [&](const Expr& flat, const ProductAxis& axis, int lanes) {
      return emit_.reshape({lanes > 1 ? along(flat) : at(flat)}, {axis.extent(dims_)}, axis.extents, lanes);
    };
    const ProductForm::Parts lines = parts(line, lines_of(form_, turning_.of_a), packet_),
                             depth = parts(k, form_.depth, 1);
    Coords where = turning_.of_a ? form_.a_at(emit_, batch_, lines, depth) : form_.b_at(emit_, batch_, depth, lines);
    where.lanes = packet_;
    return emit_.value(turning_.of_a ? form_.a : form_.b, where);
  }

  DimPool& dims_;
  const ProductForm& form_;
  const Turning turning_;
  const int packet_;
  const Dim lines_, depth_, pitch_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  ProductForm::Parts batch_;
};

}  // namespace

Dim turned_bytes(DimPool& dims, const ProductForm& form, bool of_a) {
  return dims.product(std::vector<Dim>{dims.product(form.batch), lines_of(form, of_a).extent(dims),
                                       pitch_of(dims, form), dims.constant(bit_width(DType::F32) / 8)});
}

Expr turned_place(KernelBuilder& builder, const ProductForm& form, bool of_a, const Expr& batch, const Expr& line,
                  const Expr& k) {
  DimPool& dims = builder.module.dims;
  const Dim pitch = pitch_of(dims, form), plane = dims.mul(lines_of(form, of_a).extent(dims), pitch);
  return add(add(mul(batch, builder.parameter(plane)), mul(line, builder.parameter(pitch))), k);
}

LoweredStep turn(Context& context, const Op& group, const ProductForm& form, const Turning& turning, int packet,
                 Dim when) {
  LoweredStep step = single_step(TurnEmitter(context, group, form, turning, packet).emit(when));
  DimPool& dims = context.module.dims;
  step.flops = dims.constant(0);
  const Dim elements = turned_bytes(dims, form, turning.of_a);
  step.bytes = dims.product(std::vector<Dim>{when ? when : dims.constant(1), elements, dims.constant(2)});
  return step;
}

}  // namespace lapidary::lowering::gpu
