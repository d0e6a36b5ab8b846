#include "ir/constant.h"

#include <algorithm>
#include <cstring>

#include "ir/error.h"

namespace lapidary {

int64_t Constant::elements() const {
  if (std::ranges::find(shape, 0) != shape.end()) return 0;  // however large the others
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

int64_t Constant::bytes() const {
  std::optional<int64_t> bytes = byte_size(dtype, elements());
  LPD_CHECK(bytes.has_value(), "a constant of {} has no size", name_of(dtype));
  return *bytes;
}

ConstantId ConstantTable::add(Constant constant) {
  if (constant.source_dtype == DType::Undefined) {
    constant.source_dtype = constant.dtype;
    constant.source_shape = constant.shape;
  }
  constants_.push_back(std::move(constant));
  return static_cast<ConstantId>(constants_.size() - 1);
}

ConstantId ConstantTable::add_bytes(DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes) {
  auto owned = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  Constant constant;
  constant.dtype = dtype;
  constant.shape = std::move(shape);
  constant.source = ByteSource{owned, *owned};
  LPD_CHECK(constant.bytes() == static_cast<int64_t>(owned->size()));
  return add(std::move(constant));
}

ConstantId ConstantTable::add_scalars(DType dtype, std::vector<int64_t> shape, std::span<const Scalar> values) {
  std::vector<std::byte> bytes(static_cast<size_t>(*byte_size(dtype, static_cast<int64_t>(values.size()))));
  for (size_t i = 0; i < values.size(); ++i) store_scalar(values[i], bytes.data(), static_cast<int64_t>(i));
  return add_bytes(dtype, std::move(shape), std::move(bytes));
}

ConstantId ConstantTable::add_strings(std::vector<int64_t> shape, std::span<const std::string> texts) {
  std::vector<Scalar> numbers;
  for (const std::string& text : texts) numbers.push_back(Scalar::of_integer(DType::String, strings->number_of(text)));
  return add_scalars(DType::String, std::move(shape), numbers);
}

ConstantId ConstantTable::add_splat(DType dtype, std::vector<int64_t> shape, Scalar value) {
  Constant constant;
  constant.dtype = dtype;
  constant.shape = std::move(shape);
  constant.source = Splat{value};
  return add(std::move(constant));
}

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::vector<int64_t> shape_after(const Transform& transform, std::vector<int64_t> shape) {
  switch (transform.kind) {
    case Transform::Kind::Convert:
    case Transform::Kind::Scale:
      return shape;
    case Transform::Kind::Transpose: {
      std::vector<int64_t> result;
      for (int64_t axis : transform.axes) result.push_back(shape[static_cast<size_t>(axis)]);
      return result;
    }
    case Transform::Kind::Reshape:
    case Transform::Kind::Pad:
      return transform.shape;
    case Transform::Kind::SpreadGroups:
      shape[1] = transform.shape[1];
      return shape;
    case Transform::Kind::PackPanels:
      return {ceil_div(shape[1], transform.block), shape[0], transform.block};
    case Transform::Kind::PackConv: {
      std::vector<int64_t> result = {ceil_div(shape[0], transform.block), ceil_div(shape[1], transform.shape[0])};
      result.insert(result.end(), shape.begin() + 2, shape.end());
      result.push_back(transform.shape[0]);
      result.push_back(transform.block);
      return result;
    }
    case Transform::Kind::PackDots:
      return {ceil_div(shape[1], transform.block), ceil_div(shape[0], 4), transform.block, 4};
    case Transform::Kind::PackConvDots: {
      std::vector<int64_t> result = {ceil_div(shape[0], transform.block), ceil_div(shape[1], transform.shape[0])};
      result.insert(result.end(), shape.begin() + 2, shape.end());
      for (int64_t extent : {transform.shape[0] / 4, transform.block, int64_t{4}}) result.push_back(extent);
      return result;
    }
    case Transform::Kind::Sums:
      return {shape[static_cast<size_t>(transform.axes[0])]};
    case Transform::Kind::Winograd: {
      int64_t inputs = transform.shape[0] + 2;
      return {inputs * inputs, ceil_div(shape[0], transform.block),
              ceil_div(shape[1], transform.shape[1]) * transform.shape[1], transform.block};
    }
    case Transform::Kind::WinogradAxis: {
      const int64_t taps = transform.shape[1], unit = transform.shape[2];
      return {transform.shape[0] + taps - 1, ceil_div(shape[0], transform.block), shape[2],
              ceil_div(shape[3], taps),      ceil_div(shape[1], unit) * unit,     transform.block};
    }
  }
  LPD_UNREACHABLE("unknown transform");
}

namespace {

// Along which axis the parts of a joined constant lie behind each other when each of them is transformed by itself;
// nothing when that is not the same as transforming the whole.
std::optional<int64_t> axis_of_parts(const ConstantTable& table, const Constant& whole, const Transform& transform) {
  const Joined& joined = std::get<Joined>(whole.source);
  const auto axis = static_cast<size_t>(joined.axis);
  switch (transform.kind) {
    case Transform::Kind::Convert:
      return joined.axis;
    case Transform::Kind::Transpose:
      return std::ranges::find(transform.axes, joined.axis) - transform.axes.begin();
    case Transform::Kind::Reshape:  // of what lies in each row
      if (axis != 0 || transform.shape.empty() || transform.shape[0] != whole.shape[0]) return std::nullopt;
      return 0;
    case Transform::Kind::Pad:
      return transform.shape[axis] == whole.shape[axis] ? std::optional(joined.axis) : std::nullopt;
    case Transform::Kind::PackPanels:
    case Transform::Kind::PackDots: {
      auto in_blocks = [&](ConstantId part) { return table[part].shape[1] % transform.block == 0; };
      if (axis != 1 || !std::ranges::all_of(joined.parts, in_blocks)) return std::nullopt;
      return 0;
    }
    case Transform::Kind::Scale:
    case Transform::Kind::SpreadGroups:
    case Transform::Kind::PackConv:
    case Transform::Kind::PackConvDots:
    case Transform::Kind::Sums:
    case Transform::Kind::Winograd:
    case Transform::Kind::WinogradAxis:
      return std::nullopt;
  }
  LPD_UNREACHABLE("unknown transform");
}

}  // namespace

ConstantId ConstantTable::transformed(ConstantId of, Transform transform) {
  Constant constant = (*this)[of];
  if (auto* all = std::get_if<Joined>(&constant.source); all && constant.transforms.empty()) {
    if (const auto axis = axis_of_parts(*this, constant, transform)) {
      for (ConstantId& part : all->parts) {
        Transform own = transform;
        if (!own.shape.empty() && transform.kind != Transform::Kind::Convert)
          own.shape[static_cast<size_t>(*axis)] = (*this)[part].shape[static_cast<size_t>(all->axis)];
        part = transformed(part, std::move(own));
      }
      return joined(std::move(all->parts), *axis);
    }
  }
  constant.shape = shape_after(transform, constant.shape);
  if (transform.kind == Transform::Kind::Convert) constant.dtype = transform.dtype;
  if (transform.kind == Transform::Kind::Sums) constant.dtype = DType::I32;
  bool pointless = transform.kind == Transform::Kind::Reshape && constant.transforms.empty() &&
                   std::holds_alternative<Splat>(constant.source);
  if (pointless) {
    constant.source_shape = constant.shape;
  } else {
    constant.transforms.push_back(std::move(transform));
  }
  return add(std::move(constant));
}

ConstantId ConstantTable::joined(std::vector<ConstantId> parts, int64_t axis) {
  Constant constant;
  constant.dtype = (*this)[parts.front()].dtype;
  constant.shape = (*this)[parts.front()].shape;
  int64_t& extent = constant.shape.at(static_cast<size_t>(axis));
  extent = 0;
  for (ConstantId part : parts) extent += (*this)[part].shape.at(static_cast<size_t>(axis));
  constant.source = Joined{std::move(parts), axis};
  return add(std::move(constant));
}

bool ConstantTable::is_splat(ConstantId id, Scalar* value) const {
  const Constant& constant = (*this)[id];
  Scalar found;
  if (const auto* splat = std::get_if<Splat>(&constant.source)) {
    found = splat->value;
  } else if (const auto* bytes = std::get_if<ByteSource>(&constant.source);
             bytes && constant.elements() == 1 && bytes->bytes.size() <= 16) {
    found = load_scalar(constant.source_dtype, bytes->bytes.data(), 0);
  } else {
    return false;
  }
  for (const Transform& transform : constant.transforms) {
    switch (transform.kind) {
      case Transform::Kind::Transpose:
      case Transform::Kind::Reshape:
        break;
      case Transform::Kind::Convert:
        if (!transform.shape.empty()) return false;
        found = convert(found, transform.dtype);
        break;
      case Transform::Kind::Scale:
      case Transform::Kind::Pad:
      case Transform::Kind::SpreadGroups:
      case Transform::Kind::PackPanels:
      case Transform::Kind::PackConv:
      case Transform::Kind::PackDots:
      case Transform::Kind::PackConvDots:
      case Transform::Kind::Sums:
      case Transform::Kind::Winograd:
      case Transform::Kind::WinogradAxis:
        return false;
    }
  }
  if (value) *value = found;
  return true;
}

std::vector<std::byte> ConstantTable::bytes_of(ConstantId id) const {
  std::vector<std::byte> bytes(static_cast<size_t>((*this)[id].bytes()));
  materialize(id, bytes);
  return bytes;
}

std::vector<Scalar> ConstantTable::scalars_of(ConstantId id) const {
  std::vector<std::byte> bytes = bytes_of(id);
  std::vector<Scalar> values;
  for (int64_t i = 0; i < (*this)[id].elements(); ++i)
    values.push_back(load_scalar((*this)[id].dtype, bytes.data(), i));
  return values;
}

std::vector<std::string> ConstantTable::strings_of(ConstantId id) const {
  std::vector<std::string> texts;
  for (const Scalar& scalar : scalars_of(id)) texts.push_back((*strings)[scalar.integer]);
  return texts;
}

}  // namespace lapidary
