#include "tools/inputs.h"

#include <fmt/format.h>

#include <cstring>
#include <random>

#include "ir/dtype.h"
#include "ir/error.h"
#include "tools/tensor_file.h"

namespace lapidary::tools {

std::pair<int, std::string> split_binding(const std::string& text, const std::vector<SlotInfo>& slots, const char* option) {
  for (size_t i = 0; i < slots.size(); ++i) {   // names may hold '=' themselves
    const std::string& name = slots[i].name;
    if (text.size() > name.size() && text.compare(0, name.size(), name) == 0 && text[name.size()] == '=') {
      return {static_cast<int>(i), text.substr(name.size() + 1)};
    }
  }
  if (slots.size() == 1 && text.find('=') == std::string::npos) return {0, text};
  std::string known;
  for (const SlotInfo& slot : slots) known += (known.empty() ? "" : ", ") + printable(slot.name);
  throw Error(Fault::Usage, fmt::format("{} takes NAME=FILE with NAME one of: {}; got '{}'", option, known, printable(text)));
}

namespace {

// Normal floats; small non-negative integers, so that they are valid indices and masks.
template <typename T>
void fill(HostTensor& tensor, std::mt19937_64& generator) {
  T* data = reinterpret_cast<T*>(tensor.bytes.data());
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if constexpr (std::is_floating_point_v<T>) data[i] = static_cast<T>(normal(generator));
    else data[i] = static_cast<T>(generator() % 2);
  }
}

HostTensor random_tensor(const SlotInfo& slot, const InputOptions& options, std::mt19937_64& generator) {
  HostTensor tensor{slot.dtype, slot.dims, {}};
  auto given = options.shapes.find(slot.name);
  if (given != options.shapes.end()) {
    if (given->second.size() != slot.dims.size()) {
      throw Error(Fault::Usage, fmt::format("--shape of input '{}': rank {}, expected {}", printable(slot.name), given->second.size(), slot.dims.size()));
    }
    tensor.dims = given->second;
  }
  int64_t count = 1;
  for (int64_t& dim : tensor.dims) {
    dim = dim < 0 ? 1 : dim;
    if (__builtin_mul_overflow(count, dim, &count)) throw Error(Fault::Usage, fmt::format("--shape of input '{}': too many elements", printable(slot.name)));
  }
  DType dtype = static_cast<DType>(slot.dtype);
  std::optional<int64_t> bytes = byte_size(dtype, count);
  if (!bytes) throw Error(Fault::Unsupported, fmt::format("random data of type {} for input '{}'", name_of(dtype), printable(slot.name)));
  tensor.bytes.resize(static_cast<size_t>(*bytes));
  switch (dtype) {
    case DType::F32: fill<float>(tensor, generator); break;
    case DType::F64: fill<double>(tensor, generator); break;
    case DType::I32: case DType::U32: fill<int32_t>(tensor, generator); break;
    case DType::I64: case DType::U64: fill<int64_t>(tensor, generator); break;
    default: fill<uint8_t>(tensor, generator);   // one byte or none of meaning: small values in the low bytes
  }
  return tensor;
}

}  // namespace

std::vector<HostTensor> make_inputs(const LoadedModel& model, const InputOptions& options) {
  std::vector<HostTensor> tensors(model.inputs().size());
  std::vector<bool> given(tensors.size(), false);
  for (const std::string& text : options.files) {
    auto [index, file] = split_binding(text, model.inputs(), "--input");
    if (given[index]) throw Error(Fault::Usage, fmt::format("input '{}' is given twice", printable(model.inputs()[index].name)));
    tensors[index] = read_tensor(file);
    given[index] = true;
  }
  std::mt19937_64 generator(0);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!given[i]) tensors[i] = random_tensor(model.inputs()[i], options, generator);
  }
  return tensors;
}

}  // namespace lapidary::tools
