// Results in blocks of fewer channels than a vector has lanes: the image that a first layer of codes reads,
// [N, 1, H, W, 4]. Lanes run along the pixels of one channel after the other, whose source is contiguous there, and a
// shuffle brings the channels of each pixel together:
//
//   r0 r1 … r15 | g0 g1 … g15 | b0 b1 … b15 | 0 0 … 0    →    r0 g0 b0 0 r1 g1 b1 0 …
//
// A map over the block, four lanes a pixel, took 20 times as long (a 224×224 image, quantised; Zen 4).
#include <fmt/format.h>

#include "passes/lower/map_kernel.h"

namespace lapidary::lowering {

using namespace loops;

bool has_narrow_blocks(const Target& target, const Type& type) {
  const Layout& layout = type.layout;
  if (layout.blocked_axis != 1 || layout.block >= target.f32_lanes() || type.rank() < 3 || type.rank() > 4)
    return false;
  const auto channels = value_of(type.shape[1]);
  return bit_width(type.dtype) == 8 && channels && *channels <= layout.block;
}

LoweredStep narrow_blocks_step(Context& context, const Op& group, uint32_t index) {
  const Type& type = group.type(static_cast<int>(index));
  const Shape& shape = type.shape;
  const int lanes = context.target().f32_lanes(), block_size = type.layout.block;
  const int64_t channels = *lapidary::value_of(shape[1]);
  DimPool& dims = context.module.dims;
  KernelBuilder builder(context.module, context.target(), "elementwise", fmt::format("channels of {}", block_size));
  GroupEmitter emit(builder, group);
  const bool has_rows = type.rank() == 4;
  const Dim pixels = shape.back(), rows = has_rows ? shape[2] : dims.constant(1);
  const std::vector<Expr> task = builder.split_task({shape[0], rows});
  const Value* value = group.regions[0]->results()[index];
  const auto place = [&](Coord channel, Coord pixel) {
    std::vector<Coord> axes = {at(task[0]), std::move(channel)};
    if (has_rows) axes.push_back(at(task[1]));
    axes.push_back(std::move(pixel));
    return axes;
  };
  std::vector<int> by_pixel;
  for (int pixel = 0; pixel < lanes; ++pixel)
    for (int channel = 0; channel < block_size; ++channel) by_pixel.push_back(channel * lanes + pixel);
  const Expr end = builder.parameter(pixels);
  vector_loop(builder.body, integer(0), end, lanes, !known_multiple(pixels, lanes),
              [&](Block& block, const Expr& pixel, const Expr& mask) {
                GroupEmitter::Scope scope(emit, block);
                const Expr none = constant(Scalar::of_integer(type.dtype, 0), lanes);
                std::vector<Expr> parts(static_cast<size_t>(block_size), none);
                for (int64_t channel = 0; channel < channels; ++channel)
                  parts[static_cast<size_t>(channel)] =
                      block.let("channel", emit.value(value, {place(at(integer(channel)), along(pixel)), lanes, mask}));
                const Expr first = emit.address(type, {place(at(integer(0)), at(pixel))}).base;
                Expr inside = nullptr;
                if (mask) inside = first_lanes(mul(sub(end, pixel), integer(block_size)), lanes * block_size);
                block.add(loops::store(builder.result(group.result(static_cast<int>(index))), first,
                                       shuffle(parts, by_pixel), inside));
              });
  LoweredStep step = single_step(builder.finish(dims.mul(shape[0], rows)));
  step.grain = grain_for(guess(pixels) * block_size);
  return step;
}

}  // namespace lapidary::lowering
