#include "frontend/ops/resize_axes.h"

#include <cmath>

namespace lapidary::frontend {

namespace {

constexpr double kMostScale = 1e6;
constexpr int64_t kMostRank = 32;

// The convergents of a factor up to the first that is it as a float; below 2^24 at most.
std::pair<int64_t, int64_t> fraction_of(double factor) {
  constexpr double kMostBelow = 1 << 24;
  int64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  double rest = factor;
  for (int i = 0; i < 24; ++i) {
    if (i > 0 && std::floor(rest) * static_cast<double>(q1) + static_cast<double>(q0) > kMostBelow) break;
    const auto whole = static_cast<int64_t>(rest);
    const int64_t p = whole * p1 + p0, q = whole * q1 + q0;
    p0 = p1, q0 = q1, p1 = p, q1 = q;
    if (static_cast<float>(static_cast<double>(p) / static_cast<double>(q)) == static_cast<float>(factor)) break;
    if (rest == static_cast<double>(whole)) break;
    rest = 1 / (rest - static_cast<double>(whole));
  }
  return {p1, q1};
}

// Scales that exporters compute of shapes, in the ops that do: conversions, quotients, products, concatenations.
std::optional<std::vector<ResizeScale>> scales_behind(Module& module, const Value* value) {
  DimPool& dims = module.dims;
  const Dim one = dims.constant(1);
  std::vector<ResizeScale> result;
  if (value->type.rank() > 1) return {};
  if (auto scalars = scalars_of(module, value)) {
    for (const Scalar& scalar : *scalars) {
      if (!(scalar.number > 0) || scalar.number > kMostScale) fail("a scale of {}", scalar.number);
      const auto [above, below] = fraction_of(scalar.number);
      result.push_back({scalar.number, dims.constant(above), dims.constant(below)});
    }
    return result;
  }
  const Op* op = value->producer;
  if (!op) return {};
  if (op->is(OpKind::Convert) && op->operand(0)->has_elements()) {
    for (Dim element : op->operand(0)->elements) result.push_back({{}, element, one});
    return result;
  }
  if (op->is(OpKind::Concat)) {
    for (const Value* part : op->operands) {
      auto scales = scales_behind(module, part);
      if (!scales) return {};
      result.insert(result.end(), scales->begin(), scales->end());
    }
    return result;
  }
  if (op->is(OpKind::Reshape) || op->is(OpKind::Convert)) return scales_behind(module, op->operand(0));
  if (op->is(OpKind::Broadcast)) {
    auto scales = scales_behind(module, op->operand(0));
    auto count = value_of(dims.product(value->type.shape));
    if (!scales || scales->size() != 1 || !count || *count > 64) return {};
    return std::vector<ResizeScale>(static_cast<size_t>(*count), (*scales)[0]);
  }
  if (!op->is(OpKind::Div) && !op->is(OpKind::Mul)) return {};
  auto a = scales_behind(module, op->operand(0)), b = scales_behind(module, op->operand(1));
  if (!a || !b || a->size() != b->size()) return {};
  for (size_t i = 0; i < a->size(); ++i) {
    const ResizeScale &x = (*a)[i], &y = (*b)[i];
    const bool divides = op->is(OpKind::Div);
    result.push_back(
        {{}, dims.mul(x.above, divides ? y.below : y.above), dims.mul(x.below, divides ? y.above : y.below)});
  }
  return result;
}

ResizedAxis scaled_axis(Node& node, int axis, const ResizeScale& scale) {
  DimPool& dims = node.dims();
  Dim from = node.type(0).shape[static_cast<size_t>(axis)];
  Dim to = scale.below == from ? scale.above
                               : dims.floordiv(dims.mul(from, scale.above), dims.max(scale.below, dims.constant(1)));
  if (auto known = value_of(from); known && scale.factor)
    to =
        dims.constant(static_cast<int64_t>(std::floor(static_cast<float>(*known) * static_cast<float>(*scale.factor))));
  return {axis, from, to, scale};
}

ResizedAxis scaled_axis(Node& node, int axis, double factor) {
  if (!(factor > 0) || factor > kMostScale) fail("scale {} of axis {}", factor, axis);
  const auto [above, below] = fraction_of(factor);
  return scaled_axis(node, axis, ResizeScale{factor, node.dims().constant(above), node.dims().constant(below)});
}

// The extents are computed where the scales are, and read by the host.
std::vector<ResizedAxis> axes_by_told(Node& node, const std::vector<int64_t>& axes, int input) {
  GraphBuilder& build = node.build;
  const std::vector<Value*> scales = told_numbers(node, input);
  if (scales.size() != axes.size()) fail("{} scales for {} axes", scales.size(), axes.size());
  if (axes.empty()) return {};
  Shape from;
  for (int64_t axis : axes) from.push_back(node.type(0).shape[static_cast<size_t>(axis)]);
  Value* extents = build.convert(build.dims_tensor(from, {static_cast<int64_t>(from.size())}), DType::F32);
  Value* given = build.convert(node.input(input), DType::F32);
  Value* fits = build.convert(
      build.scalar_op(ScalarOp::And, {build.scalar_op(ScalarOp::Less, {build.like(given, 0), given}),
                                      build.scalar_op(ScalarOp::LessEqual, {given, build.like(given, kMostScale)})}),
      DType::I64);
  for (Dim fit : build.to_host(fits, {0, 1})->elements)
    build.module.check(fit, fmt::format("scales must be above 0 and at most {}", kMostScale));
  Value* scaled = build.mul(extents, given);
  Value* whole = build.convert(build.scalar_op(ScalarOp::Floor, {scaled}), DType::I64);
  const Shape to = build.to_host(whole, kExtents)->elements;
  std::vector<ResizedAxis> result;
  for (size_t i = 0; i < axes.size(); ++i)
    result.push_back({static_cast<int>(axes[i]), from[i], to[i], {.told = scales[i]}});
  return result;
}

}  // namespace

bool is_given(Node& node, int input) {
  const Value* value = node.input(input);
  return value && !(value->type.rank() == 1 && value_of(value->type.shape[0]) == 0);
}

std::vector<double> known_numbers(Node& node, int input) {
  auto scalars = scalars_of(node.build.module, node.input(input));
  if (!scalars) unsupported("input {} is known only at run time", input);
  std::vector<double> numbers;
  for (const Scalar& scalar : *scalars) numbers.push_back(scalar.number);
  return numbers;
}

std::vector<Value*> told_numbers(Node& node, int input) {
  GraphBuilder& build = node.build;
  Value* list = node.input(input);
  const auto count = list->type.rank() == 1 ? value_of(list->type.shape[0]) : std::nullopt;
  if (!count || *count > 2 * kMostRank)
    unsupported("input {} is {}: how many elements it has is known only at run time", input, to_string(list->type));
  std::vector<Value*> numbers;
  for (int64_t i = 0; i < *count; ++i)
    numbers.push_back(
        build.convert(build.reshape(build.slice_axis(list, 0, build.dim(i), build.dim(1)), {}), DType::F64));
  return numbers;
}

std::vector<ResizedAxis> axes_by_scales(Node& node, const std::vector<int64_t>& axes,
                                        const std::vector<double>& scales) {
  if (scales.size() != axes.size()) fail("{} scales for {} axes", scales.size(), axes.size());
  std::vector<ResizedAxis> result;
  for (size_t i = 0; i < axes.size(); ++i) result.push_back(scaled_axis(node, static_cast<int>(axes[i]), scales[i]));
  return result;
}

std::vector<ResizedAxis> axes_by_input(Node& node, const std::vector<int64_t>& axes, int input) {
  if (scalars_of(node.build.module, node.input(input))) return axes_by_scales(node, axes, known_numbers(node, input));
  auto scales = scales_behind(node.build.module, node.input(input));
  if (!scales) return axes_by_told(node, axes, input);
  if (scales->size() != axes.size()) fail("{} scales for {} axes", scales->size(), axes.size());
  std::vector<ResizedAxis> result;
  for (size_t i = 0; i < axes.size(); ++i) result.push_back(scaled_axis(node, static_cast<int>(axes[i]), (*scales)[i]));
  return result;
}

// With a policy other than stretch, one scale for all: the least or the greatest of size / extent.
std::vector<ResizedAxis> axes_by_sizes(Node& node, const std::vector<int64_t>& axes, int input) {
  DimPool& dims = node.dims();
  const Shape sizes = node.extents(input);
  if (sizes.size() != axes.size()) fail("{} sizes for {} axes", sizes.size(), axes.size());
  std::vector<ResizedAxis> result;
  Dim above = nullptr, below = nullptr;
  const std::string policy = node.version >= 18 ? node.text("keep_aspect_ratio_policy") : "stretch";
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller")
    fail("keep_aspect_ratio_policy '{}' is unknown", printable(policy));
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim from = node.type(0).shape[static_cast<size_t>(axes[i])];
    if (range(sizes[i]).hi < 0) fail("size {} of axis {}", to_string(sizes[i]), axes[i]);
    result.push_back({static_cast<int>(axes[i]), from, sizes[i], {{}, sizes[i], from}});
    Dim smaller = above ? dims.less(dims.mul(sizes[i], below), dims.mul(above, from)) : nullptr;
    Dim larger = above ? dims.less(dims.mul(above, from), dims.mul(sizes[i], below)) : nullptr;
    Dim takes = policy == "not_larger" ? smaller : larger;
    above = above ? dims.select(takes, sizes[i], above) : sizes[i];
    below = below ? dims.select(takes, from, below) : from;
  }
  if (policy == "stretch" || axes.empty()) return result;
  Dim two = dims.constant(2), divisor = dims.max(dims.mul(below, two), dims.constant(1));
  for (ResizedAxis& axis : result) {
    axis.to = dims.floordiv(dims.add(dims.mul(dims.mul(above, axis.from), two), below), divisor);
    axis.scale = {{}, above, below};
  }
  return result;
}

}  // namespace lapidary::frontend
