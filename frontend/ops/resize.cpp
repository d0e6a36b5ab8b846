// Resize and Upsample: interpolation along one axis after the other.
//
// Along an axis, element o of the result comes from position x(o) of the operand (coordinate_transformation_mode), as
// a sum of taps around it: one (nearest), two (linear), four (cubic), more where a filter is widened to shrink an
// image (antialias). A few taps are gathers times weights; many are a product with a matrix, filled by a scatter. Whole
// factors of nearest neighbours are a broadcast: 2× is [H] → [H, 1] → [H, 2] → [2H].
//
// Positions are computed in float64 from a counting row, in primitives: where extents are known they fold to tables.
#include <algorithm>
#include <cmath>

#include "frontend/ops/interpolation.h"
#include "frontend/ops/resize_axes.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

class Resizer {
 public:
  explicit Resizer(Node& node)
      : node_(node),
        build_(node.build),
        mode_(node.text("mode")),
        nearest_(node.version >= 11 ? node.text("nearest_mode") : "simple"),
        coordinates_(node.version >= 11 ? node.text("coordinate_transformation_mode") : "asymmetric"),
        antialias_(node.version >= 18 && node.integer("antialias") != 0),
        exclude_outside_(node.version >= 11 && node.integer("exclude_outside") != 0),
        cubic_a_(node.version >= 11 ? node.number("cubic_coeff_a") : -0.75) {
    if (mode_ == "bilinear") mode_ = "linear";
    check_modes();
    if (antialias_ && mode_ == "nearest") fail("antialias with mode nearest");
  }

  Value* resize(Value* x, std::vector<ResizedAxis> axes) {
    std::erase_if(axes, [&](const ResizedAxis& axis) { return is_identity(axis); });
    put_in_order(axes);
    if (mode_ == "nearest") {
      std::vector<std::pair<int, int64_t>> repeated;
      for (const ResizedAxis& axis : axes)
        if (auto factor = whole_factor(axis)) repeated.push_back({axis.axis, *factor});
      x = repeat(x, repeated);
      for (const ResizedAxis& axis : axes)
        if (!whole_factor(axis)) x = resize_axis(x, axis);
      return x;
    }
    const DType dtype = x->type.dtype, computed = dtype == DType::F64 ? DType::F64 : DType::F32;
    Value* y = build_.convert(x, computed);
    for (const ResizedAxis& axis : axes) y = resize_axis(y, axis);
    return build_.convert(y, dtype);
  }

