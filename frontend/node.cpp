#include "frontend/node.h"

#include <algorithm>
#include <numeric>

#include "frontend/ops/common.h"

namespace lapidary::frontend {

int normalized_axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) fail("axis {} not in [{}, {}]", axis, -rank, rank - 1);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::vector<int64_t> normalized_axes(std::vector<int64_t> axes, int rank) {
  for (int64_t& axis : axes) axis = normalized_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  auto twice = std::adjacent_find(axes.begin(), axes.end());
  if (twice != axes.end()) fail("axis {} is given twice", *twice);
  return axes;
}

std::vector<int64_t> axes_from(int first, int rank) {
  std::vector<int64_t> axes(std::max(rank - first, 0));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

std::string to_text(const std::vector<int64_t>& values) {
  constexpr size_t kShown = 16;
  std::span<const int64_t> shown(values.data(), std::min(values.size(), kShown));
  return fmt::format("[{}{}]", fmt::join(shown, ", "),
                     values.size() > kShown ? fmt::format(", ... {} in all", values.size()) : "");
}

std::string counted(int64_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::vector<Value*> Node::inputs() const {
  std::vector<Value*> tensors;
  for (const Binding& binding : inputs_) tensors.push_back(binding.value);
  return tensors;
}

const AttributeProto* Node::find(std::string_view name) const {
  auto own = attributes_.find(name);
  if (own != attributes_.end()) return own->second;
  auto declared = schema_.attributes().find(std::string(name));
  if (declared == schema_.attributes().end() || !declared->second.default_value.has_name()) return nullptr;
  return &declared->second.default_value;
}

const AttributeProto& Node::get(std::string_view name) const {
  const AttributeProto* attribute = find(name);
  if (!attribute) fail("attribute '{}' is missing", name);
  return *attribute;
}

int64_t Node::integer(std::string_view name) const { return get(name).i(); }
int64_t Node::integer_or(std::string_view name, int64_t otherwise) const {
  const AttributeProto* attribute = find(name);
  return attribute ? attribute->i() : otherwise;
}
double Node::number(std::string_view name) const { return get(name).f(); }
double Node::number_or(std::string_view name, double otherwise) const {
  const AttributeProto* attribute = find(name);
  return attribute ? attribute->f() : otherwise;
}
std::string Node::text(std::string_view name) const { return get(name).s(); }

std::vector<int64_t> Node::integers(std::string_view name) const {
  std::vector<int64_t> values;
  for_each_integer_of(name, [&](int64_t value) { values.push_back(value); });
  return values;
}
std::vector<double> Node::numbers(std::string_view name) const {
  std::vector<double> values;
  for_each_number_of(name, [&](float value) { values.push_back(value); });
  return values;
}
std::vector<std::string> Node::texts(std::string_view name) const {
  std::vector<std::string> values;
  for_each_text_of(name, [&](std::string_view value) { values.emplace_back(value); });
  return values;
}

DType Node::dtype(std::string_view name) const {
  int64_t number = integer(name);
  std::optional<DType> dtype = dtype_of(number);
  if (!dtype) fail("attribute '{}': unknown data_type {}", name, number);
  return *dtype;
}

ConstantId Node::tensor(std::string_view name) const {
  try {
    return tensors_.read(get(name).t(), build.module.constants);
  } catch (const Error& error) { throw Error(error.fault, fmt::format("attribute '{}': {}", name, error.what())); }
}

Shape Node::extents(int index, Interval within) const {
  const Value* value = input(index);
  if (value->type.rank() > 1) fail("input {} has rank {}, expected 1", index, value->type.rank());
  if (value->has_elements()) return value->elements;
  auto scalars = scalars_of(build.module, value);
  if (!scalars) return read_by_host(index, within);
  Shape elements;  // exporters' INT64_MAX, "to the end", is beyond what Dims hold; first versions took floats
  for (const Scalar& scalar : *scalars)
    elements.push_back(dims().constant(std::clamp(convert(scalar, DType::I64).integer, kDimMin, kDimMax)));
  return elements;
}

// Elements that only a run can tell: the host reads them there.
Shape Node::read_by_host(int index, Interval within) const {
  Value* value = input(index);
  for (Dim extent : value->type.shape)
    if (!value_of(extent))
      unsupported("input {} is {}: how many elements it has is known only at run time", index, to_string(value->type));
  if (value->type.dtype != DType::I64 && value->type.dtype != DType::I32) value = build.convert(value, DType::I64);
  return build.to_host(value, within)->elements;
}

std::vector<int64_t> Node::constants(int index) const {
  std::vector<int64_t> numbers;
  for (Dim dim : extents(index)) {
    std::optional<int64_t> number = value_of(dim);
    if (!number && speaks_of_elements(dim)) unsupported("input {} is known only at run time", index);
    if (!number) unsupported("input {} depends on the shapes of the model's inputs ({})", index, to_string(dim));
    numbers.push_back(*number);
  }
  return numbers;
}

Dim Node::extent(int index, Interval within) const {
  Shape elements = extents(index, within);
  if (elements.size() != 1)
    fail("input {} has {}, expected 1", index, counted(static_cast<int64_t>(elements.size()), "element"));
  return elements[0];
}

int64_t Node::constant(int index) const {
  const std::vector<int64_t> elements = constants(index);
  if (elements.size() != 1)
    fail("input {} has {}, expected 1", index, counted(static_cast<int64_t>(elements.size()), "element"));
  return elements[0];
}

std::vector<int64_t> Node::integers_from(std::string_view attribute, int index) const {
  return input(index) ? constants(index) : integers(attribute);
}

}  // namespace lapidary::frontend
