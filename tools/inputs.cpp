#include "tools/inputs.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <random>

#include "ir/dtype.h"
#include "ir/error.h"
#include "ir/scalar.h"
#include "ir/small_floats.h"
#include "tools/tensor_file.h"

namespace lapidary::tools {

std::pair<int, std::string> split_binding(const std::string& text, const std::vector<SlotInfo>& slots,
                                          const char* option) {
  for (size_t i = 0; i < slots.size(); ++i) {  // names may hold '=' themselves
    const std::string& name = slots[i].name;
    if (text.size() > name.size() && text.compare(0, name.size(), name) == 0 && text[name.size()] == '=') {
      return {static_cast<int>(i), text.substr(name.size() + 1)};
    }
  }
  if (slots.size() == 1 && text.find('=') == std::string::npos) return {0, text};
  std::string known;
  for (const SlotInfo& slot : slots) known += (known.empty() ? "" : ", ") + printable(slot.name);
  throw Error(Fault::Usage,
              fmt::format("{} takes NAME=FILE with NAME one of: {}; got '{}'", option, known, printable(text)));
}

namespace {

// Normal floats; whole numbers 0 and 1, often indices and masks; codes of a byte or less, any; strings "a" and "b".
template <typename T>
void fill(HostTensor& tensor, std::mt19937_64& generator) {
  T* data = reinterpret_cast<T*>(tensor.bytes.data());
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if constexpr (std::is_floating_point_v<T>)
      data[i] = static_cast<T>(normal(generator));
    else
      data[i] = static_cast<T>(generator() % 2);
  }
}

using Extents = std::map<std::string, int64_t>;  // of symbols, by name

// The extents of a random input: what its shape says, what the other inputs say of its symbols, 1.
std::vector<int64_t> extents_of(const SlotInfo& slot, const InputOptions& options, Extents& known,
                                std::vector<std::string>& guessed) {
  std::vector<int64_t> dims = slot.dims;
  auto given = options.shapes.find(slot.name);
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] >= 0) continue;
    const std::string& symbol = slot.dim_names[axis];
    if (given != options.shapes.end() && given->second[axis] >= 0) {
      dims[axis] = given->second[axis];
    } else {
      auto [found, fresh] = known.try_emplace(symbol, 1);
      if (fresh) guessed.push_back(symbol);
      dims[axis] = found->second;
    }
  }
  return dims;
}

void note_extents(const SlotInfo& slot, const std::vector<int64_t>& dims, Extents& known) {
  if (dims.size() != slot.dims.size()) return;  // binding it complains
  for (size_t axis = 0; axis < dims.size(); ++axis)
    if (slot.dims[axis] < 0 && dims[axis] >= 0) known.emplace(slot.dim_names[axis], dims[axis]);
}

HostTensor random_tensor(const SlotInfo& slot, std::vector<int64_t> dims, std::mt19937_64& generator) {
  HostTensor tensor{slot.dtype, std::move(dims)};
  int64_t count = 1;
  for (int64_t dim : tensor.dims) {
    if (__builtin_mul_overflow(count, dim, &count))
      throw Error(Fault::Usage, fmt::format("--shape of input '{}': too many elements", printable(slot.name)));
  }
  DType dtype = static_cast<DType>(slot.dtype);
  if (dtype == DType::String) {
    for (int64_t i = 0; i < tensor.elements(); ++i) tensor.strings.emplace_back(1, "ab"[generator() % 2]);
    return tensor;
  }
  std::optional<int64_t> bytes = byte_size(dtype, count);
  if (!bytes)
    throw Error(Fault::Unsupported,
                fmt::format("random data of type {} for input '{}'", name_of(dtype), printable(slot.name)));
  tensor.bytes.resize(static_cast<size_t>(*bytes));
  switch (dtype) {
    case DType::F32:
      fill<float>(tensor, generator);
      break;
    case DType::F64:
      fill<double>(tensor, generator);
      break;
    case DType::I32:
    case DType::U32:
      fill<int32_t>(tensor, generator);
      break;
    case DType::I64:
    case DType::U64:
      fill<int64_t>(tensor, generator);
      break;
    case DType::I16:
    case DType::U16:
      fill<int16_t>(tensor, generator);
      break;
    case DType::Bool:
      fill<bool>(tensor, generator);
      break;
    default:
      if (is_small_float(dtype)) {
        std::normal_distribution<double> normal;
        for (int64_t i = 0; i < count; ++i)
          store_scalar(Scalar::of_float(dtype, round_to(dtype, normal(generator))), tensor.bytes.data(), i);
      } else {  // codes of a byte or less: any
        for (std::byte& byte : tensor.bytes) byte = static_cast<std::byte>(generator());
      }
  }
  return tensor;
}

}  // namespace

Inputs make_inputs(const LoadedModel& model, const InputOptions& options) {
  const std::vector<SlotInfo>& slots = model.inputs();
  Inputs inputs;
  inputs.tensors.resize(slots.size());
  std::vector<bool> given(slots.size(), false);
  Extents known;
  for (const std::string& text : options.files) {
    auto [index, file] = split_binding(text, slots, "--input");
    if (given[index]) throw Error(Fault::Usage, fmt::format("input '{}' is given twice", printable(slots[index].name)));
    inputs.tensors[index] = read_tensor(file);
    note_extents(slots[index], inputs.tensors[index].dims, known);
    given[index] = true;
  }
  for (const SlotInfo& slot : slots) {
    if (auto shape = options.shapes.find(slot.name); shape != options.shapes.end())
      note_extents(slot, shape->second, known);
  }
  std::mt19937_64 generator(0);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!given[i])
      inputs.tensors[i] = random_tensor(slots[i], extents_of(slots[i], options, known, inputs.guessed), generator);
  }
  return inputs;
}

void warn_of_guesses(const Inputs& inputs) {
  std::string names;
  for (const std::string& symbol : inputs.guessed)
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", printable(symbol));
  if (!names.empty()) fmt::print(stderr, "warning: {} taken as 1; --shape or --input says otherwise\n", names);
}

std::string shape_text(const std::vector<int64_t>& dims) {
  std::string text;
  for (int64_t dim : dims) text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text.empty() ? "scalar" : text;
}

}  // namespace lapidary::tools
