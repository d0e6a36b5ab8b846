// How a convolution is cut for Winograd's transform along one axis (winograd_axis.cpp): which axis and groups of how
// many taps, and what a task owns.
#pragma once

#include "passes/lower/convolution.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

constexpr int kAxisOutputs = 4;  // of a tile

// The axis of the transform, the other one, and what follows from the choice.
struct AxisGeometry {
  WinogradAxis choice;
  int points;
  int64_t groups;
  int64_t kernel_lines = 1, stride = 1, dilation = 1;  // of the other axis
  Dim extent, lines;                                   // of the output; lines null: there is no other axis
  int64_t channels, panels;                            // input channels up to whole panels

  AxisGeometry(const ConvForm&, WinogradAxis);

  std::optional<int64_t> known_lines() const { return lines ? lapidary::value_of(lines) : 1; }
  std::optional<int64_t> known_tiles() const {
    const auto known = lapidary::value_of(extent);
    return known ? std::optional((*known + kAxisOutputs - 1) / kAxisOutputs) : std::nullopt;
  }
  bool shared() const { return choice.taps == kAxisOutputs; }
  int64_t depth() const { return groups * channels; }  // of one row of the filter
  int64_t windows(int64_t tiles) const { return shared() ? tiles + groups - 1 : tiles; }
  int64_t window_elements() const { return shared() ? channels : depth(); }  // from a tile to the next
  int64_t input_lines(int64_t count) const { return (count - 1) * stride + (kernel_lines - 1) * dilation + 1; }
};

// The lines and tiles of a task at most, and whether the rows of a register tile are lines.
struct AxisBlocks {
  int64_t lines, tiles, strip_groups;
  bool rows_are_lines;
};

AxisBlocks choose_blocks(const Target&, const AxisGeometry&);

int strip_panels(const Target&, int64_t panels);  // of output channels that are computed together

}  // namespace lapidary::lowering
