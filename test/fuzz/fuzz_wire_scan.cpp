// Any bytes as a model or a tensor: the scan takes them or names the byte that is wrong.
#include "frontend/wire_scan.h"
#include "test/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto bytes = std::as_bytes(std::span(data, size));
  fuzz::may_throw([&] {
    const std::string message = frontend::scan_model(bytes, 100);
    if (message.size() > 4 * size + 64) fuzz::found("the message is far larger than the file");
  });
  fuzz::may_throw([&] { frontend::scan_tensor(bytes); });
  return 0;
}
