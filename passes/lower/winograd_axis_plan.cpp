// Which convolutions are worth Winograd's transform along an axis, and in what blocks: an estimate of the work, in
// instructions, against the direct convolution's multiply-adds. It is on the safe side: layers it takes for equal are
// 5 to 40 % faster.
// Test: test/passes/lower/winograd_axis.graph, winograd_axis_too_short.graph.
#include <algorithm>

#include "passes/lower/register_tile.h"
#include "passes/lower/winograd_axis.h"

namespace lapidary::lowering {

namespace {

constexpr int kStripPanels = 2;
constexpr int64_t kWantedTasks = 8;
constexpr int64_t kUnknownExtent = 64;   // what a symbolic extent is taken for where blocks are chosen
constexpr int64_t kLargestBlock = 4096;  // lines, tiles
constexpr int64_t kLargestStep = 256;    // stride and dilation of the other axis: a task transforms what lies between
constexpr int64_t kLeastPlaces = 16, kLeastRows = 6;
constexpr double kLargestShare = 0.9;  // of the direct convolution's cost

// The mean height of register tiles over this many rows.
double tile_height(std::optional<int64_t> rows, int most) {
  if (!rows || *rows < 1) return kLeastRows;
  return static_cast<double>(*rows) / static_cast<double>(ceil_div(*rows, most));
}

}  // namespace

AxisGeometry::AxisGeometry(const ConvForm& form, WinogradAxis choice)
    : choice(choice),
      points(kAxisOutputs + choice.taps - 1),
      groups(ceil_div(form.kernel[choice.axis], choice.taps)),
      extent(form.conv->type().shape[2 + choice.axis]),
      lines(nullptr),
      channels(ceil_div(*lapidary::value_of(form.channels), kPanel) * kPanel),
      panels(ceil_div(*lapidary::value_of(form.outputs), kPanel)) {
  if (form.spatial == 1) return;
  const auto other = static_cast<size_t>(1 - choice.axis);
  kernel_lines = form.kernel[other];
  stride = form.strides[other];
  dilation = form.dilations[other];
  lines = form.conv->type().shape[2 + other];
}

int strip_panels(const Target& target, int64_t panels) {
  return target.f32_lanes() < kPanel ? 1 : static_cast<int>(std::min<int64_t>(kStripPanels, panels));
}

AxisBlocks choose_blocks(const Target& target, const AxisGeometry& geometry) {
  const int most = max_rows(target, strip_panels(target, geometry.panels));
  const int64_t strips = ceil_div(geometry.panels, strip_panels(target, geometry.panels));
  const int64_t all_lines = geometry.known_lines().value_or(kUnknownExtent),
                all_tiles = geometry.known_tiles().value_or(kUnknownExtent);
  AxisBlocks blocks{std::clamp<int64_t>(all_lines, 1, kLargestBlock), std::clamp<int64_t>(all_tiles, 1, kLargestBlock),
                    1, tile_height(geometry.known_lines(), most) >= tile_height(geometry.known_tiles(), most)};
  int64_t &rows = blocks.rows_are_lines ? blocks.lines : blocks.tiles,
          &others = blocks.rows_are_lines ? blocks.tiles : blocks.lines;
  // The inputs of one point stay in the second cache when they are read once; those of all when strips come back.
  const int64_t fitting = strips == 1 ? target.l2_bytes / 4 : target.l2_bytes * 3 / 5 / geometry.points;
  auto too_large = [&] {
    return geometry.input_lines(blocks.lines) * geometry.windows(blocks.tiles) * geometry.window_elements() * 4 >
           fitting;
  };
  auto count = [&] { return ceil_div(all_lines, blocks.lines) * ceil_div(all_tiles, blocks.tiles); };
  auto fewer_rows = [&] { rows = std::max<int64_t>(most, ceil_div(rows / 2, most) * most); };
  while (too_large() && others > 1) others = ceil_div(others, 2);
  while (too_large() && rows > most) fewer_rows();
  while (count() < kWantedTasks && others > 2) others = ceil_div(others, 2);
  while (count() < kWantedTasks && rows > 2 * most) fewer_rows();
  blocks.strip_groups = std::min(strips, ceil_div(kWantedTasks / 2, std::max<int64_t>(count(), 1)));
  return blocks;
}

namespace {

// Cycles for an output of 16 channels, of a core with one multiply-add a cycle.
double direct_cost(const ConvForm& form) {
  double cost = static_cast<double>(*lapidary::value_of(form.channels));
  for (int64_t extent : form.kernel) cost *= static_cast<double>(extent);
  return cost;
}

double winograd_axis_cost(const Target& target, const AxisGeometry& geometry) {
  constexpr double kInputVector = 6, kOutputVectors = 36, kCacheBytes = 16;  // instructions; bytes a cycle
  const AxisBlocks blocks = choose_blocks(target, geometry);
  const auto lines = static_cast<double>(blocks.lines), tiles = static_cast<double>(blocks.tiles);
  double outputs = kAxisOutputs * tiles;
  if (const auto extent = lapidary::value_of(geometry.extent); extent && *extent > 0)
    outputs *= static_cast<double>(*extent) / static_cast<double>(*geometry.known_tiles() * kAxisOutputs);
  outputs *= lines;
  const double points = geometry.points, panels = static_cast<double>(geometry.panels);
  const double products = points * static_cast<double>(geometry.depth() * geometry.kernel_lines) * lines * tiles;
  const double vectors =
      points * static_cast<double>(geometry.input_lines(blocks.lines) * geometry.windows(blocks.tiles) *
                                   geometry.window_elements() / kPanel);
  const double weight_bytes = points * static_cast<double>(geometry.depth() * geometry.kernel_lines * kPanel * 4);
  const double streaming =
      weight_bytes * panels > static_cast<double>(target.l2_bytes) / 2 ? weight_bytes / kCacheBytes : 0;
  return (products + vectors * kInputVector * static_cast<double>(blocks.strip_groups) / panels +
          kOutputVectors * lines * tiles + streaming) /
         outputs;
}

}  // namespace

std::optional<WinogradAxis> winograd_axis(const Target& target, const ConvForm& form) {
  if (form.transposed || form.group != 1 || !form.weight) return std::nullopt;
  std::optional<WinogradAxis> best;
  double least = kLargestShare * direct_cost(form);
  for (int axis = 0; axis < form.spatial; ++axis) {
    const auto at = static_cast<size_t>(axis);
    if (form.strides[at] != 1 || form.dilations[at] != 1 || form.kernel[at] < 3) continue;
    const auto too_far = [](int64_t step) { return step > kLargestStep; };
    if (std::ranges::any_of(form.strides, too_far) || std::ranges::any_of(form.dilations, too_far)) continue;
    for (int taps : {3, 4}) {
      const AxisGeometry geometry(form, {axis, taps});
      const int most = max_rows(target, strip_panels(target, geometry.panels));
      const auto lines = geometry.known_lines(), tiles = geometry.known_tiles();
      if (lines && tiles && *lines * *tiles < kLeastPlaces) continue;
      if (std::max(tile_height(lines, most), tile_height(tiles, most)) < std::min<double>(kLeastRows, 0.6 * most))
        continue;
      const double cost = winograd_axis_cost(target, geometry);
      if (cost >= least) continue;
      least = cost;
      best = geometry.choice;
    }
  }
  return best;
}

}  // namespace lapidary::lowering
