// Program → artifact. One folder for each target behind this header.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::codegen {

// "native", a name of x86-64-v3, x86-64-v4, znver4, aarch64, …, or "cuda:sm_80,sm_90a" (codegen/cuda/target.h); throws
// Error{Fault::Usage} for one we do not know.
Target resolve_target(const std::string& name);

// As resolve_target, but for "x86-64", which is one target for each level of the instruction set, best first.
std::vector<Target> resolve_targets(const std::string& name);

struct ArtifactOptions {
  int jobs = 1;                  // compile threads; never changes a byte of the result
  bool strict_math = false;      // libm's maths instead of our own
  std::optional<uint64_t> seed;  // of a product with made-up weights (codegen/seeded_weights.h)
  std::string image_cache;  // folder of the images compiled for CUDA before; empty: none (codegen/cuda/image_cache.h)
  std::function<void(const std::string& stage, double seconds)> on_stage;  // --time-passes
  std::function<void(const std::string& message)> on_warning;              // null: nobody listens
};

// Where each product of a model goes; what has no path is not made.
struct Products {
  std::string library, object, archive, program;
  std::string header;  // the C interface of the first three
};

// A program as lowered for one target. A product of several takes the first that the CPU at hand can run; they are of
// one module and one architecture, and share their weights.
struct Level {
  const Program& program;
  const Target& target;
};

// Writes them, each under a temporary name and all renamed when all are whole. `symbol` prefixes the exported names and
// is already a C identifier.
void write_products(const std::vector<Level>&, const std::string& symbol, const Products&, const ArtifactOptions&);

inline void write_library(const Program& program, const Target& target, const std::string& symbol,
                          const std::string& library, const std::string& header, const ArtifactOptions& options) {
  write_products({{program, target}}, symbol, {.library = library, .header = header}, options);
}
std::string header_text(const Program&, const std::string& symbol);

// Textual stages of the kernels, for --emit=llvm|asm.
std::string llvm_text(const Program&, const Target&, const ArtifactOptions&);
std::string assembly_text(const Program&, const Target&, const ArtifactOptions&);

// A file name's stem as a C identifier: "resnet-50" → "resnet_50".
std::string c_identifier(const std::string& text);

}  // namespace lapidary::codegen
