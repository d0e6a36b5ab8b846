// The weights of a convolution in the order its kernel reads them: [outputs / 16][blocks][taps][inner][16], a block
// being `inner` of the channels that an output reads. Constant ones are packed when the model is compiled, live ones by
// a step in front of the convolution.
#pragma once

#include "passes/lower/convolution.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

// The channel blocks that strips of a grouped convolution read: `count` from the block of the strip's first group on,
// or fewer before the last block.
struct GroupedBlocks {
  int64_t count = 0, last_start = 0;
  std::vector<int64_t> first_channels;  // of each strip
};
GroupedBlocks grouped_blocks(const ConvForm&, int strip_panels);
// The first channel block that a strip reads.
loops::Expr first_block(KernelBuilder&, Block&, const ConvForm&, loops::Expr strip, int strip_panels);

struct WeightForm {
  const ConvForm& form;
  int64_t inner = kPanel;
  int64_t channels;       // that an output reads: with groups those of the blocks that hold its strip's groups
  int strip_panels = 1;   // of which all outputs read the same blocks
  bool own_only = false;  // each output reads its own group's channels, and they are one block
  Atom atom = kFloats;
  int64_t blocks() const { return (channels + inner - 1) / inner; }
  int64_t taps() const;
  int64_t elements() const;
  // Live weights are packed in the order they are read: of a transposed one from the last tap to the first.
  bool reversed() const { return form.transposed && !form.weight && form.group == 1; }
};
ConstantId packed_weight(Module&, const WeightForm&);
LoweredStep pack_live_weight(Context&, const Op& group, const WeightForm&);

}  // namespace lapidary::lowering
