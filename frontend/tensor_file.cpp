#include "frontend/tensor_file.h"

#include "frontend/tensors.h"
#include "frontend/wire_scan.h"
#include "ir/error.h"

namespace lapidary::frontend {
namespace {

TensorFile read(const std::string& path) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  TensorProto proto;
  if (!proto.ParseFromString(scan_tensor(file->bytes()))) throw Error(Fault::Input, "not an ONNX tensor");
  ConstantTable table;
  ConstantId id = TensorReader({file, file->bytes()}, "").read(proto, table);
  if (table[id].dtype == DType::String) return {DType::String, table[id].shape, {}, table.strings_of(id)};
  return {table[id].dtype, table[id].shape, table.bytes_of(id), {}};
}

}  // namespace

TensorFile read_tensor_file(const std::string& path) {
  try {
    return read(path);
  } catch (const Error& error) { throw Error(error.fault, fmt::format("{}: {}", printable(path), error.what())); }
}

std::string tensor_message(const std::string& name, const TensorFile& tensor) {
  TensorProto proto;
  proto.set_name(name);
  proto.set_data_type(static_cast<int>(tensor.dtype));
  proto.mutable_dims()->Add(tensor.dims.begin(), tensor.dims.end());
  if (tensor.dtype == DType::String)
    proto.mutable_string_data()->Add(tensor.strings.begin(), tensor.strings.end());
  else
    proto.set_raw_data(tensor.bytes.data(), tensor.bytes.size());
  std::string message;
  if (!proto.SerializeToString(&message)) throw Error(Fault::Unsupported, "ONNX tensors of 2 GiB or more");
  return message;
}

}  // namespace lapidary::frontend
