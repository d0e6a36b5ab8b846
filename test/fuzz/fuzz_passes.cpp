// What the importer takes, the passes and the lowering take too: each pass leaves a module that verifies, each kernel
// is well formed, and a model the compiler cannot serve is refused as unsupported, never as an error of its own.
#include "frontend/import.h"
#include "ir/graph.h"
#include "passes/pipeline.h"
#include "test/fuzz/target.h"

using namespace lapidary;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::may_throw([&] {
    const fuzz::MemoryFile file(data, size);
    Diagnostics diagnostics;
    const auto module = frontend::import_model(file.path(), {}, diagnostics);
    if (!module) return;
    const passes::Options options;
    passes::run_graph_passes(*module, options);
    passes::lower(*module, options);
  });
  return 0;
}
