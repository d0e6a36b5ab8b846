// Winograd convolution along one axis: filters of several taps and stride 1 along it, any extent, stride and dilation
// along the other. deepspeech2's 21×11 filters take 3 · 7 / 4 = 5.25 multiplications a row and output instead of 11.
//
// The taps of a row are cut into groups of r, and each group is an F(4, r). A sum of filters is a sum in the
// transformed domain, so groups, rows and input channels add up there, and one transform of outputs is left for all of
// them:
//
//   M[point][line][tile] += V[point][line · stride + row · dilation][tile, group] · U[point][row][group]
//
// A line is a position of the other axis, a tile four outputs along this one. For each point this is a direct
// convolution whose pixels are tiles and whose taps are groups, on the same register tiles. With r = 4 group g of a
// tile reads the inputs of group 0 of the g-th tile after it, so every input is transformed once; with r = 3 once a
// group. Either way the groups of a tile lie one behind the other, one run of products for each row of the filter.
//
// A task owns a block of lines and tiles of one image and some strips of output channels. The rows of a register tile
// are the block's lines or its tiles, whichever divide better: Inception's 17×17 maps have 5 tiles and 17 lines.
//
// Large filters are cut into small ones by Huang et al., "DWM: a decomposable Winograd method" (2020), too, who add up
// after the transform of outputs. How exact it is: winograd_check.cpp. Measured on one core of Zen 4, against the
// direct convolution: deepspeech2's 21×11 1.9 times as fast, 7×7 on 56×56×64 1.8, Inception's 1×7 on 17×17×192 1.55 and
// 1×3 on 8×8×384 1.8, 31 taps of a line of 64 channels 2.0.
//
// Test: test/passes/lower/winograd_axis.graph, winograd_axis_cases in test/kernels/kernel_cases.cpp.
#include "passes/lower/winograd_axis.h"

#include <algorithm>

#include "ir/error.h"
#include "ir/layout.h"
#include "ir/winograd.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/winograd_transform.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 8;

class WinogradAxisLowering {
 public:
  WinogradAxisLowering(Context& context, const Op& group, const ConvForm& form, WinogradAxis choice)
      : module_(context.module),
        dims_(module_.dims),
        target_(context.target()),
        form_(form),
        conv_(*form.conv),
        geometry_(form, choice),
        blocks_(choose_blocks(target_, geometry_)),
        matrices_(winograd_matrices(kAxisOutputs, choice.taps)),
        input_(group.operand(conv_.operand(0)->index)),
        builder_(module_, target_, "conv", fmt::format("winograd F({},{}) along one axis", kAxisOutputs, choice.taps)),
        emit_(builder_, group),
        lanes_(target_.f32_lanes()),
        strip_panels_(strip_panels(target_, geometry_.panels)),
        strip_columns_(int64_t{strip_panels_} * kPanel) {}

  LoweredGroup lower() {
    line_extent_ = geometry_.lines ? geometry_.lines : dims_.constant(1);
    tile_extent_ = dims_.ceildiv(geometry_.extent, dims_.constant(kAxisOutputs));
    line_split_ = split_rows(dims_, line_extent_, static_cast<int>(blocks_.lines));
    tile_split_ = split_rows(dims_, tile_extent_, static_cast<int>(blocks_.tiles));
    const int64_t most_lines = largest(line_split_, blocks_.lines), most_tiles = largest(tile_split_, blocks_.tiles);
    line_elements_ = geometry_.windows(most_tiles) * geometry_.window_elements();
    if (line_elements_ % 256 == 0) line_elements_ += kPanel;  // a register tile's rows in different sets of the cache
    point_elements_ = geometry_.input_lines(most_lines) * line_elements_;
    sums_line_ = most_tiles * strip_columns_;
    sums_point_ = most_lines * sums_line_;
    v_ = builder_.stage("v", DType::F32, dims_.constant(geometry_.points * point_elements_));
    m_ = builder_.stage("m", DType::F32, dims_.constant(geometry_.points * sums_point_));
    x_ = builder_.operand(input_);
    u_ = builder_.weight(packed_weight());

    const int64_t strips = ceil_div(geometry_.panels, strip_panels_),
                  group_strips = ceil_div(strips, blocks_.strip_groups), strip_groups = ceil_div(strips, group_strips);
    const std::vector<Dim> task_axes = {conv_.type().shape[0], line_split_.tiles, tile_split_.tiles,
                                        dims_.constant(strip_groups)};
    const std::vector<Expr> axes = builder_.split_task(task_axes);
    Block& body = builder_.body;
    batch_ = axes[0];
    lines_ = block_of(body, "line", line_split_, axes[1]);
    tiles_ = block_of(body, "tile", tile_split_, axes[2]);
    inputs(body);
    Expr first_strip = body.let("first_strip", mul(axes[3], integer(group_strips)));
    Expr last_strip = body.let("last_strip", min(add(first_strip, integer(group_strips)), integer(strips)));
    serial(body, "strip", first_strip, last_strip, 1, [&](Block& block, Expr strip) {
      const int rest = static_cast<int>(geometry_.panels % strip_panels_);
      if (!rest) return this->strip(block, strip, strip_panels_);
      Block whole, last;
      this->strip(whole, strip, strip_panels_);
      this->strip(last, strip, rest);
      block.add(if_then(less(strip, integer(strips - 1)), whole.take(), last.take()));
    });
    LoweredStep step = single_step(builder_.finish(dims_.product(task_axes)));
    int64_t taps = 1;
    for (int64_t extent : form_.kernel) taps *= extent;
    step.flops = dims_.product(std::vector<Dim>{dims_.constant(2 * taps), dims_.mul(form_.channels, form_.outputs),
                                                conv_.type().shape[0], line_extent_, geometry_.extent});
    LoweredGroup result;
    result.steps.push_back(std::move(step));
    return result;
  }