 private:
  void check_modes() const {
    static constexpr std::string_view kModes[] = {"nearest", "linear", "cubic"};
    static constexpr std::string_view kNearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
                                                    "simple"};
    static constexpr std::string_view kCoordinates[] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",  "align_corners",
        "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn"};
    const auto known = [](const auto& list, const std::string& name) {
      return std::ranges::find(list, name) != std::end(list);
    };
    if (!known(kModes, mode_) || (mode_ == "cubic" && node_.version < 11))
      fail("mode '{}' is unknown", printable(mode_));
    if (!known(kNearest, nearest_)) fail("nearest_mode '{}' is unknown", printable(nearest_));
    if (!known(kCoordinates, coordinates_))
      fail("coordinate_transformation_mode '{}' is unknown", printable(coordinates_));
  }

  // Axes that shrink come first, since they leave less to do; of those that grow the last does, along which elements
  // are gathered one by one.
  void put_in_order(std::vector<ResizedAxis>& axes) const {
    const auto shrinks = [&](const ResizedAxis& axis) {
      return axis.scale.factor ? *axis.scale.factor < 1 : value_of(node_.dims().less(axis.to, axis.from)) == 1;
    };
    const auto growing = std::stable_partition(axes.begin(), axes.end(), shrinks);
    std::reverse(growing, axes.end());
  }

  bool crops() const { return coordinates_ == "tf_crop_and_resize"; }

  bool is_identity(const ResizedAxis& axis) const {
    const bool whole = !crops() || (!axis.told_begin && axis.roi_begin == 0 && axis.roi_end == 1);
    return whole && !axis.scale.told && known_equal(axis.from, axis.to) &&
           (!axis.scale.factor || *axis.scale.factor == 1);
  }

  // Every element r times, where the modes come to that.
  std::optional<int64_t> whole_factor(const ResizedAxis& axis) const {
    constexpr int64_t kMost = 64;
    DimPool& dims = node_.dims();
    std::optional<int64_t> factor;
    if (axis.scale.told) return {};
    if (axis.scale.factor) {
      if (*axis.scale.factor != std::floor(*axis.scale.factor) || *axis.scale.factor > kMost) return {};
      factor = static_cast<int64_t>(*axis.scale.factor);
    } else {
      for (int64_t r = 2; r <= kMost && !factor; ++r)
        if (known_equal(axis.to, dims.mul(axis.from, dims.constant(r)))) factor = r;
    }
    if (!factor || *factor < 1) return {};
    const bool rounds = nearest_.starts_with("round"), downwards = nearest_ == "floor" || nearest_ == "simple";
    const bool centred =
        coordinates_ == "half_pixel" || coordinates_ == "half_pixel_symmetric" || coordinates_ == "pytorch_half_pixel";
    if (centred && rounds) return factor;
    if (coordinates_ == "tf_half_pixel_for_nn" && downwards) return factor;
    if (coordinates_ == "asymmetric" && (downwards || (nearest_ == "round_prefer_floor" && *factor == 2)))
      return factor;
    return {};
  }

  Value* repeat(Value* x, const std::vector<std::pair<int, int64_t>>& repeated) {
    if (repeated.empty()) return x;
    DimPool& dims = node_.dims();
    Shape wide, flat;
    std::vector<int64_t> axes;
    for (int i = 0; i < x->type.rank(); ++i) {
      Dim extent = x->type.shape[static_cast<size_t>(i)];
      axes.push_back(static_cast<int64_t>(wide.size()));
      wide.push_back(extent);
      flat.push_back(extent);
      for (const auto& [axis, factor] : repeated) {
        if (axis != i) continue;
        wide.push_back(dims.constant(factor));
        flat.back() = dims.mul(extent, dims.constant(factor));
      }
    }
    return build_.reshape(build_.broadcast(x, axes, wide), flat);
  }

  // --- float64 rows ------------------------------------------------------------------------------------------------
  Value* number(double value) { return build_.scalar(DType::F64, value); }
  Value* number(Dim value) { return build_.convert(build_.dims_tensor({value}, {}, DType::I64), DType::F64); }
  Value* op(ScalarOp kind, Value* a, Value* b) { return build_.scalar_op(kind, {a, b}); }
  Value* floor(Value* a) { return build_.scalar_op(ScalarOp::Floor, {a}); }

  Value* unscaled(const ResizedAxis& axis, Value* value) {
    if (axis.scale.told) return build_.div(value, axis.scale.told);
    return build_.div(build_.mul(value, number(axis.scale.below)), number(axis.scale.above));
  }
  Value* scaled_extent(const ResizedAxis& axis) {
    if (axis.scale.told) return build_.mul(number(axis.from), axis.scale.told);
    return build_.div(build_.mul(number(axis.from), number(axis.scale.above)), number(axis.scale.below));
  }

  // Where each element of the result comes from.
  Value* positions(const ResizedAxis& axis) {
    Value* o = build_.convert(build_.iota(DType::I64, {axis.to}, 0), DType::F64);
    Value* half = number(0.5);
    if (coordinates_ == "asymmetric") return unscaled(axis, o);
    if (coordinates_ == "tf_half_pixel_for_nn") return unscaled(axis, build_.add(o, half));
    Value* centred = build_.sub(unscaled(axis, build_.add(o, half)), half);
    if (coordinates_ == "half_pixel") return centred;
    Value *length = scaled_extent(axis), *one = number(1.0);
    Value* single = op(ScalarOp::LessEqual, length, one);
    if (coordinates_ == "pytorch_half_pixel") return build_.select(single, number(0.0), centred);
    if (coordinates_ == "half_pixel_symmetric") {
      Value* beyond = build_.sub(number(axis.from), unscaled(axis, number(axis.to)));
      return build_.add(centred, build_.mul(beyond, half));
    }
    Value* last = build_.sub(number(axis.from), one);
    Value* steps = build_.select(single, one, build_.sub(length, one));
    if (coordinates_ == "align_corners")
      return build_.select(single, number(0.0), build_.div(build_.mul(o, last), steps));
    Value *begin = axis.told_begin ? axis.told_begin : number(axis.roi_begin),
          *end = axis.told_end ? axis.told_end : number(axis.roi_end);
    Value* width = build_.mul(build_.sub(end, begin), last);
    Value* start = build_.mul(begin, last);
    Value* inside = build_.select(single, build_.mul(width, half), build_.div(build_.mul(o, width), steps));
    return build_.add(inside, start);
  }

  // --- one axis ------------------------------------------------------------------------------------------------
  Value* resize_axis(Value* x, const ResizedAxis& axis) {
    Value* position = positions(axis);
    Value* y = mode_ == "nearest" ? nearest(x, axis, position) : interpolated(x, axis, position);
    if (!crops()) return y;
    Value* last = build_.sub(number(axis.from), number(1.0));
    Value* outside = op(ScalarOp::Or, op(ScalarOp::Less, position, number(0.0)), op(ScalarOp::Less, last, position));
    Value* fill = build_.like(y, node_.number("extrapolation_value"));
    return build_.select(build_.broadcast(outside, {axis.axis}, y->type.shape), fill, y);
  }

  Value* nearest(Value* x, const ResizedAxis& axis, Value* position) {
    Value* index = position;
    if (nearest_ == "round_prefer_floor")
      index = build_.scalar_op(ScalarOp::Ceil, {build_.sub(position, number(0.5))});
    else if (nearest_ == "round_prefer_ceil")
      index = floor(build_.add(position, number(0.5)));
    else if (nearest_ == "simple" && axis.scale.told)
      index = build_.select(op(ScalarOp::Less, axis.scale.told, number(1.0)),
                            build_.scalar_op(ScalarOp::Ceil, {position}), floor(position));
    else if (nearest_ == "ceil" || (nearest_ == "simple" && axis.scale.factor.value_or(1) < 1))
      index = build_.scalar_op(ScalarOp::Ceil, {position});
    else
      index = floor(position);
    return build_.gather(x, clamped(index, axis.from), axis.axis, true);
  }

  Value* clamped(Value* index, Dim extent) {
    Value* last = build_.sub(number(extent), number(1.0));
    return build_.convert(op(ScalarOp::Max, op(ScalarOp::Min, index, last), number(0.0)), DType::I64);
  }

  static constexpr int64_t kMostTaps = 1 << 24;  // on one side

  // How many taps there are, as many left of the position as right of it.
  Dim tap_count(const ResizedAxis& axis) {
    const int64_t reach = mode_ == "cubic" ? 2 : 1;
    DimPool& dims = node_.dims();
    if (!antialias_) return dims.constant(2 * reach);
    if (axis.scale.told) {
      Value* wide = build_.scalar_op(ScalarOp::Ceil, {build_.div(number(static_cast<double>(reach)), shrinking(axis))});
      return dims.mul(build_.to_host(build_.convert(wide, DType::I64), {1, kMostTaps})->elements.at(0),
                      dims.constant(2));
    }
    Dim wide =
        dims.ceildiv(dims.mul(axis.scale.below, dims.constant(reach)), dims.max(axis.scale.above, dims.constant(1)));
    return dims.mul(dims.max(wide, dims.constant(reach)), dims.constant(2));
  }

  Value* filter(Value* distance) {
    return mode_ == "linear" ? linear_filter(build_, distance) : cubic_filter(build_, distance, cubic_a_);
  }

  Value* interpolated(Value* x, const ResizedAxis& axis, Value* position) {
    DimPool& dims = node_.dims();
    Dim taps = tap_count(axis);
    const Shape table = {axis.to, taps};
    Dim before = dims.sub(dims.floordiv(taps, dims.constant(2)), dims.constant(1));
    Value* offset = build_.convert(
        build_.sub(build_.iota(DType::I64, {taps}, 0), build_.dims_tensor({before}, {}, DType::I64)), DType::F64);
    Value* column = build_.reshape(position, {axis.to, dims.constant(1)});
    Value* places = build_.add(floor(column), offset);  // [to, taps]
    Value* distance = build_.sub(places, column);
    if (antialias_) distance = build_.mul(distance, shrinking(axis));
    Value* weights = filter(distance);
    if (exclude_outside_) {
      Value* inside = op(ScalarOp::And, op(ScalarOp::LessEqual, number(0.0), places),
                         op(ScalarOp::Less, places, number(axis.from)));
      weights = build_.select(inside, weights, number(0.0));
    }
    if (exclude_outside_ || antialias_)
      weights = build_.div(weights, build_.reduce(OpKind::ReduceSum, weights, {1}, true));
    Value* index = clamped(places, axis.from);
    weights = build_.convert(weights, x->type.dtype);
    if (auto known = value_of(taps); known && *known <= 4) return gathered(x, axis, index, weights, *known);
    return multiplied(x, axis, index, weights);
  }

  // The factor a filter is widened by where it shrinks: min(scale, 1).
  Value* shrinking(const ResizedAxis& axis) {
    return op(ScalarOp::Min, build_.div(scaled_extent(axis), number(axis.from)), number(1.0));
  }

  Value* gathered(Value* x, const ResizedAxis& axis, Value* index, Value* weights, int64_t taps) {
    Value* sum = nullptr;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const auto column = [&](Value* table) {
        return build_.drop_axes(build_.slice_axis(table, 1, build_.dim(tap), build_.dim(1)), {1});
      };
      Value* y = build_.gather(x, column(index), axis.axis, true);
      Value* term = build_.mul(y, build_.broadcast(column(weights), {axis.axis}, y->type.shape));
      sum = sum ? build_.add(sum, term) : term;
    }
    return sum;
  }

  // With the matrix [to, from] that has the weights at the indices.
  Value* multiplied(Value* x, const ResizedAxis& axis, Value* index, Value* weights) {
    Value* zeros = build_.splat(x->type.dtype, {axis.to, axis.from}, 0);
    Value* matrix = build_.scatter(zeros, index, weights, 1, true, "add");
    std::string from, to;
    for (int i = 0; i < x->type.rank(); ++i) {
      from += i == axis.axis ? 'y' : static_cast<char>('a' + i);
      to += i == axis.axis ? 'z' : static_cast<char>('a' + i);
    }
    if (from.size() > 20) unsupported("rank {}", from.size());
    return build_.contract(x, matrix, from + ",zy->" + to);
  }

  Node& node_;
  GraphBuilder& build_;
  std::string mode_;
  const std::string nearest_, coordinates_;
  const bool antialias_, exclude_outside_;
  const double cubic_a_;
};

