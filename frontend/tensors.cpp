#include "frontend/tensors.h"

#include <algorithm>
#include <cstring>

#include "ir/error.h"

namespace lapidary::frontend {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error(Fault::Input, what); }

template <typename Element, typename Source>
ByteSource copied(const Source& source) {
  auto bytes = std::make_shared<std::vector<std::byte>>(source.size() * sizeof(Element));
  std::byte* out = bytes->data();
  for (auto value : source) {
    Element element = static_cast<Element>(value);
    std::memcpy(out, &element, sizeof element);
    out += sizeof element;
  }
  return {bytes, *bytes};
}

// Which of TensorProto's typed fields holds a type (onnx.proto). int32_data holds one element in each entry, or one
// byte of packed elements when they are smaller than a byte.
enum class TypedField { Float, Int32, Int64, Double, Uint64, None };
TypedField typed_field(DType dtype) {
  switch (dtype) {
    case DType::F32:
    case DType::C64:
      return TypedField::Float;
    case DType::I64:
      return TypedField::Int64;
    case DType::F64:
    case DType::C128:
      return TypedField::Double;
    case DType::U32:
    case DType::U64:
      return TypedField::Uint64;
    case DType::U8:
    case DType::I8:
    case DType::U16:
    case DType::I16:
    case DType::I32:
    case DType::Bool:
    case DType::F16:
    case DType::BF16:
    case DType::F8E4M3FN:
    case DType::F8E4M3FNUZ:
    case DType::F8E5M2:
    case DType::F8E5M2FNUZ:
    case DType::U4:
    case DType::I4:
    case DType::F4E2M1:
    case DType::F8E8M0:
    case DType::U2:
    case DType::I2:
      return TypedField::Int32;
    case DType::Undefined:
    case DType::String:
      return TypedField::None;
  }
  LPD_UNREACHABLE();
}

ByteSource typed_bytes(const TensorProto& tensor, DType dtype) {
  switch (typed_field(dtype)) {
    case TypedField::Float:
      return copied<float>(tensor.float_data());
    case TypedField::Int64:
      return copied<int64_t>(tensor.int64_data());
    case TypedField::Double:
      return copied<double>(tensor.double_data());
    case TypedField::Uint64:
      return dtype == DType::U32 ? copied<uint32_t>(tensor.uint64_data()) : copied<uint64_t>(tensor.uint64_data());
    case TypedField::Int32:
      if (bit_width(dtype) <= 8) return copied<uint8_t>(tensor.int32_data());
      return bit_width(dtype) == 16 ? copied<uint16_t>(tensor.int32_data()) : copied<int32_t>(tensor.int32_data());
    case TypedField::None:
      break;
  }
  LPD_UNREACHABLE();
}

struct FieldUse {
  const char* name;
  TypedField field;
  int count;
};

// The typed fields that hold something; more than one source of data is an error, and so is the wrong one.
std::vector<FieldUse> used_fields(const TensorProto& tensor) {
  std::vector<FieldUse> all = {{"float_data", TypedField::Float, tensor.float_data_size()},
                               {"int32_data", TypedField::Int32, tensor.int32_data_size()},
                               {"int64_data", TypedField::Int64, tensor.int64_data_size()},
                               {"double_data", TypedField::Double, tensor.double_data_size()},
                               {"uint64_data", TypedField::Uint64, tensor.uint64_data_size()},
                               {"string_data", TypedField::None, tensor.string_data_size()}};
  std::erase_if(all, [](const FieldUse& use) { return use.count == 0; });
  return all;
}

// Bool bytes other than 0 and 1 are truths all the same.
ByteSource normalized_bools(ByteSource source) {
  auto proper = [](std::byte b) { return b <= std::byte{1}; };
  if (std::all_of(source.bytes.begin(), source.bytes.end(), proper)) return source;
  auto bytes = std::make_shared<std::vector<std::byte>>(source.bytes.begin(), source.bytes.end());
  for (std::byte& b : *bytes) b = std::byte{b != std::byte{0}};
  return {bytes, *bytes};
}

}  // namespace

std::optional<DType> dtype_of(int64_t data_type) {
  if (data_type <= 0 || data_type > static_cast<int>(DType::I2)) return std::nullopt;
  return static_cast<DType>(data_type);
}

int64_t checked_elements(const google::protobuf::RepeatedField<int64_t>& dims) {
  if (dims.size() > kMaxRank) fail(fmt::format("rank {} exceeds {}", dims.size(), kMaxRank));
  int64_t elements = 1;
  bool overflow = false, empty = false;
  for (int64_t dim : dims) {
    if (dim < 0) fail(fmt::format("negative extent {}", dim));
    empty |= dim == 0;
    overflow |= __builtin_mul_overflow(elements, dim, &elements);
  }
  if (overflow && !empty) fail("element count overflows int64");
  return empty ? 0 : elements;
}

