// Strings the stages together: file → Module → Program → artifact. The one place that sees every layer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/codegen.h"
#include "codegen/cuda/compile.h"
#include "codegen/output_file.h"
#include "ir/error.h"
#include "ir/program.h"
#include "passes/pipeline.h"
#include "passes/train/train.h"

namespace lapidary::tools {

struct CompileOptions {
  std::string model;
  std::string target = "native";
  std::string numerics = "default";
  std::string gpu_tile;                // passes::Options
  std::string f32 = "ieee";            // products of f32 on a GPU: tf32, 3xtf32, bf16
  std::vector<std::string> shapes;     // "x=1x3x224x224"
  std::vector<std::string> lengths;    // "x=3"
  std::vector<std::string> optionals;  // "x=present", "x=absent"
  std::vector<std::string> skip_passes;
  std::vector<std::string> dump_after;  // "import", pass names, or "all"
  int jobs = 0;                         // 0: one for each core
  int threads = 0;                      // 0: as many as the machine has; only a hint to the compiler
  bool time_passes = false;
  std::optional<uint64_t> seed;  // of made-up weights
  bool no_cache = false;         // of images for CUDA
  bool quiet = false;            // no warnings
  std::optional<train::TrainOptions> train;
};

// Runs body(); what it finds wrong with the model gets the model's name in front.
template <typename Body>
void about_model(const CompileOptions& options, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.fault == Fault::File || error.fault == Fault::Usage) throw;
    throw Error(error.fault, fmt::format("{}: {}", printable(options.model), error.what()));
  }
}

// What a compile leaves; the module must outlive the program.
struct Compiled {
  std::unique_ptr<Module> module;
  bool trains_itself = false;  // as the model's training_info says
  Program program;
  Target target;
  std::vector<std::pair<Program, Target>> lower_levels;  // of --target=x86-64

  std::vector<codegen::Level> levels() const;
};

std::unique_ptr<Module> import(const CompileOptions&);  // prints warnings; throws with every problem found
passes::Options pass_options(const CompileOptions&, const Target&);
codegen::ArtifactOptions artifact_options(const CompileOptions&);
Compiled compile_graph(const CompileOptions&);  // up to the last graph pass; no program yet
void must_run_here(const CompileOptions&);      // throws where the target is of another architecture
void lower(Compiled&, const CompileOptions&);   // the graph that one holds, for its targets
Compiled compile(const CompileOptions&);        // both
// The images of all its levels whose architectures ("sm_80", "compute_80") are wanted.
std::vector<codegen::cuda::Image> compile_images(const Compiled&, const codegen::ArtifactOptions&,
                                                 const std::function<bool(const std::string&)>& wanted);
void write(const Compiled&, const CompileOptions&, const std::string& symbol, const codegen::Products&);

std::map<std::string, std::vector<int64_t>> parse_shapes(const std::vector<std::string>& texts);
// "NAME=128" each; wrong ones are wrong usage of that option.
std::map<std::string, int64_t> parse_counts(const char* option, const char* example, const std::vector<std::string>&);
// Throws wrong usage when an output is one of the files read, by whatever name.
void must_not_overwrite(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs);
std::string stem(const std::string& path);  // "dir/resnet50.onnx" → "resnet50"

// A file under $TMPDIR (or /tmp) for a library that this process opens: removed at the end of its life, also by a
// signal that ends the process.
class TemporaryLibrary {
 public:
  TemporaryLibrary();
  const std::string& path() const { return file_.temporary_path(); }

 private:
  codegen::OutputFile file_;
};

}  // namespace lapidary::tools
