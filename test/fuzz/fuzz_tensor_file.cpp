// Any bytes as a .npy or a .pb file: a tensor of as many bytes as its shape and type need, or a line that says why not.
// What was read, written and read again is the same.
#include "frontend/tensor_file.h"
#include "test/fuzz/target.h"
#include "tools/npy.h"

namespace {

using namespace lapidary;

void check_npy(const std::string& path) {
  const tools::HostTensor tensor = tools::read_npy(path);
  const std::string content = tools::npy_content("again.npy", tensor);
  fuzz::MemoryFile copy(reinterpret_cast<const uint8_t*>(content.data()), content.size());
  const tools::HostTensor again = tools::read_npy(copy.path());
  if (again.dims != tensor.dims || again.dtype != tensor.dtype || again.bytes != tensor.bytes ||
      again.strings != tensor.strings)
    fuzz::found("another .npy");
}

void check_pb(const std::string& path) {
  const frontend::TensorFile tensor = frontend::read_tensor_file(path);
  const std::string message = frontend::tensor_message("x", tensor);
  fuzz::MemoryFile copy(reinterpret_cast<const uint8_t*>(message.data()), message.size());
  const frontend::TensorFile again = frontend::read_tensor_file(copy.path());
  if (again.dims != tensor.dims || again.dtype != tensor.dtype || again.bytes != tensor.bytes ||
      again.strings != tensor.strings)
    fuzz::found("another .pb");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile file(data, size);
  fuzz::may_throw([&] { check_npy(file.path()); });
  fuzz::may_throw([&] { check_pb(file.path()); });
  return 0;
}
