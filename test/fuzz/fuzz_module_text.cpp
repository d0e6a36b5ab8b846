// Any text as a module: parsed or refused. A module that verifies prints as text that parses, to text that stays: the
// first time, terms of a sum may change places, since extents are ordered as they were first met.
#include "ir/graph.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "test/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  fuzz::may_throw([&] {
    const auto module = parse_module({reinterpret_cast<const char*>(data), size});
    if (!verify(*module).empty()) return;
    const std::string printed = print_module(*module);
    try {
      const std::string again = print_module(*parse_module(printed));
      if (print_module(*parse_module(again)) != again) fuzz::found("prints differently: " + again);
    } catch (const Error& error) { fuzz::found(std::string(error.what()) + " in " + printed); }
  });
  return 0;
}