 private:
  // A run of lines or of tiles.
  struct Run {
    Expr first, count;
  };

  static int64_t largest(const RowSplit& split, int64_t most) {
    return split.ladder ? most : std::max(1, *std::max_element(split.heights.begin(), split.heights.end()));
  }

  Run block_of(Block& body, const std::string& name, const RowSplit& split, Expr index) {
    Expr height = builder_.literal(split.height), longer = builder_.literal(split.longer);
    return {body.let("first_" + name, add(mul(index, height), min(index, longer))),
            body.let(name + "_count", add(height, select(less(index, longer), integer(1), integer(0))))};
  }

  // [O, I, …] with the transform's axis last.
  ConstantId packed_weight() {
    ConstantTable& constants = module_.constants;
    ConstantId weight = *form_.weight;
    if (form_.spatial == 1) {
      const std::vector<int64_t> shape = constants[weight].shape;
      weight =
          constants.transformed(weight, {.kind = Transform::Kind::Reshape, .shape = {shape[0], shape[1], 1, shape[2]}});
    } else if (geometry_.choice.axis == 0) {
      weight = constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = {0, 1, 3, 2}});
    }
    return constants.transformed(weight, {.kind = Transform::Kind::WinogradAxis,
                                          .shape = {kAxisOutputs, geometry_.choice.taps, kPanel},
                                          .block = kPanel});
  }

  // V = Bᵀ d of the block's windows. Windows that overhang the image repeat its last input: what they give is dropped,
  // or meets taps that are zero.
  void inputs(Block& body) {
    struct Place {
      Dim stride = nullptr, extent = nullptr;
      int64_t first = 0;  // of output 0, halo included
    } along, across;
    Dim batch_stride = nullptr, channel_stride = nullptr;
    for (const PhysicalAxis& axis : physical_axes(dims_, input_->type)) {
      if (axis.inner) continue;
      if (axis.axis == 0) batch_stride = axis.stride;
      if (axis.axis == 1) channel_stride = axis.stride;
      if (axis.axis < 2) continue;
      const int64_t pad = *lapidary::value_of(form_.pads[static_cast<size_t>(axis.axis - 2)]);
      (axis.axis == 2 + geometry_.choice.axis ? along : across) = {axis.stride, axis.extent, axis.halo_lo - pad};
    }
    Expr input_lines = integer(1);
    if (geometry_.lines)
      input_lines = body.let("input_lines", add(mul(sub(lines_.count, integer(1)), integer(geometry_.stride)),
                                                integer(geometry_.input_lines(1))));
    Expr last_input = sub(builder_.literal(along.extent), integer(1));
    Expr image = body.let("image", mul(batch_, builder_.parameter(batch_stride)));
    serial(body, "line", integer(0), input_lines, 1, [&](Block& line_block, Expr line) {
      Expr from = image;
      if (geometry_.lines) {
        Expr row = add(add(mul(lines_.first, integer(geometry_.stride)), line), integer(across.first));
        from = line_block.let("from", add(image, mul(row, builder_.literal(across.stride))));
      }
      auto window = [&](Block& block, Expr start, Expr to) {
        std::vector<Expr> places;
        for (int i = 0; i < geometry_.points; ++i) {
          Expr place = min(add(start, integer(i + along.first)), last_input);
          places.push_back(block.let("x", add(from, mul(place, builder_.literal(along.stride)))));
        }
        serial(block, "c", integer(0), integer(geometry_.channels), lanes_, [&](Block& inner, Expr c) {
          Expr channel = inner.let("channel", add(mul(floordiv(c, integer(kPanel)), builder_.parameter(channel_stride)),
                                                  mod(c, integer(kPanel))));
          std::vector<Expr> d;
          for (const Expr& place : places) d.push_back(inner.let("d", load(x_, add(place, channel), lanes_)));
          const std::vector<Expr> turned = winograd_inputs(inner, matrices_.bt, d);
          for (int point = 0; point < geometry_.points; ++point)
            inner.add(loops::store(v_, add(add(to, c), integer(point * point_elements_)), turned[point]));
        });
      };
      const int64_t more = geometry_.windows(0), separate = geometry_.shared() ? 1 : geometry_.groups;
      serial(line_block, "tile", integer(0), add(tiles_.count, integer(more)), 1, [&](Block& tile_block, Expr tile) {
        Expr start = tile_block.let("start", mul(add(tiles_.first, tile), integer(kAxisOutputs)));
        Expr to = tile_block.let(
            "to", add(mul(line, integer(line_elements_)), mul(tile, integer(geometry_.window_elements()))));
        serial(tile_block, "group", integer(0), integer(separate), 1, [&](Block& block, Expr group) {
          window(block, add(start, mul(group, integer(geometry_.choice.taps))),
                 add(to, mul(group, integer(geometry_.channels))));
        });
      });
    });
  }

  void strip(Block& block, Expr strip, int panels) {
    products(block, strip, panels);
    outputs(block, strip, panels);
  }

  // The heights of register tiles over the rows of blocks.
  RowSplit heights_of(const RowSplit& blocks, Dim extent, int most) {
    if (blocks.ladder) return split_rows(dims_, extent, most);
    RowSplit split{};
    for (int count : blocks.heights) {
      const int pieces = static_cast<int>(ceil_div(count, most));
      split.heights.push_back(count / pieces);
      split.heights.push_back((count + pieces - 1) / pieces);
    }
    std::sort(split.heights.begin(), split.heights.end(), std::greater<>());
    split.heights.erase(std::unique(split.heights.begin(), split.heights.end()), split.heights.end());
    return split;
  }

  // M[point] = Σ V[point] · U[point] over the rows and groups of the filter, for the strip's columns.
  void products(Block& block, Expr strip, int panels) {
    const int most = max_rows(target_, strip_panels_);
    const bool by_lines = blocks_.rows_are_lines;
    const Run &rows = by_lines ? lines_ : tiles_, &others = by_lines ? tiles_ : lines_;
    const int64_t v_row = by_lines ? geometry_.stride * line_elements_ : geometry_.window_elements(),
                  v_other = by_lines ? geometry_.window_elements() : geometry_.stride * line_elements_,
                  m_row = by_lines ? sums_line_ : strip_columns_, m_other = by_lines ? strip_columns_ : sums_line_;
    const RowSplit split =
        heights_of(by_lines ? line_split_ : tile_split_, by_lines ? line_extent_ : tile_extent_, most);
    Expr pieces = block.let("pieces", max(floordiv(add(rows.count, integer(most - 1)), integer(most)), integer(1)));
    Expr height = block.let("height", floordiv(rows.count, pieces)),
         longer = block.let("longer", mod(rows.count, pieces));
    const int64_t filter_row = geometry_.depth() * kPanel, panel = geometry_.kernel_lines * filter_row;
    serial(block, "point", integer(0), integer(geometry_.points), 1, [&](Block& point_block, Expr point) {
      Expr u_first = point_block.let(
          "u", mul(add(mul(point, integer(geometry_.panels)), mul(strip, integer(strip_panels_))), integer(panel)));
      serial(point_block, "other", integer(0), others.count, 1, [&](Block& other_block, Expr other) {
        serial(other_block, "piece", integer(0), pieces, 1, [&](Block& loop, Expr piece) {
          Expr count = loop.let("rows", add(height, select(less(piece, longer), integer(1), integer(0))));
          Expr first = loop.let("row", add(mul(piece, height), min(piece, longer)));
          for_height(loop, split, count, first, [&](Block& inner, int tile_rows, Expr row) {
            Expr v_first = inner.let("v", add(mul(point, integer(point_elements_)),
                                              add(mul(row, integer(v_row)), mul(other, integer(v_other)))));
            Expr m_first = inner.let("m", add(mul(point, integer(sums_point_)),
                                              add(mul(row, integer(m_row)), mul(other, integer(m_other)))));
            TileShape shape{.rows = tile_rows, .panels = panels, .lanes = lanes_};
            shape.phases = phases_of(target_, shape);
            RegisterTile registers(inner, shape);
            serial(inner, "kh", integer(0), integer(geometry_.kernel_lines), 1, [&](Block& filter, Expr kh) {
              Expr v_base = filter.let("vk", add(v_first, mul(kh, integer(geometry_.dilation * line_elements_))));
              Expr u_base = filter.let("uk", add(u_first, mul(kh, integer(filter_row))));
              RegisterTile::Operands operands{
                  v_, u_, [=](Expr i, Expr k) { return add(v_base, add(mul(i, integer(v_row)), k)); },
                  [=, this](Expr j, Expr k) { return add(u_base, panel_element(j, k, lanes_, integer(panel))); }};
              registers.multiply(filter, operands, integer(geometry_.depth()), kUnroll);
            });
            registers.join_phases(inner);
            registers.for_each(inner, [&](Block& store_block, Expr i, Expr j, Expr value) {
              Expr at = add(m_first, add(mul(i, integer(m_row)), mul(j, integer(lanes_))));
              store_block.add(loops::store(m_, at, value));
            });
          });
        });
      });
    });
  }

  // y = Aᵀ M of every tile, a vector of channels at a time, into the epilogue.
  void outputs(Block& block, Expr strip, int panels) {
    const int64_t outputs = *lapidary::value_of(form_.outputs);
    serial(block, "line", integer(0), lines_.count, 1, [&](Block& line_block, Expr line) {
      serial(line_block, "tile", integer(0), tiles_.count, 1, [&](Block& tile_block, Expr tile) {
        Expr first = tile_block.let("first", mul(add(tiles_.first, tile), integer(kAxisOutputs)));
        Expr sums = tile_block.let("sums", add(mul(line, integer(sums_line_)), mul(tile, integer(strip_columns_))));
        serial(tile_block, "o", integer(0), integer(int64_t{panels} * kPanel), lanes_, [&](Block& inner, Expr o) {
          Expr channel = inner.let("channel", add(mul(strip, integer(strip_columns_)), o));
          Expr mask =
              outputs % kPanel ? inner.let("mask", first_lanes(sub(integer(outputs), channel), lanes_)) : nullptr;
          std::vector<Expr> m;
          for (int point = 0; point < geometry_.points; ++point)
            m.push_back(inner.let("m", load(m_, add(add(sums, o), integer(point * sums_point_)), lanes_)));
          const std::vector<Expr> turned = winograd_outputs(inner, matrices_.at, m);
          const auto known = lapidary::value_of(geometry_.extent);
          for (int j = 0; j < kAxisOutputs; ++j) {
            Expr place = add(first, integer(j));
            Block kept;
            store(kept, channel, mask, add(lines_.first, line), place, turned[j]);
            if (j == 0 || (known && *known % kAxisOutputs == 0)) {
              for (Stmt& statement : kept.take()) inner.add(std::move(statement));
            } else {
              inner.add(if_then(less(place, builder_.literal(geometry_.extent)), kept.take()));
            }
          }
        });
      });
    });
  }

  void store(Block& block, Expr channel, Expr mask, Expr line, Expr place, Expr value) {
    GroupEmitter::Scope scope(emit_, block);
    if (conv_.operands.size() > 2) value = add(value, emit_.value(conv_.operand(2), {{along(channel)}, lanes_, mask}));
    Coords coords{{at(batch_), along(channel), at(place)}, lanes_, mask};
    if (geometry_.lines) coords.axes.insert(coords.axes.begin() + 3 - geometry_.choice.axis, at(line));
    emit_.store_results(conv_.result(), coords, value);
  }

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const ConvForm& form_;
  const Op& conv_;
  const AxisGeometry geometry_;
  const AxisBlocks blocks_;
  const WinogradMatrices& matrices_;
  const Value* input_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const int lanes_, strip_panels_;
  const int64_t strip_columns_;
  int64_t line_elements_ = 0, point_elements_ = 0;  // of V
  int64_t sums_line_ = 0, sums_point_ = 0;          // of M
  Dim line_extent_ = nullptr, tile_extent_ = nullptr;
  RowSplit line_split_, tile_split_;
  Buffer v_, m_, x_, u_;
  Expr batch_;
  Run lines_, tiles_;
};

}  // namespace

LoweredGroup lower_winograd_axis(Context& context, const Op& group, const ConvForm& form, WinogradAxis choice) {
  return WinogradAxisLowering(context, group, form, choice).lower();
}

}  // namespace lapidary::lowering
