// Any text as a kernel: parsed or refused. One that verifies prints as text that parses to the same text.
#include "ir/text.h"
#include "ir/verifier.h"
#include "test/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  fuzz::may_throw([&] {
    const loops::Kernel kernel = parse_kernel({reinterpret_cast<const char*>(data), size});
    if (!verify(kernel).empty()) return;
    const std::string printed = print_kernel(kernel);
    try {
      if (print_kernel(parse_kernel(printed)) != printed) fuzz::found("prints differently: " + printed);
    } catch (const Error& error) { fuzz::found(std::string(error.what()) + " in " + printed); }
  });
  return 0;
}
