// Any bytes as a file of samples to train with: arrays of as many bytes as their shapes and types need, or a line that
// says why not.
#include "ir/dtype.h"
#include "test/fuzz/target.h"
#include "tools/data_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const fuzz::MemoryFile file(data, size);
  fuzz::may_throw([&] {
    for (const tools::NamedArray& array : tools::read_arrays({file.path(), "", ""}, "labels")) {
      const tools::HostTensor& values = array.values;
      int64_t count = 1;
      for (int64_t extent : values.dims) count *= extent;
      if (static_cast<DType>(values.dtype) == DType::String
              ? std::ssize(values.strings) != count
              : std::ssize(values.bytes) != byte_size(static_cast<DType>(values.dtype), count))
        fuzz::found("an array of another size than its shape's");
    }
  });
  return 0;
}