ByteSource TensorReader::bytes_of(const TensorProto& tensor, DType dtype, int64_t elements) {
  std::optional<int64_t> expected = byte_size(dtype, elements);
  if (!expected) fail("byte count overflows int64");
  std::string type = fmt::format("{}[{}]", name_of(dtype), fmt::join(tensor.dims(), ", "));
  std::vector<FieldUse> typed = used_fields(tensor);
  bool external = tensor.data_location() == TensorProto::EXTERNAL;
  bool raw = tensor.has_raw_data() || tensor.has_segment();
  if (typed.size() + external + raw > 1) {
    fail(fmt::format("data is given twice ({} and {})",
                     raw        ? "raw_data"
                     : external ? "external data"
                                : typed[0].name,
                     external && raw ? "external data" : typed.back().name));
  }
  if (!typed.empty() && typed[0].field != typed_field(dtype))
    fail(fmt::format("{} cannot hold {}", typed[0].name, type));
  if (external) return external_.read(tensor, *expected);

  ByteSource source;
  if (tensor.has_segment()) {
    source = {file_.keep_alive,
              file_.bytes.subspan(tensor.segment().begin(), tensor.segment().end() - tensor.segment().begin())};
  } else if (tensor.has_raw_data()) {
    source = copied<char>(tensor.raw_data());
  } else {
    source = typed_bytes(tensor, dtype);
  }
  if (static_cast<int64_t>(source.bytes.size()) != *expected) {
    fail(fmt::format("{} needs {} bytes, {} has {}", type, *expected,
                     raw             ? "raw_data"
                     : typed.empty() ? "it"
                                     : typed[0].name,
                     source.bytes.size()));
  }
  return source;
}

namespace {

ConstantId read_strings(const TensorProto& tensor, int64_t elements, ConstantTable& constants) {
  if (tensor.has_raw_data() || tensor.has_segment()) fail("strings cannot be in raw_data");
  if (tensor.data_location() == TensorProto::EXTERNAL) fail("strings cannot be external data");
  for (const FieldUse& use : used_fields(tensor))
    if (use.field != TypedField::None) fail(fmt::format("{} cannot hold strings", use.name));
  if (tensor.string_data_size() != elements)
    fail(fmt::format("string[{}] needs {} strings, string_data has {}", fmt::join(tensor.dims(), ", "), elements,
                     tensor.string_data_size()));
  return constants.add_strings({tensor.dims().begin(), tensor.dims().end()},
                               std::vector<std::string>(tensor.string_data().begin(), tensor.string_data().end()));
}

}  // namespace

ConstantId TensorReader::read(const TensorProto& tensor, ConstantTable& constants) {
  std::optional<DType> dtype = dtype_of(tensor.data_type());
  if (!dtype) fail(fmt::format("unknown data_type {}", tensor.data_type()));
  int64_t elements = checked_elements(tensor.dims());
  if (*dtype == DType::String) { return read_strings(tensor, elements, constants); }
  Constant constant;
  constant.dtype = constant.source_dtype = *dtype;
  constant.shape.assign(tensor.dims().begin(), tensor.dims().end());
  constant.source_shape = constant.shape;
  ByteSource source = bytes_of(tensor, *dtype, elements);
  constant.source = *dtype == DType::Bool ? normalized_bools(std::move(source)) : std::move(source);
  return constants.add(std::move(constant));
}

// Sparse values are written into a dense tensor: index lists are [nnz] (of the flattened tensor) or [nnz, rank].
ConstantId TensorReader::read_sparse(const onnx::SparseTensorProto& sparse, ConstantTable& constants) {
  constexpr int64_t kMaxDenseBytes = INT64_C(1) << 30;
  std::optional<DType> dtype = dtype_of(sparse.values().data_type());
  if (!dtype || bit_width(*dtype) < 8 || dtype == DType::String)
    fail(fmt::format("data_type {} cannot be sparse", sparse.values().data_type()));
  int64_t elements = checked_elements(sparse.dims()), rank = sparse.dims_size();
  std::optional<int64_t> size = byte_size(*dtype, elements);
  if (!size || *size > kMaxDenseBytes)
    throw Error(Fault::Unsupported, fmt::format("sparse tensors of more than {} bytes", kMaxDenseBytes));
  int64_t count = checked_elements(sparse.values().dims());
  const TensorProto& indices = sparse.indices();
  bool flat = indices.dims_size() == 1;
  int64_t width = flat ? 1 : rank;
  if (sparse.values().dims_size() != 1)
    fail(fmt::format("values have rank {}, expected 1", sparse.values().dims_size()));
  if (dtype_of(indices.data_type()) != DType::I64) fail("indices are not int64");
  if (count > elements) fail(fmt::format("{} values in a tensor of {} elements", count, elements));
  if (checked_elements(indices.dims()) != count * width || indices.dims_size() < 1 || indices.dims(0) != count ||
      (!flat && (indices.dims_size() != 2 || indices.dims(1) != rank))) {
    fail(fmt::format("indices have shape [{}], expected [{}] or [{}, {}]", fmt::join(indices.dims(), ", "), count,
                     count, rank));
  }
  ByteSource values = bytes_of(sparse.values(), *dtype, count),
             index_bytes = bytes_of(indices, DType::I64, count * width);
  std::vector<std::byte> dense(*size);
  int64_t element_size = bit_width(*dtype) / 8, last = -1;
  for (int64_t k = 0; k < count; ++k) {
    int64_t position = 0;
    for (int64_t j = 0; j < width; ++j) {
      int64_t index, extent = flat ? elements : sparse.dims(j);
      std::memcpy(&index, index_bytes.bytes.data() + (k * width + j) * sizeof index, sizeof index);
      if (index < 0 || index >= extent) fail(fmt::format("sparse index {} not in [0, {})", index, extent));
      position = position * extent + index;
    }
    if (position <= last) fail(fmt::format("sparse index {} is not in ascending order", k));
    last = position;
    std::memcpy(dense.data() + position * element_size, values.bytes.data() + k * element_size, element_size);
  }
  return constants.add_bytes(*dtype, {sparse.dims().begin(), sparse.dims().end()}, std::move(dense));
}

}  // namespace lapidary::frontend
