// A first layer's image, made of planes: each plane of some neighbouring pixels is loaded at once, up to 16 bytes, and
// the pixels are stored whole. What is not elementwise in the group is evaluated plane by plane and shuffled into the
// pixels' order, so the rest sees nothing of it.
//
// Example, x: f16[N, 3, H, W] into pixels of 4 channels:  task: image, 8 pixels
//   planes = x[n, 0, p…p + 7], x[n, 1, p…p + 7], x[n, 2, p…p + 7], 0
//   y[n, p…p + 7, 0…3] = pixels in order of planes: 64 bytes
#include "passes/lower/gpu/pixels.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "passes/lower/gpu/packets.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kFewChannels = 4, kMostPixels = 8;

bool keeps_place(const Op& op) { return is_scalar_op(op.kind) || op.is(OpKind::Convert) || op.is(OpKind::Relayout); }

// What elementwise ops of the group, or its end, begin with, in the order it is met; nothing where a value has another
// shape than what is walked.
std::optional<std::vector<const Value*>> leaves_of(const Op& group, const Type& walked) {
  std::vector<const Value*> found;
  std::set<const Value*> seen;
  const auto visit = [&](const auto& self, const Value* value) -> bool {
    if (!seen.insert(value).second) return true;
    if (value->type.shape != walked.shape || value->type.dtype == DType::String) return false;
    if (value->producer && keeps_place(*value->producer))
      return std::ranges::all_of(value->producer->operands, [&](const Value* operand) { return self(self, operand); });
    found.push_back(value);
    return true;
  };
  for (const Value* result : group.regions[0]->results())
    if (!visit(visit, result)) return std::nullopt;
  return found;
}

class PixelEmitter {
 public:
  PixelEmitter(Module& module, const Target& target, const Op& group, const std::string& family, const Type& walked,
               const IterationSpace& space, int pixel_axis, int pixels)
      : builder_(module, target, family, fmt::format("pixels={}", pixels)),
        emit_(builder_, group),
        walked_(walked),
        space_(space),
        channel_axis_(space.digits[walked.layout.blocked_axis].back()),
        pixel_axis_(pixel_axis),
        pixels_(pixels),
        index_(space.axes.size()) {
    builder_.for_gpu = true;
  }

  LoweredStep emit(const std::vector<const Value*>& leaves,
                   const std::function<void(GroupEmitter&, const Coords&)>& element) {
    DimPool& dims = builder_.module.dims;
    std::vector<Dim> extents;
    std::vector<int> axes;
    for (int axis : space_.loops()) {
      if (axis == channel_axis_) continue;
      const Dim extent = space_.axes[axis].loop_extent;
      extents.push_back(axis == pixel_axis_ ? dims.floordiv(extent, builder_.dim(pixels_)) : extent);
      axes.push_back(axis);
    }
    const std::vector<Expr> parts = builder_.split_task(extents);
    for (size_t i = 0; i < axes.size(); ++i) index_[axes[i]] = parts[i];
    index_[pixel_axis_] = mul(index_[pixel_axis_], integer(pixels_));
    GroupEmitter::Scope scope(emit_, builder_.body);
    const Coords whole = space_.coords(index_, channel_axis_, pixels_ * walked_.layout.block);
    std::vector<Expr> values;
    for (const Value* leaf : leaves) values.push_back(in_pixels(leaf));
    for (size_t i = 0; i < leaves.size(); ++i)
      emit_.bind(leaves[i], [value = values[i]](const Coords&) { return value; });
    element(emit_, whole);
    return single_step(builder_.finish(dims.product(extents)));
  }

 private:
  Expr in_pixels(const Value* leaf) {
    const int64_t channels = *lapidary::value_of(walked_.shape[walked_.layout.blocked_axis]);
    std::vector<Expr> planes;
    for (int64_t channel = 0; channel < channels; ++channel) {
      index_[channel_axis_] = integer(channel);
      const Expr plane = splat_to(emit_.value(leaf, space_.coords(index_, pixel_axis_, pixels_)), pixels_);
      planes.push_back(emit_.block().let("plane", plane));
    }
    index_[channel_axis_] = nullptr;
    std::vector<int> order;  // past the channels anything: the store makes it zeros
    for (int pixel = 0; pixel < pixels_; ++pixel)
      for (int channel = 0; channel < walked_.layout.block; ++channel)
        order.push_back(static_cast<int>(std::min<int64_t>(channel, channels - 1)) * pixels_ + pixel);
    return emit_.block().let("pixels", shuffle(std::move(planes), std::move(order)));
  }

  KernelBuilder builder_;
  GroupEmitter emit_;
  const Type& walked_;
  const IterationSpace& space_;
  const int channel_axis_, pixel_axis_, pixels_;
  std::vector<Expr> index_;
};

}  // namespace

std::optional<LoweredStep> pixels_step(Module& module, const Target& target, const Op& group, const std::string& family,
                                       const Type& walked, const IterationSpace& space,
                                       const std::function<void(GroupEmitter&, const Coords&)>& element) {
  const Layout& layout = walked.layout;
  if (layout.blocked_axis < 0 || !layout.last || layout.block > kFewChannels) return {};
  const auto channels = lapidary::value_of(walked.shape[layout.blocked_axis]);
  if (!channels || *channels < 1 || *channels > layout.block || !layout.halo.empty() || layout.leading) return {};
  const auto alike = [&](const auto& result) {
    return result->type.shape == walked.shape && result->type.layout == layout;
  };
  if (!std::ranges::all_of(group.results, alike)) return {};
  const auto leaves = leaves_of(group, walked);
  if (!leaves) return {};
  const std::vector<int>& channel = space.digits[layout.blocked_axis];
  if (channel.empty() || space.axes[channel.back()].loop_extent != module.dims.constant(layout.block)) return {};
  std::vector<int> loops = space.loops();
  std::erase_if(loops, [&](int axis) { return std::ranges::find(channel, axis) != channel.end(); });
  if (loops.empty()) return {};
  const int pixels = packet_lanes(group, space.axes[loops.back()].loop_extent, true);
  if (pixels == 1) return {};
  return PixelEmitter(module, target, group, family, walked, space, loops.back(), std::min(pixels, kMostPixels))
      .emit(*leaves, element);
}

}  // namespace lapidary::lowering::gpu
