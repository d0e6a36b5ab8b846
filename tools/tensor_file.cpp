#include "tools/tensor_file.h"

#include "codegen/output_file.h"
#include "frontend/tensor_file.h"
#include "tools/npy.h"

namespace lapidary::tools {

namespace {
bool is_onnx(const std::string& path) { return path.ends_with(".pb"); }
}  // namespace

HostTensor read_tensor(const std::string& path) {
  if (!is_onnx(path)) return read_npy(path);
  frontend::TensorFile file = frontend::read_tensor_file(path);
  return {static_cast<uint8_t>(file.dtype), std::move(file.dims), std::move(file.bytes), std::move(file.strings)};
}

void write_tensor(const std::string& path, const std::string& name, const HostTensor& tensor) {
  std::string content = is_onnx(path) ? frontend::tensor_message(name, {static_cast<DType>(tensor.dtype), tensor.dims,
                                                                        tensor.bytes, tensor.strings})
                                      : npy_content(path, tensor);
  codegen::OutputFile file(path);
  file.write(content);
  file.keep();
}

}  // namespace lapidary::tools