// The region of the operand that tf_crop_and_resize takes: where it begins along each axis, then where it ends.
void set_roi(Node& node, std::vector<ResizedAxis>& axes) {
  const size_t count = axes.size();
  const auto expect = [&](size_t elements) {
    if (elements != 2 * count) fail("roi has {} elements, expected {}", elements, 2 * count);
  };
  if (scalars_of(node.build.module, node.input(1))) {
    const std::vector<double> roi = known_numbers(node, 1);
    expect(roi.size());
    for (size_t i = 0; i < count; ++i) axes[i].roi_begin = roi[i], axes[i].roi_end = roi[i + count];
  } else {
    const Values roi = told_numbers(node, 1);
    expect(roi.size());
    for (size_t i = 0; i < count; ++i) axes[i].told_begin = roi[i], axes[i].told_end = roi[i + count];
  }
}

Values resize(Node& node) {
  Value* x = node.input(0);
  const int rank = node.rank();
  std::vector<int64_t> axes = axes_from(0, rank);
  if (node.version >= 18 && node.has("axes")) {
    axes = node.integers("axes");
    normalized_axes(axes, rank);
    for (int64_t& axis : axes) axis = normalized_axis(axis, rank);
  }
  const int scales = node.version >= 11 ? 2 : 1;
  const bool sized = node.version >= 11 && is_given(node, 3);
  if (!sized && !is_given(node, scales)) fail("neither scales nor sizes are given");
  std::vector<ResizedAxis> resized = sized ? axes_by_sizes(node, axes, 3) : axes_by_input(node, axes, scales);
  if (node.version >= 11 && node.text("coordinate_transformation_mode") == "tf_crop_and_resize") {
    if (!is_given(node, 1)) fail("tf_crop_and_resize needs roi");
    set_roi(node, resized);
  }
  return {Resizer(node).resize(x, resized)};
}

Values upsample(Node& node) {
  const int rank = node.rank();
  std::vector<double> scales;
  if (node.version == 1) {
    if (rank != 4) fail("input has rank {}, expected 4", rank);
    scales = {1, 1, node.number("height_scale"), node.number("width_scale")};
  } else if (node.version >= 9) {
    return {Resizer(node).resize(node.input(0), axes_by_input(node, axes_from(0, rank), 1))};
  } else {
    scales = node.numbers("scales");
  }
  return {Resizer(node).resize(node.input(0), axes_by_scales(node, axes_from(0, rank), scales))};
}

constexpr OpEntry kOps[] = {{"Resize", resize}, {"Upsample", upsample}};

}  // namespace

std::span<const OpEntry> resize_ops() { return kOps; }

}  // namespace lapidary::frontend
