// Discrete Fourier transforms, of whole axes and of frames of a signal.
#include "frontend/ops/fourier.h"
#include "frontend/ops/told_axes.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Dim checked_length(Node& node, Dim length) {
  DimPool& dims = node.dims();
  if (auto known = value_of(length); known && *known > kMostLength) unsupported("a transform of length {}", *known);
  must_hold(node, dims.less(dims.constant(0), length), "a transform must have a length of 1 or more");
  must_hold(node, dims.less(length, dims.constant(kMostLength + 1)),
            fmt::format("transforms longer than {} are not supported", kMostLength));
  return length;
}

// Along `axis` of x [..., parts], as rows of a matrix and back.
template <typename Compute>
Value* along_axis(GraphBuilder& build, Value* x, int axis, Compute compute) {
  const int rank = x->type.rank();
  std::vector<int64_t> there, back(static_cast<size_t>(rank));
  for (int i = 0; i + 1 < rank; ++i)
    if (i != axis) there.push_back(i);
  there.push_back(axis);
  there.push_back(rank - 1);
  for (int i = 0; i < rank; ++i) back[static_cast<size_t>(there[static_cast<size_t>(i)])] = i;
  Value* moved = build.transpose(x, there);
  Shape shape = moved->type.shape;
  Dim batch = build.module.dims.product(std::span(shape).first(shape.size() - 2));
  Value* y = compute(build.reshape(moved, {batch, shape[shape.size() - 2], shape.back()}));
  shape[shape.size() - 2] = y->type.shape[1], shape.back() = y->type.shape[2];
  return build.transpose(build.reshape(y, shape), back);
}

void check_parts(const Value* x) {
  auto parts = value_of(x->type.shape.back());
  if (!parts) unsupported("a last axis of unknown extent: real numbers or complex ones");
  if (*parts != 1 && *parts != 2) fail("the last axis of {} is neither 1 (real) nor 2 (complex)", to_string(x->type));
}

// An axis of x [..., parts], known now or not: what is before it, it, and what is behind it are three axes of a
// reshape.
struct TransformedAxis {
  Dim axis, before, extent, behind;

  TransformedAxis(Node& node, Dim given, const Shape& shape) {
    DimPool& dims = node.dims();
    const int rank = static_cast<int>(shape.size());
    axis = told_axis(node, given, rank);
    if (value_of(axis) == rank - 1) fail("axis {} is that of the complex parts", to_string(given));
    must_hold(node, dims.less(axis, dims.constant(rank - 1)), "the axis must not be that of the complex parts");
    const Dim one = dims.constant(1);
    before = extent = behind = one;
    for (int i = 0; i + 1 < rank; ++i) {
      const Dim here = dims.constant(i);
      before = dims.mul(before, dims.select(dims.less(here, axis), shape[i], one));
      extent = dims.select(dims.equal(here, axis), shape[i], extent);
      behind = dims.mul(behind, dims.select(dims.less(axis, here), shape[i], one));
    }
  }

  template <typename Compute>
  Value* apply(GraphBuilder& build, Value* x, Compute compute) const {
    if (const auto known = value_of(axis)) return along_axis(build, x, static_cast<int>(*known), compute);
    Shape shape = x->type.shape;
    DimPool& dims = build.module.dims;
    Value* y = along_axis(build, build.reshape(x, {before, extent, behind, shape.back()}), 1, compute);
    for (size_t i = 0; i + 1 < shape.size(); ++i)
      shape[i] = dims.select(dims.equal(build.dim(static_cast<int64_t>(i)), axis), y->type.shape[1], shape[i]);
    shape.back() = y->type.shape[3];
    return build.reshape(y, shape);
  }
};

Dim half_of(DimPool& dims, Dim length) { return dims.add(dims.floordiv(length, dims.constant(2)), dims.constant(1)); }

Values dft(Node& node) {
  DimPool& dims = node.dims();
  const int rank = node.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  const bool inverse = node.integer("inverse") != 0, onesided = node.integer("onesided") != 0;
  const Dim given = node.version < 20 ? dims.constant(node.integer("axis"))
                    : node.input(2)   ? node.extent(2, {-rank, rank - 1})
                                      : dims.constant(-2);
  const TransformedAxis axis(node, given, node.type(0).shape);
  const Dim implied =
      inverse && onesided ? dims.mul(dims.constant(2), dims.sub(axis.extent, dims.constant(1))) : axis.extent;
  const Dim length = checked_length(node, node.input(1) ? node.extent(1) : implied);
  check_parts(node.input(0));
  GraphBuilder& build = node.build;
  return {in_float32(node, node.input(0), [&](Value* x) {
    Fourier fourier(build, x->type.dtype, inverse);
    return axis.apply(build, x, [&](Value* y) {
      if (inverse && onesided) return fourier.real_inverse(y, length);
      Value* z = fourier.transform(y, onesided ? half_of(dims, length) : length, length);
      return inverse ? build.div(z, build.convert(build.dims_tensor({length}, {}), z->type.dtype)) : z;
    });
  })};
}

// Frames of the signal, one every frame_step elements, times the window, transformed.
Values stft(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *signal = node.input(0), *window = node.input(2);
  if (node.rank() != 2 && node.rank() != 3) fail("signal has rank {}, expected 3", node.rank());
  if (node.rank() == 2) signal = build.expand_axes(signal, {2});
  check_parts(signal);
  if (window) check_rank(window, 1, "window");
  const Dim zero = dims.constant(0), one = dims.constant(1);
  const Dim step = node.extent(1), total = signal->type.shape[1];
  must_hold(node, dims.less(zero, step), "frame_step must be 1 or more");
  const Dim length = checked_length(node, node.input(3) ? node.extent(3) : window ? window->type.shape[0] : total);
  if (window) require_same(node, window->type.shape[0], length, "lengths of the window and the frames");
  must_hold(node, dims.less(length, dims.add(total, one)), "frames must not be longer than the signal");
  const bool onesided = node.integer("onesided") != 0;
  const Dim frames = dims.add(dims.floordiv(dims.sub(total, length), dims.max(step, one)), one);
  Value* first = build.mul(build.iota(DType::I64, {frames, one}, 0), build.dims_tensor({step}, {}, DType::I64));
  Value* places = build.add(first, build.iota(DType::I64, {length}, 0));
  return {in_float32(node, signal, [&](Value* x) {
    Value* framed = build.gather(x, places, 1, true);  // [batch, frames, length, parts]
    if (window) framed = build.mul(framed, build.reshape(build.convert(window, x->type.dtype), {length, one}));
    Fourier fourier(build, x->type.dtype, false);
    return along_axis(build, framed, 2, [&](Value* y) {
      return fourier.transform(y, onesided ? half_of(dims, length) : length, length);
    });
  })};
}

constexpr OpEntry kOps[] = {{"DFT", dft}, {"STFT", stft}};

}  // namespace

std::span<const OpEntry> signal_ops() { return kOps; }

}  // namespace lapidary::frontend
