// A tile of kEdge by kEdge elements of every transposed value, in what it is computed in. Its lines are one element
// longer, so that neither the packets that come in along a line nor those that leave across them meet in a bank more
// than twice.
//
// Example, y[n, h·w, c] = relu(x[n, c, h·w]):  task: (n, 64 of h·w, 64 of c)
//   thread t, packets p = t step 256:  tile[c, hw…] = x[n, c, hw…]      barrier
//   thread t, packets p = t step 256:  y[n, hw, c…] = relu(tile[c…, hw])
#include "passes/lower/gpu/transpose.h"

#include <algorithm>

#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/threads.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kEdge = 64, kPitch = kEdge + 1, kThreads = 256;
constexpr size_t kMostTiles = 2;
constexpr int64_t kLeastExtent = 16;  // along either axis: below, most of a tile is empty

bool parts_neighbours(const Op& op) {
  return op.is(OpKind::Transpose) && op.params.integers("perm").back() != op.type().rank() - 1;
}

// The transposes of the group, if all are one and the result's coordinates are theirs.
std::vector<const Op*> transposes_of(const Op& group, const Type& walked) {
  std::vector<const Op*> found;
  for (const Op& op : group.regions[0]->ops) {
    if (!parts_neighbours(op)) continue;
    const bool alike = found.empty() || op.params.integers("perm") == found[0]->params.integers("perm");
    if (!alike || op.type().shape != walked.shape || op.type().dtype == DType::Bool || found.size() == kMostTiles)
      return {};
    found.push_back(&op);
  }
  return found;
}

class TransposeEmitter {
 public:
  TransposeEmitter(KernelBuilder& builder, const Op& group, std::vector<const Op*> transposes,
                   const IterationSpace& space, int in, int out)
      : builder_(builder),
        emit_(builder, group),
        transposes_(std::move(transposes)),
        space_(space),
        in_(in),
        out_(out),
        lanes_in_(packet(group, in)),
        lanes_out_(packet(group, out)),
        index_(space.axes.size()) {}

  LoweredStep emit(const std::function<void(GroupEmitter&, const Coords&)>& element) {
    builder_.threads = kThreads;
    DimPool& dims = builder_.module.dims;
    std::vector<Dim> extents;
    for (int axis : space_.loops())
      extents.push_back(axis == in_ || axis == out_ ? dims.ceildiv(extent(axis), builder_.dim(kEdge)) : extent(axis));
    const std::vector<Expr> parts = builder_.split_task(extents);
    for (size_t i = 0; i < parts.size(); ++i) index_[static_cast<size_t>(space_.loops()[i])] = parts[i];
    begin_in_ = builder_.body.let("in", mul(index_[in_], integer(kEdge)));
    begin_out_ = builder_.body.let("out", mul(index_[out_], integer(kEdge)));
    for (const Op* op : transposes_)
      tiles_.push_back(builder_.body.shared("tile", compute_dtype(op->type().dtype), kEdge * kPitch));

    packets(in_, lanes_in_, [&](Block& block, const Expr& along, const Expr& line) {
      const Coords coords = space_.coords(index_, in_, lanes_in_);
      for (size_t i = 0; i < tiles_.size(); ++i) {
        const Expr value = emit_.value(transposes_[i]->operand(0), emit_.backward(*transposes_[i], coords));
        block.add(store(tiles_[i], add(mul(line, integer(kPitch)), along), value));
      }
    });
    builder_.body.add(barrier());
    packets(out_, lanes_out_, [&](Block&, const Expr& along, const Expr& line) {
      const Coords coords = space_.coords(index_, out_, lanes_out_);
      const Expr first = add(mul(along, integer(kPitch)), line);
      for (size_t i = 0; i < tiles_.size(); ++i) bind(transposes_[i], tiles_[i], first, coords);
      element(emit_, coords);
    });
    return single_step(builder_.finish(dims.product(extents)));
  }

 private:
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }
  int packet(const Op& group, int axis) const { return packet_lanes(group, extent(axis), true); }

  // Calls body(block, place along the axis, place along the other one) for each packet of a thread.
  void packets(int axis, int lanes, const std::function<void(Block&, const Expr&, const Expr&)>& body) {
    const int other = axis == in_ ? out_ : in_, in_line = kEdge / lanes;
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      const Var packet = make_var("p", {}, 0, kEdge * in_line / kThreads - 1);
      Block inner;
      const Expr number = add(thread, mul(variable(packet), integer(kThreads)));
      const Expr along = inner.let("along", mul(mod(number, integer(in_line)), integer(lanes)));
      const Expr line = inner.let("line", floordiv(number, integer(in_line)));
      const auto begin = [&](int of) { return of == in_ ? begin_in_ : begin_out_; };
      index_[axis] = inner.let("x", add(begin(axis), along));
      index_[other] = inner.let("y", add(begin(other), line));
      Block inside;
      {
        GroupEmitter::Scope scope(emit_, inside);
        body(inside, along, line);
      }
      const auto within = [&](int of) { return less(index_[of], builder_.parameter(extent(of))); };
      inner.add(if_then(apply(ScalarOp::And, {within(axis), within(other)}), inside.take()));
      own.add(for_loop(packet, integer(0), integer(kEdge * in_line / kThreads), 1, LoopKind::Unrolled, inner.take()));
    });
  }

  void bind(const Op* op, const Buffer& tile, const Expr& first, const Coords& here) {
    emit_.bind(op->result(), [this, op, tile, first, here](const Coords& coords) {
      if (!same_coords(coords, here)) return emit_.value(op->operand(0), emit_.backward(*op, coords));
      return load(tile, ramp(first, integer(kPitch), lanes_out_), lanes_out_);
    });
  }

  KernelBuilder& builder_;
  GroupEmitter emit_;
  const std::vector<const Op*> transposes_;
  const IterationSpace& space_;
  const int in_, out_;  // axes of the space: along which operands and results lie
  const int lanes_in_, lanes_out_;
  std::vector<Expr> index_;
  std::vector<Buffer> tiles_;
  Expr begin_in_, begin_out_;
};

}  // namespace

std::optional<LoweredStep> transpose_step(KernelBuilder& builder, const Op& group, const Type& walked,
                                          const IterationSpace& space,
                                          const std::function<void(GroupEmitter&, const Coords&)>& element) {
  std::vector<const Op*> transposes = transposes_of(group, walked);
  if (transposes.empty() || walked.layout.blocked_axis >= 0) return {};
  const std::vector<int64_t>& perm = transposes[0]->params.integers("perm");
  const size_t moved = static_cast<size_t>(std::ranges::find(perm, walked.rank() - 1) - perm.begin());
  const std::vector<int> loops = space.loops();
  const std::vector<int>&digits = space.digits[moved], &last = space.digits.back();
  if (digits.empty() || last.empty() || loops.empty()) return {};
  const int in = digits.back(), out = last.back();
  const auto is_long = [&](int axis) {
    return space.axes[axis].loop_extent && guess(space.axes[axis].loop_extent) >= kLeastExtent;
  };
  if (in == out || out != loops.back() || !is_long(in) || !is_long(out)) return {};
  return TransposeEmitter(builder, group, std::move(transposes), space, in, out).emit(element);
}

}  // namespace lapidary::lowering::gpu
