// Kernels without a carried dependence on a GPU: a thread takes packets of elements that are neighbours in the result,
// loaded and stored at once: 16 bytes of them, or fewer where the innermost extent is no multiple. Neighbouring threads
// have neighbouring packets, so that a warp's access is whole lines. Transposes go by tiles. Where channels come last
// in the result and operands are planes, neighbouring threads have neighbouring pixels: a packet's channels are loads
// of their own anyway, and those of a warp are whole lines then.
//   w' [O, taps, C] of w [O, C, taps]:  task (o, C / 4, tap): w'[o, tap, c … c + 3] = w[o, c, tap], …, w[o, c + 3, tap]
//
// While a warp computes it asks for nothing, so one packet a thread does not keep memory busy; a task is two of them, a
// block of threads apart, where that divides the packets: both are asked for before the first is needed.
//   gelu of f16 [N, 4096]:  task t of 256 N: packets 256 (t / 128) + t mod 128 + 128 p, p < 2; of packet q: x[8 q .. 8
//   q + 8)
#include <fmt/format.h>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/pixels.h"
#include "passes/lower/gpu/transpose.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kApart = 128;  // packets of one thread: neighbouring threads of a block have neighbours
constexpr int kPackets = 2;
// Of a group whose threads have registers for several packets, and of a result that keeps a device busy.
constexpr size_t kMostOperands = 4, kMostOps = 40;
constexpr int64_t kLeastPackets = 1 << 16;

int packets_of_thread(const Op& group, Dim packets) {
  if (group.operands.size() > kMostOperands || group.regions[0]->ops.size() > kMostOps) return 1;
  if (const auto known = value_of(packets); known && *known < kLeastPackets) return 1;
  return known_multiple(packets, kPackets * kApart) ? kPackets : 1;
}

bool reads_planes(const Op& group, const Type& walked) {
  bool any = false;
  for (const Value* operand : group.operands) {
    if (operand->type.shape != walked.shape) continue;
    if (!operand->type.layout.dense()) return false;
    any = true;
  }
  return any && walked.layout.last;
}

}  // namespace

LoweredStep map_step(Context& context, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element) {
  DimPool& dims = context.module.dims;
  IterationSpace space = space_of(dims, type);
  fit_space(space, context.module, context.target(), group,
            [&](GroupEmitter& emit, const Coords& coords) { element(emit, with_block_tail(emit, type, coords)); });
  if (auto step = pixels_step(context.module, context.target(), group, family, type, space, element))
    return std::move(*step);
  {
    KernelBuilder builder(context.module, context.target(), family, "tile=64x64");
    if (auto step = transpose_step(builder, group, type, space, element)) return std::move(*step);
  }
  std::vector<int> axes = space.loops();
  const int inner = axes.empty() ? -1 : axes.back();
  const int lanes = inner >= 0 ? packet_lanes(group, space.axes[inner].loop_extent) : 1;
  std::vector<Dim> extents;
  for (int axis : axes) extents.push_back(space.axes[axis].loop_extent);
  if (inner >= 0) extents.back() = dims.floordiv(extents.back(), dims.constant(lanes));
  if (axes.size() > 1 && reads_planes(group, type)) {
    std::swap(axes[axes.size() - 2], axes.back());
    std::swap(extents[extents.size() - 2], extents.back());
  }
  const Dim all = dims.product(extents);
  const int packets = packets_of_thread(group, all);
  KernelBuilder builder(context.module, context.target(), family,
                        fmt::format("lanes={}{}", lanes, packets > 1 ? fmt::format(" packets={}", packets) : ""));
  builder.for_gpu = true;
  GroupEmitter emit(builder, group);
  const auto one = [&](Block& block, const Expr& packet) {
    GroupEmitter::Scope scope(emit, block);
    const std::vector<Expr> parts = split_index(builder, block, packet, extents);
    std::vector<Expr> index(space.axes.size());
    for (size_t i = 0; i < axes.size(); ++i) index[axes[i]] = parts[i];
    if (inner >= 0) index[inner] = mul(index[inner], integer(lanes));
    element(emit, with_block_tail(emit, type, space.coords(index, inner, lanes)));
  };
  const Expr task = variable(builder.task());
  if (packets == 1) {
    one(builder.body, task);
    return single_step(builder.finish(all));
  }
  const Expr first = builder.body.let(
      "first", add(mul(floordiv(task, integer(kApart)), integer(packets * kApart)), mod(task, integer(kApart))));
  const Var packet = make_var("p", {}, 0, packets - 1);
  Block body;
  one(body, body.let("q", add(first, mul(variable(packet), integer(kApart)))));
  builder.body.add(for_loop(packet, integer(0), integer(packets), 1, LoopKind::Unrolled, body.take()));
  return single_step(builder.finish(dims.floordiv(all, dims.constant(packets))));
}

}  // namespace lapidary::lowering::gpu
