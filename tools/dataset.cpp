#include "tools/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "ir/dtype.h"
#include "ir/error.h"
#include "ir/scalar.h"
#include "tools/inputs.h"

namespace lapidary::tools {

namespace {

DType type_of(const HostTensor& tensor) { return static_cast<DType>(tensor.dtype); }

template <typename T>
T at(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

// Of integers and bool.
int64_t integer_at(DType dtype, const std::byte* data, int64_t index) {
  switch (bit_width(dtype)) {
    case 8:
      return is_signed_integer(dtype) ? at<int8_t>(data, index) : at<uint8_t>(data, index);
    case 16:
      return is_signed_integer(dtype) ? at<int16_t>(data, index) : at<uint16_t>(data, index);
    case 32:
      return is_signed_integer(dtype) ? at<int32_t>(data, index) : at<uint32_t>(data, index);
    default:
      return at<int64_t>(data, index);
  }
}

double float_at(DType dtype, const std::byte* data, int64_t index) {
  if (dtype == DType::F32) return at<float>(data, index);
  if (dtype == DType::F64) return at<double>(data, index);
  return load_scalar(dtype, data, index).number;
}

// The values an integer type has, as i64; those of u64 as far as they go.
std::pair<int64_t, int64_t> range_of(DType dtype) {
  if (dtype == DType::Bool) return {0, 1};
  const int bits = bit_width(dtype);
  if (!is_signed_integer(dtype)) return {0, bits >= 63 ? INT64_MAX : (INT64_C(1) << bits) - 1};
  if (bits == 64) return {INT64_MIN, INT64_MAX};
  return {-(INT64_C(1) << (bits - 1)), (INT64_C(1) << (bits - 1)) - 1};
}

class Converter {
 public:
  Converter(const HostTensor& from, const SlotInfo& slot, std::string name)
      : from_(from), data_(from.bytes.data()), name_(std::move(name)) {
    to_.dtype = slot.dtype;
    to_.dims = from.dims;
  }

  HostTensor run(double scale) {
    const DType from = type_of(from_), to = type_of(to_);
    if ((from == DType::String) != (to == DType::String) || (to != DType::String && bit_width(to) < 8) ||
        (!is_float(to) && !is_integer(to) && to != DType::Bool && to != DType::String))
      throw Error(Fault::Input,
                  fmt::format("{} has element type {}, the model wants {}", name_, name_of(from), name_of(to)));
    if (to == DType::String) return from_;
    to_.bytes.resize(static_cast<size_t>(*byte_size(to, from_.elements())));
    if (is_float(to))
      to_floats(from, to, scale);
    else
      to_integers(from, to);
    return std::move(to_);
  }

 private:
  // "array 'x' at [3, 0, 12]"
  std::string place(int64_t index) const {
    std::string text;
    for (size_t axis = from_.dims.size(); axis-- > 0;) {
      text = std::to_string(index % from_.dims[axis]) + (text.empty() ? "" : ", ") + text;
      index /= from_.dims[axis];
    }
    return fmt::format("{} at [{}]", name_, text);
  }

  void to_floats(DType from, DType to, double scale) {
    const bool floats = is_float(from);
    for (int64_t i = 0, count = from_.elements(); i < count; ++i) {
      double value = floats ? float_at(from, data_, i) : static_cast<double>(integer_at(from, data_, i));
      if (!std::isfinite(value)) throw Error(Fault::Input, fmt::format("{} is {}", place(i), value));
      value *= scale;
      if (!std::isfinite(round_to(to, value)))
        throw Error(Fault::Input, fmt::format("{} is {}, which {} does not hold", place(i), value, name_of(to)));
      if (to == DType::F32)
        put<float>(i, static_cast<float>(value));
      else if (to == DType::F64)
        put<double>(i, value);
      else
        store_scalar(Scalar::of_float(to, round_to(to, value)), to_.bytes.data(), i);
    }
  }

  void to_integers(DType from, DType to) {
    const auto [least, most] = range_of(to);
    for (int64_t i = 0, count = from_.elements(); i < count; ++i) {
      const int64_t value = is_float(from) ? whole(from, i) : integer_at(from, data_, i);
      const bool beyond = from == DType::U64 && to != DType::U64 && value < 0;
      if (to != from && (value < least || value > most || beyond))
        throw Error(
            Fault::Input,
            fmt::format("{} is {}, which {} does not hold", place(i),
                        beyond ? std::to_string(static_cast<uint64_t>(value)) : std::to_string(value), name_of(to)));
      std::memcpy(to_.bytes.data() + i * bit_width(to) / 8, &value, static_cast<size_t>(bit_width(to)) / 8);
    }
  }

  int64_t whole(DType from, int64_t i) const {
    const double value = float_at(from, data_, i);
    if (!std::isfinite(value)) throw Error(Fault::Input, fmt::format("{} is {}", place(i), value));
    if (value != std::floor(value) || std::abs(value) > 9e15)
      throw Error(Fault::Input, fmt::format("{} is {}, the model wants whole numbers", place(i), value));
    return static_cast<int64_t>(value);
  }

  template <typename T>
  void put(int64_t index, T value) {
    std::memcpy(to_.bytes.data() + index * static_cast<int64_t>(sizeof value), &value, sizeof value);
  }

  const HostTensor& from_;
  const std::byte* data_;
  std::string name_;
  HostTensor to_;
};

// The extents of the samples, as the slot has them: those it leaves open are the data's.
std::vector<int64_t> shaped(const std::vector<int64_t>& dims, const SlotInfo& slot, const std::string& name) {
  const std::vector<int64_t> sample(dims.begin() + 1, dims.end());
  std::vector<int64_t> wanted(slot.dims.begin() + 1, slot.dims.end());
  const auto fits = [](int64_t found, int64_t expected) { return expected < 0 || found == expected; };
  if (std::ranges::equal(sample, wanted, fits)) return dims;
  const auto elements = [](const std::vector<int64_t>& of) {
    return std::accumulate(of.begin(), of.end(), int64_t{1}, std::multiplies<>());
  };
  const bool open = std::ranges::any_of(wanted, [](int64_t extent) { return extent < 0; });
  if (open || elements(sample) != elements(wanted)) {
    std::string text;
    for (size_t axis = 1; axis < slot.dims.size(); ++axis)
      text += (text.empty() ? "" : "x") +
              (slot.dims[axis] < 0 ? printable(slot.dim_names[axis]) : std::to_string(slot.dims[axis]));
    throw Error(Fault::Input, fmt::format("{}: a sample is {}, the model wants {}", name, shape_text(sample),
                                          text.empty() ? "scalar" : text));
  }
  wanted.insert(wanted.begin(), dims[0]);
  return wanted;
}

void check_labels(const HostTensor& labels, const LabelRange& range, const std::string& name) {
  if (!range.classes || type_of(labels) != DType::I64) return;
  for (int64_t i = 0; i < labels.elements(); ++i) {
    const int64_t label = at<int64_t>(labels.bytes.data(), i);
    if (label != range.ignored && (label < 0 || label >= *range.classes))
      throw Error(Fault::Input,
                  fmt::format("{}: label {} is {}, the model has {} classes", name, i, label, *range.classes));
  }
}

// Do the labels of all places of all samples lie along one axis, as a language model has them?
bool is_flat(const HostTensor& labels, const SlotInfo& slot, const SlotInfo& input) {
  if (slot.dims.size() != 1 || labels.dims.size() < 2 || input.dims.empty()) return false;
  const int64_t places = labels.elements() / labels.dims[0];
  return slot.dims[0] < 0 ? slot.dim_names[0] != input.dim_names[0]
                          : slot.dims[0] == places * input.dims[0] && places > 1;
}

// The array of that name; one without a name goes to the only input.
NamedArray* array_for(std::vector<NamedArray>& arrays, const SlotInfo& slot, bool only) {
  for (NamedArray& array : arrays)
    if (array.name == slot.name || (only && array.name.empty())) return &array;
  return nullptr;
}

}  // namespace

HostTensor Dataset::batch(size_t column, std::span<const int64_t> rows) const {
  const HostTensor& whole = columns[column];
  HostTensor part{whole.dtype, whole.dims};
  part.dims[0] = static_cast<int64_t>(rows.size());
  const size_t each = whole.strings.size() / static_cast<size_t>(samples),
               width = whole.bytes.size() / static_cast<size_t>(samples);
  part.bytes.resize(width * rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<size_t>(rows[i]);
    if (width > 0) std::memcpy(part.bytes.data() + i * width, whole.bytes.data() + row * width, width);
    for (size_t k = 0; k < each; ++k) part.strings.push_back(whole.strings[row * each + k]);
  }
  if (flat[column]) part.dims = {part.elements()};
  return part;
}

Dataset make_dataset(std::vector<NamedArray> arrays, const std::vector<SlotInfo>& slots, const LabelRange& range,
                     double scale, const std::string& source) {
  Dataset dataset;
  const auto inputs =
      static_cast<size_t>(std::ranges::count_if(slots, [&](const SlotInfo& slot) { return slot.name != range.name; }));
  for (const SlotInfo& slot : slots) {
    const bool labels = slot.name == range.name;
    NamedArray* array = array_for(arrays, slot, !labels && inputs == 1);
    if (!array) {
      std::string there;
      for (const NamedArray& one : arrays)
        there += (there.empty() ? "" : ", ") + (one.name.empty() ? "one without a name" : printable(one.name));
      throw Error(Fault::Input, fmt::format("{}: array '{}' is missing; there are: {}", printable(source),
                                            printable(slot.name), there));
    }
    const std::string name = fmt::format("{}: array '{}'", printable(source), printable(slot.name));
    HostTensor& values = array->values;
    if (values.dims.empty() || slot.dims.empty())
      throw Error(Fault::Input, fmt::format("{} has no axis of samples", name));
    if (values.dims[0] == 0) throw Error(Fault::Input, fmt::format("{} has no samples", name));
    if (dataset.columns.empty()) dataset.samples = values.dims[0];
    if (values.dims[0] != dataset.samples)
      throw Error(Fault::Input, fmt::format("{} has {} samples, '{}' has {}", name, values.dims[0],
                                            printable(slots[0].name), dataset.samples));
    dataset.flat.push_back(labels && is_flat(values, slot, slots[0]));
    std::vector<int64_t> dims = dataset.flat.back() ? values.dims : shaped(values.dims, slot, name);
    HostTensor converted = Converter(values, slot, name).run(labels ? 1 : scale);
    values = {};
    converted.dims = std::move(dims);
    if (labels) check_labels(converted, range, name);
    dataset.columns.push_back(std::move(converted));
  }
  return dataset;
}

}  // namespace lapidary::tools
