// Any bytes, and models that mutate_model made of right ones: imported, or refused with lines that say why. What is
// imported verifies.
#include "frontend/import.h"
#include "ir/graph.h"
#include "ir/verifier.h"
#include "test/fuzz/target.h"

namespace {

using namespace lapidary;

void check(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile file(data, size);
  Diagnostics diagnostics;
  const auto module = frontend::import_model(file.path(), {}, diagnostics);
  for (const Diagnostic& error : diagnostics.errors())
    if (error.fault == Fault::Internal || error.message.find('\n') != std::string::npos) fuzz::found(error.message);
  if ((module == nullptr) != diagnostics.failed()) fuzz::found("neither a module nor an error, or both");
  if (!module) return;
  if (const auto violations = verify(*module); !violations.empty()) fuzz::found(violations[0]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::may_throw([&] { check(data, size); });
  return 0;
}
