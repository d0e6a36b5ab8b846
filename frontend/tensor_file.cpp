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
  return {table[id].dtype, table[id].shape, table.bytes_of(id)};
}

}  // namespace

TensorFile read_tensor_file(const std::string& path) {
  try {
    return read(path);
  } catch (const Error& error) { throw Error(error.fault, fmt::format("{}: {}", printable(path), error.what())); }
}

std::string tensor_message(const std::string& name, DType dtype, const std::vector<int64_t>& dims,
                           std::span<const std::byte> bytes) {
  TensorProto proto;
  proto.set_name(name);
  proto.set_data_type(static_cast<int>(dtype));
  proto.mutable_dims()->Add(dims.begin(), dims.end());
  proto.set_raw_data(bytes.data(), bytes.size());
  std::string message;
  if (!proto.SerializeToString(&message)) throw Error(Fault::Unsupported, "ONNX tensors of 2 GiB or more");
  return message;
}

}  // namespace lapidary::frontend
